//! A map from address ranges to values that can be split and merged.
//!
//! Both the mappings ([`Vma`](super::vma::Vma)) and their pages ([`Pma`](super::pma::Pma)) of an address space are
//! kept in one of these. Ranges never overlap, are never empty, and neighbours that continue each other are one.

use std::collections::BTreeMap;
use std::ops::Range;

/// A value that covers a range.
pub(super) trait Piece: Clone {
    /// The value of what is left when `bytes` at the front are cut off.
    fn advance(&mut self, bytes: u64);
    /// Whether `next`, which begins right behind `len` bytes of `self`, can be one piece with it.
    fn continued_by(&self, len: u64, next: &Self) -> bool;
}

#[derive(Clone)]
struct Slot<T> {
    end: u64,
    value: T,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Ranges<T> {
    slots: BTreeMap<u64, Slot<T>>,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Ranges { slots: BTreeMap::new() }
    }
}

impl<T: Piece> Ranges<T> {
    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The piece that contains `at`.
    pub fn find(&self, at: u64) -> Option<(Range<u64>, &T)> {
        let (&start, slot) = self.slots.range(..=at).next_back()?;
        (at < slot.end).then_some((start..slot.end, &slot.value))
    }

    /// The piece that contains `at`, or else the next one.
    pub fn find_or_next(&self, at: u64) -> Option<(Range<u64>, &T)> {
        self.find(at).or_else(|| {
            let (&start, slot) = self.slots.range(at..).next()?;
            Some((start..slot.end, &slot.value))
        })
    }

    /// The last piece that begins before `at`.
    pub fn before(&self, at: u64) -> Option<(Range<u64>, &T)> {
        let (&start, slot) = self.slots.range(..at).next_back()?;
        Some((start..slot.end, &slot.value))
    }

    /// All pieces in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Range<u64>, &T)> {
        self.slots.iter().map(|(&start, slot)| (start..slot.end, &slot.value))
    }

    /// The pieces that touch `range`, whole (not clipped), in order.
    pub fn overlapping(&self, range: Range<u64>) -> impl DoubleEndedIterator<Item = (Range<u64>, &T)> {
        let first = match self.find(range.start) {
            Some((found, _)) => found.start,
            None => range.start,
        };
        let slots = self.slots.range(first..range.end.max(first));
        slots.map(|(&start, slot)| (start..slot.end, &slot.value))
    }

    /// The pieces that touch `range`, each cut to it, as copies.
    pub fn clipped(&self, range: Range<u64>) -> Vec<(Range<u64>, T)> {
        debug_assert!(range.start < range.end);
        let overlapping = self.overlapping(range.clone());
        overlapping.map(|(at, value)| (clip(&at, &range), cut(&at, value, &range))).collect()
    }

    /// Whether nothing touches `range`.
    pub fn is_free(&self, range: Range<u64>) -> bool {
        self.overlapping(range).next().is_none()
    }

    /// The ranges inside `range` that no piece covers.
    pub fn holes(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut holes = Vec::new();
        let mut at = range.start;
        for (piece, _) in self.overlapping(range.clone()) {
            if at < piece.start {
                holes.push(at..piece.start);
            }
            at = piece.end;
        }
        if at < range.end {
            holes.push(at..range.end);
        }
        holes
    }

    /// Where the hole that contains `at` ends: the start of the next piece, or `limit`.
    pub fn hole_end(&self, at: u64, limit: u64) -> u64 {
        self.slots.range(at..).next().map_or(limit, |(&start, _)| start.min(limit))
    }

    /// Adds a piece over a free range and merges it with its neighbours.
    pub fn insert(&mut self, range: Range<u64>, value: T) {
        debug_assert!(range.start < range.end && self.is_free(range.clone()));
        self.slots.insert(range.start, Slot { end: range.end, value });
        self.merge(range);
    }

    /// Takes out what lies in `range`, splitting at its ends.
    pub fn remove(&mut self, range: Range<u64>) -> Vec<(Range<u64>, T)> {
        self.split(range.start);
        self.split(range.end);
        let mut removed = Vec::new();
        while let Some((&start, _)) = self.slots.range(range.clone()).next() {
            if let Some(slot) = self.slots.remove(&start) {
                removed.push((start..slot.end, slot.value));
            }
        }
        removed
    }

    /// Changes what lies in `range`, splitting at its ends and merging afterwards.
    pub fn update(&mut self, range: Range<u64>, mut change: impl FnMut(Range<u64>, &mut T)) {
        self.split(range.start);
        self.split(range.end);
        for (&start, slot) in self.slots.range_mut(range.clone()) {
            change(start..slot.end, &mut slot.value);
        }
        self.merge(range);
    }

    /// Moves the start of the piece that begins at `from` down to `to`, which must be free (stack growth).
    pub fn extend_down(&mut self, from: u64, to: u64) {
        debug_assert!(to < from && self.is_free(to..from));
        if let Some(slot) = self.slots.remove(&from) {
            let end = slot.end;
            self.slots.insert(to, slot);
            self.merge(to..end);
        }
    }

    /// Takes everything out.
    pub fn take(&mut self) -> Vec<(Range<u64>, T)> {
        let slots = std::mem::take(&mut self.slots);
        slots.into_iter().map(|(start, slot)| (start..slot.end, slot.value)).collect()
    }

    fn split(&mut self, at: u64) {
        let Some((&start, slot)) = self.slots.range_mut(..at).next_back() else { return };
        if slot.end <= at {
            return;
        }
        let mut value = slot.value.clone();
        value.advance(at - start);
        let end = std::mem::replace(&mut slot.end, at);
        self.slots.insert(at, Slot { end, value });
    }

    /// Merges the pieces in `range` with each other and with the neighbours on both sides.
    fn merge(&mut self, range: Range<u64>) {
        let first = self.slots.range(..range.start).next_back().map_or(range.start, |(&start, _)| start);
        let mut at = first;
        while at < range.end
            && let Some((&start, slot)) = self.slots.range(at..range.end).next()
        {
            let end = slot.end;
            let joins =
                self.slots.get(&end).is_some_and(|next| slot.value.continued_by(end - start, &next.value));
            if !joins {
                at = end;
                continue;
            }
            let next_end = self.slots.remove(&end).map_or(end, |next| next.end);
            if let Some(slot) = self.slots.get_mut(&start) {
                slot.end = next_end;
            }
            at = start;
        }
    }
}

