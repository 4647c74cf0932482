//! AF_UNIX sockets (unix(7)): streams, datagrams and sequenced packets between processes of the sandbox.
//!
//! Each socket has one receive queue, and its peer puts messages there. Three kinds of state:
//!
//! - [`State`] (level `FileState`): role, peer, name, the connections that wait to be accepted. Two of them are locked
//!   in the order of their addresses.
//! - [`ReceiveQueue`] (level `FileStateInner`): messages, and whether more may come. A sender checks and adds under this
//!   lock, so that nothing is put into a queue that has been closed.
//! - Atomics: shutdown, the pending error, how much the socket has in flight.
//!
//! A socket that is connected to a program of the host, or bound where such programs can reach it, has a socket of the host
//! behind it (`host`), which then does the sending and receiving.
//!
//! Messages, descriptors and peers are dropped after locks are let go; waiters are told then, too.

pub mod address;
mod bind;
mod connect;
mod host;
pub mod inflight;
mod kernel_end;
mod ops;
mod options;
mod queue;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::poll::PollEvents;
use sync::{Mutex, SleepMutex};

pub use self::kernel_end::KernelEnd;
use self::queue::ReceiveQueue;
use super::actor::Actor;
use super::namespace::NetNamespace;
use super::options::SocketOptions;
use super::socket::SocketKind;
use crate::net::condition::{Condition, SHUT_BOTH};
use crate::task::{Credentials, Pid};
use crate::vfs::Path;
use crate::wait::WaitQueue;

/// How many messages a socket takes from senders that it is not connected to (net.unix.max_dgram_qlen).
pub const MAX_QUEUE: usize = 10;

const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM).union(PollEvents::RDBAND);
const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM).union(PollEvents::WRBAND);
const EVERYTHING: PollEvents =
    READABLE.union(WRITABLE).union(PollEvents::HUP).union(PollEvents::RDHUP).union(PollEvents::ERR);

/// An AF_UNIX socket.
pub struct UnixSocket {
    kind: SocketKind,
    net: Arc<NetNamespace>,
    own: Weak<UnixSocket>,
    options: SocketOptions,
    state: Mutex<State, sync::levels::FileState>,
    queue: Mutex<ReceiveQueue, sync::levels::FileStateInner>,
    /// One receiver at a time: a message is looked at, copied without a lock, and taken out.
    receiving: SleepMutex<()>,
    /// One bind at a time: a path is made in between.
    binding: SleepMutex<()>,
    condition: Condition,
    /// What the messages cost that this socket has sent and that nobody has received yet.
    in_flight: AtomicUsize,
    wait: Arc<WaitQueue>,
    /// The socket of the host behind it.
    host: host::Slot,
}

/// What a socket is to others.
struct State {
    role: Role,
    /// The other end. It stays after that has been closed.
    peer: Option<Arc<UnixSocket>>,
    address: Option<Arc<[u8]>>,
    /// Where it is bound, if that is a path: keeps the inode, by which it is found.
    place: Option<Path>,
    /// Who the other end was when the connection was made.
    peer_creds: Option<PeerCreds>,
}

/// What a socket does.
enum Role {
    /// Nothing yet, or not connected.
    Idle,
    /// Has a peer (or had).
    Connected,
    Listening(Listener),
    Closed,
}

/// A socket that takes connections.
struct Listener {
    backlog: usize,
    /// Made and not accepted yet.
    waiting: VecDeque<Arc<UnixSocket>>,
    /// Who called listen.
    creds: PeerCreds,
}

/// The identity of a process at the time of a connect, listen or socketpair (SO_PEERCRED).
#[derive(Clone)]
struct PeerCreds {
    pid: Arc<Pid>,
    creds: Arc<Credentials>,
}

impl PeerCreds {
    fn of(actor: &Actor<'_>) -> PeerCreds {
        PeerCreds { pid: Arc::clone(actor.pid), creds: Arc::clone(actor.creds) }
    }
}

impl UnixSocket {
    /// A socket that is not connected.
    pub fn new(net: &Arc<NetNamespace>, kind: SocketKind) -> Arc<UnixSocket> {
        let state = State { role: Role::Idle, peer: None, address: None, place: None, peer_creds: None };
        Arc::new_cyclic(|own| UnixSocket {
            kind,
            net: Arc::clone(net),
            own: Weak::clone(own),
            options: SocketOptions::default(),
            state: Mutex::new(state),
            queue: Mutex::default(),
            receiving: SleepMutex::default(),
            binding: SleepMutex::default(),
            condition: Condition::default(),
            in_flight: AtomicUsize::new(0),
            wait: Arc::new(WaitQueue::new()),
            host: host::Slot::default(),
        })
    }

    /// Two sockets that are each other's peer.
    pub fn new_pair(
        net: &Arc<NetNamespace>,
        kind: SocketKind,
        actor: &Actor<'_>,
    ) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
        let (a, b) = (Self::new(net, kind), Self::new(net, kind));
        for (socket, peer) in [(&a, &b), (&b, &a)] {
            let mut state = socket.state.lock();
            state.role = Role::Connected;
            state.peer = Some(Arc::clone(peer));
            state.peer_creds = Some(PeerCreds::of(actor));
        }
        (a, b)
    }

    /// Told of everything that happens to the socket.
    pub fn wait_queue(&self) -> &WaitQueue {
        &self.wait
    }

    /// A reference to keep.
    fn arc(&self) -> Option<Arc<UnixSocket>> {
        self.own.upgrade()
    }

    fn peer(&self) -> Option<Arc<UnixSocket>> {
        self.state.lock().peer.clone()
    }

    fn address(&self) -> Option<Arc<[u8]>> {
        self.state.lock().address.clone()
    }

    /// Whether it may be written to, as poll tells it: not more than a quarter of the buffer is in flight.
    fn has_room(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) * 4 <= self.options.send_buffer()
    }

    /// A message that this socket has sent is gone.
    fn delivered(&self, cost: usize) {
        self.in_flight.fetch_sub(cost, Ordering::Relaxed);
        if self.has_room() {
            self.wait.notify(WRITABLE);
        }
    }

    /// Says that nothing more is received, sent, or both.
    fn add_shutdown(&self, which: u8) {
        // Under the queue's lock: a sender that has checked has also added.
        let _queue = self.queue.lock();
        self.condition.add_shutdown(which);
    }

    /// The open file is gone, or (`accepted` false) nobody has accepted the connection.
    fn close_socket(&self, accepted: bool) {
        let (role, peer, address, place) = {
            let mut state = self.state.lock();
            let role = std::mem::replace(&mut state.role, Role::Closed);
            (role, state.peer.take(), state.address.clone(), state.place.take())
        };
        if let Some(address) = &address
            && place.is_none()
            && !matches!(role, Role::Closed)
        {
            self.net.unbind(self.kind, address, self);
        }
        let (messages, blocked, unread) = {
            let mut queue = self.queue.lock();
            self.condition.add_shutdown(SHUT_BOTH);
            queue.close()
        };
        if let Some(peer) = &peer
            && self.kind != SocketKind::Datagram
        {
            peer.add_shutdown(SHUT_BOTH);
            if unread || !accepted {
                peer.condition.set_error(Errno::ECONNRESET);
            }
            peer.wait.notify(EVERYTHING);
        }
        queue::tell_blocked(blocked);
        self.host.clear();
        if let Role::Listening(listener) = role {
            for connection in listener.waiting {
                connection.close_socket(false);
            }
        }
        drop(messages);
        drop(peer);
        drop(place);
        self.wait.notify(EVERYTHING);
        inflight::collect_if_any();
    }
}
