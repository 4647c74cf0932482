//! Runs of the offset space that are not given out. All of them read as zero.

use std::collections::{BTreeMap, BTreeSet};

/// Used runs are preferred to untouched space: that keeps the host's page tables small.
pub(super) struct FreeList {
    /// Start to length; no two runs touch.
    by_start: BTreeMap<u64, u64>,
    /// The same, `(length, start)`.
    by_len: BTreeSet<(u64, u64)>,
    /// From here on nothing was ever given out.
    untouched: u64,
    end: u64,
}

/// Runs of about the right length that are looked at before a longer one is cut.
const CANDIDATES: usize = 4;

impl FreeList {
    pub(super) fn new(start: u64, end: u64) -> FreeList {
        FreeList { by_start: BTreeMap::new(), by_len: BTreeSet::new(), untouched: start, end }
    }

    /// A run of `len` bytes whose start is `phase` above a multiple of `align` (a power of two): the shortest that fits,
    /// lowest first.
    pub(super) fn take(&mut self, len: u64, align: u64, phase: u64) -> Option<u64> {
        let next = |start: u64| start + (phase.wrapping_sub(start) & (align - 1));
        let fits = |&(run, start): &(u64, u64)| {
            let at = next(start);
            (at - start + len <= run).then_some((start, run, at))
        };
        let found = self
            .by_len
            .range((len, 0)..)
            .take(CANDIDATES)
            .find_map(fits)
            .or_else(|| self.by_len.range((len.saturating_add(align), 0)..).next().and_then(fits));
        if let Some((start, run, at)) = found {
            self.remove(start, run);
            self.insert(start, at - start);
            self.insert(at + len, start + run - (at + len));
            return Some(at);
        }
        let at = next(self.untouched);
        let next = at.checked_add(len).filter(|&next| next <= self.end)?;
        self.insert(self.untouched, at - self.untouched);
        self.untouched = next;
        Some(at)
    }

    /// Gives a run back.
    pub(super) fn put(&mut self, start: u64, len: u64) {
        let (mut start, mut len) = (start, len);
        if let Some((&before, &before_len)) = self.by_start.range(..start).next_back()
            && before + before_len == start
        {
            self.remove(before, before_len);
            (start, len) = (before, before_len + len);
        }
        if let Some(&after_len) = self.by_start.get(&(start + len)) {
            self.remove(start + len, after_len);
            len += after_len;
        }
        self.insert(start, len);
    }

    fn insert(&mut self, start: u64, len: u64) {
        if len > 0 {
            self.by_start.insert(start, len);
            self.by_len.insert((len, start));
        }
    }

    fn remove(&mut self, start: u64, len: u64) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
    }
}
