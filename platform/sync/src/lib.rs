//! Locks with levels.
//!
//! Each lock has a [`Level`]; a thread may only take a lock whose rank is higher than that of every lock it holds
//! (or the same rank through [`Mutex::lock_nested`], whose caller states the order). Debug builds check this per
//! thread and panic with both names; release builds pay nothing. The list of levels is [`levels`]: *the* lock-order
//! document of the project.

#![forbid(unsafe_code)]

pub mod levels;
mod mutex;
mod rwlock;
mod sleep_mutex;
mod sleep_rwlock;
mod tracker;

pub use levels::Level;
pub use mutex::{Condvar, Mutex, MutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use sleep_mutex::{SleepMutex, SleepMutexGuard};
pub use sleep_rwlock::{SleepReadGuard, SleepRwLock, SleepWriteGuard};
pub use tracker::assert_no_locks_held;
