//! Sending.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::socket::{SO_TIMESTAMP, SO_TIMESTAMPNS};

use super::queue::{MAX_PIECE, Message, datagram_cost, stream_cost};
use super::{EVERYTHING, READABLE, Role, UnixSocket, WRITABLE, address};
use crate::net::actor::Actor;
use crate::net::condition::{self, SHUT_RECEIVE, SHUT_SEND};
use crate::net::message::{SendMessage, SenderCreds};
use crate::net::socket::SocketKind;
use crate::time::Clocks;
use crate::vfs::io::IoSource;

impl UnixSocket {
    pub(super) fn send_message(
        &self,
        actor: Option<&Actor<'_>>,
        src: &mut dyn IoSource,
        message: &mut SendMessage<'_>,
    ) -> Result<usize, Errno> {
        if let Some(host) = self.host.get()
            && (self.kind != SocketKind::Datagram || message.address.is_none())
        {
            return self.send_to_host(&host, src, message);
        }
        if message.out_of_band {
            return Err(Errno::EOPNOTSUPP);
        }
        match self.kind {
            SocketKind::Stream => self.send_stream(actor, src, message),
            SocketKind::Datagram => self.send_datagram(actor, src, message),
            SocketKind::SeqPacket => {
                if let Some(errno) = self.condition.take_error() {
                    return Err(errno);
                }
                if !matches!(self.state.lock().role, Role::Connected) {
                    return Err(Errno::ENOTCONN);
                }
                message.address = None;
                self.send_datagram(actor, src, message)
            }
        }
    }

