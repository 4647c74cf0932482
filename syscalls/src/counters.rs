//! How often each call was made.
//!
//! Each thread counts for itself, without an atomic read-modify-write and without sharing a cache line; a reader adds
//! them up. A thread's counts go to a common sum when it ends.
//!
//! Lock level: `Leaf`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync::Mutex;
use sync::levels::Leaf;

use crate::table::NUMBERS;

/// One a number, and one for numbers without a row.
type Counts = [AtomicU64; NUMBERS + 1];

struct Registry {
    ended: [u64; NUMBERS + 1],
    running: Vec<Arc<Counts>>,
}

static REGISTRY: Mutex<Registry, Leaf> =
    Mutex::new(Registry { ended: [0; NUMBERS + 1], running: Vec::new() });

/// The counts of one thread, in the registry while it runs.
struct Mine(Arc<Counts>);

impl Mine {
    fn register() -> Mine {
        let counts = Arc::new([const { AtomicU64::new(0) }; NUMBERS + 1]);
        REGISTRY.lock().running.push(Arc::clone(&counts));
        Mine(counts)
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        registry.running.retain(|counts| !Arc::ptr_eq(counts, &self.0));
        for (sum, count) in registry.ended.iter_mut().zip(self.0.iter()) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
}

thread_local! {
    static MINE: Mine = Mine::register();
}

/// Counts one call of a number that has a row.
#[inline]
pub(crate) fn count(number: u32) {
    // Only this thread writes: a load and a store are enough. Without effect while the thread is being torn down.
    let _ = MINE.try_with(|mine| {
        if let Some(count) = mine.0.get(number as usize) {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    });
}

/// Counts one call of a number without a row.
#[cold]
pub(crate) fn count_unknown() {
    count(NUMBERS as u32);
}

/// How often each call was made so far.
pub struct Snapshot([u64; NUMBERS + 1]);

impl Snapshot {
    /// Of one number; 0 for one without a row.
    pub fn of(&self, number: u32) -> u64 {
        if (number as usize) < NUMBERS { self.0[number as usize] } else { 0 }
    }

    /// Of all numbers without a row.
    pub fn unknown(&self) -> u64 {
        self.0[NUMBERS]
    }
}

/// Adds up what all threads have counted.
pub fn snapshot() -> Snapshot {
    let registry = REGISTRY.lock();
    let mut sums = registry.ended;
    for counts in &registry.running {
        for (sum, count) in sums.iter_mut().zip(counts.iter()) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
    Snapshot(sums)
}

#[cfg(test)]
mod tests {
    use super::{count, snapshot};

    #[test]
    fn counts_of_ended_threads_stay() {
        let before = snapshot().of(38);
        let threads: Vec<_> =
            (0..4).map(|_| std::thread::spawn(|| (0..100).for_each(|_| count(38)))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(snapshot().of(38) - before, 400);
    }
}
