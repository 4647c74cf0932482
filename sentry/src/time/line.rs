//! Time as a line through the time stamp counter.
//!
//! The vDSO reads time by such a line (`vdso_clock.rs` draws it), so the kernel has to read it by the same one: a program
//! that asks once by the vDSO and once by a system call must not see time go backwards.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

/// Base plus counts times a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The time stamp counter at the base.
    pub count: u64,
    /// The sandbox's monotonic time at the base.
    pub monotonic_ns: i64,
    /// Nanoseconds a count, 32.32 fixed point.
    pub factor: u64,
    /// What real time is ahead of monotonic time.
    pub realtime_ahead_ns: i64,
}

impl Line {
    /// Monotonic time when the counter shows `count`. Another processor's counter may be a little behind the base.
    pub fn at(&self, count: u64) -> i64 {
        let counts = count.saturating_sub(self.count);
        self.monotonic_ns.saturating_add(((u128::from(counts) * u128::from(self.factor)) >> 32) as i64)
    }
}

/// A line that one thread draws anew now and then while others read it, without a lock: a sequence number is odd
/// meanwhile.
#[derive(Debug, Default)]
pub struct SharedLine {
    /// 0 before the first line.
    sequence: AtomicU32,
    count: AtomicU64,
    monotonic_ns: AtomicI64,
    factor: AtomicU64,
    realtime_ahead_ns: AtomicI64,
}

impl SharedLine {
    /// The line, once there is one.
    pub fn get(&self) -> Option<Line> {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            let line = Line {
                count: self.count.load(Ordering::Relaxed),
                monotonic_ns: self.monotonic_ns.load(Ordering::Relaxed),
                factor: self.factor.load(Ordering::Relaxed),
                realtime_ahead_ns: self.realtime_ahead_ns.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                return Some(line);
            }
            std::thread::yield_now();
        }
    }

    /// Replaces the line. Only one thread does so.
    pub fn set(&self, line: &Line) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.count.store(line.count, Ordering::Relaxed);
        self.monotonic_ns.store(line.monotonic_ns, Ordering::Relaxed);
        self.factor.store(line.factor, Ordering::Relaxed);
        self.realtime_ahead_ns.store(line.realtime_ahead_ns, Ordering::Relaxed);
        // 0 says that there is none yet.
        let next = sequence.wrapping_add(2);
        self.sequence.store(if next == 0 { 2 } else { next }, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_whole_lines_only() {
        let shared = SharedLine::default();
        assert_eq!(shared.get(), None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..20_000 {
                    let line =
                        Line { count: n, monotonic_ns: n as i64, factor: n, realtime_ahead_ns: n as i64 };
                    shared.set(&line);
                }
            });
            let mut last = 0;
            while last < 19_999 {
                let Some(line) = shared.get() else { continue };
                let whole = (line.monotonic_ns, line.factor, line.realtime_ahead_ns);
                assert_eq!(whole, (line.count as i64, line.count, line.count as i64));
                assert!(line.count >= last);
                last = line.count;
            }
        });
    }
}
