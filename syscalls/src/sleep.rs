//! Sleeping: nanosleep(2), clock_nanosleep(2).

use std::time::{Duration, Instant};

use abi::Errno;
use abi::capability::CAP_WAKE_ALARM;
use abi::time::{
    CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_ALARM,
    CLOCK_REALTIME_COARSE, CLOCK_THREAD_CPUTIME_ID, TimerFlags, Timespec,
};
use sentry::mm::{UserAddr, UserRef};
use sentry::task::{CurrentTask, RestartBlock, WaitEnd};
use sentry::time::CpuClock;
use sentry::time::clock::{ns_to_timespec, timespec_to_ns, to_ns};
use sentry::{Restart, SysError, SysResult};

use crate::arg::{Clock, Flags, In, Out};

/// How often CPU time is looked at by a sleep that waits for it.
const CPU_POLL: Duration = Duration::from_millis(4);

/// nanosleep(2)
pub fn nanosleep(task: &mut CurrentTask, time: In<Timespec>, remaining: Out<Timespec>) -> SysResult<()> {
    let time = task.read_obj(*time)?;
    let ns = timespec_to_ns(&time).ok_or(Errno::EINVAL)?;
    sleep_until(task, CLOCK_MONOTONIC, in_future(ns), remaining.addr())
}

/// clock_nanosleep(2)
pub fn clock_nanosleep(
    task: &mut CurrentTask,
    clock: Clock,
    flags: Flags<TimerFlags>,
    time: In<Timespec>,
    remaining: Out<Timespec>,
) -> SysResult<()> {
    let clocks = task.kernel().clocks.clone();
    let is_cpu = clocks.now_ns(clock.0).is_none();
    if is_cpu && clock.0 >= 0 {
        // One of the two that have numbers of their own, or none at all.
        CpuClock::find(task, clock.0)?;
    }
    if matches!(
        clock.0,
        CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE | CLOCK_REALTIME_COARSE | CLOCK_THREAD_CPUTIME_ID
    ) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let time = task.read_obj(*time)?;
    let ns = timespec_to_ns(&time).ok_or(Errno::EINVAL)?;
    let absolute = flags.truncate().contains(TimerFlags::ABSTIME);
    if is_cpu {
        let cpu = CpuClock::find(task, clock.0)?;
        return sleep_for_cpu_time(task, &cpu, ns, absolute, remaining);
    }
    if matches!(clock.0, CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM)
        && !task.own_creds().has_cap(CAP_WAKE_ALARM)
    {
        return Err(Errno::EPERM.into());
    }
    if !absolute {
        return sleep_until(task, clock.0, in_future(ns), remaining.addr());
    }
    match park_until(task, clocks.instant_of(clock.0, ns)) {
        Ok(()) => Ok(()),
        Err(WaitEnd::TimedOut) => Ok(()),
        // The same arguments mean the same moment.
        Err(WaitEnd::Interrupted) => Err(SysError::Restart(Restart::NoHand)),
    }
}

/// `None`: further off than anyone waits.
fn in_future(ns: i64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_nanos(ns as u64))
}

fn park_until(task: &mut CurrentTask, deadline: Option<Instant>) -> Result<(), WaitEnd> {
    loop {
        task.park(deadline)?;
    }
}

/// Sleeps; when a signal comes, tells what is left and leaves the rest to restart_syscall(2).
fn sleep_until(
    task: &mut CurrentTask,
    clock: i32,
    deadline: Option<Instant>,
    remaining: UserAddr,
) -> SysResult<()> {
    match park_until(task, deadline) {
        Ok(()) | Err(WaitEnd::TimedOut) => Ok(()),
        Err(WaitEnd::Interrupted) => {
            let far = Instant::now() + Duration::from_secs(u64::from(u32::MAX));
            let deadline = deadline.unwrap_or(far);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if let Some(to) = UserRef::<Timespec>::new(remaining).non_null() {
                task.write_obj(to, &ns_to_timespec(to_ns(left)))?;
            }
            task.restart_block = Some(RestartBlock::Nanosleep { clock, deadline, remaining });
            Err(SysError::Restart(Restart::Block))
        }
    }
}

/// Goes on with a sleep that was interrupted.
pub(crate) fn sleep_again(
    task: &mut CurrentTask,
    clock: i32,
    deadline: Instant,
    remaining: UserAddr,
) -> SysResult<usize> {
    sleep_until(task, clock, Some(deadline), remaining).map(|()| 0)
}

/// Sleeps until a process has used so much CPU time.
fn sleep_for_cpu_time(
    task: &mut CurrentTask,
    clock: &CpuClock,
    ns: i64,
    absolute: bool,
    remaining: Out<Timespec>,
) -> SysResult<()> {
    if clock.is_of_thread(task.task()) {
        return Err(Errno::EINVAL.into());
    }
    let target = if absolute { ns } else { clock.now_ns().saturating_add(ns) };
    while clock.now_ns() < target {
        match task.park(Some(Instant::now() + CPU_POLL)) {
            Ok(()) | Err(WaitEnd::TimedOut) => {}
            Err(WaitEnd::Interrupted) if absolute => return Err(SysError::Restart(Restart::NoHand)),
            Err(WaitEnd::Interrupted) => {
                if let Some(to) = remaining.non_null() {
                    task.write_obj(to, &ns_to_timespec((target - clock.now_ns()).max(0)))?;
                }
                return Err(Errno::EINTR.into());
            }
        }
    }
    Ok(())
}
