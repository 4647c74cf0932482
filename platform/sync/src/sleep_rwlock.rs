//! A reader-writer lock that may be held while its holder waits.

/// As [`SleepMutex`](crate::SleepMutex), for many readers.
#[derive(Debug, Default)]
pub struct SleepRwLock<T>(parking_lot::RwLock<T>);

/// Unlocks when dropped.
pub type SleepReadGuard<'a, T> = parking_lot::RwLockReadGuard<'a, T>;
/// Unlocks when dropped.
pub type SleepWriteGuard<'a, T> = parking_lot::RwLockWriteGuard<'a, T>;

impl<T> SleepRwLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        SleepRwLock(parking_lot::RwLock::new(value))
    }

    /// Locks for reading, before any writer that waits: a thread may read twice.
    pub fn read(&self) -> SleepReadGuard<'_, T> {
        self.0.read_recursive()
    }

    /// Locks for writing. No levelled lock may be held: readers may be waiting for something.
    #[track_caller]
    pub fn write(&self) -> SleepWriteGuard<'_, T> {
        crate::assert_no_locks_held("a wait for a sleeping lock");
        self.0.write()
    }
}
