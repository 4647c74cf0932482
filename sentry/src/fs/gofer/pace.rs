//! How eagerly the directories of an exclusive tree are listed.
//!
//! Who goes over a tree (find, tar, git) comes to nearly every directory of it, and a request for each costs more in waking the
//! Gofer than in listing. So when directories are listed one after the other, each found in the listing of another, or when names
//! of which most were used are looked up in one directory after the other, the Gofer is asked for those ahead as well, and
//! a directory is listed at the first name that is looked up in it. What was listed in vain takes that back.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// So many names are asked for one by one before a directory is listed, by who does not go over a tree.
const SINGLY: u64 = 8;

/// How many directories are listed ahead, by level.
const AHEAD: [u16; 6] = [0, 0, 4, 16, 64, 128];

/// See above.
#[derive(Default)]
pub(super) struct Pace {
    level: AtomicU32,
    /// Links that were listed were read.
    reads_links: AtomicBool,
}

impl Pace {
    /// Somebody goes over the tree. Two at a time may count as one.
    pub fn faster(&self) {
        let level = self.level.load(Ordering::Relaxed);
        self.level.store((level + 1).min(AHEAD.len() as u32 - 1), Ordering::Relaxed);
    }

    /// Something was listed in vain.
    pub fn slower(&self) {
        self.level.store(self.level.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
    }

    /// How many directories to list ahead.
    pub fn ahead(&self) -> u16 {
        AHEAD.get(self.level.load(Ordering::Relaxed) as usize).copied().unwrap_or(0)
    }

    /// How many names to ask for one by one before a directory is listed that has never changed.
    pub fn singly(&self) -> u64 {
        (SINGLY >> self.level.load(Ordering::Relaxed)).max(1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_few_to_go_faster() {
        let pace = Pace::default();
        assert_eq!((pace.ahead(), pace.singly()), (0, 8));
        pace.faster();
        assert_eq!((pace.ahead(), pace.singly()), (0, 4));
        (0..20).for_each(|_| pace.faster());
        assert_eq!((pace.ahead(), pace.singly()), (128, 1));
        (0..3).for_each(|_| pace.slower());
        assert_eq!((pace.ahead(), pace.singly()), (0, 8));
    }
}
