//! Timers of a process: the three interval timers, the limit of CPU time, and POSIX timers (in `posix_timer`).
//!
//! A timer of real time is one entry of the timer service. A timer of CPU time is, too: the service looks at the CPU clock
//! when the time left could at the earliest have been used up, and at least every few milliseconds.
//!
//! Lock level: `ThreadGroup`. Signals are sent after it has been let go, since SIGCONT takes the tree's lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::poll::PollEvents;
use abi::resource::{RLIM_INFINITY, RLIMIT_CPU};
use abi::signal::{SigInfo, Signal};
use abi::time::{CPUCLOCK_PROF, CPUCLOCK_VIRT};
use sync::Mutex;

use super::clock::SECOND_NS;
use super::cpu_clock::CpuClock;
use super::posix_timer::PosixTimer;
use super::schedule::Schedule;
use super::timer::TimerHandle;
use crate::Kernel;
use crate::signal::send_to_group;
use crate::task::ThreadGroup;
use crate::wait::Wake;

/// A CPU clock is looked at this often, between these bounds.
const CPU_LOOK: std::ops::RangeInclusive<Duration> = Duration::from_micros(500)..=Duration::from_millis(10);
/// A timer goes off at most this often: one that is due sooner waits.
pub(super) const SHORTEST_PERIOD: Duration = Duration::from_micros(50);

/// Timers of a process.
#[derive(Default)]
pub struct ProcessTimers {
    pub(super) inner: Mutex<Inner, sync::levels::ThreadGroup>,
}

#[derive(Default)]
pub(super) struct Inner {
    real: Timer,
    virtual_time: Timer,
    profiling: Timer,
    cpu_limit: Timer,
    pub(super) posix: BTreeMap<i32, PosixTimer>,
    pub(super) next_id: i32,
}

/// Which timer of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalTimer {
    /// ITIMER_REAL and alarm(2): SIGALRM.
    Real,
    /// ITIMER_VIRTUAL: SIGVTALRM, by user time.
    Virtual,
    /// ITIMER_PROF: SIGPROF, by user and system time.
    Profiling,
}

