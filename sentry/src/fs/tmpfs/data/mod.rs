//! Contents of a regular file in memory.
//!
//! Pages lie in chunks of the memory file: small ones at the beginning of a file, 2 MiB from there on, so that small
//! files take little and big ones are mapped and copied in long runs. A chunk has all its frames at once (which costs
//! nothing until they are touched) and a bit for each page that is part of the file; the others are holes.
//!
//! The memory file may be on a disk of the host. Then reads and writes are the host's, as they would only come through a
//! window after a fault for each page, and no page becomes part of the file before the host has room for it: what is there
//! can be written whatever becomes of the disk.
//!
//! Locks: `stable` is held by readers while they copy, and by whoever takes pages away; `pages` (level `InodeData`) for
//! the map itself. Writers, truncation and hole punching come one at a time: they hold the inode's lock.

mod chunk;
mod map;
mod shift;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use abi::Errno;
use abi::fcntl::Seals;
use platform::{Frames, MemoryFile, PAGE_SIZE};
use sync::{RwLock, SleepRwLock};

use super::budget::Budget;
use crate::Result;
use crate::mm::{FileMappings, next_futex_id, total_memory};
use crate::vfs::{IoSink, IoSource};
use chunk::{Chunk, chunk_of};

/// Largest size of a file (MAX_LFS_FILESIZE).
pub const MAX_SIZE: u64 = i64::MAX as u64;

#[derive(Default)]
struct Pages {
    size: u64,
    /// By first page.
    chunks: BTreeMap<u64, Chunk>,
    /// Pages that are part of the file.
    present: u64,
}

/// Chunks of so many pages are made as a whole, in a few large pieces, for a file that is written from one end to the other.
const LARGE_CHUNK: u64 = platform::HUGE_PAGE_SIZE / PAGE_SIZE;

impl Pages {
    /// Whether the chunk before that which begins at page `first` is there, with all its pages.
    fn is_full_before(&self, first: u64) -> bool {
        let before = self.chunks.range(..first).next_back();
        before.is_some_and(|(at, chunk)| {
            let pages = chunk.frames.len / PAGE_SIZE;
            at + pages == first && chunk.count() == pages
        })
    }
}

/// A run of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// In the memory file, from this offset.
    Data(u64, u64),
    /// Zeros.
    Hole(u64),
}

/// Pages that have been made part of a file.
struct Made {
    /// Where the first byte lies in the memory file.
    memory: u64,
    /// How many bytes there are.
    len: u64,
    /// None of them was part of the file before.
    fresh: bool,
}

/// So many bytes of fresh pages the host is asked to write: that saves a fault a page, and the zeros that it would have to fill
/// the page with first.
const BY_HOST: u64 = 64 << 10;

/// Contents of a file.
pub struct FileData {
    memory: Arc<MemoryFile>,
    budget: Arc<Budget>,
    stable: SleepRwLock<()>,
    pages: RwLock<Pages, sync::levels::InodeData>,
    mappings: FileMappings,
    futex_id: u64,
    dev: u64,
    ino: u64,
    /// `F_SEAL_*`.
    seals: AtomicU32,
}

impl FileData {
    /// An empty file. `dev` and `ino` are what stat(2) shows.
    pub fn new(
        memory: &Arc<MemoryFile>,
        budget: &Arc<Budget>,
        dev: u64,
        ino: u64,
        seals: Seals,
    ) -> Arc<FileData> {
        Arc::new(FileData {
            memory: Arc::clone(memory),
            budget: Arc::clone(budget),
            stable: SleepRwLock::new(()),
            pages: RwLock::default(),
            mappings: FileMappings::new(),
            futex_id: next_futex_id(),
            dev,
            ino,
            seals: AtomicU32::new(seals.bits()),
        })
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.pages.read().size
    }

    /// Size in bytes, and how many pages the file has.
    pub fn size_and_pages(&self) -> (u64, u64) {
        let pages = self.pages.read();
        (pages.size, pages.present)
    }

    /// Seals of a memfd.
    pub fn seals(&self) -> Seals {
        Seals::from_bits_retain(self.seals.load(Ordering::Acquire))
    }

    /// Adds seals. The caller has checked that it may.
    pub fn add_seals(&self, seals: Seals) {
        self.seals.fetch_or(seals.bits(), Ordering::AcqRel);
    }

