//! Moving bytes between pipes without a guest's memory in between: splice(2) of two pipes, and tee(2).

use std::sync::Arc;

use abi::Errno;
use smallvec::SmallVec;

use super::buffer::{self, Slot, SlotKind};
use super::{BATCH, Pipe, READABLE, SLOT_SIZE, WRITABLE, room_after};
use crate::vfs::{Blocking, File};

/// Moves up to `len` bytes from one pipe to another: zero when the first has no writer left, EAGAIN when it is empty
/// or the second is full, EPIPE when nobody reads the second. The pipes must differ (EINVAL).
pub fn splice_between(from: &Arc<Pipe>, to: &Arc<Pipe>, len: usize) -> Result<usize, Errno> {
    if Arc::ptr_eq(from, to) {
        return Err(Errno::EINVAL);
    }
    let mut total = 0;
    while total < len {
        match move_batch(from, to, len - total) {
            Ok(0) => break,
            Ok(n) => total += n,
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(total)
}

fn move_batch(from: &Pipe, to: &Pipe, len: usize) -> Result<usize, Errno> {
    let mut pages = SmallVec::new();
    let reserved = reserve(to, len.div_ceil(SLOT_SIZE).min(BATCH), &mut pages)?;
    let (batch, was_full) = {
        let mut state = from.state.lock();
        let was_full = state.slots.is_full();
        let mut batch = buffer::Batch::new();
        let mut left = len;
        // One slot at a time: as many slots as there is room for, whatever is in them.
        while batch.len() < reserved && left > 0 && !state.slots.is_empty() {
            let Some(slot) = state.slots.take_one(left) else { break };
            left -= slot.len();
            batch.push(slot);
        }
        let ended = batch.is_empty() && state.writers == 0;
        (if batch.is_empty() { Err(ended) } else { Ok(batch) }, was_full)
    };
    let (answer, batch) = match batch {
        Ok(batch) => (Ok(batch.iter().map(Slot::len).sum()), batch),
        Err(true) => (Ok(0), buffer::Batch::new()),
        Err(false) => (Err(Errno::EAGAIN), buffer::Batch::new()),
    };
    finish(to, reserved, batch, pages);
    if answer.is_ok() {
        from.queue.notify(room_after(was_full));
    }
    answer
}

/// Copies up to `len` bytes from the front of one pipe to another, leaving them there. Errors as [`splice_between`].
pub fn tee(from: &Arc<Pipe>, to: &Arc<Pipe>, len: usize) -> Result<usize, Errno> {
    if Arc::ptr_eq(from, to) {
        return Err(Errno::EINVAL);
    }
    let mut pages = SmallVec::new();
    let reserved = reserve(to, len.div_ceil(SLOT_SIZE).min(BATCH), &mut pages)?;
    let mut batch = buffer::Batch::new();
    let answer = {
        let state = from.state.lock();
        let mut left = len;
        for slot in state.slots.iter().take(reserved) {
            let n = slot.len().min(left);
            if n == 0 {
                break;
            }
            let mut page = pages.pop().unwrap_or_else(|| Box::new([0; SLOT_SIZE]));
            page[..n].copy_from_slice(&slot.bytes()[..n]);
            batch.push(Slot::new(page, n, slot.kind()));
            left -= n;
        }
        match len - left {
            0 if state.writers == 0 => Ok(0),
            0 => Err(Errno::EAGAIN),
            n => Ok(n),
        }
    };
    finish(to, reserved, batch, pages);
    answer
}

fn reserve(to: &Pipe, wanted: usize, pages: &mut SmallVec<[buffer::Page; 16]>) -> Result<usize, Errno> {
    let mut state = to.state.lock();
    if state.readers == 0 {
        return Err(Errno::EPIPE);
    }
    match state.slots.reserve(wanted.max(1), pages) {
        0 => Err(Errno::EAGAIN),
        n => Ok(n),
    }
}

fn finish(to: &Pipe, reserved: usize, batch: buffer::Batch, pages: SmallVec<[buffer::Page; 16]>) {
    let filled = !batch.is_empty();
    {
        let mut state = to.state.lock();
        state.slots.commit(reserved, batch);
        state.slots.recycle(pages.into_iter());
    }
    to.queue.notify(if filled { READABLE } else { WRITABLE });
}

/// How much goes in one piece between a pipe and another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As much as is handy: the rest comes in the next one.
    Some,
    /// All that there is room for, or all that is there: the other file takes and gives whole messages.
    Whole,
}

impl Piece {
    /// How that file wants it.
    pub fn of(file: &File) -> Piece {
        if file.ops().blocking() == Blocking::Record { Piece::Whole } else { Piece::Some }
    }

    fn slots(self) -> usize {
        match self {
            Piece::Some => BATCH,
            Piece::Whole => usize::MAX / SLOT_SIZE,
        }
    }
}

/// What [`Pipe::fill`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes were added; zero is the end of where they come from.
    Bytes(usize),
    /// The pipe is full: nothing was read.
    NoRoom,
}

