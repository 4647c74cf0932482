//! Chunks: the runs of the memory file that a file's pages lie in.

use platform::Frames;

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
}

impl Chunk {
    /// A chunk of `count` pages, none of which is part of the file yet.
    pub fn new(frames: Frames, count: u64) -> Chunk {
        Chunk { frames, present: vec![0; count.div_ceil(64) as usize].into() }
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
