//! AF_UNIX sockets as sockets.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::ioctl::{FIONREAD, SIOCATMARK, TIOCOUTQ};
use abi::poll::PollEvents;
use abi::socket::{AF_UNIX, MsgFlags};

use super::{READABLE, Role, UnixSocket, WRITABLE, address};
use crate::SysResult;
use crate::mm::{UserAddr, UserRef};
use crate::net::actor::Actor;
use crate::net::condition::{SHUT_BOTH, SHUT_RECEIVE};
use crate::net::listing::{Shown, ShownUnix};
use crate::net::message::{Received, SendMessage};
use crate::net::namespace::NetNamespace;
use crate::net::options::{OptionValue, SocketOptions};
use crate::net::socket::{Connected, Socket, SocketKind, SocketOps};
use crate::task::CurrentTask;
use crate::vfs::io::{IoSink, IoSource};
use crate::wait::WaitQueue;

impl UnixSocket {
    /// What FIONREAD says: all bytes, or those of the first datagram; EINVAL for one that listens.
    fn readable_bytes(&self) -> Result<usize, Errno> {
        if let Some(host) = self.host.get() {
            return host.readable_bytes();
        }
        if self.is_listening() {
            return Err(Errno::EINVAL);
        }
        let queue = self.queue.lock();
        Ok(match self.kind {
            SocketKind::Datagram => queue.iter().next().map_or(0, |message| message.left()),
            _ => queue.bytes(),
        })
    }

    /// Whether a message would be taken: there is room in the own buffer, and in a peer's queue that is not ours alone.
    fn is_writable(&self) -> bool {
        if !self.has_room() {
            return false;
        }
        if self.kind == SocketKind::Stream {
            return true;
        }
        let (peer, own) = (self.peer(), self.arc());
        let (Some(peer), Some(own)) = (peer, own) else { return true };
        let mutual = peer.state.lock().peer.as_ref().is_some_and(|p| Arc::ptr_eq(p, &own));
        if mutual || Arc::ptr_eq(&peer, &own) {
            return true;
        }
        let mut queue = peer.queue.lock();
        let full = queue.is_full() && !queue.is_closed();
        if full {
            queue.block(&own);
        }
        !full
    }
}

impl SocketOps for UnixSocket {
    fn family(&self) -> u32 {
        AF_UNIX
    }

    fn kind(&self) -> SocketKind {
        self.kind
    }

    fn net(&self) -> &Arc<NetNamespace> {
        &self.net
    }

    fn protocol_name(&self) -> &'static str {
        if self.kind == SocketKind::Stream { "UNIX-STREAM" } else { "UNIX" }
    }

    fn options(&self) -> &SocketOptions {
        &self.options
    }

    fn poll(&self) -> PollEvents {
        if let Some(host) = self.host.get() {
            return host.poll();
        }
        let mut ready = PollEvents::empty();
        let (listening, connected, waiting) = match &self.state.lock().role {
            Role::Listening(listener) => (true, false, !listener.waiting.is_empty()),
            Role::Connected => (false, true, false),
            _ => (false, false, false),
        };
        let shut = self.condition.shut();
        if self.condition.error().is_some() {
            ready |= PollEvents::ERR;
        }
        if shut == SHUT_BOTH {
            ready |= PollEvents::HUP;
        }
        if shut & SHUT_RECEIVE != 0 {
            ready |= PollEvents::RDHUP | PollEvents::IN | PollEvents::RDNORM;
        }
        if waiting || !self.queue.lock().is_empty() {
            ready |= READABLE - PollEvents::RDBAND;
        }
        if self.kind != SocketKind::Datagram && !connected && !listening {
            ready |= PollEvents::HUP;
        }
        if !listening && self.is_writable() {
            ready |= WRITABLE;
        }
        ready
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.wait
    }

    fn bind(&self, actor: &Actor<'_>, address: &[u8]) -> Result<(), Errno> {
        self.bind_to(actor, address)
    }

    fn connect(&self, actor: &Actor<'_>, address: &[u8], _waits: bool) -> Result<Connected, Errno> {
        self.connect_to(actor, address)
    }

    fn listen(&self, actor: &Actor<'_>, backlog: i32) -> Result<(), Errno> {
        self.listen_with(actor, backlog)
    }

    fn accept(&self) -> Result<Socket, Errno> {
        self.accept_next()
    }

    fn local_address(&self) -> Result<Arc<[u8]>, Errno> {
        Ok(self.address().unwrap_or_else(address::unnamed))
    }

    fn peer_address(&self) -> Result<Arc<[u8]>, Errno> {
        if let Some(peer) = self.host.peer() {
            return Ok(peer);
        }
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        Ok(peer.address().unwrap_or_else(address::unnamed))
    }

    fn send(
        &self,
        actor: Option<&Actor<'_>>,
        src: &mut dyn IoSource,
        message: &mut SendMessage<'_>,
    ) -> Result<usize, Errno> {
        self.send_message(actor, src, message)
    }

    fn receive(&self, dst: &mut dyn IoSink, flags: MsgFlags, got: &mut Received) -> Result<usize, Errno> {
        self.receive_message(dst, flags, got)
    }

    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        match self.host.get() {
            Some(host) => self.shut_down_host(&host, how),
            None => self.shut_down(how),
        }
    }

    fn option(&self, task: &CurrentTask, level: u32, option: u32) -> Result<OptionValue, Errno> {
        let pid = task.pid();
        self.own_option(pid.namespace(), &task.own_creds().user_ns, level, option)
    }

    fn take_error(&self) -> Option<Errno> {
        match self.host.get() {
            Some(host) => host.take_error(),
            None => self.condition.take_error(),
        }
    }

    fn is_listening(&self) -> bool {
        self.host.get().is_some_and(|host| host.is_listening())
            || matches!(self.state.lock().role, Role::Listening(_))
    }

    fn ioctl(&self, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        let value = match request {
            FIONREAD => self.readable_bytes()?,
            TIOCOUTQ => self.in_flight.load(Ordering::Relaxed),
            // There is no out-of-band data, so no mark.
            SIOCATMARK => 0,
            _ => return Err(Errno::ENOTTY.into()),
        };
        task.write_obj(UserRef::new(UserAddr(arg)), &i32::try_from(value).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn shown(&self) -> Shown {
        let own = self.state.lock();
        Shown::Unix(ShownUnix {
            kind: self.kind.number(),
            listens: matches!(own.role, Role::Listening(_)),
            connected: own.peer.is_some(),
            address: own.address.clone(),
        })
    }

    fn close(&self) {
        self.close_socket(true);
    }

    fn fdinfo(&self) -> String {
        "scm_fds: 0\n".to_owned()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
