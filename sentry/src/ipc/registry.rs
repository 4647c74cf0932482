//! Objects by id and by key.
//!
//! An id is a place and, above it, how often the places have come round, as on Linux: the id of what was removed is not
//! soon given to another.
//!
//! Lock level: `FileState`; an object's own lock is taken under it. Objects are dropped after it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use abi::Errno;
use abi::ipc::{IPC_PRIVATE, IpcFlags, IpcPerm};
use sync::Mutex;

use super::permission::Asker;
use crate::Result;

/// The bits of an id that are its place.
const PLACE_BITS: u32 = 15;
/// Places, and objects, at most (IPCMNI).
pub(super) const MOST: u32 = 1 << PLACE_BITS;
/// Numbers of rounds that an id can tell apart.
const SEQUENCES: u32 = 1 << (31 - PLACE_BITS);
/// Places that are used before the first comes again.
const LEAST_ROUND: u32 = 64;

/// What can be kept.
pub(super) trait Object {
    /// Its permissions.
    fn perm(&self) -> IpcPerm;
    /// It has been given an id.
    fn set_sequence(&self, sequence: u16);
}

/// All objects of a kind.
pub(super) struct Registry<T> {
    slots: Mutex<Slots<T>, sync::levels::FileState>,
}

struct Slots<T> {
    by_place: BTreeMap<u32, (i32, Arc<T>)>,
    by_key: HashMap<i32, u32>,
    last: Option<u32>,
    sequence: u32,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        let slots = Slots { by_place: BTreeMap::new(), by_key: HashMap::new(), last: None, sequence: 0 };
        Registry { slots: Mutex::new(slots) }
    }
}

impl<T> Slots<T> {
    fn free_place(&self, most: u32) -> Option<u32> {
        let used = self.by_place.len() as u32;
        let round = (used + used / 2).max(LEAST_ROUND).min(most);
        let next = self.last.map_or(0, |last| last + 1);
        let free = |place: &u32| !self.by_place.contains_key(place);
        (next..round).find(free).or_else(|| (0..next.min(round)).find(free))
    }

    fn add(&mut self, key: i32, most: u32, object: T) -> Result<(i32, Arc<T>)>
    where
        T: Object,
    {
        if self.by_place.len() as u32 >= most {
            return Err(Errno::ENOSPC);
        }
        let place = self.free_place(most).ok_or(Errno::ENOSPC)?;
        if self.last.is_some_and(|last| place <= last) {
            self.sequence = (self.sequence + 1) % SEQUENCES;
        }
        self.last = Some(place);
        let id = (self.sequence << PLACE_BITS | place) as i32;
        object.set_sequence(self.sequence as u16);
        let object = Arc::new(object);
        self.by_place.insert(place, (id, Arc::clone(&object)));
        if key != IPC_PRIVATE {
            self.by_key.insert(key, place);
        }
        Ok((id, object))
    }
}

/// What semget(2) and the like ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub key: i32,
    pub flags: u32,
    /// Objects at most.
    pub most: u32,
}

impl<T: Object> Registry<T> {
    /// The id of the object with a key, or of a new one. `check` looks at one that is there; `make` gets how many there are.
    pub fn get(
        &self,
        asked: Asked,
        asker: &Asker<'_>,
        check: impl FnOnce(&T) -> Result<()>,
        make: impl FnOnce(&mut dyn Iterator<Item = &Arc<T>>) -> Result<T>,
    ) -> Result<i32> {
        let how = IpcFlags::from_bits_truncate(asked.flags);
        let mut slots = self.slots.lock();
        if asked.key != IPC_PRIVATE {
            let place = slots.by_key.get(&asked.key);
            if let Some((id, object)) = place.and_then(|place| slots.by_place.get(place)) {
                if how.contains(IpcFlags::CREAT | IpcFlags::EXCL) {
                    return Err(Errno::EEXIST);
                }
                check(object)?;
                asker.may(&object.perm(), asked.flags & 0o777)?;
                return Ok(*id);
            }
            if !how.contains(IpcFlags::CREAT) {
                return Err(Errno::ENOENT);
            }
        }
        let object = make(&mut slots.by_place.values().map(|(_, object)| object))?;
        let (id, _) = slots.add(asked.key, asked.most.min(MOST), object)?;
        Ok(id)
    }

    /// The object with this id: EINVAL without one.
    pub fn find(&self, id: i32) -> Result<Arc<T>> {
        let slots = self.slots.lock();
        let (known, object) = slots.by_place.get(&place_of(id)).ok_or(Errno::EINVAL)?;
        if *known == id { Ok(Arc::clone(object)) } else { Err(Errno::EINVAL) }
    }

    /// The object in the place that `id` begins with, and its id.
    pub fn find_place(&self, id: i32) -> Result<(i32, Arc<T>)> {
        let slots = self.slots.lock();
        let (known, object) = slots.by_place.get(&place_of(id)).ok_or(Errno::EINVAL)?;
        Ok((*known, Arc::clone(object)))
    }

    /// Takes an object out, if `end` has nothing against it.
    pub fn remove<R>(&self, id: i32, end: impl FnOnce(&T) -> Result<R>) -> Result<(Arc<T>, R)> {
        let mut slots = self.slots.lock();
        let place = place_of(id);
        let (known, object) = slots.by_place.get(&place).ok_or(Errno::EINVAL)?;
        if *known != id {
            return Err(Errno::EINVAL);
        }
        let key = object.perm().key;
        let left = end(object)?;
        slots.by_key.remove(&key);
        let (_, object) = slots.by_place.remove(&place).ok_or(Errno::EINVAL)?;
        Ok((object, left))
    }

    /// All objects, by place.
    pub fn all(&self) -> Vec<(i32, Arc<T>)> {
        self.slots.lock().by_place.values().map(|(id, object)| (*id, Arc::clone(object))).collect()
    }

    /// The highest place in use; 0 without one.
    pub fn highest(&self) -> i32 {
        self.slots.lock().by_place.last_key_value().map_or(0, |(place, _)| *place as i32)
    }
}

fn place_of(id: i32) -> u32 {
    id as u32 & (MOST - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Object for Nothing {
        fn perm(&self) -> IpcPerm {
            IpcPerm {
                key: 0,
                uid: 0,
                gid: 0,
                cuid: 0,
                cgid: 0,
                mode: 0,
                seq: 0,
                pad2: [0; 3],
                unused1: 0,
                unused2: 0,
            }
        }

        fn set_sequence(&self, _sequence: u16) {}
    }

    #[test]
    fn ids_come_round_late() {
        let registry = Registry::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let id = registry.slots.lock().add(IPC_PRIVATE, MOST, Nothing).expect("a place").0;
            assert!(id >= 0 && seen.insert(id), "{id} was used before");
            assert!(registry.find(id).is_ok());
            assert!(registry.remove(id, |_| Ok(())).is_ok());
            assert!(registry.find(id).is_err());
        }
    }

    #[test]
    fn there_are_no_more_than_asked_for() {
        let registry = Registry::default();
        let mut slots = registry.slots.lock();
        let mut ids = Vec::new();
        let full = loop {
            match slots.add(IPC_PRIVATE, 500, Nothing) {
                Ok((id, _)) => ids.push(id),
                Err(errno) => break errno,
            }
        };
        assert_eq!((full, ids.len()), (Errno::ENOSPC, 500));
    }
}
