//! Reference counts of pages, by runs of equal counts.

use std::collections::BTreeMap;

use super::Frames;

/// Runs do not overlap; neighbours with equal counts are one run; a page in no run is not given out.
pub(super) struct References {
    /// Start to end and count (at least 1).
    runs: BTreeMap<u64, Run>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    end: u64,
    count: u32,
}

impl References {
    pub(super) fn new() -> References {
        References { runs: BTreeMap::new() }
    }

    /// Fresh pages, with one reference.
    pub(super) fn insert(&mut self, offset: u64, len: u64) {
        debug_assert_eq!(self.unique_prefix(offset, len).0, 0, "fresh pages have references");
        self.runs.insert(offset, Run { end: offset + len, count: 1 });
        self.merge(offset, offset + len);
    }

    /// One more on each page.
    pub(super) fn increment(&mut self, offset: u64, len: u64) {
        let end = offset + len;
        self.split(offset);
        self.split(end);
        let mut covered = 0;
        for (start, run) in self.runs.range_mut(offset..end) {
            run.count = run.count.saturating_add(1);
            covered += run.end - start;
        }
        debug_assert_eq!(covered, len, "reference to pages that nobody owns");
        self.merge(offset, end);
    }

    /// One less on each page; the runs that nobody refers to any more, in order.
    pub(super) fn decrement(&mut self, offset: u64, len: u64) -> Vec<Frames> {
        let end = offset + len;
        self.split(offset);
        self.split(end);
        let mut freed: Vec<Frames> = Vec::new();
        let mut covered = 0;
        for (&start, run) in self.runs.range_mut(offset..end) {
            covered += run.end - start;
            match run.count {
                // A count that ever reached the top is no longer exact: such pages are never freed.
                u32::MAX => {}
                _ => run.count -= 1,
            }
            if run.count == 0 {
                let len = run.end - start;
                match freed.last_mut() {
                    Some(last) if last.offset + last.len == start => last.len += len,
                    _ => freed.push(Frames { offset: start, len }),
                }
            }
        }
        debug_assert_eq!(covered, len, "reference to pages that nobody owns");
        for run in &freed {
            let mut at = run.offset;
            while at < run.offset + run.len {
                match self.runs.remove(&at) {
                    Some(removed) => at = removed.end,
                    None => break,
                }
            }
        }
        self.merge(offset, end);
        freed
    }

    /// See `MemoryFile::unique_prefix`; pages that nobody owns end the prefix.
    pub(super) fn unique_prefix(&self, offset: u64, len: u64) -> (u64, bool) {
        let end = offset + len;
        let mut at = offset;
        let mut unique = None;
        let first = self.runs.range(..=offset).next_back().filter(|(_, run)| run.end > offset);
        for (&start, run) in first.into_iter().chain(self.runs.range(offset + 1..end.max(offset + 1))) {
            if start > at || unique.is_some_and(|u| u != (run.count == 1)) {
                break;
            }
            unique = Some(run.count == 1);
            at = run.end;
        }
        (at.min(end) - offset, unique.unwrap_or(true))
    }

    /// Makes `at` a border between runs.
    fn split(&mut self, at: u64) {
        if let Some((&start, run)) = self.runs.range_mut(..at).next_back()
            && run.end > at
        {
            debug_assert!(start < at);
            let tail = *run;
            run.end = at;
            self.runs.insert(at, tail);
        }
    }

    /// Joins equal neighbours from the run that ends at `from` to the one that starts at `to`.
    fn merge(&mut self, from: u64, to: u64) {
        let first = self.runs.range(..from).next_back().map_or(from, |(&start, _)| start);
        let Some((&(mut start), &(mut run))) = self.runs.range(first..).next() else { return };
        while let Some((&next_start, &next)) = self.runs.range(start + 1..).next() {
            if next_start > to {
                break;
            }
            if next_start == run.end && next.count == run.count {
                run.end = next.end;
                self.runs.remove(&next_start);
                self.runs.insert(start, run);
            } else {
                (start, run) = (next_start, next);
            }
        }
    }
}
