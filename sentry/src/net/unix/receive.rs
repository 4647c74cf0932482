//! Receiving.
//!
//! One receiver of a socket at a time (a sleeping lock): it looks at a message under the queue's lock, copies without
//! it, and then takes what it has copied out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::socket::MsgFlags;

use super::queue::Message;
use super::{Role, UnixSocket};
use crate::net::condition::SHUT_RECEIVE;
use crate::net::message::{Received, SenderCreds};
use crate::net::socket::SocketKind;
use crate::vfs::io::IoSink;

impl UnixSocket {
    pub(super) fn receive_message(
        &self,
        dst: &mut dyn IoSink,
        flags: MsgFlags,
        got: &mut Received,
    ) -> Result<usize, Errno> {
        if let Some(host) = self.host.get() {
            return self.receive_from_host(&host, dst, flags, got);
        }
        let connected = matches!(self.state.lock().role, Role::Connected);
        match self.kind {
            SocketKind::Stream if !connected => return Err(Errno::EINVAL),
            SocketKind::SeqPacket if !connected => return Err(Errno::ENOTCONN),
            _ => {}
        }
        if flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let _one = self.receiving.lock();
        if self.kind == SocketKind::Stream {
            self.receive_stream(dst, flags, got)
        } else {
            self.receive_datagram(dst, flags, got)
        }
    }

    /// Where a peek starts; what else is read starts at the front.
    fn peek_offset(&self, flags: MsgFlags) -> Option<usize> {
        if !flags.contains(MsgFlags::PEEK) {
            return None;
        }
        usize::try_from(self.options.peek_offset.load(Ordering::Relaxed)).ok()
    }

