//! How eagerly the directories of an exclusive tree are listed.
//!
//! Who goes over a tree (find, tar, git) comes to nearly every directory of it, and a request for each costs more in waking the
//! Gofer than in listing. So when directories are listed one after the other, each found in the listing of another, or when names
//! of which most were used are looked up in one directory after the other, the Gofer is asked for those ahead as well, and
//! a directory is listed at the first name that is looked up in it. What was listed in vain takes that back.
//!
//! Others come to one directory after the other, and to none of those ahead: a Python that starts, or whoever looks for a program in PATH. So
//! there are more ahead only for who has used most of those before. And of a large directory a few names are no sign that many will follow.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// So many names are asked for one by one before a directory is listed, by who does not go over a tree.
const SINGLY: u64 = 8;

/// Of a large directory one name more for each so many bytes: where directories have blocks, these are a hundred names, which take as
/// long to list as a few requests. What length a directory has is its file system's affair; it is a hint.
const BLOCK: u64 = 4096;

/// But not more.
const MOST_SINGLY: u64 = 64;

/// How many directories are listed ahead, by level.
const AHEAD: [u16; 6] = [0, 0, 4, 16, 64, 128];

/// See above.
#[derive(Default)]
pub(super) struct Pace {
    level: AtomicU32,
    /// The same for listings ahead; it rises only for who uses them.
    ahead: AtomicU32,
    /// Listings that came ahead and were not used so far. Old ones are forgotten.
    unused: AtomicU32,
    /// Links that were listed were read.
    reads_links: AtomicBool,
}

impl Pace {
    /// Somebody goes over the tree. Two at a time may count as one.
    pub fn faster(&self) {
        raise(&self.level);
        match self.uses_most() {
            true => raise(&self.ahead),
            false => self.no_longer_unused(),
        }
    }

    /// Something was listed in vain.
    pub fn slower(&self) {
        for level in [&self.level, &self.ahead] {
            level.store(level.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }

    /// So many listings have come ahead.
    pub fn came_ahead(&self, count: u32) {
        self.unused.fetch_add(count, Ordering::Relaxed);
    }

    /// One that came ahead is used for the first time.
    pub fn is_used(&self) {
        self.no_longer_unused();
    }

    /// One that came ahead is gone, and was never used.
    pub fn was_in_vain(&self) {
        self.no_longer_unused();
        self.slower();
    }

    fn no_longer_unused(&self) {
        let _ =
            self.unused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |unused| unused.checked_sub(1));
    }

    /// Whether fewer are unused than half of what comes with one request at this pace.
    fn uses_most(&self) -> bool {
        self.unused.load(Ordering::Relaxed) <= u32::from(self.level_ahead()) / 2
    }

    fn level_ahead(&self) -> u16 {
        AHEAD.get(self.ahead.load(Ordering::Relaxed) as usize).copied().unwrap_or(0)
    }

    /// How many directories to list ahead.
    pub fn ahead(&self) -> u16 {
        if self.uses_most() { self.level_ahead() } else { 0 }
    }

    /// How many names to ask for one by one before a directory of this length is listed that has never changed.
    pub fn singly(&self, bytes: u64) -> u64 {
        let large = (bytes / BLOCK).saturating_sub(1).min(MOST_SINGLY);
        (SINGLY >> self.level.load(Ordering::Relaxed)).max(1).max(large)
    }

    /// The same for one that has: one more change, and the listing is of no use.
    pub const fn singly_of_changed() -> u64 {
        SINGLY
    }

    /// Whether to ask what symbolic links point to when they are listed: somebody has read such a one.
    pub fn reads_links(&self) -> bool {
        self.reads_links.load(Ordering::Relaxed)
    }

    /// A link is read that was listed without what it points to.
    pub fn link_is_read(&self) {
        self.reads_links.store(true, Ordering::Relaxed);
    }

    /// Whether a listing was worth it of which so many names were used.
    pub fn is_worth(used: u32, entries: usize) -> bool {
        u64::from(used) >= SINGLY || used as usize >= entries.div_ceil(2)
    }
}

fn raise(level: &AtomicU32) {
    level.store((level.load(Ordering::Relaxed) + 1).min(AHEAD.len() as u32 - 1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_few_to_go_faster() {
        let pace = Pace::default();
        assert_eq!((pace.ahead(), pace.singly(4096)), (0, 8));
        pace.faster();
        assert_eq!((pace.ahead(), pace.singly(4096)), (0, 4));
        (0..20).for_each(|_| pace.faster());
        assert_eq!((pace.ahead(), pace.singly(4096)), (128, 1));
        (0..3).for_each(|_| pace.slower());
        assert_eq!((pace.ahead(), pace.singly(4096)), (0, 8));
    }

    #[test]
    fn a_large_directory_is_listed_later() {
        let pace = Pace::default();
        assert_eq!(
            [0, 4096, 9 * 4096, 12 * 4096, u64::MAX].map(|bytes| pace.singly(bytes)),
            [8, 8, 8, 11, 64]
        );
        (0..5).for_each(|_| pace.faster());
        assert_eq!(
            [0, 4096, 9 * 4096, 12 * 4096, u64::MAX].map(|bytes| pace.singly(bytes)),
            [1, 1, 8, 11, 64]
        );
    }

    #[test]
    fn who_goes_over_a_tree_gets_more_and_more() {
        let pace = Pace::default();
        let mut all = 0;
        for _ in 0..10 {
            pace.faster();
            let ahead = pace.ahead().into();
            pace.came_ahead(ahead);
            (0..ahead).for_each(|_| pace.is_used());
            all += ahead;
        }
        assert_eq!(all, 4 + 16 + 64 + 6 * 128);
    }

    #[test]
    fn who_uses_nothing_that_comes_ahead_gets_little() {
        let pace = Pace::default();
        let mut all = 0;
        for _ in 0..20 {
            pace.faster();
            let ahead = pace.ahead().into();
            pace.came_ahead(ahead);
            all += ahead;
        }
        assert_eq!(all, 24);
        // But it may go over a tree later.
        (0..100).for_each(|_| pace.faster());
        assert_eq!(pace.ahead(), 128);
    }
}
