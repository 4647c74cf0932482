//! A reader-writer lock with a level.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::levels::Level;
use crate::tracker;

/// `parking_lot::RwLock` with a place in the lock order.
pub struct RwLock<T: ?Sized, L: Level> {
    level: PhantomData<fn() -> L>,
    inner: parking_lot::RwLock<T>,
}

/// Unlocks when dropped.
pub struct RwLockReadGuard<'a, T: ?Sized, L: Level> {
    level: PhantomData<L>,
    inner: parking_lot::RwLockReadGuard<'a, T>,
}

/// Unlocks when dropped.
pub struct RwLockWriteGuard<'a, T: ?Sized, L: Level> {
    level: PhantomData<L>,
    inner: parking_lot::RwLockWriteGuard<'a, T>,
}

impl<T, L: Level> RwLock<T, L> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        RwLock { level: PhantomData, inner: parking_lot::RwLock::new(value) }
    }
}

impl<T: ?Sized, L: Level> RwLock<T, L> {
    /// Locks for reading. A thread never reads the same lock twice at once (a writer between them would deadlock).
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T, L> {
        tracker::acquire(L::RANK, L::NAME, false);
        RwLockReadGuard { level: PhantomData, inner: self.inner.read() }
    }

    /// Locks for reading if no writer holds it.
    #[track_caller]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T, L>> {
        let inner = self.inner.try_read()?;
        tracker::acquire(L::RANK, L::NAME, true);
        Some(RwLockReadGuard { level: PhantomData, inner })
    }

    /// Locks for writing.
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T, L> {
        tracker::acquire(L::RANK, L::NAME, false);
        RwLockWriteGuard { level: PhantomData, inner: self.inner.write() }
    }

    /// Reads a second lock of the same level; the caller orders the two.
    #[track_caller]
    pub fn read_nested(&self) -> RwLockReadGuard<'_, T, L> {
        tracker::acquire(L::RANK, L::NAME, true);
        RwLockReadGuard { level: PhantomData, inner: self.inner.read() }
    }

    /// Writes a second lock of the same level; the caller orders the two.
    #[track_caller]
    pub fn write_nested(&self) -> RwLockWriteGuard<'_, T, L> {
        tracker::acquire(L::RANK, L::NAME, true);
        RwLockWriteGuard { level: PhantomData, inner: self.inner.write() }
    }
}

impl<T: Default, L: Level> Default for RwLock<T, L> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T: fmt::Debug, L: Level> fmt::Debug for RwLock<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: ?Sized, L: Level> Deref for RwLockReadGuard<'_, T, L> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, L: Level> Drop for RwLockReadGuard<'_, T, L> {
    fn drop(&mut self) {
        tracker::release(L::RANK);
    }
}

impl<T: ?Sized, L: Level> Deref for RwLockWriteGuard<'_, T, L> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, L: Level> DerefMut for RwLockWriteGuard<'_, T, L> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized, L: Level> Drop for RwLockWriteGuard<'_, T, L> {
    fn drop(&mut self) {
        tracker::release(L::RANK);
    }
}
