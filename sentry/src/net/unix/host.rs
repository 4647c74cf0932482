//! Sockets of the host behind those of the sandbox.
//!
//! The kernel's own queues and peers have no part in it: what is sent, received, shut down and told goes to the host.
//! Descriptors can't be sent, and credentials are those that the host sees.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::Errno;
use abi::poll::PollEvents;
use abi::socket::MsgFlags;
use sync::Mutex;

use super::{EVERYTHING, Role, UnixSocket, WRITABLE, address};
use crate::fs::host::HostSocket;
use crate::net::actor::Actor;
use crate::net::condition::{SHUT_RECEIVE, SHUT_SEND, directions};
use crate::net::message::{Received, SendMessage};
use crate::net::socket::{Connected, Socket, SocketKind};
use crate::time::TimerHandle;
use crate::vfs::Inode;
use crate::vfs::io::{IoSink, IoSource};
use crate::wait::Wake;

/// How long it takes until something is tried again that the host does not tell the end of.
const PAUSE: Duration = Duration::from_millis(20);

/// Where a socket keeps the host's that is behind it.
#[derive(Default)]
pub(super) struct Slot {
    /// Whether there is one, to pass the lock by.
    taken: AtomicBool,
    end: Mutex<Option<End>, sync::levels::Leaf>,
    retry: Mutex<Option<TimerHandle>, sync::levels::Leaf>,
}

#[derive(Clone)]
struct End {
    socket: Arc<HostSocket>,
    /// Whom it is connected to, if to somebody.
    peer: Option<Arc<[u8]>>,
}

impl Slot {
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    pub fn get(&self) -> Option<Arc<HostSocket>> {
        if !self.is_taken() {
            return None;
        }
        self.end.lock().as_ref().map(|end| Arc::clone(&end.socket))
    }

    /// The address of the other side, if there is one.
    pub fn peer(&self) -> Option<Arc<[u8]>> {
        self.end.lock().as_ref().and_then(|end| end.peer.clone())
    }

    fn set(&self, socket: HostSocket, peer: Option<Arc<[u8]>>) {
        let old = self.end.lock().replace(End { socket: Arc::new(socket), peer });
        self.taken.store(true, Ordering::Release);
        drop(old);
    }

    pub fn clear(&self) {
        if self.is_taken() {
            self.taken.store(false, Ordering::Release);
            let old = self.end.lock().take();
            drop(old);
        }
        let retry = self.retry.lock().take();
        drop(retry);
    }
}

/// It is time to try again.
struct Again(Weak<UnixSocket>);

impl Wake for Again {
    fn wake(&self, _events: PollEvents) -> bool {
        if let Some(socket) = self.0.upgrade() {
            socket.wait.notify(WRITABLE);
        }
        true
    }
}

impl UnixSocket {
    /// connect(2) to a socket of the host, which `inode` names.
    pub(super) fn connect_host(
        &self,
        actor: &Actor<'_>,
        inode: &Arc<Inode>,
        to: &[u8],
    ) -> Result<Connected, Errno> {
        // One at a time, or two connections would be made of which one is lost.
        let _one = self.binding.lock();
        let may = match (&self.state.lock().role, self.kind) {
            (Role::Closed, _) => Err(Errno::EINVAL),
            (_, SocketKind::Datagram) | (Role::Idle, _) => Ok(()),
            (Role::Connected, _) => Err(Errno::EISCONN),
            (Role::Listening(_), _) => Err(Errno::EINVAL),
        };
        may?;
        if self.host.get().is_some_and(|host| host.is_listening()) {
            return Err(Errno::EINVAL);
        }
        let socket = match inode.ops().connect_socket(inode, self.kind) {
            Err(Errno::EAGAIN) => {
                self.try_later(actor)?;
                return Ok(Connected::Busy);
            }
            made => made?,
        };
        socket.watch(&self.wait)?;
        let path = match address::parse(to)? {
            address::Name::Path(path) => address::of_path(path),
            address::Name::Abstract(_) => return Err(Errno::ECONNREFUSED),
        };
        let old = {
            let mut state = self.state.lock();
            if matches!(state.role, Role::Closed) {
                return Err(Errno::EINVAL);
            }
            state.role = Role::Connected;
            self.host.set(socket, Some(path));
            state.peer.take()
        };
        self.wait.notify(EVERYTHING);
        if let Some(old) = old {
            self.left(&old);
        }
        Ok(Connected::Yes)
    }

