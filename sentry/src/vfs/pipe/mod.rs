//! Pipes (pipe(7)): a queue of slots between writers and readers, without and with a name (FIFOs).
//!
//! [`Pipe`] is what both ends share, [`PipeEnd`] what an open file does, [`Fifo`] what an inode of kind FIFO holds.
//! The state is under one lock of level `FileState`; guest memory is copied without it, from and to pages that belong
//! to nobody else at that moment. Waiters are told after the lock is let go.

mod buffer;
mod end;
mod fifo;
mod splice;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;
use abi::poll::PollEvents;
use smallvec::SmallVec;
use sync::Mutex;

use self::buffer::{Page, Slot, SlotKind, Slots};
use super::io::{IoSink, IoSource};
use crate::wait::WaitQueue;

pub use self::buffer::SLOT_SIZE;
pub use self::end::{PipeEnd, new_pipe};
pub use self::fifo::{Fifo, FifoOpen, FifoOpening};
pub use self::splice::{Filled, splice_between, tee};

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

/// What a read has taken out of the queue.
enum Taken {
    /// So many bytes, on the stack.
    Few(usize),
    One(Slot),
    Many(buffer::Batch),
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

    /// Reads what there is; zero when no writer is left, EAGAIN when one is.
    pub fn read(&self, dst: &mut dyn IoSink) -> Result<usize, Errno> {
        let wanted = dst.remaining();
        if wanted == 0 {
            return Ok(0);
        }
        let mut small = [0u8; SMALL];
        let (taken, was_full) = {
            let mut state = self.state.lock();
            if state.slots.is_empty() {
                return if state.writers == 0 { Ok(0) } else { Err(Errno::EAGAIN) };
            }
            let was_full = state.slots.is_full();
            let n = state.slots.readable(wanted);
            let taken = if n <= SMALL {
                state.slots.copy_out(&mut small[..n]);
                Taken::Few(n)
            } else if state.slots.first_len() >= n {
                state.slots.take_one(n).map_or(Taken::Few(0), Taken::One)
            } else {
                Taken::Many(state.slots.take(n))
            };
            (taken, was_full)
        };
        self.queue.notify(room_after(was_full));
        match taken {
            Taken::Few(few) => match dst.put(&small[..few]) {
                Ok(n) if n == few => Ok(few),
                _ => {
                    self.put_back_bytes(&small[..few]);
                    Err(Errno::EFAULT)
                }
            },
            Taken::One(slot) => self.deliver_one(dst, slot),
            Taken::Many(batch) => self.deliver(dst, batch),
        }
    }

    /// As [`deliver`](Self::deliver), for one slot.
    fn deliver_one(&self, dst: &mut dyn IoSink, slot: Slot) -> Result<usize, Errno> {
        let len = slot.len();
        if dst.put(slot.bytes()) == Ok(len) {
            self.state.lock().slots.recycle(std::iter::once(slot.into_page()));
            return Ok(len);
        }
        self.state.lock().slots.put_back(std::iter::once(slot));
        self.queue.notify(READABLE);
        Err(Errno::EFAULT)
    }

    /// Copies slots that were taken out; what can't be copied goes back.
    fn deliver(&self, dst: &mut dyn IoSink, batch: buffer::Batch) -> Result<usize, Errno> {
        let mut done = 0;
        let mut whole = 0;
        for slot in &batch {
            match dst.put(slot.bytes()) {
                Ok(n) if n == slot.len() => done += n,
                _ => break,
            }
            whole += 1;
        }
        let mut slots = batch.into_iter();
        let read: SmallVec<[Slot; BATCH]> = slots.by_ref().take(whole).collect();
        let failed = slots.len() > 0;
        {
            let mut state = self.state.lock();
            state.slots.put_back(slots);
            state.slots.recycle(buffer::pages(read));
        }
        if failed {
            self.queue.notify(READABLE);
        }
        if done == 0 { Err(Errno::EFAULT) } else { Ok(done) }
    }

    fn put_back_bytes(&self, bytes: &[u8]) {
        {
            let mut state = self.state.lock();
            let mut page = state.slots.page();
            page[..bytes.len()].copy_from_slice(bytes);
            state.slots.put_back(std::iter::once(Slot::new(page, bytes.len(), SlotKind::Stream)));
        }
        self.queue.notify(READABLE);
    }

