//! Frames of mappings that were taken away a moment ago, for the next mapping of the same address space.
//!
//! Programs map and unmap in turns: buffers, temporary heaps. To give frames back to the host and to have it make new ones,
//! page by page in faults, costs several times what it costs to clear frames that are there. So some are kept: not many, for
//! they are memory that nobody uses.

use platform::{Frames, MemoryFile};

use super::PAGE;

/// Longer runs are given back.
const LONGEST: u64 = 256 * PAGE;
/// What an address space keeps at most.
const MOST: u64 = 512 * PAGE;
/// In so many runs at most.
const MAX_RUNS: usize = 16;

/// Where frames may be taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// Only the offsets that are wanted: they join the neighbours' frames.
    Wanted,
    /// Any run, if not from there.
    AnyRun,
}

/// Runs with one reference on each page, which is the owner's. They hold what the guest left there.
#[derive(Default)]
pub(super) struct Kept {
    /// The oldest first.
    runs: Vec<Frames>,
    bytes: u64,
}

impl Kept {
    /// Keeps `run`, which the guest sees no more, if that is worth it; answers what is to be given back for it.
    pub fn keep(&mut self, memory: &MemoryFile, run: Frames) -> Vec<Frames> {
        // Frames that the host does not hold yet would come into being when they are cleared.
        let full = || memory.resident_bytes_in(run) >= run.len / 8 * 7;
        if run.len > LONGEST || memory.unique_prefix(run) != (run.len, true) || !full() {
            return vec![run];
        }
        self.runs.push(run);
        self.bytes += run.len;
        let mut too_much = Vec::new();
        while self.bytes > MOST || self.runs.len() > MAX_RUNS {
            let oldest = self.runs.remove(0);
            self.bytes -= oldest.len;
            too_much.push(oldest);
        }
        too_much
    }

    /// `len` bytes, cleared: at one of the offsets `wanted`, or else as `place` says.
    pub fn take(
        &mut self,
        memory: &MemoryFile,
        len: u64,
        wanted: &[Option<u64>],
        place: Where,
    ) -> Option<Frames> {
        if self.runs.is_empty() {
            return None;
        }
        let frames = self.find(len, wanted, place)?;
        if memory.zero(frames.offset, frames.len).is_err() {
            memory.decref(frames);
            return None;
        }
        Some(frames)
    }

    /// Whether [`take`](Self::take) would find `len` bytes in any run.
    pub fn has(&self, len: u64) -> bool {
        self.runs.iter().any(|run| run.len >= len)
    }

    fn find(&mut self, len: u64, wanted: &[Option<u64>], place: Where) -> Option<Frames> {
        for offset in wanted.iter().flatten() {
            let within = |run: &Frames| run.offset <= *offset && offset + len <= run.offset + run.len;
            if let Some(at) = self.runs.iter().rposition(within) {
                return Some(self.cut(at, Frames { offset: *offset, len }));
            }
        }
        if place == Where::Wanted {
            return None;
        }
        let at = self.runs.iter().rposition(|run| run.len >= len)?;
        let run = self.runs[at];
        Some(self.cut(at, Frames { offset: run.offset + run.len - len, len }))
    }

    /// Takes `part` out of a run.
    fn cut(&mut self, at: usize, part: Frames) -> Frames {
        let run = self.runs.remove(at);
        let end = part.offset + part.len;
        let above = Frames { offset: end, len: run.offset + run.len - end };
        let below = Frames { offset: run.offset, len: part.offset - run.offset };
        for rest in [above, below] {
            if rest.len > 0 {
                self.runs.insert(at, rest);
            }
        }
        self.bytes -= part.len;
        part
    }

    /// Takes everything out; the references are the caller's.
    pub fn take_all(&mut self) -> Vec<Frames> {
        self.bytes = 0;
        std::mem::take(&mut self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(memory: &MemoryFile, pages: u64) -> Frames {
        let frames = memory.allocate(pages * PAGE).expect("frames");
        memory.write(frames.offset, &vec![7; frames.len as usize]).expect("write");
        frames
    }

    #[test]
    fn frames_come_back_cleared() {
        let memory = MemoryFile::new(None).expect("memory file");
        let mut kept = Kept::default();
        let run = written(&memory, 8);
        assert_eq!(kept.keep(&memory, run), []);
        let middle = Some(run.offset + 2 * PAGE);
        let taken = kept.take(&memory, 3 * PAGE, &[None, middle], Where::Wanted).expect("frames");
        assert_eq!(taken.offset, run.offset + 2 * PAGE);
        let mut bytes = vec![1; taken.len as usize];
        memory.read(taken.offset, &mut bytes).expect("read");
        assert!(bytes.iter().all(|byte| *byte == 0));
        assert_eq!(kept.take(&memory, 3 * PAGE, &[None, middle], Where::Wanted), None);
        let last = kept.take(&memory, 3 * PAGE, &[None, None], Where::AnyRun).expect("frames");
        assert_eq!((last.offset, last.len), (run.offset + 5 * PAGE, 3 * PAGE));
        let rest: u64 = kept.take_all().iter().map(|run| run.len).sum();
        assert_eq!(rest, 2 * PAGE);
    }

    #[test]
    fn what_is_shared_large_or_untouched_is_not_kept() {
        let memory = MemoryFile::new(None).expect("memory file");
        let mut kept = Kept::default();
        let shared = written(&memory, 2);
        memory.incref(shared);
        assert_eq!(kept.keep(&memory, shared), [shared]);
        let large = written(&memory, 257);
        assert_eq!(kept.keep(&memory, large), [large]);
        let untouched = memory.allocate(4 * PAGE).expect("frames");
        assert_eq!(kept.keep(&memory, untouched), [untouched]);
    }

    #[test]
    fn the_oldest_go_first() {
        let memory = MemoryFile::new(None).expect("memory file");
        let mut kept = Kept::default();
        let runs: Vec<Frames> = (0..3).map(|_| written(&memory, 200)).collect();
        assert_eq!(kept.keep(&memory, runs[0]), []);
        assert_eq!(kept.keep(&memory, runs[1]), []);
        assert_eq!(kept.keep(&memory, runs[2]), [runs[0]]);
    }
}
