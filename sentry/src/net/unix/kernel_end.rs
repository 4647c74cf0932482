//! A datagram socket of the kernel's own, which programs send to.

use std::sync::Arc;

use abi::Errno;
use abi::poll::PollEvents;
use abi::socket::MsgFlags;

use super::{UnixSocket, address};
use crate::net::actor::Actor;
use crate::net::message::Received;
use crate::net::namespace::NetNamespace;
use crate::net::socket::SocketKind;
use crate::vfs::io::BufSink;
use crate::wait::Parker;

/// The socket. When it is dropped, who sends to it is refused.
pub struct KernelEnd {
    socket: Arc<UnixSocket>,
}

impl KernelEnd {
    /// One with this name.
    pub fn bind(net: &Arc<NetNamespace>, actor: &Actor<'_>, path: &[u8]) -> Result<KernelEnd, Errno> {
        let end = KernelEnd { socket: UnixSocket::new(net, SocketKind::Datagram) };
        end.socket.bind_to(actor, &address::of_path(path))?;
        Ok(end)
    }

    /// Waits for a datagram, of which the beginning is stored: how many bytes. Descriptors in it are closed. To be called by
    /// one thread, which is no task's.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let parker = Parker::for_current_thread();
        let waker = Arc::clone(&parker);
        let key = self.socket.wait.register(PollEvents::IN, waker);
        let received = loop {
            let mut got = Received::default();
            match self.socket.receive_message(&mut BufSink::new(buffer), MsgFlags::DONTWAIT, &mut got) {
                Err(Errno::EAGAIN) => parker.park(None),
                received => break received,
            }
        };
        self.socket.wait.unregister(key);
        received
    }
}

impl Drop for KernelEnd {
    fn drop(&mut self) {
        self.socket.close_socket(true);
    }
}
