//! Clocks (clock_getres(2)): offsets from a sandbox epoch.
//!
//! The sandbox looks like a machine that was booted when it was made: monotonic and boot time start near zero. Real
//! time is the host's. Deadlines inside the kernel are [`Instant`]s of the host's monotonic clock; this is the one
//! place that translates, so that a checkpoint only has to store the epoch's distance.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use abi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW,
    CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_REALTIME_COARSE, CLOCK_TAI, Timespec,
};

use super::line::SharedLine;

/// Nanoseconds in a second.
pub const SECOND_NS: i64 = 1_000_000_000;
/// Resolution of the coarse clocks: a tick of a host with HZ=250.
const COARSE_NS: i64 = 4_000_000;

/// The clocks that do not belong to a task.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// When the monotonic clock of the sandbox showed zero.
    epoch: Instant,
    /// What the vDSO reads time by, as soon as it does: everything that a guest is told comes from it.
    line: Arc<SharedLine>,
}

impl Clocks {
    /// Clocks of a machine that boots now.
    pub fn new() -> Clocks {
        Clocks { epoch: Instant::now(), line: Arc::default() }
    }

    /// Clocks of a sandbox that had been up for `uptime` (restore).
    pub fn with_uptime(uptime: Duration) -> Clocks {
        let now = Instant::now();
        Clocks { epoch: now.checked_sub(uptime).unwrap_or(now), line: Arc::default() }
    }

    /// When the monotonic clock showed zero.
    pub fn epoch(&self) -> Instant {
        self.epoch
    }

    /// The line that the vDSO reads time by.
    pub(super) fn line(&self) -> &SharedLine {
        &self.line
    }

    /// CLOCK_MONOTONIC, in nanoseconds. Boot time is the same: a sandbox never sleeps.
    pub fn monotonic_ns(&self) -> i64 {
        match self.line.get() {
            Some(line) => line.at(platform::cpu::time_stamp()),
            None => self.host_monotonic_ns(),
        }
    }

    /// The same by the host's clock, which the line follows.
    pub(super) fn host_monotonic_ns(&self) -> i64 {
        to_ns(self.epoch.elapsed())
    }

    /// CLOCK_REALTIME, in nanoseconds since 1970.
    pub fn realtime_ns(&self) -> i64 {
        match self.line.get() {
            Some(line) => line.at(platform::cpu::time_stamp()).saturating_add(line.realtime_ahead_ns),
            None => Self::realtime_now_ns(),
        }
    }

    /// CLOCK_REALTIME of the host, which the line follows.
    pub fn realtime_now_ns() -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => to_ns(since),
            Err(before) => -to_ns(before.duration()),
        }
    }

    /// What a clock shows; `None` for clocks of tasks and unknown ones.
    pub fn now_ns(&self, clock: i32) -> Option<i64> {
        match clock {
            CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_REALTIME_ALARM | CLOCK_TAI => {
                Some(self.realtime_ns())
            }
            CLOCK_MONOTONIC
            | CLOCK_MONOTONIC_RAW
            | CLOCK_MONOTONIC_COARSE
            | CLOCK_BOOTTIME
            | CLOCK_BOOTTIME_ALARM => Some(self.monotonic_ns()),
            _ => None,
        }
    }

    /// The resolution of a clock, in nanoseconds.
    pub fn resolution_ns(&self, clock: i32) -> Option<i64> {
        match clock {
            CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE => Some(COARSE_NS),
            _ => self.now_ns(clock).map(|_| 1),
        }
    }

    /// When `clock` will show `ns`, as far as one can tell now: the past for what has been. `None` for clocks of
    /// tasks, and for moments further off than [`Instant`] reaches.
    pub fn instant_of(&self, clock: i32, ns: i64) -> Option<Instant> {
        let left = ns.saturating_sub(self.now_ns(clock)?);
        let now = Instant::now();
        if left <= 0 { Some(now) } else { now.checked_add(Duration::from_nanos(left as u64)) }
    }

    /// The monotonic clock at `instant`.
    pub fn monotonic_at(&self, instant: Instant) -> i64 {
        match instant.checked_duration_since(self.epoch) {
            Some(since) => to_ns(since),
            None => -to_ns(self.epoch.saturating_duration_since(instant)),
        }
    }
}

impl Default for Clocks {
    fn default() -> Self {
        Clocks::new()
    }
}

/// Whether setting the real-time clock would move this clock.
pub fn follows_realtime(clock: i32) -> bool {
    matches!(clock, CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_REALTIME_ALARM | CLOCK_TAI)
}

/// A duration in nanoseconds, at most what an `i64` holds.
pub fn to_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds of a `timespec`; `None` for one that is not valid. More than 292 years are as many.
pub fn timespec_to_ns(time: &Timespec) -> Option<i64> {
    if time.tv_sec < 0 || !(0..SECOND_NS).contains(&time.tv_nsec) {
        return None;
    }
    Some(time.tv_sec.saturating_mul(SECOND_NS).saturating_add(time.tv_nsec))
}

/// A `timespec` of nanoseconds.
pub fn ns_to_timespec(ns: i64) -> Timespec {
    Timespec { tv_sec: ns.div_euclid(SECOND_NS), tv_nsec: ns.rem_euclid(SECOND_NS) }
}

/// When a relative time-out of a valid `timespec` ends; `None` for never (too far off to be reached).
pub fn deadline_after(ns: i64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_nanos(ns.max(0) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_move_and_translate() {
        let clocks = Clocks::with_uptime(Duration::from_secs(5));
        let now = clocks.monotonic_ns();
        assert!(now >= 5 * SECOND_NS);
        assert!(clocks.now_ns(CLOCK_BOOTTIME).is_some_and(|boot| boot >= now));
        assert_eq!(clocks.now_ns(77), None);
        let at = clocks.instant_of(CLOCK_MONOTONIC, now + SECOND_NS).expect("near");
        assert!((clocks.monotonic_at(at) - now - SECOND_NS).abs() < SECOND_NS / 10);
        assert!(clocks.instant_of(CLOCK_REALTIME, 0).expect("past") <= Instant::now());
    }

    #[test]
    fn timespecs() {
        assert_eq!(timespec_to_ns(&Timespec { tv_sec: 1, tv_nsec: 5 }), Some(SECOND_NS + 5));
        assert_eq!(timespec_to_ns(&Timespec { tv_sec: 0, tv_nsec: SECOND_NS }), None);
        assert_eq!(timespec_to_ns(&Timespec { tv_sec: -1, tv_nsec: 0 }), None);
        assert_eq!(timespec_to_ns(&Timespec { tv_sec: i64::MAX, tv_nsec: 5 }), Some(i64::MAX));
        assert_eq!(ns_to_timespec(-1), Timespec { tv_sec: -1, tv_nsec: SECOND_NS - 1 });
    }
}
