//! The names in a directory, as small as they can be kept: a listing may have a million, and many are kept for a while.
//!
//! All names lie one behind the other; a table of places, made when the first is looked up, finds one by its hash.

use std::hash::BuildHasher;
use std::sync::OnceLock;

use crate::vfs::NameHash;

/// Bits of [`Entry::end_and_kind`] that are the type.
const KIND_BITS: u32 = 4;

/// Names in the order that the host gives them, each with the number of its file here and its type.
pub(super) struct Entries {
    bytes: Box<[u8]>,
    all: Box<[Entry]>,
    /// Indices by hash, each one more than it is; 0 where there is none. Its length is a power of two.
    table: OnceLock<Box<[u32]>>,
}

struct Entry {
    ino: u64,
    /// Where the name ends among the bytes, and below that a `DT_*`.
    end_and_kind: u64,
}

/// Bytes that a name takes at most beside its own: an entry, and its share of the table.
pub(super) const EACH: usize = size_of::<Entry>() + 4 * size_of::<u32>();

impl Entry {
    fn end(&self) -> usize {
        (self.end_and_kind >> KIND_BITS) as usize
    }
}

/// [`Entries`] while they come.
#[derive(Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    all: Vec<Entry>,
}

impl Names {
    /// One more. Of `kind` the four bits count that `DT_*` has.
    pub fn push(&mut self, name: &[u8], ino: u64, kind: u8) {
        self.bytes.extend_from_slice(name);
        let kind = u64::from(kind) & ((1 << KIND_BITS) - 1);
        self.all.push(Entry { ino, end_and_kind: (self.bytes.len() as u64) << KIND_BITS | kind });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }
}

impl From<Names> for Entries {
    fn from(names: Names) -> Entries {
        Entries { bytes: names.bytes.into(), all: names.all.into(), table: OnceLock::new() }
    }
}

impl Entries {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Name, number and type of one.
    pub fn get(&self, index: usize) -> Option<(&[u8], u64, u8)> {
        let entry = self.all.get(index)?;
        let kind = entry.end_and_kind as u8 & ((1 << KIND_BITS) - 1);
        Some((self.name(index), entry.ino, kind))
    }

    fn name(&self, index: usize) -> &[u8] {
        let end = |index: usize| self.all.get(index).map_or(0, Entry::end);
        let start = index.checked_sub(1).map_or(0, end);
        self.bytes.get(start..end(index)).unwrap_or_default()
    }

    /// Which one has this name.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let table = self.table.get_or_init(|| self.make_table());
        let hash = NameHash::default();
        let mut at = hash.hash_one(name) as usize;
        // At least a quarter of the places is free.
        loop {
            let index = (*table.get(at & (table.len() - 1))? as usize).checked_sub(1)?;
            if self.name(index) == name {
                return Some(index);
            }
            at = at.wrapping_add(1);
        }
    }

    fn make_table(&self) -> Box<[u32]> {
        let length = (self.all.len() * 4 / 3 + 1).next_power_of_two();
        let mut table = vec![0; length].into_boxed_slice();
        let hash = NameHash::default();
        // What has no number of 32 bits is not found.
        for index in 0..self.all.len().min(u32::MAX as usize - 1) {
            let mut at = hash.hash_one(self.name(index)) as usize;
            while table[at & (length - 1)] != 0 {
                at = at.wrapping_add(1);
            }
            table[at & (length - 1)] = index as u32 + 1;
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        for count in [0, 1, 2, 3, 48, 49, 1000, 5000] {
            let mut names = Names::default();
            for i in 0..count {
                names.push(format!("name {i}").as_bytes(), i, i as u8 % 16);
            }
            let entries = Entries::from(names);
            for i in 0..count {
                let name = format!("name {i}");
                assert_eq!(entries.find(name.as_bytes()), Some(i as usize));
                assert_eq!(entries.get(i as usize), Some((name.as_bytes(), i, i as u8 % 16)));
            }
            for missing in ["", "name", "name -1", &format!("name {count}")] {
                assert_eq!(entries.find(missing.as_bytes()), None);
            }
            assert_eq!(entries.get(count as usize), None);
            assert_eq!(entries.len(), count as usize);
        }
    }

    #[test]
    fn the_same_name_twice_is_one_of_them() {
        let mut names = Names::default();
        (0..2).for_each(|ino| names.push(b"twice", ino, 0));
        assert!(Entries::from(names).find(b"twice").is_some());
    }
}
