//! Where a mapping goes when the guest does not say, with Linux's rules.

use std::ops::Range;

use super::vma::{Vma, VmaFlags};
use super::{Inner, MMAP_MIN_ADDR, PAGE, STACK_GUARD_GAP, TASK_SIZE, page_down};

/// The area of MAP_32BIT.
const LOW_AREA: Range<u64> = 0x4000_0000..0x8000_0000;

impl Inner {
    /// A free range of `len` bytes: at `hint` if that is free, else where the process's layout has mappings.
    pub fn find_free(&self, hint: u64, len: u64, low_area: bool) -> Option<u64> {
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
        self.find_top_down(len, all.start..base)
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

    fn find_top_down(&self, len: u64, area: Range<u64>) -> Option<u64> {
        let mut end = match self.vmas.find_or_next(area.end) {
            Some((range, vma)) => start_with_gap(&range, vma).min(area.end),
            None => area.end,
        };
        for (range, vma) in self.vmas.overlapping(area.start..area.end).rev() {
            if range.end <= end && end - range.end >= len {
                break;
            }
            end = end.min(start_with_gap(&range, vma));
        }
        let at = end.checked_sub(len)?;
        (at >= area.start && self.can_place(at, len)).then_some(at)
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
