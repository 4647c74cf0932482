//! bind(2), listen(2), accept(2).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_NET_BIND_SERVICE;
use abi::inet::{IP_FREEBIND, IPV6_V6ONLY};
use abi::socket::{AF_UNSPEC, IPPROTO_IP, IPPROTO_IPV6, SO_REUSEADDR, SO_REUSEPORT};

use super::{EVERYTHING, Listener, Role, State, TcpSocket, WRITABLE};
use crate::net::MAX_BACKLOG;
use crate::net::actor::Actor;
use crate::net::inet::ports::Claim;
use crate::net::inet::{Family, address, route};
use crate::net::namespace::NetNamespace;
use crate::net::socket::Socket;

/// Ports below need a privilege (net.ipv4.ip_unprivileged_port_start).
pub const FIRST_FREE_PORT: u16 = 1024;

/// An address to bind to, checked: EINVAL, EAFNOSUPPORT, EADDRNOTAVAIL, EACCES.
pub fn checked(
    actor: &Actor<'_>,
    net: &NetNamespace,
    family: Family,
    given: &[u8],
    v6_only: bool,
    free_bind: bool,
) -> Result<SocketAddr, Errno> {
    let mut bytes = given;
    let mut any;
    // An old habit: no family and no address is any address of AF_INET.
    if family == Family::V4 && given.len() >= 16 && address::family_of(given)? == AF_UNSPEC {
        if given[4..8] != [0; 4] {
            return Err(Errno::EAFNOSUPPORT);
        }
        any = given.to_vec();
        any[..2].copy_from_slice(&(abi::socket::AF_INET as u16).to_ne_bytes());
        bytes = &any;
    }
    let parsed = address::parse(family, bytes)?;
    if v6_only && family == Family::V6 && parsed.ip().is_ipv4() {
        return Err(Errno::EINVAL);
    }
    if !route::is_own(net, parsed.ip()) && !free_bind {
        return Err(Errno::EADDRNOTAVAIL);
    }
    if (1..FIRST_FREE_PORT).contains(&parsed.port())
        && !actor.creds.has_cap_in(CAP_NET_BIND_SERVICE, &net.user_ns)
    {
        return Err(Errno::EACCES);
    }
    Ok(parsed)
}

impl TcpSocket {
    fn claim(&self, actor: &Actor<'_>, address: SocketAddr) -> Claim {
        Claim {
            address,
            v6_only: self.inet_options.is_on(IPPROTO_IPV6, IPV6_V6ONLY),
            reuse_address: self.options.is_on(SO_REUSEADDR),
            reuse_port: self.options.is_on(SO_REUSEPORT),
            uid: actor.creds.euid,
        }
    }

    pub(super) fn bind_to(&self, actor: &Actor<'_>, given: &[u8]) -> Result<(), Errno> {
        let v6_only = self.inet_options.is_on(IPPROTO_IPV6, IPV6_V6ONLY);
        let free_bind = self.inet_options.is_on(IPPROTO_IP, IP_FREEBIND);
        let address = checked(actor, &self.net, self.family, given, v6_only, free_bind)?;
        let mut state = self.state.lock();
        if state.port.is_some() || !matches!(state.role, Role::Idle) {
            return Err(Errno::EINVAL);
        }
        let port_given = address.port() != 0;
        self.take_port(&mut state, actor, address)?;
        state.port_given = port_given;
        state.address_given = !address.ip().is_unspecified();
        Ok(())
    }

    /// Takes a port for a socket that has none.
    pub(super) fn take_port(
        &self,
        state: &mut State,
        actor: &Actor<'_>,
        at: SocketAddr,
    ) -> Result<(), Errno> {
        let port = self.net.inet.tcp.bind(self.claim(actor, at), self.own.clone())?;
        state.local = Some(SocketAddr::new(at.ip(), port.number()));
        state.port = Some(port);
        Ok(())
    }

    pub(super) fn listen_with(&self, actor: &Actor<'_>, backlog: i32) -> Result<(), Errno> {
        // A negative backlog is a large one.
        let backlog = (backlog as u32).min(MAX_BACKLOG) as usize;
        let blocked = {
            let mut state = self.state.lock();
            match &mut state.role {
                Role::Listening(listener) => {
                    listener.backlog = backlog;
                    std::mem::take(&mut listener.blocked)
                }
                Role::Idle => {
                    if state.port.is_none() {
                        let mut at = state.local.unwrap_or_else(|| address::unspecified(self.family));
                        at.set_port(0);
                        self.take_port(&mut state, actor, at)?;
                    }
                    if let Some(port) = &state.port {
                        port.set_listening(true)?;
                    }
                    let (waiting, blocked) = (VecDeque::new(), Vec::new());
                    state.role = Role::Listening(Listener { backlog, waiting, blocked });
                    Vec::new()
                }
                _ => return Err(Errno::EINVAL),
            }
        };
        tell(blocked);
        self.wait.notify(EVERYTHING);
        Ok(())
    }

    pub(super) fn accept_next(&self) -> Result<Socket, Errno> {
        let (connection, blocked) = {
            let mut state = self.state.lock();
            let Role::Listening(listener) = &mut state.role else { return Err(Errno::EINVAL) };
            let connection = listener.waiting.pop_front().ok_or(Errno::EAGAIN)?;
            (connection, std::mem::take(&mut listener.blocked))
        };
        tell(blocked);
        Ok(Socket::new(connection))
    }

    /// The end that a listener gives to a connection. Nobody else knows it yet.
    pub(super) fn new_connection(
        &self,
        to: SocketAddr,
        from: SocketAddr,
        peer: Arc<TcpSocket>,
    ) -> Arc<TcpSocket> {
        let connection = TcpSocket::new(&self.net, self.family);
        connection.options.copy_from(&self.options);
        connection.inet_options.inherit_from(&self.inet_options);
        {
            let mut state = connection.state.lock_nested();
            state.role = Role::Connected;
            state.local = Some(to);
            state.remote = Some(from);
            state.peer = Some(peer);
            state.port_given = true;
        }
        connection
    }
}

/// Those that found no room try again.
pub(super) fn tell(blocked: Vec<std::sync::Weak<TcpSocket>>) {
    for socket in blocked.iter().filter_map(std::sync::Weak::upgrade) {
        socket.wait.notify(WRITABLE);
    }
}

/// Whether something for `ip` may come to a socket of a family.
pub(super) fn reaches(family: Family, v6_only: bool, ip: IpAddr) -> bool {
    match family {
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6() || !v6_only,
    }
}