    /// Writes as much as there is room for. EAGAIN when that is nothing, EPIPE without readers. With `Packet`, each
    /// page is a packet.
    pub fn write(&self, src: &mut dyn IoSource, kind: SlotKind) -> Result<usize, Errno> {
        let total = src.remaining();
        if total == 0 {
            return Ok(0);
        }
        if total <= SMALL {
            let mut bytes = [0u8; SMALL];
            let bytes = &mut bytes[..total];
            let copied = src.peek(bytes);
            let added = self.add_small(bytes, kind, copied.is_ok_and(|n| n == total))?;
            src.advance(added);
            self.queue.notify(READABLE);
            return Ok(added);
        }
        if total <= SLOT_SIZE {
            return self.write_one(src, kind, total);
        }
        let mut done = self.fill_last(src)?;
        while src.remaining() > 0 {
            match self.write_slots(src, kind) {
                Ok((n, more)) => {
                    done += n;
                    if !more {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    /// Adds up to a page. `copied` is false when the bytes could not be read: the error that Linux reports first wins.
    fn add_small(&self, bytes: &[u8], kind: SlotKind, copied: bool) -> Result<usize, Errno> {
        let mut state = self.state.lock();
        if state.readers == 0 {
            return Err(Errno::EPIPE);
        }
        if copied && state.slots.merge(bytes) {
            return Ok(bytes.len());
        }
        if state.slots.is_full() && !state.slots.can_merge(bytes.len()) {
            return Err(Errno::EAGAIN);
        }
        if !copied {
            return Err(Errno::EFAULT);
        }
        let mut page = state.slots.page();
        page[..bytes.len()].copy_from_slice(bytes);
        state.slots.push(Slot::new(page, bytes.len(), kind));
        Ok(bytes.len())
    }

    /// Adds up to a page, through a page: whole or not at all.
    fn write_one(&self, src: &mut dyn IoSource, kind: SlotKind, len: usize) -> Result<usize, Errno> {
        let mut page = {
            let mut state = self.state.lock();
            if state.readers == 0 {
                return Err(Errno::EPIPE);
            }
            if state.slots.is_full() && !state.slots.can_merge(len) {
                return Err(Errno::EAGAIN);
            }
            state.slots.page()
        };
        let copied = src.peek(&mut page[..len]) == Ok(len);
        {
            let mut state = self.state.lock();
            // Another writer may have been faster.
            let added = copied && state.slots.merge(&page[..len]);
            if !added && copied && !state.slots.is_full() {
                state.slots.push(Slot::new(page, len, kind));
            } else {
                state.slots.recycle(std::iter::once(page));
                match (copied, added) {
                    (false, _) => return Err(Errno::EFAULT),
                    (true, false) => return Err(Errno::EAGAIN),
                    (true, true) => {}
                }
            }
        }
        src.advance(len);
        self.queue.notify(READABLE);
        Ok(len)
    }

    /// The part of a large write that is not a multiple of a page goes first, into the last slot if it fits there.
    fn fill_last(&self, src: &mut dyn IoSource) -> Result<usize, Errno> {
        let odd = src.remaining() % SLOT_SIZE;
        let mut page = {
            let mut state = self.state.lock();
            if state.readers == 0 {
                return Err(Errno::EPIPE);
            }
            if odd == 0 || !state.slots.can_merge(odd) {
                return Ok(0);
            }
            state.slots.page()
        };
        let copied = src.peek(&mut page[..odd]);
        let merged = {
            let mut state = self.state.lock();
            let merged = copied.is_ok_and(|n| n == odd) && state.slots.merge(&page[..odd]);
            state.slots.recycle(std::iter::once(page));
            merged
        };
        if merged {
            src.advance(odd);
            self.queue.notify(READABLE);
            return Ok(odd);
        }
        if copied == Ok(odd) { Ok(0) } else { Err(Errno::EFAULT) }
    }

    /// Fills free slots. Answers how many bytes went in, and whether it makes sense to go on.
    fn write_slots(&self, src: &mut dyn IoSource, kind: SlotKind) -> Result<(usize, bool), Errno> {
        let mut pages: SmallVec<[Page; 16]> = SmallVec::new();
        let reserved = {
            let mut state = self.state.lock();
            if state.readers == 0 {
                return Err(Errno::EPIPE);
            }
            let wanted = src.remaining().div_ceil(SLOT_SIZE).min(BATCH);
            state.slots.reserve(wanted, &mut pages)
        };
        if reserved == 0 {
            return Err(Errno::EAGAIN);
        }
        let mut batch = buffer::Batch::new();
        let mut done = 0;
        let mut fault = false;
        while batch.len() < reserved && src.remaining() > 0 {
            let mut page = pages.pop().unwrap_or_else(|| Box::new([0; SLOT_SIZE]));
            let len = src.remaining().min(SLOT_SIZE);
            fault = src.take(&mut page[..len]) != Ok(len);
            if fault {
                pages.push(page);
                break;
            }
            done += len;
            batch.push(Slot::new(page, len, kind));
        }
        {
            let mut state = self.state.lock();
            state.slots.commit(reserved, batch);
            state.slots.recycle(pages.into_iter());
        }
        // Slots that were reserved for nothing are free again, which another writer may wait for.
        self.queue.notify(if fault { READABLE | WRITABLE } else { READABLE });
        if fault && done == 0 { Err(Errno::EFAULT) } else { Ok((done, !fault)) }
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
