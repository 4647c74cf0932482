//! Copy on write.
//!
//! Pages are shared after fork, and private file mappings show the file's own pages. The first write copies them in
//! runs, or, when nobody else holds them any more, takes them back without a copy.

use std::ops::Range;

use platform::memory_file::CopyFault;
use platform::{Frames, HostFile, MemoryFile};

use super::arena::Growth;
use super::fault::FaultError;
use super::mappable::Place;
use super::pages::FEW_PIECES;
use super::pma::Pma;
use super::ranges::{Piece, clip};
use super::{Inner, PAGE};

/// Pages are copied in aligned windows of this size …
const WINDOW: u64 = 16 * PAGE;
/// … and of larger ones, up to this, in an address space that is in many pieces already: each is a mapping of the host,
/// which has not many (vm.max_map_count).
const LARGEST_WINDOW: u64 = 512 * PAGE;
/// From so many pieces on the windows grow, doubling with each doubling of the pieces.
const MANY_PIECES: usize = 2048;
/// The longest window of a file mapping that is written here and there.
const LONGEST_OF_FILE: u64 = 128 * PAGE;

/// What was copied of a private file mapping, bytes, and where the mapping begins. A program that goes on writing to its data writes
/// to most of them, so that each window is as long as all before it: twice what windows of one size would copy, at most.
#[derive(Clone, Copy, Default)]
pub(super) struct Copied {
    mapping: u64,
    bytes: u64,
}

impl Inner {
    /// Makes the page at `page` writable as far as copy on write is concerned: it has private frames of its own after
    /// this. It is shown already, with `cow` set.
    pub fn break_cow(&mut self, page: u64) -> Result<(), FaultError> {
        let Some((whole, pma)) = self.pages.pmas.find(page) else { return Err(FaultError::NotMapped) };
        let pma = pma.clone();
        let shared = match pma.place {
            Place::Memory(offset) if pma.private => {
                let to_end = Frames { offset: offset + (page - whole.start), len: whole.end - page };
                let (len, unique) = self.pages.memory.unique_prefix(to_end);
                if unique {
                    return self.take_back(&whole, &pma, page..page + len);
                }
                page..page + len
            }
            _ => page..whole.end,
        };
        let follows_file = !pma.private && self.file_may_change(page);
        let size = if pma.private {
            self.window_size()
        } else if follows_file {
            PAGE
        } else {
            self.file_window(page)
        };
        let piece = whole.start..shared.end;
        let window = if !pma.private && piece.end - piece.start <= size {
            // All that is left between others.
            piece
        } else {
            let start = page / size * size;
            clip(&(start..start + size), &piece)
        };
        let window = if pma.private { self.shared_part(&whole, &pma, window, page) } else { window };
        if pma.private && self.learning.0 > 0 {
            self.learning.0 -= 1;
            self.learning.1.note(&(page..page + PAGE));
        }
        let copied = self.copy_window(&window);
        if !pma.private {
            self.note_copy(&window, copied.is_ok());
        }
        if copied.is_ok() {
            return Ok(());
        }
        // The window may reach past the end of the file, or the memory may not do for all of it.
        self.copy_window(&(page..page + PAGE))
    }

    fn file_may_change(&self, page: u64) -> bool {
        self.vmas.find(page).and_then(|(_, vma)| vma.file()).is_some_and(|file| file.may_change())
    }

    fn window_size(&self) -> u64 {
        let pieces = self.pages.pmas.len();
        (WINDOW * (pieces / MANY_PIECES + 1).next_power_of_two() as u64).min(LARGEST_WINDOW)
    }

    /// How much to copy of the private file mapping around `page`.
    fn file_window(&self, page: u64) -> u64 {
        let least = self.window_size();
        match self.vmas.find(page) {
            Some((mapping, _)) if mapping.start == self.copied.mapping && self.copied.bytes > least => {
                (1 << self.copied.bytes.ilog2()).min(LONGEST_OF_FILE).max(least)
            }
            _ => least,
        }
    }

