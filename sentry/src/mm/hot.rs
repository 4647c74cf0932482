//! Pages that are written soon after each fork(2): the stack, thread data, the C library's books.
//!
//! Shared with a child, each costs both sides a fault and two changes of the host's mappings, which takes many times what it takes to
//! copy it. So a process learns from what was copied for its children and itself after a fork, and later children get their
//! copies of that at once, while the parent's pages stay as they are. It forgets from time to time, as a copy that would not have been
//! needed looks like one that was.
//!
//! Lock level: `Leaf`.

use std::ops::Range;

use sync::Mutex;
use sync::levels::Leaf;

use super::PAGE;

/// Most ranges that are remembered, and most bytes of all of them.
const MAX_RANGES: usize = 8;
const MAX_BYTES: u64 = 64 * PAGE;
/// Copies after a fork that are looked at, on each side.
pub(super) const LOOKED_AT: u32 = 8;
/// Forks after which everything is learned anew.
const MAX_FORKS: u32 = 64;

/// What the children of an address space are likely to write.
#[derive(Default)]
pub(super) struct Hot(Mutex<State, Leaf>);

#[derive(Default)]
struct State {
    /// Disjoint.
    ranges: Vec<Range<u64>>,
    forks: u32,
}

impl Hot {
    /// The pages in `range` had to be copied soon after a fork.
    pub(super) fn note(&self, range: &Range<u64>) {
        let mut state = self.0.lock();
        let mut range = range.clone();
        // What touches it becomes one with it.
        state.ranges.retain(|other| {
            let apart = other.end < range.start || range.end < other.start;
            if !apart {
                range = range.start.min(other.start)..range.end.max(other.end);
            }
            apart
        });
        let bytes: u64 = state.ranges.iter().chain([&range]).map(|range| range.end - range.start).sum();
        if state.ranges.len() < MAX_RANGES && bytes <= MAX_BYTES {
            state.ranges.push(range);
        }
    }

    /// Before a fork: what to copy for the child.
    pub(super) fn for_child(&self) -> Vec<Range<u64>> {
        let mut state = self.0.lock();
        state.forks += 1;
        if state.forks > MAX_FORKS {
            *state = State::default();
        }
        state.ranges.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_touches_is_one_and_all_of_it_is_bounded() {
        let hot = Hot::default();
        for start in [10, 12, 11, 30] {
            hot.note(&(start * PAGE..(start + 1) * PAGE));
        }
        assert_eq!(hot.for_child(), [10 * PAGE..13 * PAGE, 30 * PAGE..31 * PAGE]);
        for start in 0..100 {
            hot.note(&((start * 20 + 100) * PAGE..(start * 20 + 116) * PAGE));
        }
        let all = hot.for_child();
        assert!(all.len() <= MAX_RANGES && all.iter().map(|r| r.end - r.start).sum::<u64>() <= MAX_BYTES);
        for _ in 0..MAX_FORKS {
            hot.for_child();
        }
        assert!(hot.for_child().is_empty());
    }
}
