//! Contents of a directory in memory.
//!
//! Entries have cookies that only grow; a listing goes from the newest to the oldest, so that what is made meanwhile is
//! not met and what is taken away is not missed twice (getdents64(2) stays stable under change).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::vfs::{Inode, Name, NameHash};

/// The cookie before the first: positions 0 to 2 belong to the dots and to the beginning.
const FIRST_COOKIE: u64 = 3;

/// Names, and what they name.
#[derive(Default)]
pub struct Entries {
    by_name: HashMap<Name, (Arc<Inode>, u64), NameHash>,
    by_cookie: BTreeMap<u64, Name>,
    last_cookie: u64,
    /// Taken away: nothing may be made in it.
    pub dead: bool,
}

impl Entries {
    /// What `name` names.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Inode>> {
        self.by_name.get(name).map(|(inode, _)| inode)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Adds or replaces an entry; answers the old inode, to be dropped without the lock.
    pub fn insert(&mut self, name: &[u8], inode: Arc<Inode>) -> Option<Arc<Inode>> {
        if let Some((old, _)) = self.by_name.get_mut(name) {
            return Some(std::mem::replace(old, inode));
        }
        self.last_cookie = (self.last_cookie + 1).max(FIRST_COOKIE);
        let name = Name::new(name);
        self.by_cookie.insert(self.last_cookie, name.clone());
        self.by_name.insert(name, (inode, self.last_cookie));
        None
    }

    /// Takes an entry out; the inode is to be dropped without the lock.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Inode>> {
        let (inode, cookie) = self.by_name.remove(name)?;
        self.by_cookie.remove(&cookie);
        Some(inode)
    }

    /// All inodes; the directory is empty then.
    pub fn take_all(&mut self) -> Vec<Arc<Inode>> {
        self.by_cookie.clear();
        std::mem::take(&mut self.by_name).into_values().map(|(inode, _)| inode).collect()
    }

    /// Up to `max` entries from `position` on, each with the position after it.
    pub fn list(&self, position: u64, max: usize) -> Vec<(Name, u64, u8, u64)> {
        let newest = if position < FIRST_COOKIE { u64::MAX } else { position };
        let entries = self.by_cookie.range(..newest).rev().take(max);
        let listed = entries.filter_map(|(cookie, name)| {
            let (inode, _) = self.by_name.get(name)?;
            // The position after the oldest entry must not read as the beginning: it is that entry's cookie, below
            // which nothing is.
            Some((name.clone(), inode.ino, inode.kind.dirent_type(), *cookie))
        });
        listed.collect()
    }
}
