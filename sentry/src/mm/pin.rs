//! Guest pages that the host reads or writes in place.
//!
//! Pinned pages are referenced, so that nobody else gets their frames whatever the guest does meanwhile; no lock is held
//! while the host works, which may take for ever. Pages pinned for writing have had their copy on write, and fork copies them
//! at once (as Linux does with pages pinned for DMA).

use std::ops::Range;

use host::io::Pieces;
use platform::Frames;
use smallvec::SmallVec;

use super::fault::Need;
use super::mappable::Place;
use super::{MemoryManager, PAGE, UserAddr, page_down};

/// Runs that one pin holds at most.
const MAX_RUNS: usize = host::io::IOV_MAX;

/// Pages held for the host.
pub(super) struct Pinned<'a> {
    mm: &'a MemoryManager,
    /// Offset in the memory file and length, to the byte.
    runs: SmallVec<[(u64, u64); 4]>,
    /// The same in whole pages: one reference on each.
    frames: SmallVec<[Frames; 4]>,
    /// Pinned for writing: as they are listed for fork.
    ranges: SmallVec<[Range<u64>; 4]>,
    write: bool,
}

impl MemoryManager {
    /// Nothing pinned yet.
    pub(super) fn pins(&self, write: bool) -> Pinned<'_> {
        Pinned { mm: self, runs: SmallVec::new(), frames: SmallVec::new(), ranges: SmallVec::new(), write }
    }
}

impl Pinned<'_> {
    /// Pins as much of `[addr, addr + len)` as can be, from its start: stops at what the guest may not access, and at
    /// pages that are not in the memory file. Answers the bytes.
    pub fn add(&mut self, addr: UserAddr, len: u64) -> u64 {
        let need = if self.write { Need::Write } else { Need::Read };
        let (mut done, mut attempts) = (0, 0);
        if !addr.access_ok(len) {
            return 0;
        }
        while done < len && self.runs.len() < MAX_RUNS {
            let at = addr.0 + done;
            match self.add_run(at, len - done, need) {
                Some(0) => return done,
                Some(run) => done += run,
                None if self.mm.fault_in(at, need).is_err() => return done,
                // Another thread may take it away again and again.
                None if attempts > 1000 => return done,
                None => attempts += 1,
            }
        }
        done
    }

    /// Pins the run at `at`. None: it has to be made ready first. 0: it can't be pinned.
    fn add_run(&mut self, at: u64, len: u64, need: Need) -> Option<u64> {
        let inner = self.mm.inner.read();
        let (range, pma) = inner.pages.pmas.find(at)?;
        if !inner.is_ready(at, pma, need) {
            return None;
        }
        let Place::Memory(start) = pma.place else { return Some(0) };
        let run = len.min(range.end - at);
        let first = page_down(at);
        let pages = (at + run).next_multiple_of(PAGE) - first;
        let frames = Frames { offset: start + (first - range.start), len: pages };
        self.mm.memory.incref(frames);
        self.frames.push(frames);
        self.runs.push((start + (at - range.start), run));
        if self.write && pma.private {
            // Under the read lock: fork comes before this or sees it.
            let pinned = first..first + pages;
            self.mm.write_pins.lock().push(pinned.clone());
            self.ranges.push(pinned);
        }
        Some(run)
    }

    /// For a host call.
    pub fn pieces(&self) -> Option<Pieces<'_>> {
        self.mm.memory.pieces(self.runs.iter().copied()).ok()
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if !self.ranges.is_empty() {
            let mut all = self.mm.write_pins.lock();
            for range in &self.ranges {
                if let Some(at) = all.iter().position(|known| known == range) {
                    all.swap_remove(at);
                }
            }
        }
        for frames in &self.frames {
            self.mm.memory.decref(*frames);
        }
    }
}
