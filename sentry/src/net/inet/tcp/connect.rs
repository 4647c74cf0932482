//! connect(2).

use std::net::SocketAddr;
use std::sync::Arc;

use abi::Errno;
use abi::inet::IPV6_V6ONLY;
use abi::socket::{AF_UNSPEC, IPPROTO_IPV6};

use super::listen::reaches;
use super::{EVERYTHING, READABLE, Role, State, TcpSocket};
use crate::net::actor::Actor;
use crate::net::condition::SHUT_BOTH;
use crate::net::inet::{address, route};
use crate::net::socket::Connected;
use sync::Mutex;

/// What came of an attempt.
enum Attempt {
    Done,
    Refused,
    Full,
}

impl TcpSocket {
    pub(super) fn connect_to(
        &self,
        actor: &Actor<'_>,
        given: &[u8],
        waits: bool,
    ) -> Result<Connected, Errno> {
        if address::family_of(given)? == AF_UNSPEC {
            return self.disconnect();
        }
        {
            let mut state = self.state.lock();
            match state.role {
                Role::Idle => {}
                Role::Connecting { succeeded: true } => {
                    state.role = Role::Connected;
                    return Ok(Connected::Yes);
                }
                Role::Connecting { succeeded: false } => {
                    state.role = Role::Idle;
                    drop(state);
                    return Err(self.condition.take_error().unwrap_or(Errno::ECONNABORTED));
                }
                Role::Connected | Role::Listening(_) => return Err(Errno::EISCONN),
                // Over, and may be connected anew.
                Role::Over => state.role = Role::Idle,
                Role::Closed => return Err(Errno::EINVAL),
            }
        }
        let to = address::parse(self.family, given)?;
        if !reaches(self.family, self.inet_options.is_on(IPPROTO_IPV6, IPV6_V6ONLY), to.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        let to = SocketAddr::new(route::destination(&self.net, to.ip())?, to.port());
        let from = self.choose_source(actor, to)?;
        match self.attempt(from, to)? {
            Attempt::Done if waits => Ok(Connected::Yes),
            Attempt::Done => {
                let mut state = self.state.lock();
                if matches!(state.role, Role::Connected) {
                    state.role = Role::Connecting { succeeded: true };
                }
                Err(Errno::EINPROGRESS)
            }
            Attempt::Refused if waits => {
                self.forget_choice();
                Err(Errno::ECONNREFUSED)
            }
            Attempt::Refused => {
                self.forget_choice();
                self.state.lock().role = Role::Connecting { succeeded: false };
                self.condition.set_error(Errno::ECONNREFUSED);
                self.condition.add_shutdown(SHUT_BOTH);
                self.wait.notify(EVERYTHING);
                Err(Errno::EINPROGRESS)
            }
            Attempt::Full => Ok(Connected::Busy),
        }
    }

    /// The own address of a connection: what the socket is bound to, or what goes with the destination.
    fn choose_source(&self, actor: &Actor<'_>, to: SocketAddr) -> Result<SocketAddr, Errno> {
        let mut state = self.state.lock();
        let bound = state.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        let ip = bound.unwrap_or_else(|| route::source(to.ip()));
        if ip.is_ipv4() != to.ip().is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        if state.port.is_none() {
            self.take_port(&mut state, actor, SocketAddr::new(ip, 0))?;
            state.port_given = false;
        }
        let port = state.port.as_ref().map_or(0, |port| port.number());
        self.condition.reopen();
        let mut queue = self.queue.lock();
        (queue.finished, queue.closed) = (false, false);
        Ok(SocketAddr::new(ip, port))
    }

    /// After a refusal a port that nobody asked for is given back.
    fn forget_choice(&self) {
        let port = self.state.lock().release_port();
        drop(port);
    }

    fn attempt(&self, from: SocketAddr, to: SocketAddr) -> Result<Attempt, Errno> {
        let own = self.arc().ok_or(Errno::EINVAL)?;
        let listeners = self.net.inet.tcp.find(to, true);
        // Those that share a port by SO_REUSEPORT take turns, by what tells connections apart.
        let specific = listeners.iter().take_while(|l| l.bound_ip() == listeners[0].bound_ip()).count();
        if specific == 0 {
            return Ok(Attempt::Refused);
        }
        let listener = &listeners[usize::from(from.port()) % specific];
        let connection = {
            let (mut theirs, mine) = Mutex::lock_both(&listener.state, &self.state);
            let Some(mut mine) = mine else { return Ok(Attempt::Refused) };
            let State { role, port, .. } = &mut *theirs;
            let Role::Listening(listening) = role else { return Ok(Attempt::Refused) };
            if listening.waiting.len() > listening.backlog {
                listening.blocked.push(self.own.clone());
                return Ok(Attempt::Full);
            }
            if !matches!(mine.role, Role::Idle) {
                return Err(Errno::EALREADY);
            }
            let connection = listener.new_connection(to, from, own);
            if let Some(port) = port {
                let place = port.for_connection(to, connection.own.clone());
                connection.state.lock_nested().port = Some(place);
            }
            mine.role = Role::Connected;
            mine.local = Some(from);
            mine.remote = Some(to);
            mine.peer = Some(Arc::clone(&connection));
            listening.waiting.push_back(Arc::clone(&connection));
            connection
        };
        drop(connection);
        listener.wait.notify(READABLE);
        self.wait.notify(EVERYTHING);
        Ok(Attempt::Done)
    }

    fn bound_ip(&self) -> Option<std::net::IpAddr> {
        self.state.lock().local.map(|local| local.ip())
    }

    /// connect(2) to AF_UNSPEC: ends a connection or the listening, so that the socket is as new.
    fn disconnect(&self) -> Result<Connected, Errno> {
        self.end(true);
        let mut state = self.state.lock();
        state.role = Role::Idle;
        state.remote = None;
        let port = state.release_port();
        drop(state);
        drop(port);
        self.condition.take_error();
        self.condition.reopen();
        self.wait.notify(EVERYTHING);
        Ok(Connected::Yes)
    }
}
