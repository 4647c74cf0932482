//! seccomp(2), and asking the filters on every call.

use abi::Errno;
use abi::capability::CAP_SYS_ADMIN;
use abi::seccomp::{
    BPF_MAXINSNS, SECCOMP_GET_ACTION_AVAIL, SECCOMP_GET_NOTIF_SIZES, SECCOMP_MODE_FILTER,
    SECCOMP_MODE_STRICT, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS,
    SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG, SECCOMP_RET_TRACE, SECCOMP_RET_TRAP, SECCOMP_SET_MODE_FILTER,
    SECCOMP_SET_MODE_STRICT, SeccompData, SeccompFlags, SeccompNotif, SeccompNotifResp, SeccompNotifSizes,
    SockFprog,
};
use sentry::SysResult;
use sentry::mm::{UserAddr, UserRef};
use sentry::seccomp::{Program, Verdict};
use sentry::task::CurrentTask;

use crate::arg::{Flags, SeccompOp};

/// seccomp(2)
pub fn seccomp(
    task: &mut CurrentTask,
    op: SeccompOp,
    flags: Flags<SeccompFlags>,
    arg: UserAddr,
) -> SysResult<i32> {
    match op.0 {
        SECCOMP_SET_MODE_STRICT if flags.bits() == 0 && arg.is_null() => set_strict(task).map(|()| 0),
        SECCOMP_SET_MODE_FILTER => set_filter(task, flags.known()?, arg),
        SECCOMP_GET_ACTION_AVAIL if flags.bits() == 0 => match task.read_obj(UserRef::<u32>::new(arg))? {
            SECCOMP_RET_KILL_PROCESS
            | SECCOMP_RET_KILL_THREAD
            | SECCOMP_RET_TRAP
            | SECCOMP_RET_ERRNO
            | SECCOMP_RET_TRACE
            | SECCOMP_RET_LOG
            | SECCOMP_RET_ALLOW => Ok(0),
            _ => Err(Errno::EOPNOTSUPP.into()),
        },
        SECCOMP_GET_NOTIF_SIZES if flags.bits() == 0 => {
            let sizes = SeccompNotifSizes {
                seccomp_notif: size_of::<SeccompNotif>() as u16,
                seccomp_notif_resp: size_of::<SeccompNotifResp>() as u16,
                seccomp_data: size_of::<SeccompData>() as u16,
            };
            task.write_obj(UserRef::new(arg), &sizes)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

fn set_strict(task: &CurrentTask) -> SysResult<()> {
    task.set_seccomp_strict()?;
    Ok(())
}

fn set_filter(task: &CurrentTask, flags: SeccompFlags, arg: UserAddr) -> SysResult<i32> {
    // No user notification, as before Linux 5.0.
    if flags.intersects(SeccompFlags::NEW_LISTENER | SeccompFlags::WAIT_KILLABLE_RECV) {
        return Err(Errno::EINVAL.into());
    }
    let program: SockFprog = task.read_obj(UserRef::new(arg))?;
    if program.len == 0 || program.len > BPF_MAXINSNS {
        return Err(Errno::EINVAL.into());
    }
    let creds = task.own_creds();
    if !creds.no_new_privs && !creds.has_cap(CAP_SYS_ADMIN) {
        return Err(Errno::EACCES.into());
    }
    let instructions =
        task.mm().read_array(UserRef::new(UserAddr(program.filter)), usize::from(program.len))?;
    let program = Program::new(instructions)?;
    match task.add_seccomp_filter(program, flags.contains(SeccompFlags::TSYNC))? {
        None => Ok(0),
        Some(_) if flags.contains(SeccompFlags::TSYNC_ESRCH) => Err(Errno::ESRCH.into()),
        Some(tid) => Ok(tid),
    }
}

/// PR_SET_SECCOMP of prctl(2).
pub(crate) fn set_mode(task: &CurrentTask, mode: u64, filter: UserAddr) -> SysResult<()> {
    match u32::try_from(mode) {
        Ok(SECCOMP_MODE_STRICT) => set_strict(task),
        Ok(SECCOMP_MODE_FILTER) => set_filter(task, SeccompFlags::empty(), filter).map(|_| ()),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Whether the filters stop a call, and with what result.
#[cold]
pub(crate) fn stops(task: &mut CurrentTask, number: u64, args: &[u64; 6]) -> Option<SysResult<u64>> {
    let in_strict_mode = crate::dispatch::row(number)
        .is_some_and(|row| ["read", "write", "exit", "rt_sigreturn"].contains(&row.name));
    match task.check_seccomp(number, args, in_strict_mode) {
        Verdict::Go => None,
        Verdict::Skip(value) => Some(Ok(value)),
        Verdict::Killed => Some(Err(Errno::ENOSYS.into())),
    }
}
