//! The file that holds areas, orders and answers, as the Sentry has it mapped; which parts of it are in use.
//!
//! Guests can write the areas of their own threads at any time, and their host process may be killed at any moment: all
//! access is by copies and atomic words.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use host::memory::SharedMapping;
use sync::Mutex;
use sync::levels::Leaf;

use super::layout::{
    AREA, DONE, FILE, HIGH, LOW, LOW_BITS, MAX_AREAS, MAX_ORDERS, ORDER, answers_offset, area_offset,
    order_offset,
};
use crate::api::PlatformError;

/// See the module.
pub(super) struct Shm {
    fd: OwnedFd,
    mapping: SharedMapping,
    areas: Mutex<Slots, Leaf>,
    orders: Mutex<Slots, Leaf>,
}

/// Atomic words, whose alignment is their size.
trait Atomic {}
impl Atomic for AtomicU32 {}
impl Atomic for AtomicU64 {}

/// Numbers that are given out, the lowest first.
struct Slots {
    free: Vec<u32>,
    next: u32,
    end: u32,
}

impl Slots {
    fn new(next: u32, end: u64) -> Slots {
        Slots { free: Vec::new(), next, end: end as u32 }
    }

    /// A number, and whether it was used before.
    fn take(&mut self) -> Option<(u32, bool)> {
        if let Some(slot) = self.free.pop() {
            return Some((slot, true));
        }
        let fresh = (self.next < self.end).then_some((self.next, false));
        self.next += u32::from(fresh.is_some());
        fresh
    }
}

/// A part of the file, given back when dropped: nobody may have it mapped then but the Sentry.
pub(super) struct Part {
    shm: Arc<Shm>,
    kind: Kind,
    slot: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Area,
    Order,
}

impl Shm {
    pub(super) fn new() -> io::Result<Arc<Shm>> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let fd = rustix::fs::memfd_create("runsc-stubs", flags)?;
        rustix::fs::ftruncate(&fd, FILE)?;
        let mapping = SharedMapping::new(&fd, 0, FILE as usize, true)?;
        let shm = Shm {
            fd,
            mapping,
            // The first stays free: a gap above the guest's addresses.
            areas: Mutex::new(Slots::new(1, MAX_AREAS)),
            orders: Mutex::new(Slots::new(0, MAX_ORDERS)),
        };
        let low = (0..LOW).map(|part| DONE | part);
        let high = (0..HIGH).map(|part| part << LOW_BITS);
        let answers: Vec<u8> = low.chain(high).flat_map(u64::to_le_bytes).collect();
        shm.write(answers_offset(), &answers).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Arc::new(shm))
    }

    pub(super) fn raw_fd(&self) -> i32 {
        self.fd.as_fd().as_raw_fd()
    }

    fn at(&self, offset: u64, len: usize) -> *mut u8 {
        assert!(offset + len as u64 <= FILE, "inside the file");
        self.mapping.as_ptr().wrapping_add(offset as usize)
    }

    /// A word that both sides change.
    pub(super) fn word(&self, offset: u64) -> &AtomicU32 {
        self.atomic(offset)
    }

    /// The same of 64 bits.
    pub(super) fn wide_word(&self, offset: u64) -> &AtomicU64 {
        self.atomic(offset)
    }

    fn atomic<A: Atomic>(&self, offset: u64) -> &A {
        let len = size_of::<A>();
        assert!(offset.is_multiple_of(len as u64), "aligned");
        // SAFETY: the word lies in the mapping, which lives as long as `self`, and is aligned; in this process it is
        // accessed atomically or by `usercopy` only, and any bytes are a value of it.
        unsafe { &*self.at(offset, len).cast::<A>() }
    }

    pub(super) fn load(&self, offset: u64) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }

    pub(super) fn store(&self, offset: u64, value: u32) {
        self.word(offset).store(value, Ordering::Release);
    }

    /// Stores with a full barrier.
    pub(super) fn swap(&self, offset: u64, value: u32) -> u32 {
        self.word(offset).swap(value, Ordering::SeqCst)
    }

    /// Copies bytes out.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), PlatformError> {
        let (from, len) = (self.at(offset, bytes.len()), bytes.len());
        // SAFETY: the destination is ours for that length; a fault of the source is survived.
        unsafe { usercopy::copy(bytes.as_mut_ptr(), from, len) }.map_err(no_memory)
    }

    /// Copies bytes in.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), PlatformError> {
        let to = self.at(offset, bytes.len());
        // SAFETY: the source is ours for that length; a fault of the destination is survived, and nothing in this
        // process refers to it.
        unsafe { usercopy::copy(to, bytes.as_ptr(), bytes.len()) }.map_err(no_memory)
    }

    /// An area that holds zeros.
    pub(super) fn take_area(self: &Arc<Shm>) -> Result<Part, PlatformError> {
        let taken = self.areas.lock().take();
        let (slot, used) = taken.ok_or(PlatformError::Exhausted("guest threads of a sandbox"))?;
        let part = Part { shm: Arc::clone(self), kind: Kind::Area, slot };
        // Nothing of one process is shown to another. Of a fresh one the control words make sure that there is memory.
        let len = if used { AREA as usize } else { 64 };
        self.write(part.offset(), &ZEROS[..len])?;
        Ok(part)
    }

    /// An order that holds zeros.
    pub(super) fn take_order(self: &Arc<Shm>) -> Result<Part, PlatformError> {
        let taken = self.orders.lock().take();
        let (slot, used) = taken.ok_or(PlatformError::Exhausted("guest processes of a sandbox"))?;
        let part = Part { shm: Arc::clone(self), kind: Kind::Order, slot };
        let len = if used { ORDER as usize } else { 64 };
        self.write(part.offset(), &ZEROS[..len])?;
        Ok(part)
    }
}

static ZEROS: [u8; AREA as usize] = [0; AREA as usize];

fn no_memory(_: usercopy::Fault) -> PlatformError {
    PlatformError::Exhausted("memory for guest threads")
}

impl Part {
    pub(super) fn shm(&self) -> &Arc<Shm> {
        &self.shm
    }

    pub(super) fn slot(&self) -> u32 {
        self.slot
    }

    /// Where it is in the file.
    pub(super) fn offset(&self) -> u64 {
        match self.kind {
            Kind::Area => area_offset(self.slot),
            Kind::Order => order_offset(self.slot),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let slots = if self.kind == Kind::Area { &self.shm.areas } else { &self.shm.orders };
        slots.lock().free.push(self.slot);
    }
}
