//! Reading from a pipe.
//!
//! Slots leave the queue before they are copied to the guest, and come back when that fails.

use abi::Errno;
use smallvec::SmallVec;

use super::buffer::{self, Slot, SlotKind};
use super::{BATCH, Pipe, READABLE, SMALL, room_after};
use crate::vfs::io::IoSink;

/// What a read has taken out of the queue.
#[allow(clippy::large_enum_variant, reason = "one on the stack, for one call")]
enum Taken {
    /// So many bytes, on the stack.
    Few(usize),
    One(Slot),
    Many(buffer::Batch),
}

impl Pipe {
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
}
