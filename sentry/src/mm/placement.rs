//! Where a mapping goes when the guest does not say, with Linux's rules.

use std::ops::Range;

use super::vma::{Vma, VmaFlags};
use super::{Inner, MMAP_MIN_ADDR, PAGE, STACK_GUARD_GAP, TASK_SIZE, page_down};

/// The area of MAP_32BIT.
const LOW_AREA: Range<u64> = 0x4000_0000..0x8000_0000;

/// What the last search learned, so that the next need not walk over the same mappings.
#[derive(Clone, Copy)]
pub(super) struct HolesHint {
    /// Where the search began.
    base: u64,
    /// Between here and `base` …
    above: u64,
    /// … no hole is larger than this.
    largest: u64,
}

impl Inner {
    /// A free range of `len` bytes: at `hint` if that is free, else where the process's layout has mappings.
    pub fn find_free(&mut self, hint: u64, len: u64, low_area: bool) -> Option<u64> {
        let all = self.user_range.clone();
        if len > all.end - all.start {
            return None;
        }
        if hint != 0 {
            let hint = page_down(hint).max(MMAP_MIN_ADDR);
            if self.can_place(hint, len) && (!low_area || hint + len <= LOW_AREA.end) {
                return Some(hint);
            }
        }
        if low_area {
            return self.find_bottom_up(len, LOW_AREA);
        }
        let base = self.layout.mmap_base.clamp(all.start, all.end);
        if self.layout.mmap_bottom_up {
            return self.find_bottom_up(len, base..all.end);
        }
        // Below the base first; when that is full, above a third of everything.
        self.find_top_down(len, base)
            .or_else(|| self.find_bottom_up(len, TASK_SIZE / 3 / PAGE * PAGE..all.end))
    }

    /// Whether `len` bytes at `at` are free, with the gap that a stack above needs.
    fn can_place(&self, at: u64, len: u64) -> bool {
        let Some(end) = at.checked_add(len) else { return false };
        if at < self.user_range.start || end > self.user_range.end {
            return false;
        }
        match self.vmas.find_or_next(at) {
            Some((range, vma)) => end <= start_with_gap(&range, vma),
            None => true,
        }
    }

    /// The highest hole of `len` bytes below `base`.
    fn find_top_down(&mut self, len: u64, base: u64) -> Option<u64> {
        let hint = self.holes_hint.filter(|hint| hint.base == base && len > hint.largest);
        let mut largest = hint.map_or(0, |hint| hint.largest);
        let mut end = hint.map_or(base, |hint| hint.above);
        let lowest = self.user_range.start;
        if let Some((range, vma)) = self.vmas.find_or_next(end) {
            end = end.min(start_with_gap(&range, vma));
        }
        for (range, vma) in self.vmas.overlapping(lowest..end.max(lowest + 1)).rev() {
            let hole = end.saturating_sub(range.end);
            if hole >= len {
                break;
            }
            largest = largest.max(hole);
            end = end.min(start_with_gap(&range, vma));
        }
        let at = end.checked_sub(len).filter(|at| *at >= lowest)?;
        self.holes_hint = Some(HolesHint { base, above: at, largest });
        Some(at)
    }

    /// Mappings have gone from `range`: the hole that is there now may be the highest that is large enough.
    pub fn note_hole(&mut self, range: &Range<u64>) {
        if let Some(hint) = &mut self.holes_hint
            && range.end > hint.above
        {
            let hole_end = self.vmas.hole_end(range.end, hint.base);
            hint.above = hint.above.max(hole_end).min(hint.base);
        }
    }

    fn find_bottom_up(&self, len: u64, area: Range<u64>) -> Option<u64> {
        let mut at = area.start;
        for (range, vma) in self.vmas.overlapping(area.clone()) {
            if start_with_gap(&range, vma) >= at.checked_add(len)? {
                break;
            }
            at = at.max(range.end);
        }
        let end = at.checked_add(len)?;
        (end <= area.end && self.can_place(at, len)).then_some(at)
    }
}

/// Where the space that belongs to a mapping begins: below a stack there is a gap.
pub(super) fn start_with_gap(range: &Range<u64>, vma: &Vma) -> u64 {
    if vma.flags.contains(VmaFlags::GROWSDOWN) {
        range.start.saturating_sub(STACK_GUARD_GAP)
    } else {
        range.start
    }
}
