//! Short runs that were freed a moment ago and still hold what somebody wrote.
//!
//! To give a run back to the host, and to take fresh pages from it soon after, costs more than a copy on write itself. So a
//! few short runs are kept as they are, for callers that write every byte before anybody else can see it.

use super::Frames;
use crate::api::PAGE_SIZE;

/// Longer runs are given back to the host.
const LONGEST: u64 = 16 * PAGE_SIZE;
/// What is kept at most.
const MOST_BYTES: u64 = 2 << 20;

#[derive(Default)]
pub(super) struct Recycled {
    runs: Vec<Frames>,
    bytes: u64,
}

impl Recycled {
    /// Keeps a run, if it is short and there is room.
    pub(super) fn keep(&mut self, run: Frames) -> bool {
        let fits = run.len <= LONGEST && self.bytes + run.len <= MOST_BYTES;
        if fits {
            self.bytes += run.len;
            self.runs.push(run);
        }
        fits
    }

    /// `len` bytes: of the run that was kept last among those that are long enough.
    pub(super) fn take(&mut self, len: u64) -> Option<Frames> {
        let at = self.runs.iter().rposition(|run| run.len >= len)?;
        self.bytes -= len;
        let run = &mut self.runs[at];
        let taken = Frames { offset: run.offset, len };
        if run.len == len {
            self.runs.swap_remove(at);
        } else {
            *run = Frames { offset: run.offset + len, len: run.len - len };
        }
        Some(taken)
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> Vec<Frames> {
        self.bytes = 0;
        std::mem::take(&mut self.runs)
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
        let mut recycled = Recycled::default();
        assert!(!recycled.keep(run(0, 17)));
        assert!(recycled.keep(run(100, 16)) && recycled.keep(run(200, 2)));
        assert_eq!(recycled.take(3 * PAGE_SIZE), Some(run(100, 3)));
        assert_eq!(recycled.take(2 * PAGE_SIZE), Some(run(200, 2)));
        assert_eq!(recycled.take(14 * PAGE_SIZE), None);
        assert_eq!(recycled.drain(), [run(103, 13)]);
        assert_eq!(recycled.bytes, 0);
        let kept = (0..1000).filter(|i| recycled.keep(run(i * 16, 16))).count() as u64;
        assert_eq!(kept * 16 * PAGE_SIZE, MOST_BYTES);
    }
}
