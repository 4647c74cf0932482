//! Pages made many at a time, ahead of a guest that goes through its memory in order.
//!
//! Of a large anonymous mapping only the beginning is shown at once; the host makes its pages one by one as they are touched. A
//! guest that goes on to what comes next is taken to want the rest: it gets a window as long as all that it has, whose
//! pages the host makes in large pieces ([`MemoryFile::provide`]). So a mapping of any size costs a few faults, and memory is made for at
//! most twice of what is touched. A guest that touches something else gets all of the mapping, page by page.
//!
//! A heap grows by small steps, through brk(2): each step past the first few is provided when it is made.
//!
//! [`MemoryFile::provide`]: platform::MemoryFile::provide

use std::ops::Range;

use abi::Errno;
use platform::{Frames, Prot};

use super::arena::Growth;
use super::mappable::Place;
use super::pma::Pma;
use super::vma::{Vma, VmaFlags};
use super::{Inner, PAGE};

/// How much of a large mapping is shown at first, and of a heap.
const FIRST: u64 = 16 * PAGE;
/// The longest window.
const LONGEST: u64 = 512 * PAGE;
/// Shorter mappings are shown as a whole.
const SHORTEST: u64 = 64 * PAGE;
/// How far a heap may grow in one run of frames.
const HEAP: u64 = 64 << 20;

impl Inner {
    /// Shows the beginning of a private anonymous mapping, if the rest is better left to the guest's faults.
    pub(super) fn show_beginning(&mut self, range: &Range<u64>, vma: &Vma) -> Option<Result<(), Errno>> {
        let len = range.end - range.start;
        let special = VmaFlags::NORESERVE | VmaFlags::GROWSDOWN | VmaFlags::LOCKED;
        if len < SHORTEST || !vma.prot.contains(Prot::WRITE) || vma.flags.intersects(special) {
            return None;
        }
        // Up to where larger pieces may begin.
        let first = (range.start + FIRST).next_multiple_of(FIRST) - range.start;
        let first = self.pages.begin_large(range.start, len, first)?;
        let beginning = range.start..range.start + first.len;
        Some(self.map_pages(beginning, Pma::private(first.offset, vma.prot)))
    }

    /// What to show of the `hole` in an anonymous mapping when `page` in it is touched, if the mapping is shown bit by bit and
    /// the guest goes through it in order.
    fn next_window(&self, page: u64, hole: &Range<u64>) -> Option<(Range<u64>, Frames)> {
        let (below, pma) =
            self.pages.pmas.before(hole.start + 1).filter(|(below, _)| below.end == hole.start)?;
        let Place::Memory(offset) = pma.place else { return None };
        if !pma.private || pma.cow {
            return None;
        }
        let shown = below.end - below.start;
        let left = self.pages.large_reserve(offset + shown).min(hole.end - hole.start);
        let longest = shown.clamp(FIRST, LONGEST).min(left);
        if longest == 0 {
            return None;
        }
        // One piece of the host's: a power of two, aligned; the last pages of a mapping are no such piece.
        let piece = (1 << longest.ilog2()).min(1 << hole.start.trailing_zeros());
        let len = if piece < FIRST { left.min(FIRST) } else { piece };
        let window = hole.start..hole.start + len;
        window.contains(&page).then_some((window, Frames { offset: offset + shown, len }))
    }

    /// Shows and provides that window. `None`: there is none.
    pub(super) fn show_window(
        &mut self,
        page: u64,
        hole: &Range<u64>,
        prot: Prot,
    ) -> Option<Result<(), Errno>> {
        let (window, wanted) = self.next_window(page, hole)?;
        let frames = self.pages.take_large(wanted)?;
        if frames.len.is_power_of_two() {
            self.pages.provide_large(frames);
        }
        Some(self.map_pages(window, Pma::private(frames.offset, prot)))
    }

    /// Fills a heap's new end, `range`, with zero-filled pages; it begins at `start`.
    pub(super) fn fill_heap(&mut self, start: u64, range: Range<u64>, prot: Prot) -> Result<(), Errno> {
        let len = range.end - range.start;
        if range.start == start
            && self.pages.pmas.is_free(range.clone())
            && let Some(frames) = self.pages.begin_large(start, HEAP, len)
        {
            return self.map_pages(range, Pma::private(frames.offset, prot));
        }
        self.fill_with_zero_pages(range.clone(), prot, Growth::Up)?;
        if range.start - start >= FIRST
            && let Some((at, pma)) = self.pages.pmas.find(range.start)
            && let Place::Memory(offset) = pma.place
        {
            let frames =
                Frames { offset: offset + (range.start - at.start), len: len.min(at.end - range.start) };
            if self.pages.large_reserve(frames.offset + frames.len) > 0 {
                self.pages.memory.provide(frames, true);
            }
        }
        Ok(())
    }
}
