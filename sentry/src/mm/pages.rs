//! The pages of an address space, and the host mappings that show them.
//!
//! Each method keeps the invariant of [`Pma`]: the host shows what `pmas` says. The host is asked first, the books
//! change after it has answered; and frames are given back last of all.

use std::ops::Range;
use std::sync::Arc;

use abi::Errno;
use platform::{Frames, MemoryFile, PlatformError, Prot};

use super::arena::{Arena, Growth};
use super::kept::{self, Kept};
use super::mappable::Place;
use super::pma::Pma;
use super::ranges::{Ranges, clip};
use super::{Inner, PAGE, host_errno};

/// Pages and the reserve to take more from. Gives all references back when dropped.
pub(super) struct Pages {
    pub memory: Arc<MemoryFile>,
    pub pmas: Ranges<Pma>,
    pub arena: Arena,
    /// What is left of the runs whose pages the host makes many at a time (`large.rs`), one for each mapping that began one.
    large: Arena,
    kept: Kept,
    /// Changed whenever `pmas` changes: what was looked up before may be wrong.
    pub generation: u64,
}

/// Below so many pieces new ones need not be neighbours of others in the memory file.
pub(super) const FEW_PIECES: usize = 512;
/// How many pieces on each side are looked at for frames to continue.
const NEARBY: usize = 8;

impl Pages {
    pub fn new(memory: Arc<MemoryFile>) -> Pages {
        Pages {
            memory,
            pmas: Ranges::default(),
            arena: Arena::default(),
            large: Arena::default(),
            kept: Kept::default(),
            generation: 0,
        }
    }

    /// Gives back the references that pages held which nothing shows any more.
    pub fn give_back(&self, pages: Vec<(Range<u64>, Pma)>) {
        give_back(&self.memory, frames_of(&self.memory, pages.iter().map(|(at, pma)| (at.clone(), pma))));
    }

    /// Zero-filled frames for private pages at `range`: next to those of the neighbours if possible.
    pub fn take_frames(&mut self, range: &Range<u64>, growth: Growth) -> Result<Frames, Errno> {
        // The offsets that continue our own frames nearby, below and above.
        let ours = |(at, pma): (Range<u64>, &Pma)| match pma.place {
            Place::Memory(offset) if pma.private && !pma.cow => Some((at.start, offset)),
            _ => None,
        };
        let below = self.pmas.overlapping(0..range.start).rev().take(NEARBY).find_map(ours);
        let below = below.map(|(start, offset)| offset + (range.start - start));
        let above = self.pmas.overlapping(range.end..u64::MAX).take(NEARBY).find_map(ours);
        let above = above.and_then(|(start, offset)| (offset + range.start).checked_sub(start));
        let wanted = match growth {
            Growth::Up | Growth::Around => [below, above],
            Growth::Down => [above, below],
        };
        // A copy on write needs no cleared frames, and a heap none that don't grow.
        let few = self.pmas.len() < FEW_PIECES;
        let place = if growth == Growth::Down && few { kept::Where::AnyRun } else { kept::Where::Wanted };
        let kept = match growth {
            Growth::Around => None,
            Growth::Up | Growth::Down => {
                self.kept.take(&self.memory, range.end - range.start, &wanted, place)
            }
        };
        let len = range.end - range.start;
        let reserved = || wanted.iter().flatten().find_map(|at| self.large.take_at(&self.memory, *at, len));
        kept.or_else(reserved)
            .or_else(|| self.arena.take(&self.memory, range, &wanted, growth))
            .ok_or(Errno::ENOMEM)
    }

    /// The first `first` bytes of a new run of `len` bytes for `large.rs`, to be shown at `at`; the rest is kept in reserve.
    /// `None`: there are no such runs, or frames that the guest has given back will do.
    pub fn begin_large(&mut self, at: u64, len: u64, first: u64) -> Option<Frames> {
        if self.kept.has(len) {
            return None;
        }
        // One page more, to stop at.
        let run = self.memory.allocate_large(len + PAGE, at)?;
        self.large.add(&self.memory, run);
        self.large.take_at(&self.memory, run.offset, first)
    }

    /// How many bytes of such a run are in reserve from `offset` on.
    pub fn large_reserve(&self, offset: u64) -> u64 {
        self.large.reserve_at(offset)
    }

    /// Has the host make the pages of frames that were taken from the reserve, and no more.
    pub fn provide_large(&self, frames: Frames) {
        if self.large_reserve(frames.offset + frames.len) > 0 {
            self.memory.provide(frames, true);
        }
    }

    /// Takes frames out of that reserve.
    pub fn take_large(&mut self, frames: Frames) -> Option<Frames> {
        self.large.take_at(&self.memory, frames.offset, frames.len)
    }

