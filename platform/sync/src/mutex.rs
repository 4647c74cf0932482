//! A mutex with a level.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::levels::Level;
use crate::tracker;

/// `parking_lot::Mutex` with a place in the lock order.
pub struct Mutex<T: ?Sized, L: Level> {
    level: PhantomData<fn() -> L>,
    inner: parking_lot::Mutex<T>,
}

/// Unlocks when dropped.
pub struct MutexGuard<'a, T: ?Sized, L: Level> {
    level: PhantomData<L>,
    inner: parking_lot::MutexGuard<'a, T>,
}

impl<T, L: Level> Mutex<T, L> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Mutex { level: PhantomData, inner: parking_lot::Mutex::new(value) }
    }

    /// The value, without the lock.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized, L: Level> Mutex<T, L> {
    /// Locks; every lock held must have a lower level.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T, L> {
        tracker::acquire(L::RANK, L::NAME, false);
        MutexGuard { level: PhantomData, inner: self.inner.lock() }
    }

    /// Locks a second object of the same level. The caller orders the two (by address or id) and says so.
    #[track_caller]
    pub fn lock_nested(&self) -> MutexGuard<'_, T, L> {
        tracker::acquire(L::RANK, L::NAME, true);
        MutexGuard { level: PhantomData, inner: self.inner.lock() }
    }

    /// Locks two objects of one level, in the order of their addresses; the second guard is `None` when they are one.
    #[track_caller]
    pub fn lock_both<'a>(a: &'a Self, b: &'a Self) -> (MutexGuard<'a, T, L>, Option<MutexGuard<'a, T, L>>) {
        if std::ptr::addr_eq(a, b) {
            return (a.lock(), None);
        }
        if std::ptr::from_ref(a).addr() < std::ptr::from_ref(b).addr() {
            let first = a.lock();
            let second = b.lock_nested();
            (first, Some(second))
        } else {
            let second = b.lock();
            let first = a.lock_nested();
            (first, Some(second))
        }
    }

    /// Locks if nobody holds it.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T, L>> {
        let inner = self.inner.try_lock()?;
        tracker::acquire(L::RANK, L::NAME, true);
        Some(MutexGuard { level: PhantomData, inner })
    }

    /// The value, through the only reference.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T: Default, L: Level> Default for Mutex<T, L> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T: fmt::Debug, L: Level> fmt::Debug for Mutex<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: ?Sized, L: Level> Deref for MutexGuard<'_, T, L> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, L: Level> DerefMut for MutexGuard<'_, T, L> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized, L: Level> Drop for MutexGuard<'_, T, L> {
    fn drop(&mut self) {
        tracker::release(L::RANK);
    }
}

/// A condition variable for [`Mutex`]. The waiting thread counts as holding the mutex.
#[derive(Default, Debug)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    /// A new one.
    pub const fn new() -> Self {
        Condvar(parking_lot::Condvar::new())
    }

    /// Waits for a notification.
    pub fn wait<T, L: Level>(&self, guard: &mut MutexGuard<'_, T, L>) {
        self.0.wait(&mut guard.inner);
    }

    /// Waits for a notification or until `timeout` has passed; true when it has.
    pub fn wait_for<T, L: Level>(&self, guard: &mut MutexGuard<'_, T, L>, timeout: Duration) -> bool {
        self.0.wait_for(&mut guard.inner, timeout).timed_out()
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiters.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::levels::{Inode, Task};

    #[test]
    fn locks_in_order_are_fine() {
        let a: Mutex<u32, Task> = Mutex::new(1);
        let b: Mutex<u32, Inode> = Mutex::new(2);
        let ga = a.lock();
        let gb = b.lock();
        assert_eq!(*ga + *gb, 3);
    }

    #[test]
    #[cfg(debug_assertions)]
    fn locks_out_of_order_panic() {
        let caught = std::thread::spawn(|| {
            let a: Mutex<u32, Task> = Mutex::new(1);
            let b: Mutex<u32, Inode> = Mutex::new(2);
            let _gb = b.lock();
            let _ga = a.lock();
        })
        .join();
        assert!(caught.is_err());
    }
}
