//! Futexes (futex(2)): waiting for a word of memory to change.
//!
//! - [`FutexTable`]: who waits for what, one for the sandbox, in hashed buckets (level `Futex`).
//! - `wait`, `wake`, `requeue`, `waitv`: what tasks do with it. `pi`: words that are locks with an owner. `robust`: what
//!   becomes of locks whose owner dies.
//!
//! The word is looked at under the bucket's lock, so that a wait and a wake that belong together can't miss each other.
//! That look never waits: a page that is not there is brought in without the lock, and the wait starts again.

mod owned;
mod pi;
mod requeue;
mod robust;
mod table;
#[cfg(test)]
mod tests;
mod wait;
mod waitv;
mod wake;

pub use self::requeue::Word;
pub use self::robust::RobustListPlace;
pub use self::table::{FutexTable, Waiter};
pub use self::waitv::WaitOn;
pub use self::wake::{WakeOp, wake_address};
