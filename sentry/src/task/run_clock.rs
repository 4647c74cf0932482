//! How long a thread has been in guest code, readable while it is there.

use std::sync::atomic::{AtomicU64, Ordering};

/// Set while the thread is in guest code.
const RUNNING: u64 = 1 << 63;

/// Counts nanoseconds in one word: outside of guest code the sum so far, inside the sum less the moment of entry, so that
/// adding the present moment gives the sum at any time.
#[derive(Default)]
pub struct RunClock(AtomicU64);

impl RunClock {
    /// The thread goes to guest code. Only for the thread itself.
    pub fn enter(&self, now_ns: u64) {
        let sum = self.0.load(Ordering::Relaxed);
        self.0.store(sum.wrapping_sub(now_ns) & !RUNNING | RUNNING, Ordering::Relaxed);
    }

    /// It comes back. Only for the thread itself.
    pub fn leave(&self, now_ns: u64) {
        let sum = self.0.load(Ordering::Relaxed);
        self.0.store(sum.wrapping_add(now_ns) & !RUNNING, Ordering::Relaxed);
    }

    /// The sum at this moment.
    pub fn sum_ns(&self, now_ns: u64) -> u64 {
        let sum = self.0.load(Ordering::Relaxed);
        if sum & RUNNING == 0 { sum } else { sum.wrapping_add(now_ns) & !RUNNING }
    }
}

#[cfg(test)]
mod tests {
    use super::RunClock;

    #[test]
    fn counts_inside_only() {
        let clock = RunClock::default();
        assert_eq!(clock.sum_ns(50), 0);
        clock.enter(100);
        assert_eq!((clock.sum_ns(100), clock.sum_ns(130)), (0, 30));
        clock.leave(140);
        assert_eq!(clock.sum_ns(900), 40);
        clock.enter(1000);
        assert_eq!(clock.sum_ns(1005), 45);
        clock.leave(1010);
        assert_eq!(clock.sum_ns(0), 50);
    }
}
