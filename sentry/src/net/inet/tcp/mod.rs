//! TCP sockets (tcp(7)) whose other end is in the same sandbox.
//!
//! Kinds of state, as with AF_UNIX:
//!
//! - [`State`] (level `FileState`): role, addresses, peer, connections that wait to be accepted. Two of them are locked in
//!   the order of their addresses.
//! - [`ReceiveQueue`] (level `FileStateInner`): what has come and was not read. A sender checks and adds under this lock.
//! - Atomics: what has been shut down, the pending error.
//!
//! What Linux does with a reset is kept: a socket that is closed with unread data, or written to after it was closed, resets
//! the connection, and the other side learns it as ECONNRESET, or as EPIPE if it had seen the end before.

mod close;
mod connect;
mod listen;
pub use self::listen::FIRST_FREE_PORT;
pub(super) use self::listen::checked as checked_bind_address;
mod ops;
pub use self::ops::CONGESTION;
pub mod queue;
mod receive;
mod send;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use abi::poll::PollEvents;
use sync::{Mutex, SleepMutex};

use self::queue::ReceiveQueue;
use super::Family;
use super::options::InetOptions;
use super::ports::Port;
use crate::net::condition::Condition;
use crate::net::namespace::NetNamespace;
use crate::net::options::SocketOptions;
use crate::wait::WaitQueue;

/// SO_SNDBUF and SO_RCVBUF of a new socket (net.ipv4.tcp_wmem, tcp_rmem).
const SEND_BUFFER: u32 = 16_384;
const RECEIVE_BUFFER: u32 = 131_072;
/// What a connection holds at least before a sender waits: Linux lets the buffers of a connection grow with its speed.
const LEAST_ROOM: usize = 512 << 10;

const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);
const EVERYTHING: PollEvents =
    READABLE.union(WRITABLE).union(PollEvents::HUP).union(PollEvents::RDHUP).union(PollEvents::ERR);

/// A TCP socket.
pub struct TcpSocket {
    family: Family,
    net: Arc<NetNamespace>,
    own: Weak<TcpSocket>,
    options: SocketOptions,
    inet_options: InetOptions,
    state: Mutex<State, sync::levels::FileState>,
    queue: Mutex<ReceiveQueue, sync::levels::FileStateInner>,
    /// One reader at a time: bytes are looked at, copied without a lock, and taken out.
    receiving: SleepMutex<()>,
    condition: Condition,
    wait: WaitQueue,
}

struct State {
    role: Role,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    /// The other end. It stays after that has been closed.
    peer: Option<Arc<TcpSocket>>,
    port: Option<Port<TcpSocket>>,
    /// Whether the guest chose the port, the address.
    port_given: bool,
    address_given: bool,
}

impl State {
    /// Gives back what the guest did not ask for. The port is to be dropped without a lock.
    fn release_port(&mut self) -> Option<Port<TcpSocket>> {
        if self.port_given {
            return None;
        }
        let kept = self.local.filter(|_| self.address_given);
        self.local = kept.map(|local| SocketAddr::new(local.ip(), 0));
        self.port.take()
    }
}

/// What a socket does.
enum Role {
    /// Nothing yet.
    Idle,
    /// A connect that did not wait has succeeded, or failed: the next call tells.
    Connecting {
        succeeded: bool,
    },
    Connected,
    Listening(Listener),
    /// Had a connection that is over.
    Over,
    /// The open file is gone.
    Closed,
}

/// A socket that takes connections.
struct Listener {
    backlog: usize,
    /// Made and not accepted yet.
    waiting: VecDeque<Arc<TcpSocket>>,
    /// Who found no room.
    blocked: Vec<Weak<TcpSocket>>,
}

impl TcpSocket {
    /// A socket that is not connected.
    pub fn new(net: &Arc<NetNamespace>, family: Family) -> Arc<TcpSocket> {
        let state = State {
            role: Role::Idle,
            local: None,
            remote: None,
            peer: None,
            port: None,
            port_given: false,
            address_given: false,
        };
        Arc::new_cyclic(|own| TcpSocket {
            family,
            net: Arc::clone(net),
            own: Weak::clone(own),
            options: SocketOptions::with_buffers(SEND_BUFFER, RECEIVE_BUFFER),
            inet_options: InetOptions::default(),
            state: Mutex::new(state),
            queue: Mutex::default(),
            receiving: SleepMutex::default(),
            condition: Condition::default(),
            wait: WaitQueue::new(),
        })
    }

    /// A reference to keep.
    fn arc(&self) -> Option<Arc<TcpSocket>> {
        self.own.upgrade()
    }

    fn peer(&self) -> Option<Arc<TcpSocket>> {
        self.state.lock().peer.clone()
    }

    /// How many bytes the peer may hold of what this socket has sent.
    fn room(&self, peer: &TcpSocket) -> usize {
        (self.options.send_buffer() + peer.options.receive_buffer()).max(LEAST_ROOM)
    }
}
