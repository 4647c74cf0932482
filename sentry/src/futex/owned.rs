//! Who owns PI futexes that others wait for: the edges that a circle of owners and waiters is made of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use sync::Mutex;

use crate::mm::FutexKey;

/// Who owns the locks that somebody waits for, and who waits for which.
#[derive(Default)]
pub struct Owned {
    /// How many locks there are, to skip the lock when there is none.
    count: AtomicUsize,
    maps: Mutex<Maps, sync::levels::Leaf>,
}

#[derive(Default)]
struct Maps {
    owner_of: HashMap<FutexKey, u64>,
    waits_for: HashMap<u64, FutexKey>,
}

impl Owned {
    pub fn owner(&self, key: &FutexKey) -> Option<u64> {
        if self.count.load(Ordering::Relaxed) == 0 {
            None
        } else {
            self.maps.lock().owner_of.get(key).copied()
        }
    }

    pub fn set_owner(&self, key: FutexKey, owner: Option<u64>) {
        let mut maps = self.maps.lock();
        match owner {
            Some(task) => maps.owner_of.insert(key, task),
            None => maps.owner_of.remove(&key),
        };
        self.count.store(maps.owner_of.len(), Ordering::Relaxed);
    }

    /// A task that waited gets a lock. It may take a while to notice, and must not count as waiting meanwhile: it would
    /// look like a circle.
    pub fn give(&self, key: FutexKey, task: u64) {
        self.set_owner(key, Some(task));
        self.set_waits(task, None);
    }

    pub fn set_waits(&self, task: u64, key: Option<FutexKey>) {
        let mut maps = self.maps.lock();
        match key {
            Some(key) => maps.waits_for.insert(task, key),
            None => maps.waits_for.remove(&task),
        };
    }

    pub fn of_task(&self, task: u64) -> Vec<FutexKey> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        self.maps.lock().owner_of.iter().filter(|(_, owner)| **owner == task).map(|(key, _)| *key).collect()
    }

    /// Whether `owner` waits, through any number of locks, for one that `task` owns.
    pub fn closes_circle(&self, owner: u64, task: u64) -> bool {
        let maps = self.maps.lock();
        let mut at = owner;
        for _ in 0..1024 {
            if at == task {
                return true;
            }
            let next = maps.waits_for.get(&at).and_then(|key| maps.owner_of.get(key));
            let Some(next) = next else { return false };
            at = *next;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(addr: u64) -> FutexKey {
        FutexKey::Private { space: 1, addr }
    }

    #[test]
    fn circles_of_owners_are_found() {
        let owned = Owned::default();
        // 1 has lock 8 and waits for 16, which 2 has.
        owned.set_owner(key(8), Some(1));
        owned.set_owner(key(16), Some(2));
        owned.set_waits(1, Some(key(16)));
        assert!(owned.closes_circle(1, 2));
        assert!(!owned.closes_circle(1, 3));
        assert_eq!(owned.of_task(1), [key(8)]);
    }

    /// A waiter that has been given the lock, and has not noticed, once looked as if it waited for itself.
    #[test]
    fn who_gets_a_lock_does_not_wait_for_it() {
        let owned = Owned::default();
        owned.set_owner(key(8), Some(1));
        owned.set_waits(2, Some(key(8)));
        owned.give(key(8), 2);
        assert!(!owned.closes_circle(2, 3));
        assert_eq!(owned.owner(&key(8)), Some(2));
    }
}
