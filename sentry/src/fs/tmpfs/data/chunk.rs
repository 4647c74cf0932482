//! Chunks: the runs of the memory file that a file's pages lie in.

use platform::{Frames, PAGE_SIZE};

/// Pages of the chunks of a big file.
const BIG: u64 = 512;

/// Where the small chunks at the beginning of a file start, and the first big one.
const STEPS: [u64; 6] = [0, 1, 4, 16, 64, BIG];

/// First page and number of pages of the chunk that `page` is in.
pub(super) fn chunk_of(page: u64) -> (u64, u64) {
    match STEPS.windows(2).find(|step| page < step[1]) {
        Some(step) => (step[0], step[1] - step[0]),
        None => (page / BIG * BIG, BIG),
    }
}

/// A run of the memory file that some pages of a file lie in.
pub(super) struct Chunk {
    pub frames: Frames,
    /// One bit a page.
    present: Box<[u64]>,
    /// One bit for 64 pages, on a disk: the host has room for them all.
    reserved: u8,
}

/// Pages that the host is asked to have room for at once.
const RESERVED_AT_ONCE: u64 = 64;

impl Chunk {
    /// A chunk of `count` pages, none of which is part of the file yet.
    pub fn new(frames: Frames, count: u64) -> Chunk {
        Chunk { frames, present: vec![0; count.div_ceil(64) as usize].into(), reserved: 0 }
    }

    /// The first run that has to be reserved before the pages `[from, to)` are part of the file: its frames, and its pages in
    /// the chunk.
    pub fn unreserved(&self, from: u64, to: u64) -> Option<(Frames, u64, u64)> {
        let is_reserved = |part: u64| self.reserved >> part & 1 == 1;
        let parts = to.div_ceil(RESERVED_AT_ONCE);
        let first = (from / RESERVED_AT_ONCE..parts).find(|part| !is_reserved(*part))?;
        let last = (first..parts).find(|part| is_reserved(*part)).unwrap_or(parts);
        let count = self.frames.len / PAGE_SIZE;
        let (start, end) = (first * RESERVED_AT_ONCE, (last * RESERVED_AT_ONCE).min(count));
        let offset = self.frames.offset + start * PAGE_SIZE;
        Some((Frames { offset, len: (end - start) * PAGE_SIZE }, start, end))
    }

    /// Notes that there is room for the pages `[from, to)`, as [`unreserved`](Self::unreserved) has named them.
    pub fn set_reserved(&mut self, from: u64, to: u64) {
        for part in from / RESERVED_AT_ONCE..to.div_ceil(RESERVED_AT_ONCE) {
            self.reserved |= 1 << part;
        }
    }

    /// Notes that the room of the pages `[from, to)` was given back.
    pub fn set_released(&mut self, from: u64, to: u64) {
        for part in from / RESERVED_AT_ONCE..to.div_ceil(RESERVED_AT_ONCE) {
            self.reserved &= !(1 << part);
        }
    }

    /// Whether a page is part of the file.
    pub fn is_present(&self, index: u64) -> bool {
        self.present[(index / 64) as usize] >> (index % 64) & 1 == 1
    }

    /// Sets or clears the bits of `[from, to)`; answers how many have changed.
    pub fn mark(&mut self, from: u64, to: u64, present: bool) -> u64 {
        let mut changed = 0;
        let mut at = from;
        while at < to {
            let end = to.min((at / 64 + 1) * 64);
            let mask = (u64::MAX >> (64 - (end - at))) << (at % 64);
            let word = &mut self.present[(at / 64) as usize];
            let new = if present { *word | mask } else { *word & !mask };
            changed += u64::from((*word ^ new).count_ones());
            *word = new;
            at = end;
        }
        changed
    }

    /// How many pages are part of the file.
    pub fn count(&self) -> u64 {
        self.present.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The end of the run of pages from `index` on that are all present or all not; at most `to`.
    pub fn run_end(&self, index: u64, to: u64) -> u64 {
        let present = self.is_present(index);
        let mut at = index;
        while at < to {
            let word = self.present[(at / 64) as usize];
            let word = if present { !word } else { word };
            let rest = word >> (at % 64);
            if rest != 0 {
                return (at + u64::from(rest.trailing_zeros())).min(to);
            }
            at = (at / 64 + 1) * 64;
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_asked_for_in_runs() {
        let mut chunk = Chunk::new(Frames { offset: 1 << 30, len: BIG * PAGE_SIZE }, BIG);
        let run = |from: u64, to: u64| {
            Some((Frames { offset: (1 << 30) + from * PAGE_SIZE, len: (to - from) * PAGE_SIZE }, from, to))
        };
        assert_eq!(chunk.unreserved(3, 4), run(0, 64));
        assert_eq!(chunk.unreserved(63, 65), run(0, 128));
        chunk.set_reserved(64, 128);
        assert_eq!(chunk.unreserved(0, 512), run(0, 64));
        assert_eq!(chunk.unreserved(64, 128), None);
        assert_eq!(chunk.unreserved(64, 512), run(128, 512));
        chunk.set_reserved(0, 512);
        assert_eq!(chunk.unreserved(0, 512), None);
        chunk.set_released(127, 130);
        assert_eq!(chunk.unreserved(0, 512), run(64, 192));
        let small = Chunk::new(Frames { offset: 0, len: 12 * PAGE_SIZE }, 12);
        assert_eq!(small.unreserved(2, 3), Some((small.frames, 0, 12)));
    }
}
