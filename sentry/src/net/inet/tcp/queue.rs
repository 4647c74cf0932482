//! What a connection has received and nobody has read yet.

use std::collections::VecDeque;
use std::sync::Arc;

/// Pieces of a stream, in order, and how the stream ends.
#[derive(Default)]
pub struct ReceiveQueue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Nothing more comes: the peer has ended its direction.
    pub finished: bool,
    /// Nothing more is taken: the socket is closed.
    pub closed: bool,
}

struct Piece {
    data: Arc<[u8]>,
    taken: usize,
}

impl ReceiveQueue {
    /// Bytes that can be read.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, data: Arc<[u8]>) {
        self.bytes += data.len();
        self.pieces.push_back(Piece { data, taken: 0 });
    }

    /// The piece that byte `skip` is in, and where in it.
    pub fn look(&self, mut skip: usize) -> Option<(Arc<[u8]>, usize)> {
        for piece in &self.pieces {
            let left = piece.data.len() - piece.taken;
            if skip < left {
                return Some((Arc::clone(&piece.data), piece.taken + skip));
            }
            skip -= left;
        }
        None
    }

    /// Takes bytes off the front; what is used up comes back, to be dropped without a lock.
    pub fn consume(&mut self, mut count: usize) -> Vec<Arc<[u8]>> {
        let mut gone = Vec::new();
        while count > 0 {
            let Some(front) = self.pieces.front_mut() else { break };
            let step = count.min(front.data.len() - front.taken);
            front.taken += step;
            self.bytes -= step;
            count -= step;
            if front.taken == front.data.len()
                && let Some(piece) = self.pieces.pop_front()
            {
                gone.push(piece.data);
            }
        }
        gone
    }

    /// Closes: what was not read comes back.
    pub fn close(&mut self) -> usize {
        self.closed = true;
        std::mem::take(&mut self.bytes)
    }

    /// Everything that is left, to be dropped without a lock.
    pub fn take_all(&mut self) -> impl Sized + use<> {
        std::mem::take(&mut self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_whatever_the_pieces() {
        let mut queue = ReceiveQueue::default();
        queue.push(Arc::from(*b"abc"));
        queue.push(Arc::from(*b"de"));
        assert_eq!(queue.look(4).map(|(data, at)| data[at]), Some(b'e'));
        assert_eq!(queue.consume(2).len(), 0);
        assert_eq!(queue.look(0).map(|(data, at)| data[at]), Some(b'c'));
        assert_eq!(queue.consume(2).len(), 1);
        assert_eq!((queue.bytes(), queue.look(1).is_none()), (1, true));
        assert_eq!(queue.close(), 1);
    }
}
