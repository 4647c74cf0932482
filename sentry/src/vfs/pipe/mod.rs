//! Pipes (pipe(7)): a queue of slots between writers and readers, without and with a name (FIFOs).
//!
//! [`Pipe`] is what both ends share, [`PipeEnd`] what an open file does, [`Fifo`] what an inode of kind FIFO holds.
//! The state is under one lock of level `FileState`; guest memory is copied without it, from and to pages that belong
//! to nobody else at that moment. Waiters are told after the lock is let go.

mod buffer;
mod end;
mod fifo;
mod read;
mod splice;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;
use abi::poll::PollEvents;
use sync::Mutex;

use self::buffer::Slots;
use crate::wait::WaitQueue;

pub use self::buffer::SLOT_SIZE;
pub use self::end::{PipeEnd, new_pipe};
pub use self::fifo::{Fifo, FifoOpen, FifoOpening};
pub use self::splice::{Filled, Piece, splice_between, tee};

/// Slots of a new pipe: 64 KiB.
pub const DEFAULT_SLOTS: usize = 16;
/// Bytes that F_SETPIPE_SZ gives without CAP_SYS_RESOURCE (/proc/sys/fs/pipe-max-size).
pub const MAX_SIZE: usize = 1 << 20;
/// Bytes that F_SETPIPE_SZ gives at all: the contents are memory of the Sentry.
const MAX_SIZE_PRIVILEGED: usize = 64 << 20;
/// Slots of all pipes together above which a new one gets few, so that pipes can't fill the Sentry's memory. Linux
/// counts per user (/proc/sys/fs/pipe-user-pages-soft); here all are one.
const MANY_SLOTS: usize = 1 << 16;
/// What a pipe gets then.
const FEW_SLOTS: usize = 2;
/// Slots of all pipes.
static ALL_SLOTS: AtomicUsize = AtomicUsize::new(0);
/// Transfers up to this size go through the stack.
const SMALL: usize = 512;
/// Slots filled or emptied at a time.
const BATCH: usize = 16;

/// Events of a readable pipe.
const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
/// Events that tell of a read from a pipe that was not full: only O_ASYNC asks for them, pollers know of the room.
const STILL_WRITABLE: PollEvents = PollEvents::MSG;
/// Events of a writable pipe.
const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);

/// What the ends of a pipe share.
pub struct Pipe {
    state: Mutex<State, sync::levels::FileState>,
    queue: WaitQueue,
}

struct State {
    slots: Slots,
    readers: u32,
    writers: u32,
    /// How often it was opened for reading, ever: a waiting opener sees that a partner came, even one that left.
    reader_opens: u64,
    /// How often it was opened for writing, ever.
    writer_opens: u64,
}

/// What a read tells, by whether the pipe was full before.
fn room_after(was_full: bool) -> PollEvents {
    if was_full { WRITABLE } else { STILL_WRITABLE }
}

/// Slots of a new pipe, when all others have so many.
fn capacity_for(all: usize) -> usize {
    if all >= MANY_SLOTS { FEW_SLOTS } else { DEFAULT_SLOTS }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        ALL_SLOTS.fetch_sub(self.state.get_mut().slots.capacity(), Ordering::Relaxed);
    }
}

impl Pipe {
    /// A pipe without ends.
    pub fn new() -> Arc<Pipe> {
        let slots = Slots::new(capacity_for(ALL_SLOTS.load(Ordering::Relaxed)));
        ALL_SLOTS.fetch_add(slots.capacity(), Ordering::Relaxed);
        let state = State { slots, readers: 0, writers: 0, reader_opens: 0, writer_opens: 0 };
        Arc::new(Pipe { state: Mutex::new(state), queue: WaitQueue::new() })
    }

    /// Told of everything that happens to the pipe.
    pub fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// Bytes that can be read (FIONREAD).
    pub fn readable_bytes(&self) -> usize {
        self.state.lock().slots.bytes()
    }

    /// Capacity in bytes (F_GETPIPE_SZ).
    pub fn size(&self) -> usize {
        self.state.lock().slots.capacity() * SLOT_SIZE
    }

    /// F_SETPIPE_SZ: the capacity becomes the next power of two of pages. EPERM above the limit of the unprivileged,
    /// EBUSY when more is in use.
    pub fn set_size(&self, size: u64, privileged: bool) -> Result<usize, Errno> {
        if size > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let size = (size as usize).max(SLOT_SIZE).next_power_of_two();
        let mut state = self.state.lock();
        let growing = size / SLOT_SIZE > state.slots.capacity();
        if growing && size > MAX_SIZE && !privileged {
            return Err(Errno::EPERM);
        }
        if size > MAX_SIZE_PRIVILEGED {
            return Err(Errno::ENOMEM);
        }
        let (slots, before) = (size / SLOT_SIZE, state.slots.capacity());
        if growing && !privileged && ALL_SLOTS.load(Ordering::Relaxed) + slots - before > MANY_SLOTS {
            return Err(Errno::EPERM);
        }
        if !state.slots.set_capacity(slots) {
            return Err(Errno::EBUSY);
        }
        ALL_SLOTS.fetch_add(slots, Ordering::Relaxed);
        ALL_SLOTS.fetch_sub(before, Ordering::Relaxed);
        drop(state);
        if growing {
            self.queue.notify(WRITABLE);
        }
        Ok(size)
    }

    /// What is ready for an end with these rights. `seen_writers`: how often it had been opened for writing when this
    /// end was; a FIFO that no writer has opened since has not hung up.
    fn poll(&self, read: bool, write: bool, seen_writers: u64) -> PollEvents {
        let state = self.state.lock();
        let mut ready = PollEvents::empty();
        if read {
            if !state.slots.is_empty() {
                ready |= READABLE;
            }
            if state.writers == 0 && state.writer_opens != seen_writers {
                ready |= PollEvents::HUP;
            }
        }
        if write {
            if !state.slots.is_full() {
                ready |= WRITABLE;
            }
            if state.readers == 0 {
                ready |= PollEvents::ERR;
            }
        }
        ready
    }
}
