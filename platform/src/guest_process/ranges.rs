//! A set of addresses, as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither overlap nor touch: start to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if let Some((&before, &before_end)) = self.0.range(..=start).next_back()
            && before_end >= start
        {
            if before_end >= end {
                return;
            }
            start = before;
        }
        while let Some((&next, &next_end)) = self.0.range(start..).next()
            && next <= end
        {
            self.0.remove(&next);
            end = end.max(next_end);
        }
        self.0.insert(start, end);
    }

    /// Takes a range away.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        if let Some((&before, before_end)) = self.0.range_mut(..range.start).next_back()
            && *before_end > range.start
        {
            let tail = *before_end;
            *before_end = range.start;
            debug_assert!(before < range.start);
            if tail > range.end {
                self.0.insert(range.end, tail);
                return;
            }
        }
        while let Some((&next, &next_end)) = self.0.range(range.start..range.end).next() {
            self.0.remove(&next);
            if next_end > range.end {
                self.0.insert(range.end, next_end);
                return;
            }
        }
    }

    /// The parts of `range` that are in the set.
    pub(crate) fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let before = self.0.range(..range.start).next_back();
        let (from, to) = (range.start, range.end);
        before
            .into_iter()
            .chain(self.0.range(from..to))
            .map(move |(&start, &end)| start.max(from)..end.min(to))
            .filter(|part| part.start < part.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_bit_map() {
        let mut ranges = Ranges::default();
        let mut model = [false; 64];
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        for _ in 0..3000 {
            let start = random(63);
            let end = start + 1 + random(64 - start).min(20);
            let (s, e) = (start as usize, end.min(64) as usize);
            if random(2) == 0 {
                ranges.insert(start..e as u64);
                model[s..e].fill(true);
            } else {
                ranges.remove(start..e as u64);
                model[s..e].fill(false);
            }
            let mut seen = [false; 64];
            let mut last = None;
            for part in ranges.within(0..64) {
                assert!(last.is_none_or(|l| l < part.start), "ranges touch");
                last = Some(part.end);
                seen[part.start as usize..part.end as usize].fill(true);
            }
            assert_eq!(seen, model);
            let inside: u64 = ranges.within(10..30).map(|r| r.end - r.start).sum();
            assert_eq!(inside, model[10..30].iter().filter(|&&b| b).count() as u64);
        }
    }
}
