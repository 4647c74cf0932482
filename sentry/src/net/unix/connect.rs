//! connect(2), listen(2), accept(2).

use std::collections::VecDeque;
use std::sync::Arc;

use abi::Errno;
use abi::socket::AF_UNSPEC;

use super::address::Found;
use super::{EVERYTHING, Listener, PeerCreds, READABLE, Role, UnixSocket, WRITABLE, address};
use crate::net::MAX_BACKLOG;
use crate::net::actor::Actor;
use crate::net::condition::SHUT_RECEIVE;
use crate::net::socket::{Connected, Socket, SocketKind};
use sync::Mutex;

impl UnixSocket {
    pub(super) fn connect_to(&self, actor: &Actor<'_>, address: &[u8]) -> Result<Connected, Errno> {
        if self.kind == SocketKind::Datagram {
            return self.connect_datagram(actor, address);
        }
        address::parse(address)?;
        if self.options.passes_creds() {
            self.bind_auto()?;
        }
        let other = match address::find(&self.net, actor, address, self.kind)? {
            Found::Own(other) => other,
            Found::Node(inode) => return self.connect_host(actor, &inode, address),
        };
        let own = self.arc().ok_or(Errno::EINVAL)?;
        let connection = {
            let (mut theirs, mine) = Mutex::lock_both(&other.state, &self.state);
            let listener_address = theirs.address.clone();
            let listener_place = theirs.place.clone();
            let Role::Listening(listener) = &mut theirs.role else { return Err(Errno::ECONNREFUSED) };
            if other.condition.shut() & SHUT_RECEIVE != 0 {
                return Err(Errno::ECONNREFUSED);
            }
            if listener.waiting.len() > listener.backlog {
                other.queue.lock().block(&own);
                return Ok(Connected::Busy);
            }
            // Connecting a listener to itself: it is not idle.
            let Some(mut mine) = mine else { return Err(Errno::EINVAL) };
            match mine.role {
                Role::Idle => {}
                Role::Connected => return Err(Errno::EISCONN),
                _ => return Err(Errno::EINVAL),
            }
            let connection = UnixSocket::new(&self.net, self.kind);
            {
                // Nobody else knows it yet.
                let mut state = connection.state.lock_nested();
                state.role = Role::Connected;
                state.peer = Some(own);
                state.address = listener_address;
                state.place = listener_place;
                state.peer_creds = Some(PeerCreds::of(actor));
            }
            // A name of the host's leads to it no longer.
            self.host.clear();
            mine.role = Role::Connected;
            mine.peer = Some(Arc::clone(&connection));
            mine.peer_creds = Some(listener.creds.clone());
            listener.waiting.push_back(Arc::clone(&connection));
            connection
        };
        drop(connection);
        other.wait.notify(READABLE);
        Ok(Connected::Yes)
    }

    fn connect_datagram(&self, actor: &Actor<'_>, address: &[u8]) -> Result<Connected, Errno> {
        let family = address::family(address).ok_or(Errno::EINVAL)?;
        let other = if family == AF_UNSPEC {
            None
        } else {
            address::parse(address)?;
            if self.options.passes_creds() {
                self.bind_auto()?;
            }
            match address::find(&self.net, actor, address, self.kind)? {
                Found::Own(other) => Some(other),
                Found::Node(inode) => return self.connect_host(actor, &inode, address),
            }
        };
        self.host.clear();
        let old = match &other {
            None => {
                let mut state = self.state.lock();
                state.role = Role::Idle;
                state.peer.take()
            }
            Some(other) => {
                let (mut mine, theirs) = Mutex::lock_both(&self.state, &other.state);
                let closed = theirs.as_ref().is_some_and(|theirs| matches!(theirs.role, Role::Closed));
                if closed {
                    return Err(Errno::ECONNREFUSED);
                }
                let their_peer = theirs.as_ref().map_or(&mine.peer, |theirs| &theirs.peer);
                if their_peer.as_ref().is_some_and(|peer| !std::ptr::eq(Arc::as_ptr(peer), self)) {
                    return Err(Errno::EPERM);
                }
                mine.role = Role::Connected;
                mine.peer.replace(Arc::clone(other))
            }
        };
        self.wait.notify(WRITABLE);
        if let Some(old) = old
            && !other.as_ref().is_some_and(|other| Arc::ptr_eq(other, &old))
        {
            self.left(&old);
        }
        Ok(Connected::Yes)
    }

    /// A datagram socket has left its peer: what that had sent is thrown away, and it is told so.
    pub(super) fn left(&self, old: &Arc<UnixSocket>) {
        let (messages, blocked) = {
            let mut queue = self.queue.lock();
            (queue.purge(), queue.unblock())
        };
        if messages.is_empty() {
            return;
        }
        drop(messages);
        super::queue::tell_blocked(blocked);
        let was_mutual = {
            let state = old.state.lock();
            !matches!(state.role, Role::Closed)
                && state.peer.as_ref().is_some_and(|peer| std::ptr::eq(Arc::as_ptr(peer), self))
        };
        if was_mutual {
            old.condition.set_error(Errno::ECONNRESET);
            old.wait.notify(EVERYTHING);
        }
    }

    pub(super) fn listen_with(&self, actor: &Actor<'_>, backlog: i32) -> Result<(), Errno> {
        if self.kind == SocketKind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        // A negative backlog is a large one.
        let backlog = (backlog as u32).min(MAX_BACKLOG) as usize;
        if let Some(host) = self.host.get() {
            if matches!(self.state.lock().role, Role::Connected) {
                return Err(Errno::EINVAL);
            }
            host.listen(backlog as i32)?;
            self.wait.notify(EVERYTHING);
            return Ok(());
        }
        let grew = {
            let mut state = self.state.lock();
            if state.address.is_none() {
                return Err(Errno::EINVAL);
            }
            match &mut state.role {
                Role::Idle => {
                    let creds = PeerCreds::of(actor);
                    state.role = Role::Listening(Listener { backlog, waiting: VecDeque::new(), creds });
                    false
                }
                Role::Listening(listener) => {
                    let grew = backlog > listener.backlog;
                    listener.backlog = backlog;
                    listener.creds = PeerCreds::of(actor);
                    grew
                }
                _ => return Err(Errno::EINVAL),
            }
        };
        // It has hung up no more.
        self.wait.notify(EVERYTHING);
        if grew {
            let blocked = self.queue.lock().unblock();
            super::queue::tell_blocked(blocked);
        }
        Ok(())
    }

    pub(super) fn accept_next(&self) -> Result<Socket, Errno> {
        if self.kind == SocketKind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Some(host) = self.host.get() {
            return self.accept_from_host(&host);
        }
        let connection = {
            let mut state = self.state.lock();
            let Role::Listening(listener) = &mut state.role else { return Err(Errno::EINVAL) };
            match listener.waiting.pop_front() {
                Some(connection) => connection,
                None if self.condition.shut() & SHUT_RECEIVE != 0 => return Err(Errno::EINVAL),
                None => return Err(Errno::EAGAIN),
            }
        };
        connection.options.inherit_from(&self.options);
        let blocked = self.queue.lock().unblock();
        super::queue::tell_blocked(blocked);
        Ok(Socket::new(connection))
    }
}
