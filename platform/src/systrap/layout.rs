//! What lies where: the block above the guest's addresses, and the file that most of it shows.
//!
//! ```text
//!  base   areas     one a guest thread; only those of the own process are mapped, writable
//!         orders    one a process: what its servant shall do; all are mapped, read-only
//!         known     one a guest thread: what the stub answers; all are mapped, read-only
//!         answers   words that a servant can answer with, read-only
//!         code      the stub, one page
//!         title     what the host shows as the process's command line, a page of its own
//!  end
//! ```
//!
//! Areas, orders, known and answers are one file, in this order, which the Sentry has mapped as a whole.

use std::ops::Range;

use crate::api::PAGE_SIZE;
use crate::guest_process::TASK_SIZE;

/// Bytes of a guest thread's area: control words, and the stack of its signal handler. The stub finds the former from
/// the latter: a power of two, and the alignment of `base`.
pub(super) const AREA: u64 = 16 << 10;
/// Most guest threads.
pub(super) const MAX_AREAS: u64 = 16 << 10;
/// Bytes of an order.
pub(super) const ORDER: u64 = PAGE_SIZE;
/// Most guest processes.
pub(super) const MAX_ORDERS: u64 = 16 << 10;

/// Bytes of what the stub answers to a guest thread: pairs of number and value, found by the lower bits of the number; then words
/// that are not zero while it may answer rt_sigprocmask(2), and set_robust_list(2).
pub(super) const KNOWN: u64 = 256;
pub(super) const MAX_KNOWN: usize = 16;
pub(super) const MASK_IS_OPEN: u64 = MAX_KNOWN as u64 * 8;
pub(super) const LIST_IS_OPEN: u64 = MASK_IS_OPEN + 4;

/// Bytes of all of each.
pub(super) const AREAS: u64 = AREA * MAX_AREAS;
pub(super) const ORDERS: u64 = ORDER * MAX_ORDERS;
pub(super) const KNOWNS: u64 = KNOWN * MAX_AREAS;
pub(super) const ANSWERS: u64 = 12 * PAGE_SIZE;
/// Bytes of the file.
pub(super) const FILE: u64 = AREAS + ORDERS + KNOWNS + ANSWERS;
/// Bytes of the block.
pub(super) const BLOCK: u64 = FILE + 2 * PAGE_SIZE;

/// Answers below this many are told in one word.
pub(super) const LOW: u64 = 1 << LOW_BITS;
pub(super) const LOW_BITS: u32 = 11;
/// Errors are told as this and the error number; results are smaller.
pub(super) const FAILED: u64 = 1 << 22;
/// Upper parts of answers.
pub(super) const HIGH: u64 = (FAILED >> LOW_BITS) + 2;
/// Set in the last word of an answer.
pub(super) const DONE: u64 = 1 << 40;

const _: () = assert!((LOW + HIGH) * 8 <= ANSWERS);

/// The block's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    base: u64,
}

impl Layout {
    /// At a place in the last part of the address space that `spread` (any number) chooses.
    pub(super) fn new(spread: u64) -> Layout {
        let highest = (TASK_SIZE - BLOCK) / AREA;
        Layout { base: (highest - spread % 0x1000) * AREA }
    }

    /// At a given place.
    pub(super) fn at(base: u64) -> Layout {
        Layout { base }
    }

    /// Further down.
    pub(super) fn lower(self) -> Layout {
        Layout { base: self.base - (64 << 20) }
    }

    pub(super) fn base(self) -> u64 {
        self.base
    }

    /// What every process shows of the file.
    pub(super) fn read_only(self) -> Range<u64> {
        self.base + AREAS..self.base + FILE
    }

    pub(super) fn code(self) -> u64 {
        self.base + FILE
    }

    /// The host shows a command line only of memory that belongs to no file.
    pub(super) fn title(self) -> u64 {
        self.code() + PAGE_SIZE
    }

    /// Address of an area.
    pub(super) fn area(self, slot: u32) -> u64 {
        self.base + area_offset(slot)
    }

    /// Address of an order.
    pub(super) fn order(self, slot: u32) -> u64 {
        self.base + order_offset(slot)
    }
}

/// Places in the file.
pub(super) fn area_offset(slot: u32) -> u64 {
    u64::from(slot) * AREA
}

pub(super) fn order_offset(slot: u32) -> u64 {
    AREAS + u64::from(slot) * ORDER
}

/// What is known to the thread of an area.
pub(super) fn known_offset(slot: u32) -> u64 {
    AREAS + ORDERS + u64::from(slot) * KNOWN
}

pub(super) const fn answers_offset() -> u64 {
    AREAS + ORDERS + KNOWNS
}
