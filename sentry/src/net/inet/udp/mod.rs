//! UDP sockets (udp(7)) between which nothing leaves the sandbox.
//!
//! - [`State`] (level `FileState`): addresses and the port.
//! - [`Datagrams`] (level `FileStateInner`): what has come. A datagram that finds no room is lost, as on a network.
//! - Atomics: what has been shut down, the pending error.

mod ops;
mod receive;
mod send;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::inet::{IP_FREEBIND, IPV6_V6ONLY};
use abi::poll::PollEvents;
use abi::socket::{AF_UNSPEC, IPPROTO_IP, IPPROTO_IPV6, SO_REUSEADDR, SO_REUSEPORT};
use sync::Mutex;

use super::options::InetOptions;
use super::ports::{Claim, Port};
use super::{Family, address, route};
use crate::net::actor::Actor;
use crate::net::condition::Condition;
use crate::net::inet::tcp::checked_bind_address;
use crate::net::namespace::NetNamespace;
use crate::net::options::{DEFAULT_BUFFER, SocketOptions};
use crate::wait::WaitQueue;

const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM).union(PollEvents::WRBAND);
const EVERYTHING: PollEvents =
    READABLE.union(WRITABLE).union(PollEvents::HUP).union(PollEvents::RDHUP).union(PollEvents::ERR);

/// A UDP socket.
pub struct UdpSocket {
    family: Family,
    net: Arc<NetNamespace>,
    own: Weak<UdpSocket>,
    options: SocketOptions,
    inet_options: InetOptions,
    state: Mutex<State, sync::levels::FileState>,
    queue: Mutex<Datagrams, sync::levels::FileStateInner>,
    condition: Condition,
    wait: WaitQueue,
}

#[derive(Default)]
struct State {
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    port: Option<Port<UdpSocket>>,
    /// Whether the guest chose the port, the address.
    port_given: bool,
    address_given: bool,
}

/// A datagram.
struct Datagram {
    data: Arc<[u8]>,
    from: SocketAddr,
    sent_ns: Option<i64>,
}

#[derive(Default)]
struct Datagrams {
    list: VecDeque<Datagram>,
    cost: usize,
}

impl UdpSocket {
    /// A socket without an address.
    pub fn new(net: &Arc<NetNamespace>, family: Family) -> Arc<UdpSocket> {
        Arc::new_cyclic(|own| UdpSocket {
            family,
            net: Arc::clone(net),
            own: Weak::clone(own),
            options: SocketOptions::with_buffers(DEFAULT_BUFFER, DEFAULT_BUFFER),
            inet_options: InetOptions::default(),
            state: Mutex::default(),
            queue: Mutex::default(),
            condition: Condition::default(),
            wait: WaitQueue::new(),
        })
    }

    fn set_error(&self, errno: Errno) {
        self.condition.set_error(errno);
        self.wait.notify(PollEvents::ERR);
    }

    fn v6_only(&self) -> bool {
        self.inet_options.is_on(IPPROTO_IPV6, IPV6_V6ONLY)
    }

    fn take_port(&self, state: &mut State, actor: &Actor<'_>, at: SocketAddr) -> Result<(), Errno> {
        let claim = Claim {
            address: at,
            v6_only: self.v6_only(),
            reuse_address: self.options.is_on(SO_REUSEADDR),
            reuse_port: self.options.is_on(SO_REUSEPORT),
            uid: actor.creds.euid,
        };
        let port = self.net.inet.udp.bind(claim, self.own.clone())?;
        state.local = Some(SocketAddr::new(at.ip(), port.number()));
        state.port = Some(port);
        Ok(())
    }

    fn bind_to(&self, actor: &Actor<'_>, given: &[u8]) -> Result<(), Errno> {
        let free_bind = self.inet_options.is_on(IPPROTO_IP, IP_FREEBIND);
        let at = checked_bind_address(actor, &self.net, self.family, given, self.v6_only(), free_bind)?;
        let mut state = self.state.lock();
        if state.port.is_some() {
            return Err(Errno::EINVAL);
        }
        self.take_port(&mut state, actor, at)?;
        state.port_given = at.port() != 0;
        state.address_given = !at.ip().is_unspecified();
        Ok(())
    }

    fn connect_to(&self, actor: &Actor<'_>, given: &[u8]) -> Result<(), Errno> {
        if address::family_of(given)? == AF_UNSPEC {
            self.disconnect();
            return Ok(());
        }
        let to = address::parse_destination(self.family, given)?;
        let to = self.destination(to)?;
        let mut state = self.state.lock();
        let bound = state.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        if bound.is_some_and(|ip| ip.is_ipv4() != to.ip().is_ipv4()) {
            return Err(Errno::EINVAL);
        }
        if state.port.is_none() {
            self.take_port(&mut state, actor, SocketAddr::new(route::source(to.ip()), 0))?;
        }
        let port = state.port.as_ref().map_or(0, |port| port.number());
        state.local = Some(SocketAddr::new(bound.unwrap_or_else(|| route::source(to.ip())), port));
        state.remote = Some(to);
        Ok(())
    }

    /// A destination, checked: EADDRNOTAVAIL, ENETUNREACH.
    fn destination(&self, to: SocketAddr) -> Result<SocketAddr, Errno> {
        if to.ip().is_ipv4() && self.family == Family::V6 && self.v6_only() {
            return Err(Errno::ENETUNREACH);
        }
        Ok(SocketAddr::new(route::destination(&self.net, to.ip())?, to.port()))
    }

    fn disconnect(&self) {
        let port = {
            let mut state = self.state.lock();
            state.remote = None;
            let port = if state.port_given { None } else { state.port.take() };
            let number = state.port.as_ref().map_or(0, |port| port.number());
            let kept = state.local.map(|local| local.ip()).filter(|_| state.address_given);
            let ip = kept.unwrap_or_else(|| address::unspecified(self.family).ip());
            state.local = Some(SocketAddr::new(ip, number));
            port
        };
        drop(port);
    }

    /// The open file is gone.
    fn close_socket(&self) {
        let port = self.state.lock().port.take();
        drop(port);
        let left = std::mem::take(&mut self.queue.lock().list);
        drop(left);
        self.wait.notify(EVERYTHING);
    }
}
