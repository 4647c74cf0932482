//! Frames for private memory: an address space keeps runs of the memory file in reserve and hands them out so that
//! neighbours in memory are neighbours in the file, which makes them one host mapping.
//!
//! Untouched frames cost nothing, so the reserve may be large.

use std::ops::Range;

use platform::{Frames, MemoryFile};

use super::PAGE;

/// Frames that are fetched at once.
const CHUNK: u64 = 64 << 20;
/// More pieces than this are not worth keeping.
const MAX_PIECES: usize = 32;

/// On which side of a piece the next one is likely to be wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// At higher addresses: the heap.
    Up,
    /// At lower addresses: mappings, which are placed top down, and stacks.
    Down,
    /// Anywhere around: copies on write.
    Around,
}

/// Runs in reserve. The owner holds one reference on each of their pages.
#[derive(Default)]
pub(super) struct Arena {
    free: Vec<Frames>,
}

impl Arena {
    /// Zero-filled frames for `range`, with one reference each. The offsets `wanted` are tried first.
    pub fn take(
        &mut self,
        memory: &MemoryFile,
        range: &Range<u64>,
        wanted: &[Option<u64>],
        growth: Growth,
    ) -> Option<Frames> {
        let len = range.end - range.start;
        debug_assert!(len > 0 && len.is_multiple_of(PAGE));
        for offset in wanted.iter().flatten() {
            if let Some(frames) = self.take_at(memory, *offset, len) {
                return Some(frames);
            }
        }
        if len > CHUNK / 4 {
            return memory.allocate(len).ok();
        }
        // What will grow gets a piece with room to grow in.
        let room = if growth == Growth::Down { len } else { CHUNK / 2 };
        let free = match self.free.iter().rfind(|free| free.len >= room) {
            Some(free) => *free,
            None => {
                let Ok(chunk) = memory.allocate(CHUNK) else { return memory.allocate(len).ok() };
                self.free.push(chunk);
                chunk
            }
        };
        let last = free.len - len;
        let offset = match growth {
            Growth::Up => 0,
            Growth::Down => last,
            // Copies near each other find each other's place, whichever is made first.
            Growth::Around => (range.start % CHUNK).min(last),
        };
        self.take_at(memory, free.offset + offset, len)
    }

    /// Takes `run` in, to be handed out from its beginning. Its references are the arena's.
    pub fn add(&mut self, memory: &MemoryFile, run: Frames) {
        self.free.push(run);
        self.trim(memory);
    }

    /// How many bytes from `offset` on are in reserve.
    pub fn reserve_at(&self, offset: u64) -> u64 {
        let holds = |run: &&Frames| run.offset <= offset && offset < run.offset + run.len;
        self.free.iter().find(holds).map_or(0, |run| run.offset + run.len - offset)
    }

    /// Takes the piece out that begins at `offset`; its references are the caller's.
    pub fn remove_at(&mut self, offset: u64) -> Option<Frames> {
        let at = self.free.iter().position(|run| run.offset == offset)?;
        Some(self.free.remove(at))
    }

    /// Exactly these frames, if they are in reserve.
    pub fn take_at(&mut self, memory: &MemoryFile, offset: u64, len: u64) -> Option<Frames> {
        let end = offset.checked_add(len)?;
        let index =
            self.free.iter().position(|free| free.offset <= offset && end <= free.offset + free.len)?;
        let free = self.free.remove(index);
        let above = Frames { offset: end, len: free.offset + free.len - end };
        let below = Frames { offset: free.offset, len: offset - free.offset };
        for rest in [above, below] {
            if rest.len > 0 {
                self.free.insert(index.min(self.free.len()), rest);
            }
        }
        self.trim(memory);
        Some(Frames { offset, len })
    }

    /// Gives the smallest piece back when there are too many.
    fn trim(&mut self, memory: &MemoryFile) {
        if self.free.len() > MAX_PIECES {
            let smallest = self.free.iter().enumerate().min_by_key(|(_, free)| free.len).map(|(at, _)| at);
            if let Some(at) = smallest {
                memory.decref(self.free.remove(at));
            }
        }
    }

    /// Takes the whole reserve out; its references are the caller's.
    pub fn take_all(&mut self) -> Vec<Frames> {
        std::mem::take(&mut self.free)
    }
}