    /// As [`give_back`](Self::give_back), for what the guest has unmapped: it may soon want as much again.
    fn retire(&mut self, pages: Vec<(Range<u64>, Pma)>) {
        let (mut own, mut rest) = (Vec::new(), Vec::new());
        for (at, pma) in pages {
            let len = at.end - at.start;
            let Some(frames) = pma.frames(len) else {
                pma.decref(&self.memory, len);
                continue;
            };
            if pma.private && !pma.cow { own.push(frames) } else { rest.push(frames) }
        }
        each_joined(own, |run| {
            // What was not touched of a large mapping: the host may have made more of it than was asked for.
            rest.extend(self.large.remove_at(run.offset + run.len));
            rest.extend(self.kept.keep(&self.memory, run));
        });
        give_back(&self.memory, rest);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let pages = self.pmas.take();
        let mut shown = frames_of(&self.memory, pages.iter().map(|(at, pma)| (at.clone(), pma)));
        // Not joined with the reserve: short runs that were written are used again as they are, long ones are not.
        shown.extend(self.kept.take_all());
        give_back(&self.memory, shown);
        give_back(&self.memory, self.arena.take_all());
        give_back(&self.memory, self.large.take_all());
    }
}

/// Takes one more reference on all pages.
pub(super) fn share(memory: &MemoryFile, pages: &Ranges<Pma>) {
    let mut frames = Vec::new();
    for (at, pma) in pages.iter() {
        let len = at.end - at.start;
        match pma.frames(len) {
            Some(run) => frames.push(run),
            None => pma.incref(memory, len),
        }
    }
    each_joined(frames, |run| memory.incref(run));
}

/// The pages in the memory file. The references of others are given back.
fn frames_of<'a>(memory: &MemoryFile, pages: impl Iterator<Item = (Range<u64>, &'a Pma)>) -> Vec<Frames> {
    let mut frames = Vec::new();
    for (at, pma) in pages {
        let len = at.end - at.start;
        match pma.frames(len) {
            Some(run) => frames.push(run),
            None => pma.decref(memory, len),
        }
    }
    frames
}

/// Gives references back. Each run that is free afterwards costs a host call, so neighbours are joined first.
fn give_back(memory: &MemoryFile, frames: Vec<Frames>) {
    each_joined(frames, |run| memory.decref(run));
}

fn each_joined(mut frames: Vec<Frames>, mut each: impl FnMut(Frames)) {
    frames.sort_unstable_by_key(|run| run.offset);
    let mut joined: Option<Frames> = None;
    for run in frames {
        match &mut joined {
            Some(before) if before.offset + before.len == run.offset => before.len += run.len,
            _ => {
                if let Some(before) = joined.replace(run) {
                    each(before);
                }
            }
        }
    }
    if let Some(last) = joined {
        each(last);
    }
}

impl Inner {
    /// Shows `pma` at `range`, where nothing is shown. On failure its references are given back.
    pub fn map_pages(&mut self, range: Range<u64>, pma: Pma) -> Result<(), Errno> {
        let len = range.end - range.start;
        let mapped = self.space.map(range.start, len, pma.host_prot(), pma.backing());
        if let Err(error) = mapped {
            // Part of it may be there.
            let undone = self.space.unmap(range.start, len);
            if undone.is_ok() {
                pma.decref(&self.pages.memory, len);
            }
            return Err(host_errno(error));
        }
        self.pages.generation += 1;
        self.pages.pmas.insert(range, pma);
        Ok(())
    }

    /// Shows `pma` at `range` in place of what is there. On failure the old pages stay, and the new ones' references
    /// are given back.
    pub fn replace_pages(&mut self, range: Range<u64>, pma: Pma) -> Result<(), Errno> {
        let shown = self.space.map(range.start, range.end - range.start, pma.host_prot(), pma.backing());
        self.replaced(range, pma, shown)
    }

    /// [`replace_pages`](Self::replace_pages) by a copy that was made because the guest writes there.
    pub fn replace_by_copy(&mut self, range: Range<u64>, copy: Pma) -> Result<(), Errno> {
        let len = range.end - range.start;
        let shown = self.space.map_present(range.start, len, copy.host_prot(), copy.backing());
        self.replaced(range, copy, shown)
    }

    fn replaced(
        &mut self,
        range: Range<u64>,
        pma: Pma,
        shown: Result<(), PlatformError>,
    ) -> Result<(), Errno> {
        if let Err(error) = shown {
            self.show_again(range.clone());
            pma.decref(&self.pages.memory, range.end - range.start);
            return Err(host_errno(error));
        }
        self.pages.generation += 1;
        let old = self.pages.pmas.remove(range.clone());
        self.pages.pmas.insert(range, pma);
        self.pages.give_back(old);
        Ok(())
    }

