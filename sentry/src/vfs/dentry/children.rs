//! The table of a directory's entries, as far as they are known: what is there, and what is not.
//!
//! A dentry has its name itself; the table has a part of the name's hash, and where the dentry is. Dentries that were looked at must not
//! be dropped while the table is locked, as dropping the last reference locks it: they are collected in [`Looked`].

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::Dentry;
use crate::vfs::name::{Name, NameHash};

/// Dentries to be dropped when the table is not locked any more: declared before its guard.
pub(super) type Looked = SmallVec<[Arc<Dentry>; 2]>;

#[derive(Default)]
pub(super) struct Children {
    entries: HashTable<Entry>,
    /// Names known not to be there.
    missing: HashTable<Name>,
    /// The state of the directory that the entries are of.
    pub(super) valid_for: u64,
}

struct Entry {
    dentry: Weak<Dentry>,
    hash: u32,
    /// There; otherwise it was when the directory was last known.
    current: bool,
}

impl Entry {
    /// What the table places it by.
    fn place(&self) -> u64 {
        place(self.hash)
    }
}

fn hash(name: &[u8]) -> u64 {
    NameHash::default().hash_one(name)
}

/// What is known of a name.
pub(super) enum Known {
    /// It is this, if nothing has changed; false: it was, in another state of the directory.
    There(Arc<Dentry>, bool),
    Missing,
    Nothing,
}

/// A table looks at both ends of a hash.
fn place(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// Names known not to be there, in all directories together.
static NEGATIVES: AtomicU32 = AtomicU32::new(0);
const NEGATIVES_MAX: u32 = 256 * 1024;

impl Children {
    /// Brings the table to `current`: what it knows of another state is only a hint.
    pub(super) fn refresh(&mut self, current: u64) {
        if self.valid_for != current {
            self.drop_negatives();
            self.entries.iter_mut().for_each(|entry| entry.current = false);
            self.valid_for = current;
        }
    }

    /// The dentry of this name, be it of an earlier state, and whether it is of this one.
    pub(super) fn get(&self, name: &[u8], looked: &mut Looked) -> Option<(Arc<Dentry>, bool)> {
        self.get_hashed(hash(name), name, looked)
    }

    fn get_hashed(&self, hash: u64, name: &[u8], looked: &mut Looked) -> Option<(Arc<Dentry>, bool)> {
        let hash = hash as u32;
        for entry in self.entries.iter_hash(place(hash)).filter(|entry| entry.hash == hash) {
            let Some(dentry) = entry.dentry.upgrade() else { continue };
            if dentry.is_called(name) {
                return Some((dentry, entry.current));
            }
            looked.push(dentry);
        }
        None
    }

    /// What is known of `name`.
    pub(super) fn look_up(&self, name: &[u8], looked: &mut Looked) -> Known {
        let hash = hash(name);
        match self.get_hashed(hash, name, looked) {
            Some((dentry, current)) => Known::There(dentry, current),
            None if self.missing.find(hash, |missing| missing.as_bytes() == name).is_some() => Known::Missing,
            None => Known::Nothing,
        }
    }

    /// `dentry`, which is called `name`, is there.
    pub(super) fn insert(&mut self, name: &[u8], dentry: &Arc<Dentry>, looked: &mut Looked) {
        let hash = hash(name);
        self.forget_hashed(hash, name, looked);
        let entry = Entry { dentry: Arc::downgrade(dentry), hash: hash as u32, current: true };
        self.entries.insert_unique(entry.place(), entry, Entry::place);
    }

    /// `name` is not there.
    pub(super) fn insert_negative(&mut self, name: &[u8], looked: &mut Looked) {
        let key = hash(name);
        self.forget_hashed(key, name, looked);
        if NEGATIVES.load(Ordering::Relaxed) >= NEGATIVES_MAX {
            self.drop_negatives();
        }
        if NEGATIVES.load(Ordering::Relaxed) < NEGATIVES_MAX {
            self.missing.insert_unique(key, Name::new(name), |missing| hash(missing.as_bytes()));
            NEGATIVES.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nothing is known of `name`.
    pub(super) fn forget(&mut self, name: &[u8], looked: &mut Looked) {
        self.forget_hashed(hash(name), name, looked);
    }

    fn forget_hashed(&mut self, hash: u64, name: &[u8], looked: &mut Looked) {
        if let Ok(missing) = self.missing.find_entry(hash, |missing| missing.as_bytes() == name) {
            missing.remove();
            NEGATIVES.fetch_sub(1, Ordering::Relaxed);
        }
        self.remove(hash, |dentry| {
            let Some(dentry) = dentry.upgrade() else { return true };
            let is_it = dentry.is_called(name);
            looked.push(dentry);
            is_it
        });
    }

    /// `dentry` is not here any more, where it was called `name`.
    pub(super) fn forget_dentry(&mut self, name: &[u8], dentry: &Arc<Dentry>) {
        self.remove(hash(name), |entry| std::ptr::eq(entry.as_ptr(), Arc::as_ptr(dentry)));
    }

    /// A dentry called `name` is going away: nobody has it any more.
    pub(super) fn forget_dead(&mut self, name: &[u8]) {
        self.remove(hash(name), |entry| entry.strong_count() == 0);
        if self.entries.is_empty() {
            self.entries = HashTable::new();
        }
    }

    /// Takes those entries of this hash out that are `wanted`.
    fn remove(&mut self, hash: u64, mut wanted: impl FnMut(&Weak<Dentry>) -> bool) {
        let hash = hash as u32;
        while let Ok(found) =
            self.entries.find_entry(place(hash), |entry| entry.hash == hash && wanted(&entry.dentry))
        {
            found.remove();
        }
    }

    fn drop_negatives(&mut self) {
        if !self.missing.is_empty() {
            NEGATIVES.fetch_sub(self.missing.len() as u32, Ordering::Relaxed);
            self.missing = HashTable::new();
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.drop_negatives();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_no_more_than_two_words() {
        assert_eq!(size_of::<Entry>(), 16);
    }
}
