//! Sending.

use std::sync::Arc;

use abi::Errno;

use super::{READABLE, Role, TcpSocket};
use crate::net::condition::SHUT_SEND;
use crate::net::message::SendMessage;
use crate::vfs::io::IoSource;

/// The most bytes in one piece.
const MAX_PIECE: usize = 64 << 10;

impl TcpSocket {
    pub(super) fn send_bytes(
        &self,
        src: &mut dyn IoSource,
        message: &SendMessage<'_>,
    ) -> Result<usize, Errno> {
        if message.out_of_band {
            return Err(Errno::EOPNOTSUPP);
        }
        let total = src.remaining();
        let mut sent = 0;
        loop {
            match self.send_piece(src) {
                Ok(n) => sent += n,
                Err(_) if sent > 0 => break,
                Err(errno) => return Err(errno),
            }
            if sent >= total {
                break;
            }
        }
        Ok(sent)
    }

    fn send_piece(&self, src: &mut dyn IoSource) -> Result<usize, Errno> {
        if let Some(errno) = self.condition.take_error() {
            return Err(errno);
        }
        if self.condition.shut() & SHUT_SEND != 0 {
            return Err(Errno::EPIPE);
        }
        let peer = {
            let state = self.state.lock();
            match (&state.role, &state.peer) {
                (Role::Connected | Role::Connecting { succeeded: true }, Some(peer)) => Arc::clone(peer),
                _ => return Err(Errno::EPIPE),
            }
        };
        let held = peer.queue.lock().bytes();
        let room = self.room(&peer).saturating_sub(held);
        if room == 0 {
            return Err(Errno::EAGAIN);
        }
        let len = src.remaining().min(MAX_PIECE).min(room);
        let mut data: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
        // Nobody else has it yet.
        let bytes = Arc::get_mut(&mut data).ok_or(Errno::ENOMEM)?;
        let len = if len > 0 { src.peek(bytes)? } else { 0 };
        if len == 0 {
            return Ok(0);
        }
        let data = if len < data.len() { Arc::from(&data[..len]) } else { data };
        let taken = {
            let mut queue = peer.queue.lock();
            if !queue.closed {
                queue.push(data);
            }
            !queue.closed
        };
        src.advance(len);
        if taken {
            peer.wait.notify(READABLE);
        } else {
            // To a socket that is no more: it goes out, and the answer is a reset.
            self.reset();
        }
        Ok(len)
    }
}
