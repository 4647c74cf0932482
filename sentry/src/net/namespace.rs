//! Network namespaces (network_namespaces(7)): what sockets of one see of each other without a path.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::Mutex;

use super::inet::ports::Ports;
use super::inet::tcp::TcpSocket;
use super::inet::udp::UdpSocket;
use super::socket::SocketKind;
use super::unix::UnixSocket;
use crate::task::UserNamespace;

/// A network namespace.
pub struct NetNamespace {
    /// Unique; what /proc/PID/ns/net shows.
    pub id: u64,
    /// The user namespace that owns it.
    pub user_ns: Arc<UserNamespace>,
    /// Abstract names of AF_UNIX sockets, a set for each type.
    names: Mutex<Names, sync::levels::Leaf>,
    /// Ports of the Internet families.
    pub(super) inet: InetPorts,
    /// Where the search for a name of the kernel's choice starts.
    next_name: AtomicU32,
    loopback: AtomicBool,
}

/// Whether the loopback interface is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// Packets go over it.
    Up,
    /// As in a namespace that nobody has set up yet.
    Down,
}

/// Ports, by protocol.
pub(super) struct InetPorts {
    pub tcp: Arc<Ports<TcpSocket>>,
    pub udp: Arc<Ports<UdpSocket>>,
}

/// Sockets by type and whole address.
type Names = HashMap<(SocketKind, Arc<[u8]>), Weak<UnixSocket>>;

/// How many names there are for autobind: five hexadecimal digits.
const AUTO_NAMES: u32 = 1 << 20;

impl NetNamespace {
    /// An empty one.
    pub fn new(id: u64, user_ns: Arc<UserNamespace>, loopback: Loopback) -> Arc<NetNamespace> {
        let inet = InetPorts { tcp: Ports::new(true), udp: Ports::new(false) };
        Arc::new(NetNamespace {
            id,
            user_ns,
            names: Mutex::default(),
            inet,
            next_name: AtomicU32::new(0),
            loopback: AtomicBool::new(loopback == Loopback::Up),
        })
    }

    /// Whether its loopback interface is up.
    pub fn loopback(&self) -> Loopback {
        if self.loopback.load(Ordering::Relaxed) { Loopback::Up } else { Loopback::Down }
    }

    /// Takes the loopback interface up or down.
    pub fn set_loopback(&self, loopback: Loopback) {
        self.loopback.store(loopback == Loopback::Up, Ordering::Relaxed);
    }

    /// The socket with an abstract name (a whole `sockaddr_un`).
    pub fn find(&self, kind: SocketKind, address: &[u8]) -> Option<Arc<UnixSocket>> {
        self.names.lock().get(&(kind, Arc::from(address)))?.upgrade()
    }

    /// Gives a socket an abstract name; EADDRINUSE when another has it.
    pub fn bind(&self, kind: SocketKind, address: &Arc<[u8]>, socket: &Arc<UnixSocket>) -> Result<(), Errno> {
        let mut names = self.names.lock();
        let key = (kind, Arc::clone(address));
        if names.get(&key).is_some_and(|other| other.strong_count() > 0) {
            return Err(Errno::EADDRINUSE);
        }
        names.insert(key, Arc::downgrade(socket));
        Ok(())
    }

    /// Gives a socket a name that nobody has; ENOSPC when there is none.
    pub fn bind_auto(&self, kind: SocketKind, socket: &Arc<UnixSocket>) -> Result<Arc<[u8]>, Errno> {
        for _ in 0..AUTO_NAMES {
            let number = self.next_name.fetch_add(1, Ordering::Relaxed) % AUTO_NAMES;
            let mut address = vec![abi::socket::AF_UNIX as u8, 0, 0];
            address.extend_from_slice(format!("{number:05x}").as_bytes());
            let address: Arc<[u8]> = address.into();
            if self.bind(kind, &address, socket).is_ok() {
                return Ok(address);
            }
        }
        Err(Errno::ENOSPC)
    }

    /// Takes a name back.
    pub fn unbind(&self, kind: SocketKind, address: &Arc<[u8]>, socket: &UnixSocket) {
        let key = (kind, Arc::clone(address));
        let mut names = self.names.lock();
        if names.get(&key).is_some_and(|s| std::ptr::eq(s.as_ptr(), socket)) {
            names.remove(&key);
        }
    }
}
