//! Pages that are written soon after each fork(2): the stack, thread data, the C library's books.
//!
//! Shared with a child, each costs both sides a fault and two changes of the host's mappings, which takes many times what it takes to
//! copy it. So a process learns from what was copied for its children and itself after a fork, and later children get their
//! copies of that at once, while the parent's pages stay as they are. Its children know what it knows, as long as they run the
//! same program: a shell forks from forks. It forgets from time to time, as a copy that would not have been needed looks like one that was.
//!
//! Most processes fork only once. So the first forks of a program, when little is known, go by a guess: short runs of pages that
//! can be written, which are the data of program and libraries, and the end of the stack. That is several times of what is written, so a program
//! that forks on has only the pages copied that were seen to be.
//!
//! Lock level: `Leaf`.

use std::ops::Range;

use sync::Mutex;
use sync::levels::Leaf;

use super::vma::VmaFlags;
use super::{Inner, PAGE};

/// Most ranges that are remembered, and most bytes of all of them.
const MAX_RANGES: usize = 16;
const MAX_BYTES: u64 = 128 * PAGE;
/// Copies after a fork that are looked at, on each side.
pub(super) const LOOKED_AT: u32 = 16;
/// The longest run that is taken for data of a program or library, and what is taken of a stack.
const SHORT: u64 = 16 * PAGE;
/// Forks that take their guess along with what is known. After so many the program is one that forks often: it pays then to know the pages
/// that are really written.
const GUESSES: u32 = 3;
/// Forks after which everything is learned anew.
const MAX_FORKS: u32 = 256;

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
        join(&mut self.0.lock().ranges, range.clone());
    }

    /// Before a fork: what to copy for the child. `guess` says what that may be while little is known.
    fn for_child(&self, guess: impl FnOnce() -> Vec<Range<u64>>) -> Vec<Range<u64>> {
        let (mut ranges, guesses) = {
            let mut state = self.0.lock();
            state.forks += 1;
            if state.forks > MAX_FORKS {
                *state = State { ranges: Vec::new(), forks: GUESSES + 1 };
            }
            (state.ranges.clone(), state.forks <= GUESSES)
        };
        if guesses {
            guess().into_iter().for_each(|range| join(&mut ranges, range));
        }
        ranges
    }
}

/// Adds a range, as long as all of them are not too many: with those that it touches it becomes one.
fn join(ranges: &mut Vec<Range<u64>>, mut range: Range<u64>) {
    let mut joined = Vec::with_capacity(ranges.len() + 1);
    for other in ranges.iter() {
        if other.end < range.start || range.end < other.start {
            joined.push(other.clone());
        } else {
            range = range.start.min(other.start)..range.end.max(other.end);
        }
    }
    joined.push(range);
    let bytes: u64 = joined.iter().map(|range| range.end - range.start).sum();
    if joined.len() <= MAX_RANGES && bytes <= MAX_BYTES {
        *ranges = joined;
    }
}

impl Inner {
    /// Before a fork: what the child is to have its own copies of.
    pub(super) fn hot_pages(&self) -> Vec<Range<u64>> {
        self.hot.for_child(|| self.likely_hot())
    }

    /// What a program that has not forked yet is likely to write after that.
    fn likely_hot(&self) -> Vec<Range<u64>> {
        let stacks = self.vmas.iter().filter(|(_, vma)| vma.flags.contains(VmaFlags::GROWSDOWN));
        let ends = stacks.map(|(at, _)| at.start.max(at.end.saturating_sub(SHORT))..at.end);
        let short = self
            .pages
            .pmas
            .iter()
            .filter(|(at, pma)| pma.private && pma.writable() && at.end - at.start <= SHORT);
        let mut likely: Vec<Range<u64>> = ends.collect();
        likely.extend(short.map(|(at, _)| at).take(2 * MAX_RANGES));
        likely
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
        assert_eq!(hot.for_child(Vec::new), [10 * PAGE..13 * PAGE, 30 * PAGE..31 * PAGE]);
        for start in 0..100 {
            hot.note(&((start * 20 + 100) * PAGE..(start * 20 + 116) * PAGE));
        }
        let all = hot.for_child(Vec::new);
        assert!(all.len() <= MAX_RANGES && all.iter().map(|r| r.end - r.start).sum::<u64>() <= MAX_BYTES);
        for _ in 0..MAX_FORKS {
            hot.for_child(Vec::new);
        }
        assert!(hot.for_child(Vec::new).is_empty());
    }

    #[test]
    fn guesses_end_and_what_was_seen_stays() {
        let hot = Hot::default();
        let likely = [5 * PAGE..7 * PAGE, 9 * PAGE..10 * PAGE];
        assert_eq!(hot.for_child(|| likely.to_vec()), likely);
        let seen = 6 * PAGE..8 * PAGE;
        hot.note(&seen);
        for _ in 1..GUESSES {
            assert_eq!(hot.for_child(|| likely.to_vec()), [5 * PAGE..8 * PAGE, 9 * PAGE..10 * PAGE]);
        }
        for _ in GUESSES..MAX_FORKS {
            assert_eq!(hot.for_child(|| panic!("enough is known")), std::slice::from_ref(&seen));
        }
        assert_eq!(hot.for_child(|| panic!("it forks often")), []);
    }
}
