//! Changes of an address space that its process has not made yet.
//!
//! They are kept as the state that each address shall have, not as a list of calls: the size is bounded by what the
//! address space can hold, and what a later call undoes is never done at all.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::HostFile;
use crate::api::{Backing, Prot};

/// What shall be done with a range.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Show `Source`.
    Map(Source, Prot),
    /// Show nothing.
    Unmap,
    /// Change the protection of what is there.
    Protect(Prot),
}

/// [`Backing`] that keeps its file.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(u64),
    File(Arc<HostFile>, u64),
}

impl Source {
    pub(crate) fn new(backing: Backing<'_>) -> Source {
        match backing {
            Backing::Memory(offset) => Source::Memory(offset),
            Backing::File(file, offset) => Source::File(file.clone(), offset),
        }
    }

    fn advanced(&self, by: u64) -> Source {
        match self {
            Source::Memory(offset) => Source::Memory(offset + by),
            Source::File(file, offset) => Source::File(file.clone(), offset + by),
        }
    }
}

/// Disjoint ranges: start to end and change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending(BTreeMap<u64, (u64, Change)>);

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a change that comes after those that are there.
    pub(crate) fn add(&mut self, range: Range<u64>, change: Change) {
        let Change::Protect(prot) = change else {
            self.forget(range.clone());
            self.0.insert(range.start, (range.end, change));
            return;
        };
        self.split(range.start);
        self.split(range.end);
        let mut gaps = Vec::new();
        let mut at = range.start;
        for (&start, (end, change)) in self.0.range_mut(range.clone()) {
            if at < start {
                gaps.push(at..start);
            }
            at = *end;
            match change {
                Change::Map(_, old) | Change::Protect(old) => *old = prot,
                Change::Unmap => {}
            }
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        for gap in gaps {
            self.0.insert(gap.start, (gap.end, Change::Protect(prot)));
        }
    }

    /// Whether one of the changes is for `address`.
    pub(crate) fn holds(&self, address: u64) -> bool {
        self.0.range(..=address).next_back().is_some_and(|(_, (end, _))| address < *end)
    }

    /// How many bytes of `range` they are for.
    pub(crate) fn len_within(&self, range: &Range<u64>) -> u64 {
        let before = self.0.range(..range.start).next_back();
        let parts = before.into_iter().chain(self.0.range(range.clone()));
        parts.map(|(&start, (end, _))| (*end).min(range.end).saturating_sub(start.max(range.start))).sum()
    }

    /// Gives up the changes for `range`.
    pub(crate) fn forget(&mut self, range: Range<u64>) {
        self.split(range.start);
        self.split(range.end);
        while let Some((&start, _)) = self.0.range(range.clone()).next() {
            self.0.remove(&start);
        }
    }

    /// Takes all changes, lowest address first.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (Range<u64>, Change)> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|(start, (end, change))| (start..end, change))
    }

    /// Makes `at` a border.
    fn split(&mut self, at: u64) {
        if let Some((&start, (end, change))) = self.0.range_mut(..at).next_back()
            && *end > at
        {
            let tail = match change {
                Change::Map(source, prot) => Change::Map(source.advanced(at - start), *prot),
                other => other.clone(),
            };
            let tail_end = std::mem::replace(end, at);
            self.0.insert(at, (tail_end, tail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pending: &mut Pending) -> Vec<(u64, u64, String)> {
        let text = |change: Change| match change {
            Change::Map(Source::Memory(offset), prot) => format!("map {offset} {}", prot.bits()),
            Change::Map(..) => "file".into(),
            Change::Unmap => "unmap".into(),
            Change::Protect(prot) => format!("protect {}", prot.bits()),
        };
        pending.take().map(|(range, change)| (range.start, range.end, text(change))).collect()
    }

    #[test]
    fn the_last_change_of_each_address_stays() {
        let mut pending = Pending::default();
        pending.add(0..10, Change::Map(Source::Memory(100), Prot::READ));
        pending.add(4..6, Change::Unmap);
        pending.add(2..14, Change::Protect(Prot::WRITE));
        assert_eq!(
            shown(&mut pending),
            [
                (0, 2, "map 100 1".into()),
                (2, 4, "map 102 2".into()),
                (4, 6, "unmap".into()),
                (6, 10, "map 106 2".into()),
                (10, 14, "protect 2".into()),
            ]
        );
        assert!(pending.is_empty());
        pending.add(5..6, Change::Unmap);
        pending.add(0..10, Change::Map(Source::Memory(0), Prot::READ));
        assert_eq!(shown(&mut pending), [(0, 10, "map 0 1".into())]);
    }

    #[test]
    fn parts_are_counted_and_given_up() {
        let mut pending = Pending::default();
        pending.add(2..10, Change::Map(Source::Memory(100), Prot::READ));
        pending.add(12..14, Change::Map(Source::Memory(0), Prot::READ));
        assert_eq!(
            [1, 2, 9, 10, 13, 14].map(|at| pending.holds(at)),
            [false, true, true, false, true, false]
        );
        assert_eq!([0..20, 0..2, 4..13, 10..12, 14..20].map(|at| pending.len_within(&at)), [10, 0, 7, 0, 0]);
        pending.forget(4..13);
        assert_eq!(shown(&mut pending), [(2, 4, "map 100 1".into()), (13, 14, "map 1 1".into())]);
    }
}
