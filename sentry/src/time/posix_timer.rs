//! POSIX timers (timer_create(2)).
//!
//! A timer has at most one signal queued. Times that it goes off meanwhile are counted as overruns when the signal is
//! taken, and only then is it set again. A signal that was ignored or thrown away would never be taken: so a timer with
//! a queued signal looks now and then whether that is still there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use abi::Errno;
use abi::resource::RLIMIT_SIGPENDING;
use abi::signal::{SigInfo, Signal};

use super::clock::follows_realtime;
use super::cpu_clock::CpuClock;
use super::process_timers::{ProcessTimers, SHORTEST_PERIOD, Timer, Which};
use super::schedule::Schedule;
use crate::signal::{discard_timer_signals, send_timer_signal};
use crate::task::{Task, ThreadGroup};

/// How often a timer looks whether its signal is still queued.
const QUEUE_LOOK: Duration = Duration::from_millis(20);
/// How often a timer whose signal is ignored tries again.
const IGNORED_PERIOD: Duration = Duration::from_millis(1);

/// Who is told when a timer goes off.
#[derive(Clone)]
pub enum TimerTarget {
    /// Nobody: it is only asked.
    Nobody,
    /// The process gets this signal.
    Process(Signal),
    /// A thread of it does.
    Thread(Signal, Weak<Task>),
}

/// What its time is counted on.
#[derive(Clone)]
pub enum TimerClock {
    /// A clock of real time, by its id.
    Real(i32),
    /// A clock of CPU time.
    Cpu(CpuClock),
}

/// One timer.
pub(super) struct PosixTimer {
    pub(super) timer: Timer,
    /// Id of its clock of real time; unused for CPU time.
    clock: i32,
    target: TimerTarget,
    /// Its signal has been queued and not been taken.
    queued: bool,
    /// Overruns when its signal was last taken.
    overrun: i32,
    /// `si_value`.
    value: u64,
}

/// Nanoseconds until a timer goes off, and its interval.
pub type TimerState = (i64, i64);