    /// Whether somebody has a shared mapping of it that can be written, or be made so.
    pub fn is_mapped_writable(&self) -> bool {
        self.mappings.is_writable_somewhere()
    }

    /// Reads at `offset`.
    pub fn read(&self, dst: &mut dyn IoSink, offset: u64) -> Result<usize> {
        let _stable = self.stable.read();
        let mut done = 0u64;
        while dst.remaining() > 0 {
            let Some(piece) = self.piece(offset.saturating_add(done), dst.remaining() as u64) else { break };
            let copied = match piece {
                Piece::Data(at, len) if self.is_on_disk() => {
                    let (fd, at) = self.memory.host_place(at);
                    dst.put_from_host(fd, Some(at), len as usize).map(|n| (n, len))
                }
                Piece::Data(at, len) => dst.put_memory(&self.memory, at, len as usize).map(|n| (n, len)),
                Piece::Hole(len) => dst.put_zeros(len as usize).map(|n| (n, len)),
            };
            match copied {
                Ok((n, len)) => {
                    done += n as u64;
                    if (n as u64) < len {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done as usize)
    }

    /// What lies at `offset`, at most `len` bytes of it; `None` at the end of the file.
    fn piece(&self, offset: u64, len: u64) -> Option<Piece> {
        let pages = self.pages.read();
        if offset >= pages.size {
            return None;
        }
        let len = len.min(pages.size - offset);
        let page = offset / PAGE_SIZE;
        let last = (offset + len - 1) / PAGE_SIZE;
        let (first, count) = chunk_of(page);
        let in_chunk = (first + count).min(last + 1);
        let (end, data) = match pages.chunks.get(&first) {
            None => {
                // Up to the next chunk there is.
                let next = pages.chunks.range(first..).next().map_or(u64::MAX, |(at, _)| *at);
                (next.min(last + 1), None)
            }
            Some(chunk) => {
                let index = page - first;
                let end = first + chunk.run_end(index, in_chunk - first);
                (end, chunk.is_present(index).then(|| chunk.frames.offset + (offset - first * PAGE_SIZE)))
            }
        };
        let bytes = (end * PAGE_SIZE - offset).min(len);
        Some(match data {
            Some(at) => Piece::Data(at, bytes),
            None => Piece::Hole(bytes),
        })
    }

    /// Writes at `offset`, growing the file. The caller holds the inode's lock.
    pub fn write(&self, src: &mut dyn IoSource, offset: u64) -> Result<usize> {
        let mut done = 0u64;
        let want = (src.remaining() as u64).min(MAX_SIZE.saturating_sub(offset));
        while done < want {
            let at = offset + done;
            let copied = self.make_pages(at, want - done).and_then(|made| {
                let Made { memory, len, fresh } = made;
                let n = if self.is_on_disk() || (fresh && len >= BY_HOST) {
                    let (fd, place) = self.memory.host_place(memory);
                    src.take_to_host(fd, Some(place), len as usize)?
                } else {
                    src.take_to_memory(&self.memory, memory, len as usize)?
                };
                Ok((n, len))
            });
            match copied {
                Ok((n, len)) => {
                    done += n as u64;
                    if n > 0 {
                        let mut pages = self.pages.write();
                        pages.size = pages.size.max(at + n as u64);
                    }
                    if (n as u64) < len {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done as usize)
    }

    fn is_on_disk(&self) -> bool {
        self.memory.mapped_as().is_some()
    }

    /// Makes the pages of `[offset, offset + len)` part of the file, as far as they lie in one chunk and there is
    /// room.
    ///
    /// Whoever calls it keeps pages from being taken away meanwhile: holds the inode's lock, or `stable`.
    fn make_pages(&self, offset: u64, len: u64) -> Result<Made> {
        let page = offset / PAGE_SIZE;
        let (first, count) = chunk_of(page);
        let mut to = (first + count).min((offset + len).div_ceil(PAGE_SIZE));
        let mut provide = None;
        loop {
            let unreserved = {
                let mut pages = self.pages.write();
                let in_order = count >= LARGE_CHUNK && page == first && pages.is_full_before(first);
                let chunk = match pages.chunks.entry(first) {
                    Entry::Occupied(there) => there.into_mut(),
                    Entry::Vacant(slot) => {
                        let len = count * PAGE_SIZE;
                        provide = if in_order { self.memory.allocate_large(len, 0) } else { None };
                        let frames = match provide {
                            Some(frames) => frames,
                            None => self.memory.allocate(len).map_err(|_| Errno::ENOMEM)?,
                        };
                        slot.insert(Chunk::new(frames, count))
                    }
                };
                match chunk.unreserved(page - first, to - first).filter(|_| self.is_on_disk()) {
                    Some(run) => run,
                    None => {
                        let chunk_offset = chunk.frames.offset;
                        let (made, fresh) = self.mark_pages(&mut pages, first, page, to);
                        drop(pages);
                        if made == page {
                            self.forget_empty(first);
                            return Err(Errno::ENOSPC);
                        }
                        if let Some(frames) = provide {
                            self.memory.provide(frames, false);
                        }
                        let bytes = (made * PAGE_SIZE - offset).min(len);
                        let memory = chunk_offset + (offset - first * PAGE_SIZE);
                        return Ok(Made { memory, len: bytes, fresh });
                    }
                }
            };
            // The host may have to write for that: without the lock. Nobody takes pages away meanwhile.
            let (frames, from, until) = unreserved;
            if self.memory.reserve(frames).is_ok() {
                if let Some(chunk) = self.pages.write().chunks.get_mut(&first)
                    && chunk.frames.offset == frames.offset - from * PAGE_SIZE
                {
                    chunk.set_reserved(from, until);
                }
                continue;
            }
            // As much as there is room for.
            let half = page + (to - page) / 2;
            if half == page {
                self.forget_empty(first);
                return Err(Errno::ENOSPC);
            }
            to = half;
        }
    }

    /// Makes the pages `[page, to)` of the chunk at `first` part of the file, as far as the file system may have so many:
    /// where that ends, and whether none of them was part of it before.
    fn mark_pages(&self, pages: &mut Pages, first: u64, page: u64, to: u64) -> (u64, bool) {
        let Some(chunk) = pages.chunks.get_mut(&first) else { return (page, false) };
        let mut end = to;
        let mut missing = 0;
        let mut at = page;
        while at < to {
            let run = first + chunk.run_end(at - first, to - first);
            if !chunk.is_present(at - first) {
                let got = self.budget.take_pages(run - at);
                missing += got;
                if got < run - at {
                    end = at + got;
                    break;
                }
            }
            at = run;
        }
        chunk.mark(page - first, end - first, true);
        pages.present += missing;
        (end, missing == end - page)
    }

    /// Takes the chunk at `first` away if no page of it is part of the file: it would only be in the way.
    fn forget_empty(&self, first: u64) {
        let removed = {
            let mut pages = self.pages.write();
            let empty = pages.chunks.get(&first).is_some_and(|chunk| chunk.count() == 0);
            if empty { pages.chunks.remove(&first) } else { None }
        };
        if let Some(chunk) = removed {
            self.memory.decref(chunk.frames);
        }
    }

    /// Gives the file another size. The caller holds the inode's lock.
    pub fn set_size(&self, size: u64) {
        let old = {
            let mut pages = self.pages.write();
            let old = pages.size;
            if size >= old {
                pages.size = size;
            }
            old
        };
        if size < old {
            {
                let _stable = self.stable.write();
                self.pages.write().size = size;
                self.take_away(size, u64::MAX);
            }
            self.mappings.truncate(size);
        }
    }

    /// Makes `[offset, offset + len)` zero and gives back its whole pages. The caller holds the inode's lock.
    pub fn punch(&self, offset: u64, len: u64) {
        {
            let _stable = self.stable.write();
            self.take_away(offset, offset.saturating_add(len));
        }
        // Whoever has the pages mapped finds the hole at the next touch, and makes it data by that.
        self.mappings.invalidate(offset, len);
    }

    /// Zeros `[from, to)`; its whole pages are no longer part of the file. A `to` of `u64::MAX` is the end.
    fn take_away(&self, from: u64, to: u64) {
        let mut freed = Vec::new();
        let mut released = Vec::new();
        let mut zeroed: smallvec::SmallVec<[(u64, u64); 2]> = smallvec::SmallVec::new();
        let mut gone = 0;
        {
            let mut pages = self.pages.write();
            let (start, _) = chunk_of(from / PAGE_SIZE);
            let affected: Vec<u64> =
                pages.chunks.range(start..to.div_ceil(PAGE_SIZE)).map(|(at, _)| *at).collect();
            for first in affected {
                let Some(chunk) = pages.chunks.get_mut(&first) else { continue };
                let begin = first * PAGE_SIZE;
                let end = begin + chunk.frames.len;
                let (cut_from, cut_to) = (from.max(begin), to.min(end));
                if cut_from >= cut_to {
                    continue;
                }
                let whole_from = cut_from.div_ceil(PAGE_SIZE);
                let whole_to = cut_to / PAGE_SIZE;
                let mut partial = |from: u64, to: u64| {
                    if from < to && chunk.is_present(from / PAGE_SIZE - first) {
                        zeroed.push((chunk.frames.offset + (from - begin), to - from));
                    }
                };
                if whole_from > whole_to {
                    partial(cut_from, cut_to);
                } else {
                    partial(cut_from, whole_from * PAGE_SIZE);
                    partial(whole_to * PAGE_SIZE, cut_to);
                }
                if whole_from < whole_to {
                    let fewer = chunk.mark(whole_from - first, whole_to - first, false);
                    gone += fewer;
                    if chunk.count() == 0 && to == u64::MAX {
                        freed.push(chunk.frames);
                        pages.chunks.remove(&first);
                    } else if fewer > 0 {
                        chunk.set_released(whole_from - first, whole_to - first);
                        let offset = chunk.frames.offset + (whole_from * PAGE_SIZE - begin);
                        released.push(Frames { offset, len: (whole_to - whole_from) * PAGE_SIZE });
                    }
                }
            }
            pages.present -= gone;
        }
        self.budget.give_pages(gone);
        for (offset, len) in zeroed {
            // Can only fail when the host has no memory for a page that was there; then it reads as it was.
            let _ = self.memory.zero(offset, len);
        }
        for frames in released {
            self.memory.zero_and_release(frames);
        }
        for frames in freed {
            self.memory.decref(frames);
        }
    }

    /// Makes all pages of `[offset, offset + len)` part of the file (fallocate(2)). Without room for all of them it stays
    /// as it was. The caller holds the inode's lock.
    pub fn reserve(&self, offset: u64, len: u64) -> Result<()> {
        let missing = self.missing_pages(offset, len);
        // Nobody gets more than there is, also where the file system has no limit.
        let there_is = self.memory.disk_room().map_or_else(total_memory, |room| room.free);
        if missing > there_is / PAGE_SIZE {
            return Err(Errno::ENOSPC);
        }
        let got = self.budget.take_pages(missing);
        self.budget.give_pages(got);
        if got < missing {
            return Err(Errno::ENOSPC);
        }
        let mut at = offset;
        while at < offset + len {
            let made = self.make_pages(at, offset + len - at)?.len;
            at += made;
        }
        Ok(())
    }

    /// How many pages of the range are holes.
    fn missing_pages(&self, offset: u64, len: u64) -> u64 {
        let (from, to) = (offset / PAGE_SIZE, (offset + len).div_ceil(PAGE_SIZE));
        let pages = self.pages.read();
        let mut missing = to - from;
        for (first, chunk) in pages.chunks.range(chunk_of(from).0..to) {
            let end = to.min(first + chunk.frames.len / PAGE_SIZE);
            let mut at = from.max(*first);
            while at < end {
                let run = first + chunk.run_end(at - first, end - first);
                if chunk.is_present(at - first) {
                    missing -= run - at;
                }
                at = run;
            }
        }
        missing
    }

    /// The next offset from `offset` on that is data; ENXIO when there is none before the end.
    pub fn next_data(&self, offset: u64) -> Result<u64> {
        let mut at = offset;
        loop {
            match self.piece(at, u64::MAX) {
                None => return Err(Errno::ENXIO),
                Some(Piece::Data(..)) => return Ok(at),
                Some(Piece::Hole(len)) => at += len,
            }
        }
    }

    /// The next offset from `offset` on that is a hole, the end of the file being one; ENXIO past the end.
    pub fn next_hole(&self, offset: u64) -> Result<u64> {
        let mut at = offset;
        loop {
            match self.piece(at, u64::MAX) {
                None if at == offset => return Err(Errno::ENXIO),
                None | Some(Piece::Hole(_)) => return Ok(at),
                Some(Piece::Data(_, len)) => at += len,
            }
        }
    }
}

impl Drop for FileData {
    fn drop(&mut self) {
        let (chunks, present) = {
            let mut pages = self.pages.write();
            (std::mem::take(&mut pages.chunks), pages.present)
        };
        self.budget.give_pages(present);
        for chunk in chunks.into_values() {
            self.memory.decref(chunk.frames);
        }
    }
}
