//! Descriptors of processes: pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2).

use std::sync::Arc;

use abi::Errno;
use abi::clone::PidfdFlags;
use abi::open::OpenFlags;
use abi::signal::{SI_TKILL, SI_USER, SigInfo};
use sentry::SysResult;
use sentry::signal::{send_to_group, send_to_task};
use sentry::task::{Access, CurrentTask, Pid, PidFd, Task};
use sentry::vfs::{File, OnExec};

use crate::arg::{Fd, Flags, In, Sig};
use crate::signal;

/// Whom a pidfd names; EBADF for a file that is none.
pub(crate) fn of_file(file: &File) -> Result<&Arc<Pid>, Errno> {
    file.downcast::<PidFd>().map(PidFd::pid).ok_or(Errno::EBADF)
}

/// The task that a pidfd names: ESRCH when it has gone.
pub(crate) fn task(current: &CurrentTask, fd: i32) -> Result<Arc<Task>, Errno> {
    of_file(&*current.file(fd)?)?.task().ok_or(Errno::ESRCH)
}

/// pidfd_open(2)
pub fn pidfd_open(task: &mut CurrentTask, pid: i32, flags: Flags<PidfdFlags>) -> SysResult<Fd> {
    let flags = flags.known()?;
    if pid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let found = task.pid().namespace().find(pid).filter(|pid| pid.task().is_some()).ok_or(Errno::ESRCH)?;
    if found.thread_group().is_none() && !flags.contains(PidfdFlags::THREAD) {
        return Err(Errno::ENOENT.into());
    }
    Ok(Fd(task.add_pidfd(&found, flags)?))
}

/// Where pidfd_send_signal(2) sends.
const SIGNAL_THREAD: u32 = 1;
const SIGNAL_THREAD_GROUP: u32 = 2;
const SIGNAL_PROCESS_GROUP: u32 = 4;

/// pidfd_send_signal(2)
pub fn pidfd_send_signal(
    task: &mut CurrentTask,
    fd: Fd,
    sig: Sig,
    info: In<SigInfo>,
    flags: u32,
) -> SysResult<()> {
    if !matches!(flags, 0 | SIGNAL_THREAD | SIGNAL_THREAD_GROUP | SIGNAL_PROCESS_GROUP) {
        return Err(Errno::EINVAL.into());
    }
    let file = task.file(fd.0)?;
    let pid = of_file(&file)?;
    // Only processes that the caller could name.
    if pid.number_in(task.pid().namespace()) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let info = match info.non_null() {
        None => None,
        Some(from) => {
            let info: SigInfo = task.read_obj(from)?;
            if info.si_signo != sig.0 {
                return Err(Errno::EINVAL.into());
            }
            let own = pid.identity == task.pid().identity;
            if !own && (info.si_code >= 0 || info.si_code == SI_TKILL) {
                return Err(Errno::EPERM.into());
            }
            Some(info)
        }
    };
    let target = pid.task().ok_or(Errno::ESRCH)?;
    let group = target.thread_group();
    let signal = signal::wanted(sig)?;
    if flags == SIGNAL_PROCESS_GROUP {
        let process_group = pid.process_group().ok_or(Errno::ESRCH)?;
        let members = task.kernel().tree.lock().members(process_group.id());
        return signal::kill_many(task, &members, Sig(signal.map_or(0, |s| s.number() as i32)));
    }
    signal::may_signal(task, group, signal)?;
    let Some(signal) = signal else { return Ok(()) };
    let info = info.unwrap_or_else(|| signal::origin(task).info(signal, SI_USER, group));
    let of_thread = file.downcast::<PidFd>().is_some_and(PidFd::of_thread);
    if flags == SIGNAL_THREAD || flags == 0 && of_thread {
        send_to_task(&target, signal, info)?;
    } else {
        send_to_group(group, signal, info)?;
    }
    Ok(())
}

/// pidfd_getfd(2): a descriptor of another process.
pub fn pidfd_getfd(task: &mut CurrentTask, pidfd: Fd, fd: Fd, flags: u32) -> SysResult<Fd> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = self::task(task, pidfd.0)?;
    task.may_look_into(&target, Access::Call)?;
    let resources = target.resources().ok_or(Errno::ESRCH)?;
    let theirs = resources.files.get(fd.0).ok_or(Errno::EBADF)?;
    Ok(Fd(task.add_file(theirs, OnExec::from_flags(OpenFlags::CLOEXEC))?))
}
