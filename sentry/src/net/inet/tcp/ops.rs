//! TCP sockets as sockets.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::inet::{TCP_CONGESTION, TCP_INFO, TCP_MAXSEG, TcpInfo};
use abi::ioctl::{FIONREAD, SIOCATMARK, TIOCOUTQ};
use abi::poll::PollEvents;
use abi::socket::{IPPROTO_TCP, MsgFlags, SO_REUSEADDR, SO_REUSEPORT};
use zerocopy::FromZeros;

use super::{READABLE, Role, TcpSocket, WRITABLE};
use crate::SysResult;
use crate::mm::{UserAddr, UserRef};
use crate::net::actor::Actor;
use crate::net::condition::{SHUT_BOTH, SHUT_RECEIVE, SHUT_SEND};
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

/// The largest segment on loopback, and of a socket that has no connection.
const LOOPBACK_MSS: i32 = 65_483;
const DEFAULT_MSS: i32 = 536;

/// The name of how congestion is avoided, and its room in TCP_CONGESTION.
pub const CONGESTION: &str = "cubic";
const TCP_CA_NAME_MAX: usize = 16;

/// States as TCP_INFO and /proc/net/tcp number them.
mod tcp_state {
    pub const ESTABLISHED: u8 = 1;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const FIN_WAIT2: u8 = 5;
    pub const LISTEN: u8 = 10;
}

impl TcpSocket {
    /// As /proc/net/tcp shows it; `None` while it neither has a connection nor listens.
    fn shown_alone(&self, accepted: bool) -> Option<ShownInet> {
        let state = self.protocol_state();
        let queued = self.queue.lock().bytes();
        let own = self.state.lock();
        let received = match &own.role {
            Role::Listening(listener) => listener.waiting.len(),
            _ => queued,
        };
        let any = address::unspecified(self.family);
        (state != tcp_state::CLOSE).then(|| ShownInet {
            protocol: IPPROTO_TCP,
            v6: self.family == Family::V6,
            local: own.local.unwrap_or(any),
            remote: own.remote.unwrap_or(any),
            state,
            received,
            accepted,
        })
    }

    /// The state of the protocol.
    pub fn protocol_state(&self) -> u8 {
        if self.is_over() {
            return tcp_state::CLOSE;
        }
        let finished = self.queue.lock().finished;
        match self.state.lock().role {
            Role::Listening(_) => tcp_state::LISTEN,
            Role::Connected | Role::Connecting { succeeded: true } => match (finished, self.condition.shut())
            {
                (true, _) => tcp_state::CLOSE_WAIT,
                (false, shut) if shut & SHUT_SEND != 0 => tcp_state::FIN_WAIT2,
                _ => tcp_state::ESTABLISHED,
            },
            _ => tcp_state::CLOSE,
        }
    }

    /// Whether poll says that it may be written to.
    fn is_writable(&self) -> bool {
        if self.condition.shut() & SHUT_SEND != 0 {
            return true;
        }
        let Some(peer) = self.peer() else { return true };
        let held = peer.queue.lock().bytes();
        held * 3 <= self.room(&peer) * 2
    }
}

impl SocketOps for TcpSocket {
    fn family(&self) -> u32 {
        self.family.number()
    }

    fn kind(&self) -> SocketKind {
        SocketKind::Stream
    }

    fn protocol(&self) -> u32 {
        IPPROTO_TCP
    }

    fn net(&self) -> &Arc<NetNamespace> {
        &self.net
    }

