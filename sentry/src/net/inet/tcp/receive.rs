//! Receiving.

use abi::Errno;
use abi::socket::MsgFlags;

use super::{Role, TcpSocket, WRITABLE};
use crate::net::condition::SHUT_RECEIVE;
use crate::net::message::Received;
use crate::vfs::io::IoSink;

impl TcpSocket {
    pub(super) fn receive_bytes(
        &self,
        dst: &mut dyn IoSink,
        flags: MsgFlags,
        got: &mut Received,
    ) -> Result<usize, Errno> {
        if flags.contains(MsgFlags::OOB) {
            // There are no urgent data.
            return Err(Errno::EINVAL);
        }
        if flags.contains(MsgFlags::ERRQUEUE) {
            return Err(Errno::EAGAIN);
        }
        if matches!(self.state.lock().role, Role::Listening(_) | Role::Idle | Role::Closed) {
            return Err(self.condition.take_error().unwrap_or(Errno::ENOTCONN));
        }
        let _one = self.receiving.lock();
        let peek = flags.contains(MsgFlags::PEEK);
        let mut copied = 0;
        while dst.remaining() > 0 {
            let Some((data, start)) = self.queue.lock().look(if peek { copied } else { 0 }) else { break };
            let wanted = dst.remaining().min(data.len() - start);
            let stored = match dst.put(&data[start..start + wanted]) {
                Ok(n) => n,
                Err(_) if copied > 0 => break,
                Err(errno) => return Err(errno),
            };
            copied += stored;
            if !peek {
                self.consume(stored);
            }
            if stored < wanted {
                break;
            }
        }
        got.full_len += copied;
        if copied > 0 || dst.remaining() == 0 {
            return Ok(copied);
        }
        self.nothing()
    }

    /// There is nothing to read: an error, the end, or nothing yet.
    fn nothing(&self) -> Result<usize, Errno> {
        if self.queue.lock().bytes() > 0 {
            // It came just now.
            return Err(Errno::EAGAIN);
        }
        if self.take_end() {
            return Ok(0);
        }
        Err(self.condition.take_error().unwrap_or(Errno::EAGAIN))
    }

    /// Whether the stream has ended without an error that a reader is told.
    fn take_end(&self) -> bool {
        let broken = self.condition.error();
        // Who has seen the end before the reset goes on seeing it.
        self.condition.shut() & SHUT_RECEIVE != 0 && broken.is_none_or(|errno| errno == Errno::EPIPE)
    }

    fn consume(&self, count: usize) {
        let (gone, left) = {
            let mut queue = self.queue.lock();
            (queue.consume(count), queue.bytes())
        };
        drop(gone);
        if let Some(peer) = self.peer()
            && left * 3 <= peer.room(self) * 2
        {
            peer.wait.notify(WRITABLE);
        }
    }
}