impl IntervalTimer {
    fn signal(self) -> Signal {
        match self {
            IntervalTimer::Real => Signal::SIGALRM,
            IntervalTimer::Virtual => Signal::SIGVTALRM,
            IntervalTimer::Profiling => Signal::SIGPROF,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Interval(IntervalTimer),
    CpuLimit,
    Posix(i32),
}

/// What the kinds have in common.
#[derive(Default)]
pub(super) struct Timer {
    pub(super) schedule: Schedule,
    /// `None` for real time.
    pub(super) cpu: Option<CpuClock>,
    handle: Option<TimerHandle>,
    /// Of the last setting: what an older one still has on its way does not count.
    pub(super) generation: u64,
}

/// Called by the timer service.
struct Expiry {
    group: Weak<ThreadGroup>,
    which: Which,
    generation: u64,
}

impl Wake for Expiry {
    fn wake(&self, _events: PollEvents) -> bool {
        if let Some(group) = self.group.upgrade() {
            group.timers.look(&group, self.which, self.generation);
        }
        true
    }
}

impl Timer {
    /// One that is not set; `cpu` for CPU time.
    pub(super) fn new(cpu: Option<CpuClock>) -> Timer {
        Timer { cpu, ..Timer::default() }
    }

    /// What its clock shows.
    pub(super) fn now_ns(&self, kernel: &Kernel) -> i64 {
        match &self.cpu {
            Some(cpu) => cpu.now_ns(),
            None => kernel.clocks.monotonic_ns(),
        }
    }

    /// Sets the service to look when it may be due, not before `earliest` from now. Older settings no longer count.
    pub(super) fn arm(&mut self, group: &Arc<ThreadGroup>, which: Which, earliest: Duration) {
        self.generation += 1;
        self.handle = None;
        let Some(deadline) = self.schedule.deadline_ns else { return };
        let left = Duration::from_nanos(deadline.saturating_sub(self.now_ns(&group.kernel)).max(0) as u64);
        let delay = match &self.cpu {
            None => left,
            Some(cpu) => (left / cpu.threads() as u32).clamp(*CPU_LOOK.start(), *CPU_LOOK.end()),
        };
        let Some(at) = Instant::now().checked_add(delay.max(earliest)) else { return };
        let expiry = Expiry { group: Arc::downgrade(group), which, generation: self.generation };
        match group.kernel.timers.set(at, Arc::new(expiry)) {
            Ok(handle) => self.handle = Some(handle),
            Err(errno) => tracing::warn!(?errno, "no thread for timers: one never goes off"),
        }
    }

    /// Never goes off.
    pub(super) fn disarm(&mut self) {
        self.generation += 1;
        self.handle = None;
        self.schedule = Schedule::default();
    }
}

impl Inner {
    fn interval(&mut self, which: IntervalTimer) -> &mut Timer {
        match which {
            IntervalTimer::Real => &mut self.real,
            IntervalTimer::Virtual => &mut self.virtual_time,
            IntervalTimer::Profiling => &mut self.profiling,
        }
    }

    pub(super) fn timer(&mut self, which: Which) -> Option<&mut Timer> {
        match which {
            Which::Interval(which) => Some(self.interval(which)),
            Which::CpuLimit => Some(&mut self.cpu_limit),
            Which::Posix(id) => self.posix.get_mut(&id).map(|timer| &mut timer.timer),
        }
    }
}

impl ProcessTimers {
    /// getitimer(2): nanoseconds until it goes off, and the interval.
    pub fn interval(&self, group: &ThreadGroup, which: IntervalTimer) -> (i64, i64) {
        let mut inner = self.inner.lock();
        let timer = inner.interval(which);
        (timer.schedule.left(timer.now_ns(&group.kernel)), timer.schedule.interval_ns)
    }

    /// setitimer(2): goes off in `left_ns` (0: never) and then each `interval_ns` (0: only once). Gives what
    /// [`interval`](Self::interval) gave before.
    pub fn set_interval(
        &self,
        group: &Arc<ThreadGroup>,
        which: IntervalTimer,
        left_ns: i64,
        interval_ns: i64,
    ) -> (i64, i64) {
        let mut inner = self.inner.lock();
        let timer = inner.interval(which);
        let now = timer.now_ns(&group.kernel);
        let old = (timer.schedule.left(now), timer.schedule.interval_ns);
        timer.cpu = match which {
            IntervalTimer::Real => None,
            IntervalTimer::Virtual => Some(CpuClock::of_process(group, CPUCLOCK_VIRT)),
            IntervalTimer::Profiling => Some(CpuClock::of_process(group, CPUCLOCK_PROF)),
        };
        let deadline_ns = (left_ns > 0).then(|| timer.now_ns(&group.kernel).saturating_add(left_ns));
        timer.schedule = Schedule { deadline_ns, interval_ns: if left_ns > 0 { interval_ns } else { 0 } };
        timer.arm(group, Which::Interval(which), Duration::ZERO);
        old
    }

    /// The limit of CPU time has changed, or the process is new.
    pub fn update_cpu_limit(&self, group: &Arc<ThreadGroup>) {
        let limit = group.limit(RLIMIT_CPU);
        let mut inner = self.inner.lock();
        let timer = &mut inner.cpu_limit;
        let first = limit.rlim_cur.min(limit.rlim_max);
        if first == RLIM_INFINITY {
            return timer.disarm();
        }
        timer.cpu = Some(CpuClock::of_process(group, CPUCLOCK_PROF));
        let seconds = i64::try_from(first).unwrap_or(i64::MAX);
        timer.schedule =
            Schedule { deadline_ns: Some(seconds.saturating_mul(SECOND_NS)), interval_ns: SECOND_NS };
        timer.arm(group, Which::CpuLimit, Duration::ZERO);
    }

    /// The service says that a timer may be due.
    fn look(&self, group: &Arc<ThreadGroup>, which: Which, generation: u64) {
        let mut inner = self.inner.lock();
        let Some(timer) = inner.timer(which).filter(|timer| timer.generation == generation) else { return };
        let now = timer.now_ns(&group.kernel);
        if !timer.schedule.is_due(now) {
            return timer.arm(group, which, Duration::ZERO);
        }
        let signal = match which {
            Which::Posix(id) => {
                drop(inner);
                return self.posix_timer_due(group, id, generation);
            }
            Which::Interval(which) => which.signal(),
            Which::CpuLimit if now >= hard_limit_ns(group) => Signal::SIGKILL,
            Which::CpuLimit => Signal::SIGXCPU,
        };
        timer.schedule.advance(now);
        timer.arm(group, which, SHORTEST_PERIOD);
        drop(inner);
        // A signal that is pending already stays as it is; the process may be gone.
        let _ = send_to_group(group, signal, SigInfo::kernel(signal));
    }

    /// exec: POSIX timers go, interval timers stay.
    pub fn clear_posix_timers(&self) {
        let timers = std::mem::take(&mut self.inner.lock().posix);
        drop(timers);
    }

    /// The process has ended.
    pub fn clear(&self) {
        let mut inner = self.inner.lock();
        for timer in [Which::CpuLimit, Which::Interval(IntervalTimer::Real)] {
            if let Some(timer) = inner.timer(timer) {
                timer.disarm();
            }
        }
        inner.virtual_time.disarm();
        inner.profiling.disarm();
        let timers = std::mem::take(&mut inner.posix);
        drop(inner);
        drop(timers);
    }
}

fn hard_limit_ns(group: &ThreadGroup) -> i64 {
    let seconds = i64::try_from(group.limit(RLIMIT_CPU).rlim_max).unwrap_or(i64::MAX);
    seconds.saturating_mul(SECOND_NS)
}
