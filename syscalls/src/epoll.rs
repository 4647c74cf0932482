//! Epoll sets: epoll_create(2), epoll_ctl(2), epoll_wait(2) and their newer forms.

use std::time::{Duration, Instant};

use abi::open::OpenFlags;
use abi::poll::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollEvent, EpollEvents, EpollFlags};
use abi::time::Timespec;
use abi::{Errno, SigSet};
use sentry::SysResult;
use sentry::mm::UserRef;
use sentry::task::{CurrentTask, WaitEnd};
use sentry::time::clock::{deadline_after, timespec_to_ns};
use sentry::vfs::OnExec;
use sentry::vfs::epoll::{Control, Epoll};
use sentry::vfs::poll::Timeout;

use crate::arg::{EpollOp, Fd, Flags, In, OutArray};
use crate::mask::with_mask;

/// The most events of one epoll_wait: their bytes fit an `int`.
const MAX_EVENTS: i32 = i32::MAX / size_of::<EpollEvent>() as i32;

/// epoll_create(2)
pub fn epoll_create(task: &mut CurrentTask, size: i32) -> SysResult<Fd> {
    if size <= 0 {
        return Err(Errno::EINVAL.into());
    }
    make(task, EpollFlags::empty())
}

/// epoll_create1(2)
pub fn epoll_create1(task: &mut CurrentTask, flags: Flags<EpollFlags>) -> SysResult<Fd> {
    make(task, flags.known()?)
}

fn make(task: &mut CurrentTask, flags: EpollFlags) -> SysResult<Fd> {
    let fd = task.reserve_fd(OnExec::from_flags(OpenFlags::from_bits_retain(flags.bits())))?;
    let file = task.kernel().internal.anonymous(Box::new(Epoll::new()), OpenFlags::RDWR, task.own_creds());
    Ok(Fd(fd.fill(file)))
}

/// epoll_ctl(2)
pub fn epoll_ctl(
    task: &mut CurrentTask,
    set: Fd,
    op: EpollOp,
    fd: Fd,
    event: In<EpollEvent>,
) -> SysResult<()> {
    let event = if op.0 == EPOLL_CTL_DEL { EpollEvent::default() } else { task.read_obj(event.0)? };
    let own = task.file(set.0)?;
    let file = task.file(fd.0)?;
    let events = EpollEvents::from_bits_retain(event.events);
    let data = event.data;
    let control = match op.0 {
        EPOLL_CTL_ADD => Control::Add { events, data },
        EPOLL_CTL_MOD => Control::Modify { events, data },
        EPOLL_CTL_DEL => Control::Delete,
        _ => Control::Unknown,
    };
    Epoll::control(&own, fd.0, &file, control)?;
    Ok(())
}

/// epoll_wait(2)
pub fn epoll_wait(
    task: &mut CurrentTask,
    set: Fd,
    events: OutArray<EpollEvent>,
    max: i32,
    timeout_ms: i32,
) -> SysResult<usize> {
    wait(task, set, events.0, max, after_ms(timeout_ms))
}

/// epoll_pwait(2)
pub fn epoll_pwait(
    task: &mut CurrentTask,
    set: Fd,
    events: OutArray<EpollEvent>,
    max: i32,
    timeout_ms: i32,
    mask: In<SigSet>,
    mask_size: u64,
) -> SysResult<usize> {
    let timeout = after_ms(timeout_ms);
    with_mask(task, mask.0, mask_size, |task| wait(task, set, events.0, max, timeout))
}

/// epoll_pwait2(2)
pub fn epoll_pwait2(
    task: &mut CurrentTask,
    set: Fd,
    events: OutArray<EpollEvent>,
    max: i32,
    timeout: In<Timespec>,
    mask: In<SigSet>,
    mask_size: u64,
) -> SysResult<usize> {
    let timeout = match timeout.non_null() {
        None => Timeout::Never,
        Some(timeout) => after(&task.read_obj(timeout)?)?,
    };
    with_mask(task, mask.0, mask_size, |task| wait(task, set, events.0, max, timeout))
}

fn wait(
    task: &mut CurrentTask,
    set: Fd,
    events: UserRef<EpollEvent>,
    max: i32,
    timeout: Timeout,
) -> SysResult<usize> {
    let file = task.file(set.0)?;
    if max <= 0 || max > MAX_EVENTS {
        return Err(Errno::EINVAL.into());
    }
    if !events.addr().access_ok(max as u64 * size_of::<EpollEvent>() as u64) {
        return Err(Errno::EFAULT.into());
    }
    let epoll = file.downcast::<Epoll>().ok_or(Errno::EINVAL)?;
    let mut stored = 0u64;
    let mut fault = false;
    let mut emit = |task: &mut CurrentTask, event: EpollEvent| {
        let at = events.at(stored);
        fault = !at.is_ok_and(|at| task.write_obj(at, &event).is_ok());
        stored += u64::from(!fault);
        !fault
    };
    match epoll.wait(task, max as usize, timeout, &mut emit) {
        Ok(0) if fault => Err(Errno::EFAULT.into()),
        Ok(count) => Ok(count),
        Err(WaitEnd::TimedOut) => Ok(0),
        Err(WaitEnd::Interrupted) => Err(Errno::EINTR.into()),
    }
}

/// A time-out in milliseconds: negative is for ever.
pub fn after_ms(timeout_ms: i32) -> Timeout {
    match timeout_ms {
        0 => Timeout::None,
        ms if ms < 0 => Timeout::Never,
        ms => Timeout::At(Instant::now() + Duration::from_millis(ms as u64)),
    }
}

/// A time-out as a `timespec`; EINVAL when it is none.
pub fn after(timeout: &Timespec) -> Result<Timeout, Errno> {
    match timespec_to_ns(timeout).ok_or(Errno::EINVAL)? {
        0 => Ok(Timeout::None),
        ns => Ok(deadline_after(ns).map_or(Timeout::Never, Timeout::At)),
    }
}