    /// A window of a private file mapping was copied, or could not be.
    fn note_copy(&mut self, window: &Range<u64>, was_copied: bool) {
        let Some((mapping, _)) = self.vmas.find(window.start) else { return };
        let before = if mapping.start == self.copied.mapping { self.copied.bytes } else { 0 };
        let bytes = if was_copied { before + (window.end - window.start) } else { 0 };
        self.copied = Copied { mapping: mapping.start, bytes };
    }

    /// Nobody else holds the frames at `unique`: they are ours again. Those before it in the same piece as well, if
    /// nobody holds them.
    fn take_back(&mut self, whole: &Range<u64>, pma: &Pma, mut unique: Range<u64>) -> Result<(), FaultError> {
        if let Some(before) = pma.frames(unique.start - whole.start)
            && before.len > 0
            && self.pages.memory.unique_prefix(before) == (before.len, true)
        {
            unique.start = whole.start;
        }
        self.change_pages(unique, |_, pma| pma.cow = false).map_err(|_| FaultError::NoMemory)
    }

    /// The part of `window` around `page` whose frames are shared with others: what is ours alone needs no copy.
    fn shared_part(&self, whole: &Range<u64>, pma: &Pma, window: Range<u64>, page: u64) -> Range<u64> {
        let mut start = page;
        while start > window.start {
            let mut before = pma.clone();
            before.advance(start - PAGE - whole.start);
            match before.frames(PAGE).map(|frames| self.pages.memory.unique_prefix(frames)) {
                Some((_, false)) => start -= PAGE,
                _ => break,
            }
        }
        start..window.end
    }

    /// Replaces the pages in `range`, all of one piece, with private copies.
    fn copy_window(&mut self, range: &Range<u64>) -> Result<(), FaultError> {
        let Some((whole, pma)) = self.pages.pmas.find(range.start) else { return Err(FaultError::NotMapped) };
        let mut pma = pma.clone();
        pma.advance(range.start - whole.start);
        let copy = self.copy_of(range, &pma)?;
        self.replace_by_copy(range.clone(), copy).map_err(|_| FaultError::NoMemory)
    }

    /// A private copy of `pma`'s pages for `range`, not shown yet.
    pub fn copy_of(&mut self, range: &Range<u64>, pma: &Pma) -> Result<Pma, FaultError> {
        let len = range.end - range.start;
        // Frames that were freed a moment ago are the cheapest, as long as pieces that don't join are no concern.
        let few = self.pages.pmas.len() < FEW_PIECES;
        let used = if few { self.pages.memory.allocate_used(len) } else { None };
        let frames = match used {
            Some(frames) => frames,
            None => self.pages.take_frames(range, Growth::Around).map_err(|_| FaultError::NoMemory)?,
        };
        let copied = match pma.place {
            // Such frames are in our page tables already.
            Place::Memory(from) if used.is_some() => self.pages.memory.copy(from, frames.offset, len),
            _ => copy_to_frames(&self.pages.memory, &pma.place, frames),
        };
        if copied.is_err() {
            self.pages.memory.decref(frames);
            return Err(FaultError::PastEnd);
        }
        Ok(Pma::private(frames.offset, pma.prot))
    }
}

/// `to` is fresh: the host writes the pages, which is cheaper than to fault them in here.
fn copy_to_frames(memory: &MemoryFile, from: &Place, to: Frames) -> Result<(), CopyFault> {
    match from {
        Place::Memory(offset) => memory.copy_to_fresh(*offset, to.offset, to.len),
        Place::Host(file, offset) => match file.pieces([(*offset, to.len)]) {
            Ok(pieces) => memory.write_pieces(to.offset, &pieces.read_only()),
            Err(CopyFault) => copy_by_page(memory, file, *offset, to),
        },
    }
}

/// Without a window on the file.
fn copy_by_page(memory: &MemoryFile, file: &HostFile, offset: u64, to: Frames) -> Result<(), CopyFault> {
    let mut page = [0; PAGE as usize];
    for at in (0..to.len).step_by(PAGE as usize) {
        file.read(offset + at, &mut page)?;
        memory.write(to.offset + at, &page)?;
    }
    Ok(())
}
