//! Unix sockets of the host: what a socket of the sandbox is that is connected to a program outside, or bound where such a
//! program can reach it.
//!
//! Bytes go both ways, descriptors neither: what the other side sends along the host closes. Nothing here waits.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::Errno;
use abi::poll::PollEvents;

use super::reactor::Reactor;
use crate::Result;
use crate::vfs::io::host_errno;
use crate::vfs::{IoSink, IoSource};
use crate::wait::WaitQueue;

/// The longest packet: twice what a socket of the host holds unless somebody changes that.
const MAX_PACKET: usize = 416 << 10;

/// The most of a stream that is looked at without being taken.
const MAX_PEEK: usize = 64 << 10;

/// A Unix socket of the host.
pub struct HostSocket {
    fd: OwnedFd,
    reactor: Arc<Reactor>,
    listening: AtomicBool,
}

impl HostSocket {
    /// Takes over `fd`, which is non-blocking; `reactor` watches it.
    pub fn new(fd: OwnedFd, reactor: &Arc<Reactor>) -> HostSocket {
        HostSocket { fd, reactor: Arc::clone(reactor), listening: AtomicBool::new(false) }
    }

    /// Tells `queue` of what happens from now on.
    pub fn watch(&self, queue: &Arc<WaitQueue>) -> Result<()> {
        if self.reactor.watch(&self.fd, queue) { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// What is ready.
    pub fn poll(&self) -> PollEvents {
        let all = PollEvents::IN | PollEvents::PRI | PollEvents::OUT | PollEvents::RDHUP;
        let events = all | PollEvents::RDNORM | PollEvents::WRNORM | PollEvents::RDBAND | PollEvents::WRBAND;
        match host::file::poll_now(&self.fd, events.bits() as u16) {
            Ok(ready) => PollEvents::from_bits_truncate(u32::from(ready)),
            Err(_) => PollEvents::ERR,
        }
    }

    /// Sends as much of a stream as there is room for.
    pub fn send_stream(&self, src: &mut dyn IoSource) -> Result<usize> {
        let len = src.remaining();
        if len == 0 {
            // The host is asked all the same: the end of the connection is told.
            return host::socket::send_plain(&self.fd, &[]).map_err(host_errno);
        }
        src.take_to_host(self.fd.as_fd(), None, len)
    }

    /// Sends all of it as one packet.
    pub fn send_packet(&self, src: &mut dyn IoSource) -> Result<usize> {
        let len = src.remaining();
        if len > MAX_PACKET {
            return Err(Errno::EMSGSIZE);
        }
        let mut packet = vec![0; len];
        if len > 0 && src.peek(&mut packet)? < len {
            return Err(Errno::EFAULT);
        }
        let sent = host::socket::send_plain(&self.fd, &packet).map_err(host_errno)?;
        src.advance(sent);
        Ok(sent)
    }

    /// Receives what there is of a stream; 0 is its end.
    pub fn receive_stream(&self, dst: &mut dyn IoSink) -> Result<usize> {
        let len = dst.remaining();
        dst.put_from_host(self.fd.as_fd(), None, len)
    }

    /// Looks at what there is of a stream.
    pub fn peek_stream(&self, dst: &mut dyn IoSink) -> Result<usize> {
        let mut bytes = vec![0; dst.remaining().min(MAX_PEEK)];
        let (got, _) = host::socket::receive_plain(&self.fd, &mut bytes, true).map_err(host_errno)?;
        dst.put(&bytes[..got])
    }

    /// Receives the next packet, or looks at it: the bytes stored, and its length.
    pub fn receive_packet(&self, dst: &mut dyn IoSink, peek: bool) -> Result<(usize, usize)> {
        let mut bytes = vec![0; dst.remaining().min(MAX_PACKET)];
        let (got, len) = host::socket::receive_plain(&self.fd, &mut bytes, peek).map_err(host_errno)?;
        let stored = if got == 0 { 0 } else { dst.put(&bytes[..got])? };
        Ok((stored, len))
    }

    /// Bytes that can be received (FIONREAD).
    pub fn readable_bytes(&self) -> Result<usize> {
        let bytes = host::tty::readable_bytes(&self.fd).map_err(host_errno)?;
        Ok(usize::try_from(bytes).unwrap_or(0))
    }

    /// Shuts down receiving, sending, or both.
    pub fn shutdown(&self, receive: bool, send: bool) -> Result<()> {
        host::socket::shutdown(&self.fd, receive, send).map_err(host_errno)
    }

    /// The pending error, which is then gone.
    pub fn take_error(&self) -> Option<Errno> {
        host::socket::take_error(&self.fd).unwrap_or(None).map(host_errno)
    }

    /// Takes connections from now on.
    pub fn listen(&self, backlog: i32) -> Result<()> {
        host::socket::listen(&self.fd, backlog).map_err(host_errno)?;
        self.listening.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether it takes connections.
    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// The next connection; EAGAIN when there is none. Asked of one that listens only.
    pub fn accept(&self) -> Result<HostSocket> {
        if !self.is_listening() {
            return Err(Errno::EINVAL);
        }
        Ok(HostSocket::new(host::socket::accept(&self.fd).map_err(host_errno)?, &self.reactor))
    }
}