    /// Takes away all pages in `range`. On failure nothing has changed in the books.
    pub fn unmap_pages(&mut self, range: Range<u64>) -> Result<(), Errno> {
        let old = self.hide_pages(range)?;
        self.pages.give_back(old);
        Ok(())
    }

    /// [`unmap_pages`](Self::unmap_pages) for munmap(2): some of the frames are kept for the next mapping.
    pub fn retire_pages(&mut self, range: Range<u64>) -> Result<(), Errno> {
        let old = self.hide_pages(range)?;
        self.pages.retire(old);
        Ok(())
    }

    /// Takes pages from the host's view and out of the books; their references are the caller's.
    fn hide_pages(&mut self, range: Range<u64>) -> Result<Vec<(Range<u64>, Pma)>, Errno> {
        let shown = {
            let mut touched = self.pages.pmas.overlapping(range.clone());
            let Some((first, _)) = touched.next() else { return Ok(Vec::new()) };
            let end = touched.next_back().map_or(first.end, |(last, _)| last.end);
            clip(&(first.start..end), &range)
        };
        self.space.unmap(shown.start, shown.end - shown.start).map_err(host_errno)?;
        Ok(self.forget_pages(range))
    }

    /// Takes pages out of the books alone: the caller sees to the host mapping and to the references.
    pub fn forget_pages(&mut self, range: Range<u64>) -> Vec<(Range<u64>, Pma)> {
        self.pages.generation += 1;
        self.pages.pmas.remove(range)
    }

    /// Changes the pages in `range` and tells the host where that changed the protection, in as few calls as possible.
    pub fn change_pages(
        &mut self,
        range: Range<u64>,
        change: impl Fn(Range<u64>, &mut Pma),
    ) -> Result<(), Errno> {
        self.change_pages_in(&[range], change)
    }

    /// [`change_pages`](Self::change_pages) for several ranges, in order, which do not overlap: the host changes them in one go.
    pub fn change_pages_in(
        &mut self,
        ranges: &[Range<u64>],
        change: impl Fn(Range<u64>, &mut Pma),
    ) -> Result<(), Errno> {
        let mut calls: Vec<(Range<u64>, Prot)> = Vec::new();
        let mut changed = false;
        for range in ranges {
            for (whole, pma) in self.pages.pmas.overlapping(range.clone()) {
                let (at, mut new) = (clip(&whole, range), pma.clone());
                change(at.clone(), &mut new);
                changed |= (new.prot, new.private, new.cow) != (pma.prot, pma.private, pma.cow);
                let (before, after) = (pma.host_prot(), new.host_prot());
                if before == after {
                    continue;
                }
                match calls.last_mut() {
                    Some((last, prot)) if last.end == at.start && *prot == after => last.end = at.end,
                    _ => calls.push((at, after)),
                }
            }
        }
        if !changed {
            return Ok(());
        }
        let protected = match calls.as_slice() {
            [] => Ok(()),
            [(at, prot)] => self.space.protect(at.start, at.end - at.start, *prot),
            several => self.space.protect_all(several),
        };
        if let Err(error) = protected {
            for (at, _) in calls {
                self.show_again(at);
            }
            return Err(host_errno(error));
        }
        self.pages.generation += 1;
        for range in ranges {
            self.pages.pmas.update(range.clone(), &change);
        }
        Ok(())
    }

    /// Makes the host show again what the books say, after a call that failed half way.
    fn show_again(&mut self, range: Range<u64>) {
        for (at, pma) in self.pages.pmas.clipped(range) {
            let len = at.end - at.start;
            if let Err(error) = self.space.map(at.start, len, pma.host_prot(), pma.backing()) {
                tracing::warn!(%error, "host mapping lost");
            }
        }
    }

    /// Fills the holes in `range` with zero-filled private pages.
    pub fn fill_with_zero_pages(
        &mut self,
        range: Range<u64>,
        prot: Prot,
        growth: Growth,
    ) -> Result<(), Errno> {
        if self.pages.pmas.is_free(range.clone()) {
            return self.map_zero_pages(range, prot, growth);
        }
        for hole in self.pages.pmas.holes(range) {
            self.map_zero_pages(hole, prot, growth)?;
        }
        Ok(())
    }

    fn map_zero_pages(&mut self, range: Range<u64>, prot: Prot, growth: Growth) -> Result<(), Errno> {
        let frames = self.pages.take_frames(&range, growth)?;
        self.map_pages(range, Pma::private(frames.offset, prot))
    }
}