    fn protocol_name(&self) -> &'static str {
        match self.family {
            Family::V4 => "TCP",
            Family::V6 => "TCPv6",
        }
    }

    fn options(&self) -> &SocketOptions {
        &self.options
    }

    fn poll(&self) -> PollEvents {
        let connected = match &self.state.lock().role {
            Role::Listening(listener) => {
                return if listener.waiting.is_empty() { PollEvents::empty() } else { READABLE };
            }
            Role::Connected | Role::Connecting { succeeded: true } => true,
            _ => false,
        };
        let shut = self.condition.shut();
        let mut ready = PollEvents::empty();
        if shut == SHUT_BOTH || !connected {
            ready |= PollEvents::HUP;
        }
        if shut & SHUT_RECEIVE != 0 {
            ready |= READABLE | PollEvents::RDHUP;
        }
        let bytes = self.queue.lock().bytes();
        if bytes > 0 && bytes >= self.options.low_water() {
            ready |= READABLE;
        }
        if self.is_writable() {
            ready |= WRITABLE;
        }
        if self.condition.error().is_some() {
            ready |= PollEvents::ERR;
        }
        ready
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.wait
    }

    fn bind(&self, actor: &Actor<'_>, address: &[u8]) -> Result<(), Errno> {
        self.bind_to(actor, address)
    }

    fn connect(&self, actor: &Actor<'_>, address: &[u8], waits: bool) -> Result<Connected, Errno> {
        self.connect_to(actor, address, waits)
    }

    fn listen(&self, actor: &Actor<'_>, backlog: i32) -> Result<(), Errno> {
        self.listen_with(actor, backlog)
    }

    fn accept(&self) -> Result<Socket, Errno> {
        self.accept_next()
    }

    fn local_address(&self) -> Result<Arc<[u8]>, Errno> {
        let local = self.state.lock().local;
        Ok(address::to_bytes(self.family, local.unwrap_or_else(|| address::unspecified(self.family))))
    }

    fn peer_address(&self) -> Result<Arc<[u8]>, Errno> {
        let over = self.is_over();
        let state = self.state.lock();
        match (&state.role, state.remote) {
            (Role::Connected | Role::Connecting { succeeded: true }, Some(remote)) if !over => {
                Ok(address::to_bytes(self.family, remote))
            }
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn send(
        &self,
        _actor: Option<&Actor<'_>>,
        src: &mut dyn IoSource,
        message: &mut SendMessage<'_>,
    ) -> Result<usize, Errno> {
        self.send_bytes(src, message)
    }

    fn receive(&self, dst: &mut dyn IoSink, flags: MsgFlags, got: &mut Received) -> Result<usize, Errno> {
        self.receive_bytes(dst, flags, got)
    }

    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        self.shut_down(how)
    }

    fn option(&self, _task: &CurrentTask, level: u32, option: u32) -> Result<OptionValue, Errno> {
        match (level, option) {
            (IPPROTO_TCP, TCP_MAXSEG) => {
                let connected = matches!(self.state.lock().role, Role::Connected);
                Ok(OptionValue::number(if connected { LOOPBACK_MSS } else { DEFAULT_MSS }))
            }
            (IPPROTO_TCP, TCP_INFO) => {
                let mut info = TcpInfo::new_zeroed();
                info.tcpi_state = self.protocol_state();
                info.tcpi_snd_mss = LOOPBACK_MSS as u32;
                info.tcpi_rcv_mss = LOOPBACK_MSS as u32;
                Ok(OptionValue::of(&info))
            }
            // Nothing is ever congested here; the name is that of Linux.
            (IPPROTO_TCP, TCP_CONGESTION) => {
                let mut name = smallvec::SmallVec::from_slice(CONGESTION.as_bytes());
                name.resize(TCP_CA_NAME_MAX, 0);
                Ok(OptionValue(name))
            }
            _ => self.inet_options.get(self.family, true, level, option).map(OptionValue::number),
        }
    }

    fn set_option(&self, _task: &CurrentTask, level: u32, option: u32, value: &[u8]) -> Result<(), Errno> {
        if (level, option) == (abi::socket::IPPROTO_IPV6, abi::inet::IPV6_V6ONLY)
            && self.state.lock().port.is_some()
        {
            return Err(Errno::EINVAL);
        }
        self.inet_options.set(self.family, true, level, option, value)
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
        matches!(self.state.lock().role, Role::Listening(_))
    }

    fn ioctl(&self, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        let value = match request {
            FIONREAD | TIOCOUTQ | SIOCATMARK if self.is_listening() => return Err(Errno::EINVAL.into()),
            FIONREAD => self.queue.lock().bytes(),
            // What is sent has arrived.
            TIOCOUTQ | SIOCATMARK => 0,
            _ => return Err(Errno::ENOTTY.into()),
        };
        task.write_obj(UserRef::new(UserAddr(arg)), &i32::try_from(value).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn shown(&self) -> Shown {
        let waiting: Vec<_> = match &self.state.lock().role {
            Role::Listening(listener) => listener.waiting.iter().cloned().collect(),
            _ => Vec::new(),
        };
        let own = self.shown_alone(true);
        let all = waiting.iter().filter_map(|socket| socket.shown_alone(false));
        Shown::Inet(own.into_iter().chain(all).collect())
    }

    fn close(&self) {
        self.close_socket();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
