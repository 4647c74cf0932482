//! Writing to a pipe.
//!
//! Guest memory is copied to pages that are in no pipe yet. A large write takes slots first and fills them then, so that
//! several writers do not mix within what there was room for.

use abi::Errno;
use smallvec::SmallVec;

use super::buffer::{self, Page, Slot, SlotKind};
use super::{BATCH, Pipe, READABLE, SLOT_SIZE, SMALL, WRITABLE};
use crate::vfs::io::IoSource;

impl Pipe {
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
}