/// The common part of two ranges that touch.
pub(super) fn clip(range: &Range<u64>, to: &Range<u64>) -> Range<u64> {
    range.start.max(to.start)..range.end.min(to.end)
}

/// `value`, which covers `at`, cut to where `to` begins.
fn cut<T: Piece>(at: &Range<u64>, value: &T, to: &Range<u64>) -> T {
    let mut value = value.clone();
    if to.start > at.start {
        value.advance(to.start - at.start);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Span(u64);

    impl Piece for Span {
        fn advance(&mut self, bytes: u64) {
            self.0 += bytes;
        }
        fn continued_by(&self, len: u64, next: &Self) -> bool {
            self.0 + len == next.0
        }
    }

    fn all(ranges: &Ranges<Span>) -> Vec<(u64, u64, u64)> {
        ranges.iter().map(|(range, span)| (range.start, range.end, span.0)).collect()
    }

    #[test]
    fn neighbours_that_continue_each_other_are_one() {
        let mut ranges = Ranges::default();
        ranges.insert(10..20, Span(100));
        ranges.insert(30..40, Span(120));
        ranges.insert(20..30, Span(110));
        assert_eq!(all(&ranges), [(10, 40, 100)]);
        ranges.insert(40..50, Span(7));
        assert_eq!(all(&ranges), [(10, 40, 100), (40, 50, 7)]);
    }

    #[test]
    fn removal_splits_and_keeps_offsets() {
        let mut ranges = Ranges::default();
        ranges.insert(10..40, Span(100));
        assert_eq!(ranges.remove(15..20), [(15..20, Span(105))]);
        assert_eq!(all(&ranges), [(10, 15, 100), (20, 40, 110)]);
        assert_eq!(ranges.holes(0..50), [0..10, 15..20, 40..50]);
        assert!(ranges.is_free(15..20) && !ranges.is_free(14..20));
        assert_eq!(ranges.hole_end(16, 1000), 20);
        assert_eq!(ranges.hole_end(40, 1000), 1000);
    }

    #[test]
    fn update_splits_then_merges_again() {
        let mut ranges = Ranges::default();
        ranges.insert(0..30, Span(0));
        ranges.update(10..20, |_, span| span.0 += 1000);
        assert_eq!(ranges.len(), 3);
        ranges.update(0..30, |range, span| span.0 = range.start);
        assert_eq!(all(&ranges), [(0, 30, 0)]);
        assert_eq!(ranges.clipped(5..12), [(5..12, Span(5))]);
    }
}