impl ProcessTimers {
    /// timer_create(2): gives its id. EAGAIN when there are as many as signals may be queued. `value` is what the signal
    /// carries, the id by default.
    pub fn create_timer(
        &self,
        group: &ThreadGroup,
        clock: TimerClock,
        target: TimerTarget,
        value: Option<u64>,
    ) -> Result<i32, Errno> {
        let limit = group.limit(RLIMIT_SIGPENDING).rlim_cur;
        let mut inner = self.inner.lock();
        if inner.posix.len() as u64 >= limit {
            return Err(Errno::EAGAIN);
        }
        let mut id = inner.next_id;
        while inner.posix.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(0);
        }
        inner.next_id = id.checked_add(1).unwrap_or(0);
        let (clock, cpu) = match clock {
            TimerClock::Real(clock) => (clock, None),
            TimerClock::Cpu(cpu) => (0, Some(cpu)),
        };
        let timer = Timer::new(cpu);
        let value = value.unwrap_or(id as u64);
        inner.posix.insert(id, PosixTimer { timer, clock, target, queued: false, overrun: 0, value });
        Ok(id)
    }

    /// timer_delete(2); EINVAL without such a timer.
    pub fn delete_timer(&self, group: &ThreadGroup, id: i32) -> Result<(), Errno> {
        let timer = self.inner.lock().posix.remove(&id).ok_or(Errno::EINVAL)?;
        if timer.queued {
            discard_timer_signals(group, id);
        }
        Ok(())
    }

    /// timer_gettime(2).
    pub fn timer_state(&self, group: &ThreadGroup, id: i32) -> Result<TimerState, Errno> {
        let mut inner = self.inner.lock();
        let timer = inner.posix.get_mut(&id).ok_or(Errno::EINVAL)?;
        Ok(timer.state(group))
    }

    /// timer_getoverrun(2).
    pub fn timer_overrun(&self, id: i32) -> Result<i32, Errno> {
        self.inner.lock().posix.get(&id).map(|timer| timer.overrun).ok_or(Errno::EINVAL)
    }

    /// timer_settime(2): goes off at (or in) `value_ns`, 0 for never, and then each `interval_ns`. Gives the old state.
    pub fn set_timer(
        &self,
        group: &Arc<ThreadGroup>,
        id: i32,
        absolute: bool,
        value_ns: i64,
        interval_ns: i64,
    ) -> Result<TimerState, Errno> {
        let mut inner = self.inner.lock();
        let timer = inner.posix.get_mut(&id).ok_or(Errno::EINVAL)?;
        let old = timer.state(group);
        let was_queued = std::mem::replace(&mut timer.queued, false);
        timer.overrun = 0;
        let now = timer.timer.now_ns(&group.kernel);
        let deadline = match (absolute, &timer.timer.cpu) {
            (false, _) => now.saturating_add(value_ns),
            (true, None) if follows_realtime(timer.clock) => {
                now.saturating_add(value_ns.saturating_sub(group.kernel.clocks.realtime_ns()))
            }
            (true, _) => value_ns,
        };
        timer.timer.schedule = match value_ns {
            0 => Schedule::default(),
            _ => Schedule { deadline_ns: Some(deadline), interval_ns },
        };
        if matches!(timer.target, TimerTarget::Nobody) {
            // Nothing has to happen: it is worked out when somebody asks.
            timer.timer.generation += 1;
        } else {
            timer.timer.arm(group, Which::Posix(id), Duration::ZERO);
        }
        drop(inner);
        if was_queued {
            discard_timer_signals(group, id);
        }
        Ok(old)
    }

    /// A timer is due, or may look after its signal.
    pub(super) fn posix_timer_due(&self, group: &Arc<ThreadGroup>, id: i32, generation: u64) {
        let (target, info, generation) = {
            let mut inner = self.inner.lock();
            let Some(timer) = inner.posix.get_mut(&id).filter(|timer| timer.timer.generation == generation)
            else {
                return;
            };
            if timer.queued && crate::signal::timer_signal_is_queued(group, id) {
                return timer.timer.arm(group, Which::Posix(id), QUEUE_LOOK);
            }
            timer.queued = true;
            // From here on until the signal is taken or this goes on, nothing else sets it.
            timer.timer.generation += 1;
            (timer.target.clone(), timer.info(id), timer.timer.generation)
        };
        let queued = match &target {
            TimerTarget::Nobody => false,
            TimerTarget::Process(signal) => send_timer_signal(group, None, *signal, info),
            TimerTarget::Thread(signal, thread) => {
                thread.upgrade().is_some_and(|thread| send_timer_signal(group, Some(&thread), *signal, info))
            }
        };
        let mut inner = self.inner.lock();
        let Some(timer) = inner.posix.get_mut(&id).filter(|timer| timer.timer.generation == generation)
        else {
            return;
        };
        if queued {
            if timer.timer.schedule.interval_ns > 0 {
                timer.timer.arm(group, Which::Posix(id), QUEUE_LOOK);
            } else {
                timer.timer.schedule = Schedule::default();
            }
        } else {
            timer.queued = false;
            let now = timer.timer.now_ns(&group.kernel);
            timer.timer.schedule.advance(now);
            timer.timer.arm(group, Which::Posix(id), IGNORED_PERIOD);
        }
    }

    /// A signal of a timer has been taken out of its queue: its overruns are known now, and it may send the next.
    pub fn signal_taken(&self, group: &Arc<ThreadGroup>, mut info: SigInfo) -> SigInfo {
        let id = info.timer_id();
        let mut inner = self.inner.lock();
        let Some(timer) = inner.posix.get_mut(&id).filter(|timer| timer.queued) else { return info };
        timer.queued = false;
        let now = timer.timer.now_ns(&group.kernel);
        let times = timer.timer.schedule.advance(now);
        timer.overrun = i32::try_from(times.saturating_sub(1)).unwrap_or(i32::MAX);
        info.set_overrun(timer.overrun);
        timer.timer.arm(group, Which::Posix(id), SHORTEST_PERIOD);
        info
    }
}

impl PosixTimer {
    fn state(&mut self, group: &ThreadGroup) -> TimerState {
        let now = self.timer.now_ns(&group.kernel);
        let schedule = &self.timer.schedule;
        // One that nobody is told of is over once its time has come.
        let over = schedule.is_due(now)
            && schedule.interval_ns == 0
            && (self.queued || matches!(self.target, TimerTarget::Nobody));
        (if over { 0 } else { schedule.left(now) }, schedule.interval_ns)
    }

    fn info(&self, id: i32) -> SigInfo {
        let signal = match &self.target {
            TimerTarget::Process(signal) | TimerTarget::Thread(signal, _) => *signal,
            TimerTarget::Nobody => Signal::SIGALRM,
        };
        SigInfo::timer(signal, id, 0, self.value)
    }
}