    /// The socket has been bound to a name of the host's.
    pub(super) fn bound_on_host(&self, socket: HostSocket) -> Result<(), Errno> {
        socket.watch(&self.wait)?;
        // One that is connected to the host has what it needs: nobody is told where it is.
        if !self.host.is_taken() {
            self.host.set(socket, None);
        }
        Ok(())
    }

    /// Sends through a host's socket to where that is connected to.
    pub(super) fn send_to_host(
        &self,
        host: &HostSocket,
        src: &mut dyn IoSource,
        message: &SendMessage<'_>,
    ) -> Result<usize, Errno> {
        if message.out_of_band || message.rights.is_some() {
            return Err(Errno::EOPNOTSUPP);
        }
        match (self.kind, message.address) {
            (SocketKind::Stream, Some(_)) => Err(Errno::EISCONN),
            (SocketKind::Stream, None) => host.send_stream(src),
            _ => host.send_packet(src),
        }
    }

    /// sendto(2) to a name of the host's.
    pub(super) fn send_to_inode(
        &self,
        actor: &Actor<'_>,
        inode: &Arc<Inode>,
        src: &mut dyn IoSource,
        message: &SendMessage<'_>,
    ) -> Result<usize, Errno> {
        if message.rights.is_some() {
            return Err(Errno::EOPNOTSUPP);
        }
        let sent = inode.ops().connect_socket(inode, self.kind).and_then(|host| host.send_packet(src));
        if sent == Err(Errno::EAGAIN) {
            // Nobody watches a socket that was made for this alone.
            self.try_later(actor)?;
        }
        sent
    }

    /// Receives from the host.
    pub(super) fn receive_from_host(
        &self,
        host: &HostSocket,
        dst: &mut dyn IoSink,
        flags: MsgFlags,
        got: &mut Received,
    ) -> Result<usize, Errno> {
        if flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let _one = self.receiving.lock();
        let peek = flags.contains(MsgFlags::PEEK);
        if got.address.is_none() && self.kind == SocketKind::Stream {
            got.address = self.host.peer();
        }
        if self.kind == SocketKind::Stream {
            let n = if peek { host.peek_stream(dst)? } else { host.receive_stream(dst)? };
            got.full_len += n;
            return Ok(n);
        }
        let (n, len) = host.receive_packet(dst, peek)?;
        (got.full_len, got.truncated, got.complete) = (len, len > n, true);
        Ok(n)
    }

    /// shutdown(2)
    pub(super) fn shut_down_host(&self, host: &HostSocket, how: u32) -> Result<(), Errno> {
        let which = directions(how)?;
        host.shutdown(which & SHUT_RECEIVE != 0, which & SHUT_SEND != 0)?;
        self.wait.notify(EVERYTHING);
        Ok(())
    }

    /// accept(2)
    pub(super) fn accept_from_host(&self, host: &HostSocket) -> Result<Socket, Errno> {
        let socket = host.accept()?;
        let connection = UnixSocket::new(&self.net, self.kind);
        socket.watch(&connection.wait)?;
        connection.host.set(socket, Some(address::unnamed()));
        let (address, place) = {
            let state = self.state.lock();
            (state.address.clone(), state.place.clone())
        };
        {
            let mut state = connection.state.lock();
            (state.role, state.address, state.place) = (Role::Connected, address, place);
        }
        connection.options.inherit_from(&self.options);
        Ok(Socket::new(connection))
    }

    /// Has who waits for room try again soon.
    fn try_later(&self, actor: &Actor<'_>) -> Result<(), Errno> {
        let Some(task) = actor.task else { return Ok(()) };
        let again = Arc::new(Again(Weak::clone(&self.own))) as Arc<dyn Wake>;
        let timer = task.kernel().timers.set(Instant::now() + PAUSE, again)?;
        let old = self.host.retry.lock().replace(timer);
        drop(old);
        Ok(())
    }
}
