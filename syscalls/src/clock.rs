//! Reading clocks (clock_gettime(2), gettimeofday(2)) and not setting them: nobody in a sandbox may.

use abi::Errno;
use abi::time::{
    CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, CLOCK_THREAD_CPUTIME_ID, CLOCKFD, CPUCLOCK_CLOCK_MASK,
    CPUCLOCK_PERTHREAD_MASK, STA_UNSYNC, TIME_ERROR, Timespec, Timeval, Timex, Timezone,
};
use sentry::SysResult;
use sentry::task::CurrentTask;
use sentry::time::CpuClock;
use sentry::time::clock::{SECOND_NS, ns_to_timespec};

use crate::arg::{Clock, In, InOut, Out};

/// clock_gettime(2)
pub fn clock_gettime(task: &mut CurrentTask, clock: Clock, to: Out<Timespec>) -> SysResult<()> {
    let now = match task.kernel().clocks.now_ns(clock.0) {
        Some(now) => now,
        None => CpuClock::find(task, clock.0)?.now_ns(),
    };
    task.write_obj(*to, &ns_to_timespec(now))?;
    Ok(())
}

/// clock_getres(2)
pub fn clock_getres(task: &mut CurrentTask, clock: Clock, to: Out<Timespec>) -> SysResult<()> {
    let resolution = match task.kernel().clocks.resolution_ns(clock.0) {
        Some(resolution) => resolution,
        None => CpuClock::find(task, clock.0)?.resolution_ns(),
    };
    if let Some(to) = to.non_null() {
        task.write_obj(to, &ns_to_timespec(resolution))?;
    }
    Ok(())
}

/// clock_settime(2): EPERM for the clock that can be set at all.
pub fn clock_settime(task: &mut CurrentTask, clock: Clock, from: In<Timespec>) -> SysResult<()> {
    if clock.0 < 0 {
        // Clocks of CPU time know how to be set, and refuse.
        task.read_obj(*from)?;
        return Err(CpuClock::find(task, clock.0).err().unwrap_or(Errno::EPERM).into());
    }
    if clock.0 != CLOCK_REALTIME {
        return Err(Errno::EINVAL.into());
    }
    let time = task.read_obj(*from)?;
    if time.tv_sec < 0 || !(0..SECOND_NS).contains(&time.tv_nsec) {
        return Err(Errno::EINVAL.into());
    }
    Err(Errno::EPERM.into())
}

/// gettimeofday(2)
pub fn gettimeofday(task: &mut CurrentTask, to: Out<Timeval>, zone: Out<Timezone>) -> SysResult<()> {
    if let Some(to) = to.non_null() {
        let now = task.kernel().clocks.realtime_ns();
        task.write_obj(to, &timeval(now))?;
    }
    if let Some(zone) = zone.non_null() {
        task.write_obj(zone, &Timezone::default())?;
    }
    Ok(())
}

fn timeval(ns: i64) -> Timeval {
    Timeval { tv_sec: ns.div_euclid(SECOND_NS), tv_usec: ns.rem_euclid(SECOND_NS) / 1000 }
}

/// settimeofday(2): EPERM.
pub fn settimeofday(task: &mut CurrentTask, from: In<Timeval>, zone: In<Timezone>) -> SysResult<()> {
    if let Some(from) = from.non_null() {
        let time = task.read_obj(from)?;
        if !(0..=1_000_000).contains(&time.tv_usec) {
            return Err(Errno::EINVAL.into());
        }
    }
    if let Some(zone) = zone.non_null() {
        task.read_obj(zone)?;
    }
    Err(Errno::EPERM.into())
}

/// time(2)
pub fn time(task: &mut CurrentTask, to: Out<i64>) -> SysResult<i64> {
    let now = task.kernel().clocks.realtime_ns().div_euclid(SECOND_NS);
    if let Some(to) = to.non_null() {
        task.write_obj(to, &now)?;
    }
    Ok(now)
}

/// adjtimex(2)
pub fn adjtimex(task: &mut CurrentTask, timex: InOut<Timex>) -> SysResult<i32> {
    adjust(task, timex)
}

/// clock_adjtime(2)
pub fn clock_adjtime(task: &mut CurrentTask, clock: Clock, timex: InOut<Timex>) -> SysResult<i32> {
    task.read_obj(*timex)?;
    if clock.0 != CLOCK_REALTIME {
        // Any clock of CPU time, whether there is such a task or not.
        let cpu = matches!(clock.0, CLOCK_PROCESS_CPUTIME_ID | CLOCK_THREAD_CPUTIME_ID)
            || clock.0 < 0 && clock.0 & (CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_CLOCK_MASK) != CLOCKFD;
        let known = cpu || task.kernel().clocks.now_ns(clock.0).is_some();
        return Err(if known { Errno::EOPNOTSUPP } else { Errno::EINVAL }.into());
    }
    adjust(task, timex)
}

/// What a clock that nobody has synchronised says; changing anything is EPERM.
fn adjust(task: &CurrentTask, timex: InOut<Timex>) -> SysResult<i32> {
    // An unsynchronised clock may be off by this much, microseconds.
    const UNKNOWN_ERROR_US: i64 = 16_000_000;
    const MAX_FREQUENCY: i64 = 500 << 16;
    const ADJ_OFFSET_SS_READ: u32 = abi::time::ADJ_OFFSET_SS_READ;
    let asked = task.read_obj(*timex)?;
    if asked.modes != 0 && asked.modes != ADJ_OFFSET_SS_READ {
        return Err(Errno::EPERM.into());
    }
    let state = Timex {
        modes: asked.modes,
        maxerror: UNKNOWN_ERROR_US,
        esterror: UNKNOWN_ERROR_US,
        status: STA_UNSYNC,
        constant: 2,
        precision: 1,
        tolerance: MAX_FREQUENCY,
        time: timeval(task.kernel().clocks.realtime_ns()),
        tick: 10_000,
        ..Timex::default()
    };
    task.write_obj(*timex, &state)?;
    Ok(TIME_ERROR)
}