    /// SO_PEEK_OFF moves on with peeks and back with reads.
    fn move_peek_offset(&self, flags: MsgFlags, bytes: usize) {
        let offset = &self.options.peek_offset;
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        let step = |at: i32| match at {
            at if at < 0 => None,
            at if flags.contains(MsgFlags::PEEK) => Some(at.saturating_add(bytes)),
            at => Some((at - bytes).max(0)),
        };
        let _ = offset.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    fn receive_stream(
        &self,
        dst: &mut dyn IoSink,
        flags: MsgFlags,
        got: &mut Received,
    ) -> Result<usize, Errno> {
        let peek = flags.contains(MsgFlags::PEEK);
        let mut skip = self.peek_offset(flags).unwrap_or(0);
        let mut copied = 0;
        loop {
            let Some(piece) = self.look(skip, got.creds.as_ref()) else {
                if copied > 0 {
                    return Ok(copied);
                }
                // In this order.
                if let Some(errno) = self.condition.take_error() {
                    return Err(errno);
                }
                return if self.condition.shut() & SHUT_RECEIVE != 0 { Ok(0) } else { Err(Errno::EAGAIN) };
            };
            let Look::Piece { id, data, start, creds, sender, .. } = piece else {
                // Never glue together what different writers wrote.
                got.complete = true;
                return Ok(copied);
            };
            if got.creds.is_none() && self.options.passes_creds() {
                got.creds = Some(creds);
            }
            if got.address.is_none() {
                got.address = sender.address();
            }
            drop(sender);
            let wanted = (data.len() - start).min(dst.remaining());
            if wanted > 0 && dst.put(&data[start..start + wanted]) != Ok(wanted) {
                return if copied > 0 { Ok(copied) } else { Err(Errno::EFAULT) };
            }
            copied += wanted;
            got.full_len += wanted;
            self.move_peek_offset(flags, wanted);
            let (rights, done) = if peek {
                // A peek goes on behind this piece.
                skip += wanted;
                self.peek_rights(id)
            } else {
                self.consume(id, wanted)
            };
            if let Some(mut rights) = rights {
                got.rights.0.append(&mut rights.0);
                got.complete = true;
                return Ok(copied);
            }
            if !done || dst.remaining() == 0 {
                return Ok(copied);
            }
        }
    }

    /// The piece that byte `skip` of the stream is in.
    fn look(&self, mut skip: usize, wanted: Option<&Option<SenderCreds>>) -> Option<Look> {
        let queue = self.queue.lock();
        for message in queue.iter() {
            if skip >= message.left() && message.left() > 0 {
                skip -= message.left();
                continue;
            }
            if wanted.is_some_and(|wanted| *wanted != message.creds) {
                return Some(Look::OtherWriter);
            }
            return Some(Look::Piece {
                id: message.id,
                data: Arc::clone(message.data()),
                start: message.consumed + skip,
                creds: message.creds.clone(),
                sender: Arc::clone(message.sender()),
            });
        }
        None
    }

    fn peek_rights(&self, id: u64) -> (Option<super::inflight::FileList>, bool) {
        let queue = self.queue.lock();
        let message = queue.iter().find(|message| message.id == id);
        (message.and_then(|message| message.rights.as_ref()).map(|rights| rights.peek()), true)
    }

    /// Takes `bytes` of message `id` out: its descriptors, and whether that was all of it.
    fn consume(&self, id: u64, bytes: usize) -> (Option<super::inflight::FileList>, bool) {
        let (rights, done) = {
            let mut queue = self.queue.lock();
            let front = queue.front_mut().filter(|front| front.id == id);
            let rights = front.and_then(|front| front.rights.take());
            (rights, queue.consume(id, bytes))
        };
        let whole = done.is_some();
        drop(done);
        (rights.map(|rights| rights.arrive()), whole)
    }

    fn receive_datagram(
        &self,
        dst: &mut dyn IoSink,
        flags: MsgFlags,
        got: &mut Received,
    ) -> Result<usize, Errno> {
        if let Some(errno) = self.condition.take_error() {
            return Err(errno);
        }
        let mut skip = self.peek_offset(flags).unwrap_or(0);
        if flags.contains(MsgFlags::PEEK) {
            let (data, start) = {
                let queue = self.queue.lock();
                let mut found = None;
                for message in queue.iter() {
                    // SO_PEEK_OFF passes over whole messages.
                    if skip > 0 && skip >= message.left() {
                        skip -= message.left();
                        continue;
                    }
                    found = Some(message);
                    break;
                }
                let Some(message) = found else { return self.no_datagram(flags) };
                got.creds = Some(message.creds.clone());
                got.sent_ns = message.sent_ns;
                got.rights = message.rights.as_ref().map(|rights| rights.peek()).unwrap_or_default();
                let sender = Arc::clone(message.sender());
                let found = (Arc::clone(message.data()), skip);
                drop(queue);
                got.address = sender.address();
                found
            };
            return self.deliver(dst, flags, &data[start..], got);
        }
        let (message, blocked) = {
            let mut queue = self.queue.lock();
            let Some(message) = queue.pop() else {
                drop(queue);
                return self.no_datagram(flags);
            };
            (message, if queue.is_full() { Vec::new() } else { queue.unblock() })
        };
        super::queue::tell_blocked(blocked);
        self.take_message(dst, flags, message, got)
    }

    fn take_message(
        &self,
        dst: &mut dyn IoSink,
        flags: MsgFlags,
        mut message: Message,
        got: &mut Received,
    ) -> Result<usize, Errno> {
        got.creds = Some(message.creds.take());
        got.sent_ns = message.sent_ns;
        got.rights = message.rights.take().map(|rights| rights.arrive()).unwrap_or_default();
        got.address = message.sender().address();
        self.deliver(dst, flags, message.data(), got)
    }

    fn deliver(
        &self,
        dst: &mut dyn IoSink,
        flags: MsgFlags,
        data: &[u8],
        got: &mut Received,
    ) -> Result<usize, Errno> {
        let len = data.len().min(dst.remaining());
        got.truncated = len < data.len();
        got.full_len = data.len();
        got.complete = true;
        // A datagram that can't be stored is lost, as on Linux.
        if len > 0 && dst.put(&data[..len]) != Ok(len) {
            return Err(Errno::EFAULT);
        }
        self.move_peek_offset(flags, if flags.contains(MsgFlags::PEEK) { len } else { data.len() });
        Ok(len)
    }

    /// There is no message: the end for those that know one.
    fn no_datagram(&self, flags: MsgFlags) -> Result<usize, Errno> {
        let ended = self.condition.shut() & SHUT_RECEIVE != 0;
        // A quirk of Linux: a datagram socket that would not wait does not see the end.
        if !ended || self.kind == SocketKind::Datagram && flags.contains(MsgFlags::DONTWAIT) {
            return Err(Errno::EAGAIN);
        }
        Ok(0)
    }
}

/// What the front of a stream's queue is.
enum Look {
    Piece {
        id: u64,
        data: Arc<[u8]>,
        start: usize,
        creds: Option<SenderCreds>,
        sender: Arc<UnixSocket>,
    },
    /// Somebody else wrote it.
    OtherWriter,
}
