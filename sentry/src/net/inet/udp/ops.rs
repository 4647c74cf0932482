//! UDP sockets as sockets.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::ioctl::{FIONREAD, TIOCOUTQ};
use abi::poll::PollEvents;
use abi::socket::{IPPROTO_UDP, MsgFlags, SO_REUSEADDR, SO_REUSEPORT};

use super::{EVERYTHING, READABLE, UdpSocket, WRITABLE};
use crate::SysResult;
use crate::mm::{UserAddr, UserRef};
use crate::net::actor::Actor;
use crate::net::condition::{self, SHUT_RECEIVE, SHUT_SEND};
use crate::net::inet::Family;
use crate::net::inet::address;
use crate::net::listing::{Shown, ShownInet};
use crate::net::message::{Received, SendMessage};
use crate::net::namespace::NetNamespace;
use crate::net::options::{OptionValue, SocketOptions};
use crate::net::socket::{Connected, Socket, SocketKind, SocketOps};
use crate::task::CurrentTask;
use crate::vfs::io::{IoSink, IoSource};
use crate::wait::WaitQueue;

impl SocketOps for UdpSocket {
    fn family(&self) -> u32 {
        self.family.number()
    }

    fn kind(&self) -> SocketKind {
        SocketKind::Datagram
    }

    fn protocol(&self) -> u32 {
        IPPROTO_UDP
    }

    fn net(&self) -> &Arc<NetNamespace> {
        &self.net
    }

    fn protocol_name(&self) -> &'static str {
        match self.family {
            Family::V4 => "UDP",
            Family::V6 => "UDPv6",
        }
    }

    fn options(&self) -> &SocketOptions {
        &self.options
    }

    fn poll(&self) -> PollEvents {
        let mut ready = WRITABLE;
        let shut = self.condition.shut();
        if self.condition.error().is_some() {
            ready |= PollEvents::ERR;
        }
        if shut & SHUT_RECEIVE != 0 {
            ready |= READABLE | PollEvents::RDHUP;
        }
        if shut == SHUT_RECEIVE | SHUT_SEND {
            ready |= PollEvents::HUP;
        }
        if !self.queue.lock().list.is_empty() {
            ready |= READABLE;
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
        self.connect_to(actor, address).map(|()| Connected::Yes)
    }

    fn listen(&self, _actor: &Actor<'_>, _backlog: i32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn accept(&self) -> Result<Socket, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn local_address(&self) -> Result<Arc<[u8]>, Errno> {
        let local = self.state.lock().local;
        Ok(address::to_bytes(self.family, local.unwrap_or_else(|| address::unspecified(self.family))))
    }

    fn peer_address(&self) -> Result<Arc<[u8]>, Errno> {
        let remote = self.state.lock().remote.ok_or(Errno::ENOTCONN)?;
        Ok(address::to_bytes(self.family, remote))
    }

    fn send(
        &self,
        actor: Option<&Actor<'_>>,
        src: &mut dyn IoSource,
        message: &mut SendMessage<'_>,
    ) -> Result<usize, Errno> {
        self.send_datagram(actor, src, message)
    }

    fn receive(&self, dst: &mut dyn IoSink, flags: MsgFlags, got: &mut Received) -> Result<usize, Errno> {
        self.receive_datagram(dst, flags, got)
    }

    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        let which = condition::directions(how)?;
        let connected = self.state.lock().remote.is_some();
        // Without a peer Linux does it, too, and says that there is none.
        self.condition.add_shutdown(which);
        self.wait.notify(EVERYTHING);
        if connected { Ok(()) } else { Err(Errno::ENOTCONN) }
    }

    fn option(&self, _task: &CurrentTask, level: u32, option: u32) -> Result<OptionValue, Errno> {
        self.inet_options.get(self.family, false, level, option).map(OptionValue::number)
    }

    fn set_option(&self, _task: &CurrentTask, level: u32, option: u32, value: &[u8]) -> Result<(), Errno> {
        self.inet_options.set(self.family, false, level, option, value)
    }

    fn options_changed(&self) {
        if let Some(port) = &self.state.lock().port {
            port.set_sharing(self.options.is_on(SO_REUSEADDR), self.options.is_on(SO_REUSEPORT));
        }
    }

    fn take_error(&self) -> Option<Errno> {
        self.condition.take_error()
    }

    fn is_listening(&self) -> bool {
        false
    }

    fn ioctl(&self, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        let value = match request {
            FIONREAD => self.queue.lock().list.front().map_or(0, |datagram| datagram.data.len()),
            // What is sent has arrived.
            TIOCOUTQ => 0,
            _ => return Err(Errno::ENOTTY.into()),
        };
        task.write_obj(UserRef::new(UserAddr(arg)), &i32::try_from(value).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn shown(&self) -> Shown {
        const CONNECTED: u8 = 1;
        const UNCONNECTED: u8 = 7;
        let received = self.queue.lock().cost;
        let own = self.state.lock();
        if own.port.is_none() {
            return Shown::Inet(Vec::new());
        }
        let any = address::unspecified(self.family);
        Shown::Inet(vec![ShownInet {
            protocol: IPPROTO_UDP,
            v6: self.family == Family::V6,
            local: own.local.unwrap_or(any),
            remote: own.remote.unwrap_or(any),
            state: if own.remote.is_some() { CONNECTED } else { UNCONNECTED },
            received,
            accepted: true,
        }])
    }

    fn close(&self) {
        self.close_socket();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
