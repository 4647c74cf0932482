//! What is in a pipe: a queue of slots, each at most a page.
//!
//! Linux counts a pipe's capacity in slots, not bytes, and programs can see that: sixteen writes of a page fill a
//! pipe, and so do sixteen one-byte packets. Small writes share the last slot as long as they fit in it whole, which is
//! also what makes writes of up to `PIPE_BUF` bytes atomic.
//!
//! Pages move into and out of the queue without being copied, so that no user copy happens under the pipe's lock.

use std::collections::VecDeque;

use smallvec::SmallVec;

/// Bytes in a slot, and `PIPE_BUF`.
pub const SLOT_SIZE: usize = 4096;
/// Pages kept for later writes when a slot has been read.
const SPARE_PAGES: usize = 16;

/// Memory of one slot.
pub type Page = Box<[u8; SLOT_SIZE]>;
/// Slots on their way in or out.
pub type Batch = SmallVec<[Slot; 16]>;

/// What may be done with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// Later writes may fill it up.
    Stream,
    /// One packet of an `O_DIRECT` pipe: a read takes all of it or throws the rest away.
    Packet,
}

/// Some bytes in a pipe.
#[derive(Debug)]
pub struct Slot {
    page: Page,
    start: usize,
    len: usize,
    kind: SlotKind,
}

impl Slot {
    /// The first `len` bytes of `page`.
    pub fn new(page: Page, len: usize, kind: SlotKind) -> Slot {
        Slot { page, start: 0, len: len.min(SLOT_SIZE), kind }
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        &self.page[self.start..self.start + self.len]
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its memory.
    pub fn into_page(self) -> Page {
        self.page
    }

    /// What may be done with it.
    pub fn kind(&self) -> SlotKind {
        self.kind
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.len -= bytes;
    }
}

/// The queue; under the pipe's lock.
#[derive(Debug)]
pub struct Slots {
    queue: VecDeque<Slot>,
    spare: Vec<Page>,
    /// Slots that writers fill at the moment, without the lock.
    reserved: usize,
    capacity: usize,
    bytes: usize,
}

impl Slots {
    /// An empty queue for `capacity` slots.
    pub fn new(capacity: usize) -> Slots {
        Slots { queue: VecDeque::new(), spare: Vec::new(), reserved: 0, capacity, bytes: 0 }
    }

    /// How many slots there may be.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes the capacity; false when more slots are in use.
    pub fn set_capacity(&mut self, capacity: usize) -> bool {
        let fits = self.queue.len() + self.reserved <= capacity;
        if fits {
            self.capacity = capacity;
        }
        fits
    }

    /// Bytes in it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether no new slot can be taken.
    pub fn is_full(&self) -> bool {
        self.free() == 0
    }

    /// A page to write to, old contents and all.
    pub fn page(&mut self) -> Page {
        self.spare.pop().unwrap_or_else(|| Box::new([0; SLOT_SIZE]))
    }

    /// Takes pages back.
    pub fn recycle(&mut self, pages: impl Iterator<Item = Page>) {
        let room = SPARE_PAGES - self.spare.len();
        self.spare.extend(pages.take(room));
    }

    /// Takes up to `wanted` slots for a writer; the pages that are at hand go to `pages`.
    pub fn reserve(&mut self, wanted: usize, pages: &mut SmallVec<[Page; 16]>) -> usize {
        let granted = wanted.min(self.free());
        self.reserved += granted;
        let at_hand = self.spare.len() - granted.min(self.spare.len());
        pages.extend(self.spare.drain(at_hand..));
        granted
    }

    /// Gives `reserved` slots back and adds what has been filled.
    pub fn commit(&mut self, reserved: usize, batch: Batch) {
        self.reserved -= reserved;
        for slot in batch {
            self.push(slot);
        }
    }

    /// Adds a slot. The caller knows that there is room.
    pub fn push(&mut self, slot: Slot) {
        self.bytes += slot.len;
        self.queue.push_back(slot);
    }

