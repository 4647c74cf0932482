//! What a tmpfs may use: pages and inodes (`size=`, `nr_blocks=`, `nr_inodes=`).

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters with limits.
#[derive(Debug)]
pub struct Budget {
    pages: AtomicU64,
    inodes: AtomicU64,
    max_pages: AtomicU64,
    max_inodes: AtomicU64,
}

impl Budget {
    /// Limits of `max_pages` and `max_inodes`; `u64::MAX` for none.
    pub fn new(max_pages: u64, max_inodes: u64) -> Budget {
        Budget {
            pages: AtomicU64::new(0),
            inodes: AtomicU64::new(0),
            max_pages: AtomicU64::new(max_pages),
            max_inodes: AtomicU64::new(max_inodes),
        }
    }

    /// Takes up to `want` pages; answers how many.
    pub fn take_pages(&self, want: u64) -> u64 {
        take(&self.pages, self.max_pages(), want)
    }

    /// Gives pages back.
    pub fn give_pages(&self, pages: u64) {
        self.pages.fetch_sub(pages, Ordering::Relaxed);
    }

    /// Takes an inode; false when there is none left.
    pub fn take_inode(&self) -> bool {
        take(&self.inodes, self.max_inodes(), 1) == 1
    }

    /// Gives an inode back.
    pub fn give_inode(&self) {
        self.inodes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Pages in use.
    pub fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }

    /// Inodes in use.
    pub fn inodes(&self) -> u64 {
        self.inodes.load(Ordering::Relaxed)
    }

    /// Pages at most.
    pub fn max_pages(&self) -> u64 {
        self.max_pages.load(Ordering::Relaxed)
    }

    /// Inodes at most.
    pub fn max_inodes(&self) -> u64 {
        self.max_inodes.load(Ordering::Relaxed)
    }

    /// New limits; false (and no change) when more is in use already, or when there was none and is to be one.
    pub fn set_limits(&self, max_pages: u64, max_inodes: u64) -> bool {
        let fits = |used: u64, old: u64, new: u64| new == old || (new >= used && old != u64::MAX);
        let ok = fits(self.pages(), self.max_pages(), max_pages)
            && fits(self.inodes(), self.max_inodes(), max_inodes);
        if ok {
            self.max_pages.store(max_pages, Ordering::Relaxed);
            self.max_inodes.store(max_inodes, Ordering::Relaxed);
        }
        ok
    }
}

fn take(counter: &AtomicU64, max: u64, want: u64) -> u64 {
    let mut used = counter.load(Ordering::Relaxed);
    loop {
        let got = want.min(max.saturating_sub(used));
        if got == 0 {
            return 0;
        }
        match counter.compare_exchange_weak(used, used + got, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return got,
            Err(now) => used = now,
        }
    }
}
