//! The receive queue of a socket, and what its messages cost.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::inflight::Rights;
use super::{MAX_QUEUE, UnixSocket, WRITABLE};
use crate::net::message::SenderCreds;

/// A message, or a piece of a stream.
pub(super) struct Message {
    /// Unique in its queue.
    pub id: u64,
    data: Arc<[u8]>,
    /// Bytes of it that have been received (streams).
    pub consumed: usize,
    pub rights: Option<Rights>,
    pub creds: Option<SenderCreds>,
    /// When it was sent, if the receiver wants to know.
    pub sent_ns: Option<i64>,
    sender: Arc<UnixSocket>,
    cost: usize,
}

impl Message {
    /// A message of `sender`, who is charged for it until it is dropped.
    pub fn new(
        sender: Arc<UnixSocket>,
        data: Arc<[u8]>,
        cost: usize,
        rights: Option<Rights>,
        creds: Option<SenderCreds>,
    ) -> Message {
        sender.in_flight.fetch_add(cost, std::sync::atomic::Ordering::Relaxed);
        Message { id: 0, data, consumed: 0, rights, creds, sent_ns: None, sender, cost }
    }

    /// All bytes.
    pub fn data(&self) -> &Arc<[u8]> {
        &self.data
    }

    /// Bytes that have not been received.
    pub fn left(&self) -> usize {
        self.data.len() - self.consumed
    }

    /// Who sent it.
    pub fn sender(&self) -> &Arc<UnixSocket> {
        &self.sender
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // No lock is held: this wakes the sender.
        self.sender.delivered(self.cost);
    }
}

/// Senders that wait for room here.
pub(super) type Blocked = Vec<Weak<UnixSocket>>;

/// Tells senders that there is room. No lock is held.
pub(super) fn tell_blocked(blocked: Blocked) {
    for sender in blocked.iter().filter_map(Weak::upgrade) {
        sender.wait.notify(WRITABLE);
    }
}

/// Messages that have come. The lock on it also guards that nothing comes after the end.
#[derive(Default)]
pub(super) struct ReceiveQueue {
    messages: VecDeque<Message>,
    next_id: u64,
    bytes: usize,
    closed: bool,
    blocked: Blocked,
}

impl ReceiveQueue {
    /// Whether the socket is gone.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Adds a message.
    pub fn push(&mut self, mut message: Message) {
        message.id = self.next_id;
        self.next_id += 1;
        self.bytes += message.left();
        self.messages.push_back(message);
    }

    /// Whether a sender that is no peer has to wait.
    pub fn is_full(&self) -> bool {
        self.messages.len() > MAX_QUEUE
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes that have not been received.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The messages, first first.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// The first message.
    pub fn front_mut(&mut self) -> Option<&mut Message> {
        self.messages.front_mut()
    }

    /// Takes the first message out.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.left();
        Some(message)
    }

    /// `bytes` of the first message have been received; gives it out when that was all. It must still be message `id`.
    pub fn consume(&mut self, id: u64, bytes: usize) -> Option<Message> {
        let front = self.messages.front_mut().filter(|front| front.id == id)?;
        let bytes = bytes.min(front.left());
        front.consumed += bytes;
        self.bytes -= bytes;
        if front.left() == 0 { self.messages.pop_front() } else { None }
    }

    /// Takes all messages out, to be dropped without the lock.
    pub fn purge(&mut self) -> VecDeque<Message> {
        self.bytes = 0;
        std::mem::take(&mut self.messages)
    }

    /// The end: messages, senders that wait, and whether anything had not been read.
    pub fn close(&mut self) -> (VecDeque<Message>, Blocked, bool) {
        self.closed = true;
        let messages = self.purge();
        let unread = !messages.is_empty();
        (messages, self.unblock(), unread)
    }

    /// `sender` has found no room: it will be told when there is.
    pub fn block(&mut self, sender: &Arc<UnixSocket>) {
        let known = |b: &Weak<UnixSocket>| std::ptr::eq(b.as_ptr(), Arc::as_ptr(sender));
        if !self.blocked.iter().any(known) {
            // Those that are gone meanwhile make room, so that the list is as long as there are senders.
            self.blocked.retain(|b| b.strong_count() > 0);
            self.blocked.push(Arc::downgrade(sender));
        }
    }

    /// Those who have found no room.
    pub fn unblock(&mut self) -> Blocked {
        std::mem::take(&mut self.blocked)
    }
}

/// Bytes of `struct skb_shared_info`, which lies behind the linear part of each buffer.
const SHARED_INFO: usize = 320;
/// Bytes of `struct sk_buff`.
const BUFFER_HEAD: usize = 256;
/// The most that is put into the linear part of a piece of a stream.
const MAX_LINEAR: usize = 4096 - SHARED_INFO;
/// The most that is put into the linear part of a datagram.
const MAX_LINEAR_DATAGRAM: usize = 4 * 4096 - SHARED_INFO;
/// The longest piece of a stream.
pub(super) const MAX_PIECE: usize = MAX_LINEAR + 32768;

/// What Linux charges for a buffer: programs can count how many messages fit.
fn cost(linear: usize, paged: usize) -> usize {
    let linear = (linear.next_multiple_of(64) + SHARED_INFO).next_power_of_two().max(512);
    linear + BUFFER_HEAD + paged.next_multiple_of(4096)
}

/// The cost of a piece of a stream.
pub(super) fn stream_cost(len: usize) -> usize {
    let paged = len.saturating_sub(MAX_LINEAR).next_multiple_of(4096).min(len);
    cost(len - paged, paged)
}

/// The cost of a datagram.
pub(super) fn datagram_cost(len: usize) -> usize {
    let paged = len.saturating_sub(MAX_LINEAR_DATAGRAM).min(17 * 4096).next_multiple_of(4096);
    cost(len.saturating_sub(paged), paged)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SIOCOUTQ said on Linux 6.18 after one message of so many bytes.
    #[test]
    fn costs_are_those_of_linux() {
        let stream =
            [(1, 768), (192, 768), (256, 1280), (705, 2304), (3776, 4352), (4096, 4864), (5000, 6400)];
        for (len, expected) in stream.into_iter().chain([(8192, 8960), (20000, 20736), (36000, 37120)]) {
            assert_eq!(stream_cost(len), expected, "{len}");
        }
        let datagram =
            [(1, 768), (3777, 8448), (16064, 16640), (16065, 20736), (36000, 37120), (65536, 69888)];
        for (len, expected) in datagram {
            assert_eq!(datagram_cost(len), expected, "{len}");
        }
    }
}
