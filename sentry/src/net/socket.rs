//! A socket as an open file.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::poll::PollEvents;
use abi::socket::{MsgFlags, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};

use super::actor::Actor;
use super::interface;
use super::listing::Shown;
use super::message::{Received, SendMessage};
use super::namespace::NetNamespace;
use super::options::{OptionValue, SocketOptions};
use crate::task::CurrentTask;
use crate::vfs::file::{Blocking, File, FileOps};
use crate::vfs::io::{IoSink, IoSource};
use crate::wait::WaitQueue;
use crate::{SysError, SysResult};

/// How a socket carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// SOCK_STREAM
    Stream,
    /// SOCK_DGRAM
    Datagram,
    /// SOCK_SEQPACKET
    SeqPacket,
}

impl SocketKind {
    /// As SO_TYPE has it.
    pub fn number(self) -> u32 {
        match self {
            SocketKind::Stream => SOCK_STREAM,
            SocketKind::Datagram => SOCK_DGRAM,
            SocketKind::SeqPacket => SOCK_SEQPACKET,
        }
    }
}

/// How a connect went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connected {
    /// It is done.
    Yes,
    /// The other side takes no more at the moment: EAGAIN, or wait until the socket is told `OUT` and try again.
    Busy,
}

/// What a family does. No method waits: EAGAIN says that something would have to be waited for, on
/// [`wait_queue`](Self::wait_queue).
pub trait SocketOps: Send + Sync + Any {
    /// AF_*
    fn family(&self) -> u32;

    /// How it carries data.
    fn kind(&self) -> SocketKind;

    /// SO_PROTOCOL
    fn protocol(&self) -> u32 {
        0
    }

    /// The namespace that it was made in.
    fn net(&self) -> &Arc<NetNamespace>;

    /// What the attribute `system.sockprotoname` says.
    fn protocol_name(&self) -> &'static str;

    /// The options that all families have.
    fn options(&self) -> &SocketOptions;

    /// What is ready.
    fn poll(&self) -> PollEvents;

    /// Told of everything that happens to the socket.
    fn wait_queue(&self) -> &WaitQueue;

    /// bind(2)
    fn bind(&self, actor: &Actor<'_>, address: &[u8]) -> Result<(), Errno>;

    /// connect(2). Whether the call would wait (`waits`) tells those that go on in the background: EINPROGRESS.
    fn connect(&self, actor: &Actor<'_>, address: &[u8], waits: bool) -> Result<Connected, Errno>;

    /// listen(2)
    fn listen(&self, actor: &Actor<'_>, backlog: i32) -> Result<(), Errno>;

    /// accept(2): the next connection, EAGAIN when there is none.
    fn accept(&self) -> Result<Socket, Errno>;

    /// getsockname(2)
    fn local_address(&self) -> Result<Arc<[u8]>, Errno>;

    /// getpeername(2)
    fn peer_address(&self) -> Result<Arc<[u8]>, Errno>;

    /// Sends as much as there is room for.
    fn send(
        &self,
        actor: Option<&Actor<'_>>,
        src: &mut dyn IoSource,
        message: &mut SendMessage<'_>,
    ) -> Result<usize, Errno>;

    /// Receives what there is; zero is the end of a stream. `got` may hold what an earlier part of the same call got.
    fn receive(&self, dst: &mut dyn IoSink, flags: MsgFlags, got: &mut Received) -> Result<usize, Errno>;

    /// shutdown(2)
    fn shutdown(&self, how: u32) -> Result<(), Errno>;

    /// getsockopt(2), for what [`SocketOptions`] does not know; ENOPROTOOPT, or EOPNOTSUPP for other levels.
    fn option(&self, task: &CurrentTask, level: u32, option: u32) -> Result<OptionValue, Errno>;

    /// setsockopt(2) of levels other than SOL_SOCKET.
    fn set_option(&self, _task: &CurrentTask, _level: u32, _option: u32, _value: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// An option of SOL_SOCKET has been set.
    fn options_changed(&self) {}

    /// SO_ERROR: the pending error, which is then gone.
    fn take_error(&self) -> Option<Errno>;

    /// Whether listen(2) was called (SO_ACCEPTCONN).
    fn is_listening(&self) -> bool;

    /// ioctl(2)
    fn ioctl(&self, _task: &mut CurrentTask, _request: u32, _arg: u64) -> SysResult<u64> {
        Err(Errno::ENOTTY.into())
    }

    /// As /proc/net shows it, with the connections that wait behind it.
    fn shown(&self) -> Shown;

    /// The last reference to the open file is gone.
    fn close(&self);

    /// Extra lines of /proc/PID/fdinfo/N.
    fn fdinfo(&self) -> String {
        String::new()
    }

    /// For `downcast`.
    fn as_any(&self) -> &dyn Any;
}

/// A socket as an open file.
pub struct Socket {
    ops: Arc<dyn SocketOps>,
}

impl Socket {
    /// The file of a socket.
    pub fn new(ops: Arc<dyn SocketOps>) -> Socket {
        Socket { ops }
    }

    /// What it does.
    pub fn ops(&self) -> &Arc<dyn SocketOps> {
        &self.ops
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.ops.close();
    }
}

impl FileOps for Socket {
    fn signals_io(&self) -> bool {
        true
    }

    fn blocking(&self) -> Blocking {
        match self.ops.kind() {
            SocketKind::Stream => Blocking::Stream,
            _ => Blocking::Record,
        }
    }

    fn read(&self, file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let flags = if file.nonblocking() { MsgFlags::DONTWAIT } else { MsgFlags::empty() };
        self.ops.receive(dst, flags, &mut Received::default())
    }

    fn write(&self, _file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize, Errno> {
        self.ops.send(None, src, &mut SendMessage::default())
    }

    fn poll(&self, _file: &File) -> PollEvents {
        self.ops.poll()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.ops.wait_queue())
    }

    fn ioctl(&self, _file: &File, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        match self.ops.ioctl(task, request, arg) {
            Err(SysError::Errno(Errno::ENOTTY)) => {
                interface::ioctl(self.ops.net(), self.ops.family(), task, request, arg)
            }
            answer => answer,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "socket:[0]".to_owned()
    }

    fn fdinfo(&self, _file: &File) -> String {
        self.ops.fdinfo()
    }
}
