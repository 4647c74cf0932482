//! How many CPUs the threads of an address space take turns on ([`CpuSlots`](super::cpu_slots::CpuSlots)), when there are more threads than
//! CPUs.
//!
//! A call takes two threads of the host, the guest's and the Sentry's. On two processors they hand over by looking at memory, in some tenths of
//! a microsecond; on one it takes two switches, some microseconds. So threads that do little but make calls get further when one
//! of them runs at a time, on two processors, than when two do, on one each; threads that compute get half as far. Which it is depends on them
//! and on the host, so it is tried: when the threads on *all* CPUs make calls densely, one CPU alone is given out for a while.
//! It stays so as long as not clearly fewer calls are made than before. When it was in vain, the next trial comes later, and later each time.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use smallvec::SmallVec;
use sync::Mutex;

/// How long a number of CPUs is looked at, nanoseconds.
const PERIOD_NS: u64 = 4_000_000;
/// The same for the first that are looked at: threads that do little but make calls may be done soon.
const FIRST_NS: u64 = 1_000_000;
/// A thread that leaves guest code more seldom does more than make calls.
const DENSE_NS: u64 = 40_000;
/// Periods between two trials that were in vain, at first and at most.
const FIRST_PAUSE: u32 = 2;
const LONGEST_PAUSE: u32 = 1024;
/// After so many periods with one CPU there is one with all.
const LONGEST_NARROW: u32 = 32;

pub(super) struct Width {
    now: AtomicUsize,
    all: usize,
    /// It stays at all.
    fixed: AtomicBool,
    /// When it is to be looked at again, on the sandbox's boot clock.
    due_ns: AtomicU64,
    state: Mutex<State, sync::levels::Leaf>,
}

#[derive(Default)]
struct State {
    /// When this period began, and how often threads had left guest code by then, by CPU.
    since_ns: u64,
    stops: SmallVec<[u64; 8]>,
    /// With all CPUs: how many threads left guest code in a second.
    rate: u64,
    /// For how many periods one CPU has been given out.
    narrow: u32,
    /// Periods before the next trial, and after the next that is in vain.
    pause: u32,
    next_pause: u32,
}

impl Width {
    pub fn new(all: usize) -> Width {
        let state = State { next_pause: FIRST_PAUSE, ..State::default() };
        Width {
            now: AtomicUsize::new(all),
            all,
            fixed: AtomicBool::new(all == 1),
            due_ns: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// How many are given out.
    pub fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    /// Whether to [`reconsider`](Self::reconsider).
    pub fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.due_ns.load(Ordering::Relaxed) && !self.fixed.load(Ordering::Relaxed)
    }

    /// Threads may not be on all CPUs alike: from now on all are given out.
    pub fn fix(&self) {
        if !self.fixed.swap(true, Ordering::Relaxed) {
            let _state = self.state.lock();
            self.now.store(self.all, Ordering::SeqCst);
        }
    }

    /// A period is over, in which threads left guest code so often, counted from the beginning, by CPU. Whether more CPUs than before are
    /// given out now.
    pub fn reconsider(&self, now_ns: u64, stops: impl Iterator<Item = u64>) -> bool {
        let Some(mut state) = self.state.try_lock() else { return false };
        if !self.is_due(now_ns) {
            return false;
        }
        let is_first = state.since_ns == 0;
        let period = if is_first { FIRST_NS } else { PERIOD_NS };
        self.due_ns.store(now_ns + period, Ordering::Relaxed);
        let stops: SmallVec<[u64; 8]> = stops.collect();
        let before = std::mem::replace(&mut state.stops, stops);
        let passed = now_ns - std::mem::replace(&mut state.since_ns, now_ns);
        // At first, and after a time in which nobody waited, nothing is known.
        if before.len() != state.stops.len() || passed > 2 * PERIOD_NS {
            return self.set(self.all);
        }
        let new = |cpu: usize| state.stops[cpu].wrapping_sub(before[cpu]);
        let rate = (0..self.all).map(new).sum::<u64>() * 1_000_000_000 / passed.max(1);
        if self.now() < self.all {
            // Not all calls take as long as those before, so it may be a little less. What the others would do now is seen from time to time.
            if rate * 5 >= state.rate * 4 {
                state.narrow += 1;
                return state.narrow == LONGEST_NARROW && self.set(self.all);
            }
            state.pause = state.next_pause;
            state.next_pause = (state.next_pause * 2).min(LONGEST_PAUSE);
            return self.set(self.all);
        }
        if state.pause > 0 {
            state.pause -= 1;
        } else if (0..self.all).all(|cpu| new(cpu) * DENSE_NS >= passed) {
            (state.rate, state.narrow) = (rate, 0);
            self.set(1);
        }
        false
    }

    /// Whether that is more.
    fn set(&self, width: usize) -> bool {
        self.now.swap(width, Ordering::SeqCst) < width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two CPUs, whose threads leave guest code so often in each period; what the width is after each.
    fn widths(width: &Width, periods: usize, stops: impl Fn(usize) -> [u64; 2]) -> Vec<usize> {
        let mut now_ns = width.due_ns.load(Ordering::Relaxed);
        let mut all = width.state.lock().stops.to_vec();
        all.resize(2, 0);
        let mut period = || {
            now_ns += PERIOD_NS;
            let new = stops(width.now());
            (0..2).for_each(|cpu| all[cpu] += new[cpu]);
            width.reconsider(now_ns, all.iter().copied());
            width.now()
        };
        (0..periods).map(|_| period()).collect()
    }

    #[test]
    fn one_cpu_stays_as_long_as_it_is_better() {
        let width = Width::new(2);
        let calls = |width: usize| if width == 2 { [700, 700] } else { [3000, 0] };
        assert_eq!(widths(&width, 6, calls), [2, 1, 1, 1, 1, 1]);
        // Now and then it is seen what all would do.
        let seen = widths(&width, 200, calls);
        let wide = seen.iter().filter(|width| **width == 2).count();
        assert!((4..10).contains(&wide), "{seen:?}");
        // They begin to compute.
        assert_eq!(widths(&width, 3, |_| [40, 40]), [2, 2, 2]);
    }

    #[test]
    fn trials_in_vain_become_seldom() {
        let width = Width::new(2);
        let calls = |width: usize| if width == 2 { [700, 700] } else { [1100, 0] };
        let seen = widths(&width, 4000, calls);
        let trials: Vec<usize> = (0..seen.len()).filter(|&at| seen[at] == 1).collect();
        assert!(trials.len() < 16, "{trials:?}");
        assert!(trials.windows(2).all(|two| two[1] - two[0] >= FIRST_PAUSE as usize), "{trials:?}");
    }

    #[test]
    fn who_computes_keeps_all() {
        let width = Width::new(2);
        assert!(widths(&width, 100, |_| [5000, 3]).iter().all(|width| *width == 2));
        let width = Width::new(2);
        width.fix();
        assert!(widths(&width, 100, |_| [5000, 5000]).iter().all(|width| *width == 2));
        let width = Width::new(1);
        assert!(!width.is_due(u64::MAX));
    }

    #[test]
    fn a_time_without_waiting_is_no_period() {
        let width = Width::new(2);
        let calls = |width: usize| if width == 2 { [700, 700] } else { [3000, 0] };
        assert_eq!(widths(&width, 3, calls), [2, 1, 1]);
        let later = width.due_ns.load(Ordering::Relaxed) + 10 * PERIOD_NS;
        assert!(width.reconsider(later, [0, 0].into_iter()));
        assert_eq!(width.now(), 2);
    }
}
