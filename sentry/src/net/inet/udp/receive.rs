//! Receiving.

use std::sync::Arc;

use abi::Errno;
use abi::socket::MsgFlags;

use super::UdpSocket;
use crate::net::condition::SHUT_RECEIVE;
use crate::net::inet::address;
use crate::net::message::Received;
use crate::vfs::io::IoSink;

impl UdpSocket {
    pub(super) fn receive_datagram(
        &self,
        dst: &mut dyn IoSink,
        flags: MsgFlags,
        got: &mut Received,
    ) -> Result<usize, Errno> {
        if flags.contains(MsgFlags::ERRQUEUE) {
            return Err(Errno::EAGAIN);
        }
        if let Some(errno) = self.condition.take_error() {
            return Err(errno);
        }
        let (data, from, sent_ns) = {
            let mut queue = self.queue.lock();
            let Some(front) = queue.list.front() else {
                let ended = self.condition.shut() & SHUT_RECEIVE != 0;
                return if ended { Ok(0) } else { Err(Errno::EAGAIN) };
            };
            let taken = (Arc::clone(&front.data), front.from, front.sent_ns);
            if !flags.contains(MsgFlags::PEEK) {
                queue.cost -= Self::cost_of(front);
                queue.list.pop_front();
            }
            taken
        };
        let len = data.len().min(dst.remaining());
        got.address = Some(address::to_bytes(self.family, from));
        got.sent_ns = sent_ns;
        got.truncated = len < data.len();
        got.full_len = data.len();
        got.complete = true;
        // A datagram that can't be stored is lost, as on Linux.
        if len > 0 && dst.put(&data[..len]) != Ok(len) {
            return Err(Errno::EFAULT);
        }
        Ok(len)
    }
}
