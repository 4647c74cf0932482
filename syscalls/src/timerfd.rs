//! Timers as files: timerfd_create(2), timerfd_settime(2), timerfd_gettime(2).

use abi::Errno;
use abi::capability::CAP_WAKE_ALARM;
use abi::open::OpenFlags;
use abi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, Itimerspec,
    TfdFlags, TfdTimerFlags,
};
use sentry::SysResult;
use sentry::task::CurrentTask;
use sentry::time::clock::timespec_to_ns;
use sentry::vfs::OnExec;
use sentry::vfs::timerfd::TimerFd;

use crate::arg::{Clock, Fd, Flags, In, Out};

/// timerfd_create(2)
pub fn timerfd_create(task: &mut CurrentTask, clock: Clock, flags: Flags<TfdFlags>) -> SysResult<Fd> {
    let flags = OpenFlags::from_bits_retain(flags.known()?.bits());
    match clock.0 {
        CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_BOOTTIME => {}
        CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM => {
            if !task.own_creds().has_cap(CAP_WAKE_ALARM) {
                return Err(Errno::EPERM.into());
            }
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    let fd = task.reserve_fd(OnExec::from_flags(flags))?;
    let kernel = task.kernel();
    let ops = Box::new(TimerFd::new(clock.0, kernel.clocks.clone(), kernel.timers.clone()));
    let file = kernel.internal.anonymous(ops, flags | OpenFlags::RDWR, task.own_creds());
    Ok(Fd(fd.fill(file)))
}

/// timerfd_settime(2)
pub fn timerfd_settime(
    task: &mut CurrentTask,
    fd: Fd,
    flags: Flags<TfdTimerFlags>,
    new: In<Itimerspec>,
    old: Out<Itimerspec>,
) -> SysResult<()> {
    let new = task.read_obj(new.0)?;
    let flags = flags.known()?;
    let value = timespec_to_ns(&new.it_value).ok_or(Errno::EINVAL)?;
    let interval = timespec_to_ns(&new.it_interval).ok_or(Errno::EINVAL)?;
    let file = task.file(fd.0)?;
    let timer = file.downcast::<TimerFd>().ok_or(Errno::EINVAL)?;
    let absolute = flags.contains(TfdTimerFlags::ABSTIME);
    let before = timer.set(value, interval, absolute, flags.bits())?;
    if let Some(old) = old.non_null() {
        task.write_obj(old, &before)?;
    }
    Ok(())
}

/// timerfd_gettime(2)
pub fn timerfd_gettime(task: &mut CurrentTask, fd: Fd, now: Out<Itimerspec>) -> SysResult<()> {
    let file = task.file(fd.0)?;
    let left = file.downcast::<TimerFd>().ok_or(Errno::EINVAL)?.get()?;
    task.write_obj(now.0, &left)?;
    Ok(())
}