    /// What Linux checks before it makes a buffer: the pending error, the end, room.
    fn may_add(&self) -> Result<(), Errno> {
        if let Some(errno) = self.condition.take_error() {
            return Err(errno);
        }
        if self.condition.shut() & SHUT_SEND != 0 {
            return Err(Errno::EPIPE);
        }
        if self.in_flight.load(Ordering::Relaxed) >= self.options.send_buffer() {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    /// The identity that goes with a message: what the sender says, or what it is if one side wants to know.
    fn stamp(
        &self,
        to: &UnixSocket,
        actor: Option<&Actor<'_>>,
        said: &Option<SenderCreds>,
    ) -> Option<SenderCreds> {
        if said.is_some() {
            return said.clone();
        }
        if !self.options.passes_creds() && !to.options.passes_creds() {
            return None;
        }
        let actor = actor?;
        Some(SenderCreds { pid: Arc::clone(actor.pid), uid: actor.creds.uid, gid: actor.creds.gid })
    }

    fn send_stream(
        &self,
        actor: Option<&Actor<'_>>,
        src: &mut dyn IoSource,
        message: &mut SendMessage<'_>,
    ) -> Result<usize, Errno> {
        let (peer, connected) = {
            let state = self.state.lock();
            (state.peer.clone(), matches!(state.role, Role::Connected))
        };
        if message.address.is_some() {
            return Err(if connected { Errno::EISCONN } else { Errno::EOPNOTSUPP });
        }
        let peer = peer.ok_or(Errno::ENOTCONN)?;
        if self.condition.shut() & SHUT_SEND != 0 {
            return Err(Errno::EPIPE);
        }
        let own = self.arc().ok_or(Errno::ENOTCONN)?;
        let total = src.remaining();
        let mut sent = 0;
        while sent < total {
            match self.send_piece(&own, &peer, actor, src, message) {
                Ok(n) => sent += n,
                Err(_) if sent > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(sent)
    }

    fn send_piece(
        &self,
        own: &Arc<UnixSocket>,
        peer: &UnixSocket,
        actor: Option<&Actor<'_>>,
        src: &mut dyn IoSource,
        message: &mut SendMessage<'_>,
    ) -> Result<usize, Errno> {
        self.may_add()?;
        // Two pieces fit the buffer, so that sender and receiver can take turns.
        let len = src.remaining().min(self.options.send_buffer() / 2 - 64).min(MAX_PIECE);
        let data = take(src, len)?;
        let creds = self.stamp(peer, actor, &message.creds);
        let mut piece = Message::new(Arc::clone(own), data, stream_cost(len), None, creds);
        piece.rights = message.rights.take();
        let refused = {
            let mut queue = peer.queue.lock();
            if queue.is_closed() || peer.condition.shut() & SHUT_RECEIVE != 0 {
                Some(piece)
            } else {
                queue.push(piece);
                None
            }
        };
        if refused.is_some() {
            return Err(Errno::EPIPE);
        }
        peer.wait.notify(READABLE);
        Ok(len)
    }

    fn send_datagram(
        &self,
        actor: Option<&Actor<'_>>,
        src: &mut dyn IoSource,
        message: &mut SendMessage<'_>,
    ) -> Result<usize, Errno> {
        if let Some(address) = message.address {
            address::parse(address)?;
        }
        if self.options.passes_creds() {
            self.bind_auto()?;
        }
        let len = src.remaining();
        if len > self.options.send_buffer() - 32 {
            return Err(Errno::EMSGSIZE);
        }
        self.may_add()?;
        let data = peek(src, len)?;
        let other = match (message.address, actor) {
            (Some(address), Some(actor)) => match address::find(&self.net, actor, address, self.kind)? {
                address::Found::Own(other) => other,
                address::Found::Node(inode) => return self.send_to_inode(actor, &inode, src, message),
            },
            _ => self.peer().ok_or(Errno::ENOTCONN)?,
        };
        let own = self.arc().ok_or(Errno::ENOTCONN)?;
        let mutual = {
            let state = other.state.lock();
            match &state.peer {
                Some(peer) if !Arc::ptr_eq(peer, &own) => return Err(Errno::EPERM),
                peer => peer.is_some() || Arc::ptr_eq(&other, &own),
            }
        };
        let creds = self.stamp(&other, actor, &message.creds);
        let mut packet = Message::new(Arc::clone(&own), data, datagram_cost(len), None, creds);
        packet.rights = message.rights.take();
        if other.options.is_on(SO_TIMESTAMP) || other.options.is_on(SO_TIMESTAMPNS) {
            packet.sent_ns = Some(Clocks::realtime_now_ns());
        }
        let refused = {
            let mut queue = other.queue.lock();
            if queue.is_closed() {
                Some((Refused::Closed, packet))
            } else if other.condition.shut() & SHUT_RECEIVE != 0 {
                Some((Refused::Shut, packet))
            } else if !mutual && queue.is_full() {
                queue.block(&own);
                Some((Refused::Full, packet))
            } else {
                queue.push(packet);
                None
            }
        };
        let Some((why, mut packet)) = refused else {
            src.advance(len);
            other.wait.notify(READABLE);
            return Ok(len);
        };
        match why {
            Refused::Shut => Err(Errno::EPIPE),
            Refused::Full => {
                // For the next try.
                message.rights = packet.rights.take();
                Err(Errno::EAGAIN)
            }
            Refused::Closed if self.kind == SocketKind::SeqPacket => Err(Errno::EPIPE),
            Refused::Closed => {
                if message.address.is_none() {
                    self.lost_peer(&other);
                }
                Err(Errno::ECONNREFUSED)
            }
        }
    }

    /// The peer of a datagram socket is gone.
    fn lost_peer(&self, peer: &Arc<UnixSocket>) {
        let old = {
            let mut state = self.state.lock();
            if !state.peer.as_ref().is_some_and(|p| Arc::ptr_eq(p, peer)) {
                return;
            }
            state.role = Role::Idle;
            state.peer.take()
        };
        self.wait.notify(WRITABLE);
        if let Some(old) = old {
            self.left(&old);
        }
    }

    pub(super) fn shut_down(&self, how: u32) -> Result<(), Errno> {
        let own = condition::directions(how)?;
        // What is not received here is not sent there.
        let theirs = (own & SHUT_RECEIVE) << 1 | (own & SHUT_SEND) >> 1;
        self.add_shutdown(own);
        self.wait.notify(EVERYTHING);
        if self.kind != SocketKind::Datagram
            && let Some(peer) = self.peer()
        {
            peer.add_shutdown(theirs);
            peer.wait.notify(EVERYTHING);
        }
        Ok(())
    }
}

/// Why a datagram was not taken.
enum Refused {
    Closed,
    Shut,
    Full,
}

fn buffer(len: usize) -> Arc<[u8]> {
    std::iter::repeat_n(0, len).collect()
}

/// The next `len` bytes, all or EFAULT.
fn take(src: &mut dyn IoSource, len: usize) -> Result<Arc<[u8]>, Errno> {
    let data = peek(src, len)?;
    src.advance(len);
    Ok(data)
}

fn peek(src: &dyn IoSource, len: usize) -> Result<Arc<[u8]>, Errno> {
    let mut data = buffer(len);
    // Nobody else has it yet.
    let bytes = Arc::get_mut(&mut data).ok_or(Errno::ENOMEM)?;
    if len > 0 && src.peek(bytes)? < len {
        return Err(Errno::EFAULT);
    }
    Ok(data)
}
