//! Timers that send signals: alarm(2), setitimer(2), timer_create(2) and its family.

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_WAKE_ALARM;
use abi::signal::Signal;
use abi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_TAI,
    ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, Itimerspec, Itimerval, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD,
    SIGEV_THREAD_ID, SigEvent, TimerFlags, Timeval,
};
use sentry::SysResult;
use sentry::task::CurrentTask;
use sentry::time::clock::{SECOND_NS, ns_to_timespec, timespec_to_ns};
use sentry::time::{CpuClock, IntervalTimer, TimerClock, TimerState, TimerTarget};

use crate::arg::{Clock, Flags, In, ItimerWhich, Out};

/// alarm(2): answers the seconds that were left.
pub fn alarm(task: &mut CurrentTask, seconds: u32) -> SysResult<i64> {
    // As Linux: more than an int can hold is cut.
    let seconds = i64::from(seconds.min(i32::MAX as u32));
    let group = task.thread_group();
    let (left, _) = group.timers.set_interval(group, IntervalTimer::Real, seconds * SECOND_NS, 0);
    let whole = left / SECOND_NS;
    let rest = left % SECOND_NS;
    // Rounded, but never to 0 while it is set.
    Ok(if rest >= SECOND_NS / 2 || whole == 0 && rest > 0 { whole + 1 } else { whole })
}

fn interval_timer(which: ItimerWhich) -> Result<IntervalTimer, Errno> {
    match which.0 {
        ITIMER_REAL => Ok(IntervalTimer::Real),
        ITIMER_VIRTUAL => Ok(IntervalTimer::Virtual),
        ITIMER_PROF => Ok(IntervalTimer::Profiling),
        _ => Err(Errno::EINVAL),
    }
}

/// Nanoseconds of a valid `timeval`.
fn timeval_ns(time: &Timeval) -> Result<i64, Errno> {
    if time.tv_sec < 0 || !(0..1_000_000).contains(&time.tv_usec) {
        return Err(Errno::EINVAL);
    }
    Ok(time.tv_sec.saturating_mul(SECOND_NS).saturating_add(time.tv_usec * 1000))
}

/// What is left is never shown as nothing.
fn itimerval((left, interval): (i64, i64)) -> Itimerval {
    let timeval = |ns: i64| Timeval { tv_sec: ns / SECOND_NS, tv_usec: ns % SECOND_NS / 1000 };
    let left = if left > 0 { left.max(1000) } else { 0 };
    Itimerval { it_interval: timeval(interval), it_value: timeval(left) }
}

/// getitimer(2)
pub fn getitimer(task: &mut CurrentTask, which: ItimerWhich, to: Out<Itimerval>) -> SysResult<()> {
    let group = task.thread_group();
    let state = group.timers.interval(group, interval_timer(which)?);
    task.write_obj(*to, &itimerval(state))?;
    Ok(())
}

/// setitimer(2): a null pointer stops the timer, as on Linux.
pub fn setitimer(
    task: &mut CurrentTask,
    which: ItimerWhich,
    new: In<Itimerval>,
    old: Out<Itimerval>,
) -> SysResult<()> {
    let new = new.non_null().map(|new| task.read_obj(new)).transpose()?.unwrap_or_default();
    let (value, interval) = (timeval_ns(&new.it_value)?, timeval_ns(&new.it_interval)?);
    let which = interval_timer(which)?;
    let group = Arc::clone(task.thread_group());
    let before = group.timers.set_interval(&group, which, value, interval);
    if let Some(old) = old.non_null() {
        task.write_obj(old, &itimerval(before))?;
    }
    Ok(())
}

/// timer_create(2)
pub fn timer_create(
    task: &mut CurrentTask,
    clock: Clock,
    event: In<SigEvent>,
    id: Out<i32>,
) -> SysResult<()> {
    let event = event.non_null().map(|event| task.read_obj(event)).transpose()?;
    let timer_clock = match task.kernel().clocks.now_ns(clock.0) {
        None => TimerClock::Cpu(CpuClock::find(task, clock.0)?),
        Some(_) => TimerClock::Real(clock.0),
    };
    let target = match &event {
        None => TimerTarget::Process(Signal::SIGALRM),
        Some(event) => target_of(task, event)?,
    };
    match clock.0 {
        _ if matches!(timer_clock, TimerClock::Cpu(_)) => {}
        CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_TAI => {}
        CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM => {
            if !task.own_creds().has_cap(CAP_WAKE_ALARM) {
                return Err(Errno::EPERM.into());
            }
        }
        _ => return Err(Errno::EOPNOTSUPP.into()),
    }
    let group = Arc::clone(task.thread_group());
    let number =
        group.timers.create_timer(&group, timer_clock, target, event.map(|event| event.sigev_value))?;
    if let Err(errno) = task.write_obj(*id, &number) {
        // Nobody knows of it.
        group.timers.delete_timer(&group, number)?;
        return Err(errno.into());
    }
    Ok(())
}

fn target_of(task: &CurrentTask, event: &SigEvent) -> Result<TimerTarget, Errno> {
    let signal = || Signal::new(event.sigev_signo as u32).ok_or(Errno::EINVAL);
    match event.sigev_notify {
        SIGEV_NONE => Ok(TimerTarget::Nobody),
        SIGEV_SIGNAL | SIGEV_THREAD => Ok(TimerTarget::Process(signal()?)),
        SIGEV_THREAD_ID => {
            let ns = Arc::clone(task.pid().namespace());
            let thread = ns.task(event.sigev_notify_thread_id).ok_or(Errno::EINVAL)?;
            if !Arc::ptr_eq(thread.thread_group(), task.thread_group()) {
                return Err(Errno::EINVAL);
            }
            Ok(TimerTarget::Thread(signal()?, Arc::downgrade(&thread)))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn itimerspec((left, interval): TimerState) -> Itimerspec {
    Itimerspec { it_interval: ns_to_timespec(interval), it_value: ns_to_timespec(left) }
}

/// timer_settime(2)
pub fn timer_settime(
    task: &mut CurrentTask,
    id: i32,
    flags: Flags<TimerFlags>,
    new: In<Itimerspec>,
    old: Out<Itimerspec>,
) -> SysResult<()> {
    if new.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let new = task.read_obj(*new)?;
    let value = timespec_to_ns(&new.it_value).ok_or(Errno::EINVAL)?;
    let interval = timespec_to_ns(&new.it_interval).ok_or(Errno::EINVAL)?;
    let absolute = flags.truncate().contains(TimerFlags::ABSTIME);
    let group = Arc::clone(task.thread_group());
    let before = group.timers.set_timer(&group, id, absolute, value, interval)?;
    if let Some(old) = old.non_null() {
        task.write_obj(old, &itimerspec(before))?;
    }
    Ok(())
}

/// timer_gettime(2)
pub fn timer_gettime(task: &mut CurrentTask, id: i32, to: Out<Itimerspec>) -> SysResult<()> {
    let group = task.thread_group();
    let state = group.timers.timer_state(group, id)?;
    task.write_obj(*to, &itimerspec(state))?;
    Ok(())
}

/// timer_getoverrun(2)
pub fn timer_getoverrun(task: &mut CurrentTask, id: i32) -> SysResult<i32> {
    Ok(task.thread_group().timers.timer_overrun(id)?)
}

/// timer_delete(2)
pub fn timer_delete(task: &mut CurrentTask, id: i32) -> SysResult<()> {
    let group = task.thread_group();
    group.timers.delete_timer(group, id)?;
    Ok(())
}
