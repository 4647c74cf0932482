//! A mutex that may be held while its holder waits.

use std::ops::{Deref, DerefMut};

/// Held across user copies and Gofer requests, unlike the levelled locks: Linux's `i_rwsem`, `f_pos_lock`. It has no
/// level and is not tracked; it comes before all levelled locks, and whoever takes two says in which order:
///
/// a file's position, then a super block's rename lock, then directories (the ancestor first, else by inode
/// number), then a regular file.
#[derive(Debug, Default)]
pub struct SleepMutex<T>(parking_lot::Mutex<T>);

/// Unlocks when dropped.
#[derive(Debug)]
pub struct SleepMutexGuard<'a, T>(parking_lot::MutexGuard<'a, T>);

impl<T> SleepMutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        SleepMutex(parking_lot::Mutex::new(value))
    }

    /// Locks. No levelled lock may be held: the holder may be waiting.
    #[track_caller]
    pub fn lock(&self) -> SleepMutexGuard<'_, T> {
        crate::assert_no_locks_held("a wait for a sleeping lock");
        SleepMutexGuard(self.0.lock())
    }

    /// Locks if nobody holds it.
    pub fn try_lock(&self) -> Option<SleepMutexGuard<'_, T>> {
        self.0.try_lock().map(SleepMutexGuard)
    }
}

impl<T> Deref for SleepMutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for SleepMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