    /// Puts bytes behind those of the last slot, if they fit there whole.
    pub fn merge(&mut self, bytes: &[u8]) -> bool {
        let Some(last) = self.queue.back_mut() else { return false };
        let end = last.start + last.len;
        if last.kind != SlotKind::Stream || end + bytes.len() > SLOT_SIZE {
            return false;
        }
        last.page[end..end + bytes.len()].copy_from_slice(bytes);
        last.len += bytes.len();
        self.bytes += bytes.len();
        true
    }

    /// Whether `len` more bytes would fit behind those of the last slot.
    pub fn can_merge(&self, len: usize) -> bool {
        self.queue.back().is_some_and(|l| l.kind == SlotKind::Stream && l.start + l.len + len <= SLOT_SIZE)
    }

    /// How many bytes a read of `wanted` bytes gets: it ends with the first packet.
    pub fn readable(&self, wanted: usize) -> usize {
        let mut total = 0;
        for slot in &self.queue {
            total += slot.len;
            if total >= wanted || slot.kind == SlotKind::Packet {
                break;
            }
        }
        total.min(wanted)
    }

    /// Bytes in the first slot.
    pub fn first_len(&self) -> usize {
        self.queue.front().map_or(0, Slot::len)
    }

    /// Moves the first `into.len()` bytes out. The caller asked [`readable`](Self::readable).
    pub fn copy_out(&mut self, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let Some(front) = self.queue.front_mut() else { return };
            let n = front.len.min(into.len() - done);
            into[done..done + n].copy_from_slice(&front.bytes()[..n]);
            done += n;
            let whole = n == front.len || front.kind == SlotKind::Packet;
            if whole {
                self.drop_front();
            } else {
                front.skip(n);
                self.bytes -= n;
            }
        }
    }

    /// The slots, first first.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.queue.iter()
    }

    /// How many slots can be taken.
    pub fn free(&self) -> usize {
        self.capacity.saturating_sub(self.queue.len() + self.reserved)
    }

    /// Moves slots with the first `wanted` bytes out, ending with the first packet.
    pub fn take(&mut self, wanted: usize) -> Batch {
        let mut batch = Batch::new();
        let mut left = wanted;
        while left > 0 {
            let Some(slot) = self.take_one(left) else { break };
            left -= slot.len;
            let packet = slot.kind == SlotKind::Packet;
            batch.push(slot);
            if packet {
                break;
            }
        }
        batch
    }

    /// Moves the first slot out, or its first `wanted` bytes: a stream slot is divided, of a packet the rest is lost.
    pub fn take_one(&mut self, wanted: usize) -> Option<Slot> {
        let front = self.queue.front_mut()?;
        if front.len <= wanted || front.kind == SlotKind::Packet {
            let mut slot = self.queue.pop_front()?;
            self.bytes -= slot.len;
            slot.len = slot.len.min(wanted);
            return Some(slot);
        }
        let mut page = self.spare.pop().unwrap_or_else(|| Box::new([0; SLOT_SIZE]));
        page[..wanted].copy_from_slice(&front.bytes()[..wanted]);
        front.skip(wanted);
        self.bytes -= wanted;
        Some(Slot::new(page, wanted, SlotKind::Stream))
    }

    /// Puts slots back to the front, in their order: the copy to the reader failed.
    pub fn put_back(&mut self, slots: impl DoubleEndedIterator<Item = Slot>) {
        for slot in slots.rev() {
            self.bytes += slot.len;
            self.queue.push_front(slot);
        }
    }

    fn drop_front(&mut self) {
        if let Some(slot) = self.queue.pop_front() {
            self.bytes -= slot.len;
            self.recycle(std::iter::once(slot.page));
        }
    }
}

/// The pages of slots that have been read.
pub fn pages(batch: impl IntoIterator<Item = Slot>) -> impl Iterator<Item = Page> {
    batch.into_iter().map(Slot::into_page)
}
