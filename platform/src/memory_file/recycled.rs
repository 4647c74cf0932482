//! Short runs that were freed a moment ago and still hold what somebody wrote.
//!
//! To give a run back to the host, and to take fresh pages from it soon after, costs more than a copy on write itself. So a
//! few short runs are kept as they are, for callers that write every byte before anybody else can see it.

use std::collections::VecDeque;

use super::Frames;
use crate::api::PAGE_SIZE;

/// Longer runs are given back to the host.
const LONGEST: u64 = 16 * PAGE_SIZE;
/// What is kept at most.
const MOST_BYTES: u64 = 2 << 20;

#[derive(Default)]
pub(super) struct Recycled {
    /// The one that was kept first is the first.
    runs: VecDeque<Frames>,
    bytes: u64,
}

impl Recycled {
    /// Keeps a run, if it is short. What there is no room for any more, the run itself if it is long, is the caller's.
    pub(super) fn keep(&mut self, run: Frames, others: &mut Vec<Frames>) {
        if run.len > LONGEST {
            others.push(run);
            return;
        }
        self.bytes += run.len;
        self.runs.push_back(run);
        while self.bytes > MOST_BYTES
            && let Some(oldest) = self.runs.pop_front()
        {
            self.bytes -= oldest.len;
            others.push(oldest);
        }
    }

    /// `len` bytes: of the run that was kept last among those that are long enough.
    pub(super) fn take(&mut self, len: u64) -> Option<Frames> {
        let at = self.runs.iter().rposition(|run| run.len >= len)?;
        self.bytes -= len;
        let run = &mut self.runs[at];
        let taken = Frames { offset: run.offset, len };
        if run.len == len {
            self.runs.remove(at);
        } else {
            *run = Frames { offset: run.offset + len, len: run.len - len };
        }
        Some(taken)
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> Vec<Frames> {
        self.bytes = 0;
        std::mem::take(&mut self.runs).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(page: u64, pages: u64) -> Frames {
        Frames { offset: page * PAGE_SIZE, len: pages * PAGE_SIZE }
    }

    #[test]
    fn short_runs_are_kept_and_cut() {
        let (mut recycled, mut others) = (Recycled::default(), Vec::new());
        for run in [run(0, 17), run(100, 16), run(200, 2)] {
            recycled.keep(run, &mut others);
        }
        assert_eq!(others, [run(0, 17)]);
        assert_eq!(recycled.take(3 * PAGE_SIZE), Some(run(100, 3)));
        assert_eq!(recycled.take(2 * PAGE_SIZE), Some(run(200, 2)));
        assert_eq!(recycled.take(14 * PAGE_SIZE), None);
        assert_eq!(recycled.drain(), [run(103, 13)]);
        assert_eq!(recycled.bytes, 0);
    }

    #[test]
    fn the_oldest_run_makes_room() {
        let (mut recycled, mut others) = (Recycled::default(), Vec::new());
        let most = MOST_BYTES / PAGE_SIZE;
        for page in 0..most {
            recycled.keep(run(page, 1), &mut others);
        }
        assert!(others.is_empty());
        recycled.keep(run(1000, 2), &mut others);
        assert_eq!(others, [run(0, 1), run(1, 1)]);
        assert_eq!(recycled.take(2 * PAGE_SIZE), Some(run(1000, 2)));
        assert_eq!(recycled.drain().len() as u64, most - 2);
    }
}