impl Pipe {
    /// Adds up to `len` bytes that `read` gives. The room for them is reserved before, so that none is lost. An error
    /// of `read`'s is that of the call; EPIPE when nobody reads the pipe.
    pub fn fill(
        &self,
        len: usize,
        piece: Piece,
        read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<Filled, Errno> {
        let mut pages = SmallVec::new();
        let reserved = match reserve(self, len.div_ceil(SLOT_SIZE).min(piece.slots()), &mut pages) {
            Err(Errno::EAGAIN) => return Ok(Filled::NoRoom),
            reserved => reserved?,
        };
        let mut bytes = vec![0; len.min(reserved * SLOT_SIZE)];
        let answer = read(&mut bytes);
        let mut batch = buffer::Batch::new();
        if let Ok(done) = answer {
            for chunk in bytes[..done].chunks(SLOT_SIZE) {
                let mut page = pages.pop().unwrap_or_else(|| Box::new([0; SLOT_SIZE]));
                page[..chunk.len()].copy_from_slice(chunk);
                batch.push(Slot::new(page, chunk.len(), SlotKind::Stream));
            }
        }
        finish(self, reserved, batch, pages);
        answer.map(Filled::Bytes)
    }

    /// Takes up to `len` bytes out for a splice to something else; [`restore`](Pipe::restore) gives back what was not
    /// used. Errors as [`read`](Pipe::read).
    pub fn take(&self, len: usize, piece: Piece) -> Result<Vec<u8>, Errno> {
        let (bytes, was_full) = {
            let mut state = self.state.lock();
            if state.slots.is_empty() {
                return if state.writers == 0 { Ok(Vec::new()) } else { Err(Errno::EAGAIN) };
            }
            let was_full = state.slots.is_full();
            let n = state.slots.readable(len.min(piece.slots() * SLOT_SIZE));
            let mut bytes = vec![0; n];
            state.slots.copy_out(&mut bytes);
            (bytes, was_full)
        };
        self.queue.notify(room_after(was_full));
        Ok(bytes)
    }

    /// Puts bytes back to the front.
    pub fn restore(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        {
            let mut state = self.state.lock();
            for chunk in bytes.chunks(SLOT_SIZE).rev() {
                let mut page = state.slots.page();
                page[..chunk.len()].copy_from_slice(chunk);
                state.slots.put_back(std::iter::once(Slot::new(page, chunk.len(), SlotKind::Stream)));
            }
        }
        self.queue.notify(READABLE);
    }

    /// How many bytes a splice into the pipe may bring now, at most: whole slots. EPIPE, EAGAIN as
    /// [`write`](Pipe::write).
    pub fn room(&self) -> Result<usize, Errno> {
        let state = self.state.lock();
        if state.readers == 0 {
            return Err(Errno::EPIPE);
        }
        if state.slots.is_full() { Err(Errno::EAGAIN) } else { Ok(state.slots.free() * SLOT_SIZE) }
    }
}
