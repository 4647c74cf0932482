//! prctl(2) and arch_prctl(2).

use std::sync::atomic::Ordering;

use abi::Errno;
use abi::capability::{CAP_LAST_CAP, CAP_SYS_RESOURCE, CapSet};
use abi::prctl::{
    ARCH_GET_CPUID, ARCH_GET_FS, ARCH_GET_GS, ARCH_GET_XCOMP_PERM, ARCH_GET_XCOMP_SUPP, ARCH_REQ_XCOMP_PERM,
    ARCH_SET_CPUID, ARCH_SET_FS, ARCH_SET_GS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_RAISE, PR_CAPBSET_DROP, PR_CAPBSET_READ,
    PR_GET_AUXV, PR_GET_CHILD_SUBREAPER, PR_GET_DUMPABLE, PR_GET_IO_FLUSHER, PR_GET_KEEPCAPS, PR_GET_NAME,
    PR_GET_NO_NEW_PRIVS, PR_GET_PDEATHSIG, PR_GET_SECCOMP, PR_GET_SECUREBITS, PR_GET_SPECULATION_CTRL,
    PR_GET_THP_DISABLE, PR_GET_TID_ADDRESS, PR_GET_TIMERSLACK, PR_GET_TIMING, PR_GET_TSC, PR_MCE_KILL,
    PR_MCE_KILL_CLEAR, PR_MCE_KILL_DEFAULT, PR_MCE_KILL_EARLY, PR_MCE_KILL_GET, PR_MCE_KILL_LATE,
    PR_MCE_KILL_SET, PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_IO_FLUSHER, PR_SET_KEEPCAPS, PR_SET_MM,
    PR_SET_NAME, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_SECUREBITS,
    PR_SET_SPECULATION_CTRL, PR_SET_THP_DISABLE, PR_SET_TIMERSLACK, PR_SET_TIMING, PR_SET_TSC, PR_SET_VMA,
    PR_SET_VMA_ANON_NAME, PR_SPEC_L1D_FLUSH, PR_SPEC_NOT_AFFECTED, PR_TIMING_STATISTICAL, PR_TSC_ENABLE,
    TASK_COMM_LEN,
};
use sentry::SysResult;
use sentry::mm::{CStrError, TASK_SIZE, UserAddr, UserRef};
use sentry::task::{Credentials, CurrentTask, PrctlFlags};
use zerocopy::IntoBytes;

use crate::arg::{ArchPrctlOp, PrctlOp};

/// Nanoseconds of timer slack that a task starts with.
const DEFAULT_SLACK_NS: u64 = 50_000;

/// prctl(2)
pub fn prctl(task: &mut CurrentTask, op: PrctlOp, a2: u64, a3: u64, a4: u64, a5: u64) -> SysResult<u64> {
    // Many operations want the arguments that they do not use to be zero.
    let unused = |unused: &[u64]| if unused.iter().all(|a| *a == 0) { Ok(()) } else { Err(Errno::EINVAL) };
    let int_to = |value: i32| (UserRef::<i32>::new(UserAddr(a2)), value);
    match op.0 {
        PR_SET_PDEATHSIG => {
            let signal = u32::try_from(a2).ok().filter(|s| *s <= abi::signal::NSIG).ok_or(Errno::EINVAL)?;
            task.parent_death_signal.store(signal, Ordering::Relaxed);
        }
        PR_GET_PDEATHSIG => {
            let (to, value) = int_to(task.parent_death_signal.load(Ordering::Relaxed) as i32);
            task.write_obj(to, &value)?;
        }
        PR_GET_DUMPABLE => return Ok(u64::from(task.mm().dumpable())),
        PR_SET_DUMPABLE if a2 <= 1 => task.mm().set_dumpable(a2 as u8),
        PR_GET_TIMING => return Ok(u64::from(PR_TIMING_STATISTICAL)),
        PR_SET_TIMING if a2 == u64::from(PR_TIMING_STATISTICAL) => {}
        PR_SET_NAME => set_name(task, UserAddr(a2))?,
        PR_GET_NAME => {
            let mut name = [0; TASK_COMM_LEN];
            let comm = task.comm();
            name[..comm.len()].copy_from_slice(&comm);
            task.copy_out(UserAddr(a2), &name)?;
        }
        PR_GET_TSC => task.write_obj(UserRef::new(UserAddr(a2)), &PR_TSC_ENABLE)?,
        PR_SET_TSC if a2 == u64::from(PR_TSC_ENABLE) => {}
        PR_GET_TIMERSLACK => return Ok(task.timer_slack_ns.load(Ordering::Relaxed)),
        PR_SET_TIMERSLACK => {
            let slack = if a2 as i64 <= 0 { DEFAULT_SLACK_NS } else { a2 };
            task.timer_slack_ns.store(slack, Ordering::Relaxed);
        }
        PR_MCE_KILL => {
            unused(&[a4, a5])?;
            set_memory_error_policy(task, a2, a3)?;
        }
        PR_MCE_KILL_GET => {
            unused(&[a2, a3, a4, a5])?;
            return Ok(u64::from(memory_error_policy(task)));
        }
        PR_GET_TID_ADDRESS => {
            task.write_obj(UserRef::new(UserAddr(a2)), &task.clear_child_tid.load(Ordering::Relaxed))?;
        }
        PR_SET_CHILD_SUBREAPER => {
            let mut tree = task.kernel().tree.lock();
            if let Some(node) = tree.get_mut(task.thread_group().id()) {
                node.subreaper = a2 != 0;
            }
        }
        PR_GET_CHILD_SUBREAPER => {
            let tree = task.kernel().tree.lock();
            let subreaper = tree.get(task.thread_group().id()).is_some_and(|node| node.subreaper);
            drop(tree);
            task.write_obj(UserRef::new(UserAddr(a2)), &i32::from(subreaper))?;
        }
        PR_SET_NO_NEW_PRIVS if a2 == 1 => {
            unused(&[a3, a4, a5])?;
            let new = Credentials { no_new_privs: true, ..Credentials::clone(task.own_creds()) };
            task.set_creds(new);
        }
        PR_GET_NO_NEW_PRIVS => {
            unused(&[a2, a3, a4, a5])?;
            let by_another_thread = task.has_prctl(PrctlFlags::NO_NEW_PRIVS);
            return Ok(u64::from(task.own_creds().no_new_privs || by_another_thread));
        }
        PR_SET_THP_DISABLE => {
            unused(&[a3, a4, a5])?;
            task.set_prctl(PrctlFlags::THP_DISABLE, a2 != 0);
        }
        PR_GET_THP_DISABLE => {
            unused(&[a2, a3, a4, a5])?;
            return Ok(u64::from(task.has_prctl(PrctlFlags::THP_DISABLE)));
        }
        PR_SET_IO_FLUSHER => {
            may_flush(task)?;
            unused(&[a3, a4, a5])?;
            unused(&[a2 >> 1])?;
            task.set_prctl(PrctlFlags::IO_FLUSHER, a2 == 1);
        }
        PR_GET_IO_FLUSHER => {
            may_flush(task)?;
            unused(&[a2, a3, a4, a5])?;
            return Ok(u64::from(task.has_prctl(PrctlFlags::IO_FLUSHER)));
        }
        PR_GET_SPECULATION_CTRL => {
            unused(&[a3, a4, a5])?;
            return match speculation_feature(a2) {
                // Nothing that a guest could switch: as on a CPU that is not affected.
                true => Ok(u64::from(PR_SPEC_NOT_AFFECTED)),
                false => Err(Errno::ENODEV.into()),
            };
        }
        PR_SET_SPECULATION_CTRL => {
            unused(&[a4, a5])?;
            return Err(if speculation_feature(a2) { Errno::ENXIO } else { Errno::ENODEV }.into());
        }
        PR_SET_MM if !task.own_creds().has_cap_in(CAP_SYS_RESOURCE, &task.kernel().user_ns) => {
            return Err(Errno::EPERM.into());
        }
        PR_SET_VMA => name_mapping(task, a2, UserAddr(a3), a4, UserAddr(a5))?,
        PR_GET_AUXV => {
            unused(&[a4, a5])?;
            return get_auxv(task, UserAddr(a2), a3);
        }
        PR_GET_SECCOMP => return Ok(u64::from(task.seccomp.mode())),
        PR_SET_SECCOMP => crate::seccomp::set_mode(task, a2, UserAddr(a3))?,
        _ => return credentials(task, op.0, a2, a3, a4, a5),
    }
    Ok(0)
}

/// The operations that are about capabilities.
fn credentials(task: &mut CurrentTask, op: u32, a2: u64, a3: u64, a4: u64, a5: u64) -> SysResult<u64> {
    let creds = task.own_creds();
    let new = match op {
        PR_CAPBSET_READ if a2 <= u64::from(CAP_LAST_CAP) => {
            return Ok(u64::from(creds.cap_bounding.contains(a2 as u32)));
        }
        PR_CAPBSET_DROP => creds.without_bounding(u32::try_from(a2).unwrap_or(u32::MAX))?,
        PR_GET_SECUREBITS => return Ok(u64::from(creds.securebits)),
        PR_SET_SECUREBITS => creds.with_securebits(a2)?,
        PR_GET_KEEPCAPS => return Ok(u64::from(creds.keeps_caps())),
        PR_SET_KEEPCAPS if a2 <= 1 => creds.with_keep_caps(a2 == 1)?,
        PR_CAP_AMBIENT => match ambient(creds, a2, a3, a4, a5)? {
            Ambient::IsSet(set) => return Ok(u64::from(set)),
            Ambient::Changed(new) => *new,
        },
        _ => return Err(Errno::EINVAL.into()),
    };
    task.commit_creds(new);
    Ok(0)
}

enum Ambient {
    IsSet(bool),
    Changed(Box<Credentials>),
}

fn ambient(creds: &Credentials, op: u64, cap: u64, a4: u64, a5: u64) -> Result<Ambient, Errno> {
    let op = u32::try_from(op).map_err(|_| Errno::EINVAL)?;
    if op == PR_CAP_AMBIENT_CLEAR_ALL {
        if cap | a4 | a5 != 0 {
            return Err(Errno::EINVAL);
        }
        return Ok(Ambient::Changed(Box::new(Credentials { cap_ambient: CapSet::EMPTY, ..creds.clone() })));
    }
    if a4 | a5 != 0 || cap > u64::from(CAP_LAST_CAP) {
        return Err(Errno::EINVAL);
    }
    let cap = cap as u32;
    match op {
        PR_CAP_AMBIENT_IS_SET => Ok(Ambient::IsSet(creds.cap_ambient.contains(cap))),
        PR_CAP_AMBIENT_RAISE => Ok(Ambient::Changed(Box::new(creds.with_ambient(cap)?))),
        PR_CAP_AMBIENT_LOWER => {
            let mut new = creds.clone();
            new.cap_ambient.remove(cap);
            Ok(Ambient::Changed(Box::new(new)))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// PR_SET_NAME: what is behind 15 bytes does not count.
fn set_name(task: &CurrentTask, from: UserAddr) -> Result<(), Errno> {
    let mut name = Vec::with_capacity(TASK_COMM_LEN);
    for i in 0..TASK_COMM_LEN as u64 - 1 {
        match task.read_obj(UserRef::<u8>::new(from.add(i)?))? {
            0 => break,
            byte => name.push(byte),
        }
    }
    task.set_comm(&name);
    Ok(())
}

/// The longest name of a mapping, its NUL included.
const ANON_NAME_MAX: usize = 80;

/// PR_SET_VMA_ANON_NAME; a null pointer takes the name away.
fn name_mapping(
    task: &CurrentTask,
    what: u64,
    addr: UserAddr,
    len: u64,
    name: UserAddr,
) -> Result<(), Errno> {
    if what != u64::from(PR_SET_VMA_ANON_NAME) {
        return Err(Errno::EINVAL);
    }
    if name.is_null() {
        return task.mm().set_anon_name(addr, len, None);
    }
    let name = task.mm().copy_in_cstr(name, ANON_NAME_MAX).map_err(|error| match error {
        CStrError::Fault => Errno::EFAULT,
        CStrError::TooLong => Errno::EINVAL,
    })?;
    if name.iter().any(|byte| !(b' '..=b'~').contains(byte) || b"\\`$[]".contains(byte)) {
        return Err(Errno::EINVAL);
    }
    task.mm().set_anon_name(addr, len, Some(&name))
}

fn may_flush(task: &CurrentTask) -> Result<(), Errno> {
    let may = task.own_creds().has_cap_in(CAP_SYS_RESOURCE, &task.kernel().user_ns);
    if may { Ok(()) } else { Err(Errno::EPERM) }
}

fn speculation_feature(which: u64) -> bool {
    which <= u64::from(PR_SPEC_L1D_FLUSH)
}

fn set_memory_error_policy(task: &CurrentTask, op: u64, policy: u64) -> Result<(), Errno> {
    let (set, early) = match (u32::try_from(op), u32::try_from(policy)) {
        (Ok(PR_MCE_KILL_CLEAR), Ok(0)) => (false, false),
        (Ok(PR_MCE_KILL_SET), Ok(PR_MCE_KILL_EARLY)) => (true, true),
        (Ok(PR_MCE_KILL_SET), Ok(PR_MCE_KILL_LATE)) => (true, false),
        (Ok(PR_MCE_KILL_SET), Ok(PR_MCE_KILL_DEFAULT)) => (false, false),
        _ => return Err(Errno::EINVAL),
    };
    task.set_prctl(PrctlFlags::MCE_SET, set);
    task.set_prctl(PrctlFlags::MCE_EARLY, early);
    Ok(())
}

fn memory_error_policy(task: &CurrentTask) -> u32 {
    match (task.has_prctl(PrctlFlags::MCE_SET), task.has_prctl(PrctlFlags::MCE_EARLY)) {
        (false, _) => PR_MCE_KILL_DEFAULT,
        (true, true) => PR_MCE_KILL_EARLY,
        (true, false) => PR_MCE_KILL_LATE,
    }
}

/// PR_GET_AUXV: as much as there is room for; answers how much there is.
fn get_auxv(task: &CurrentTask, to: UserAddr, len: u64) -> SysResult<u64> {
    let auxv = task.mm().layout().auxv;
    let bytes = auxv.as_bytes();
    task.copy_out(to, &bytes[..bytes.len().min(len as usize)])?;
    Ok(bytes.len() as u64)
}

/// arch_prctl(2)
pub fn arch_prctl(task: &mut CurrentTask, op: ArchPrctlOp, addr: UserAddr) -> SysResult<u64> {
    let is_user = addr.0 < TASK_SIZE;
    match op.0 {
        ARCH_SET_FS | ARCH_SET_GS if !is_user => return Err(Errno::EPERM.into()),
        ARCH_SET_FS => task.regs.fs_base = addr.0,
        ARCH_SET_GS => task.regs.gs_base = addr.0,
        ARCH_GET_FS => task.write_obj(UserRef::new(addr), &task.regs.fs_base)?,
        ARCH_GET_GS => task.write_obj(UserRef::new(addr), &task.regs.gs_base)?,
        ARCH_GET_CPUID => return Ok(1),
        // CPUs here can't make CPUID fault.
        ARCH_SET_CPUID => return Err(Errno::ENODEV.into()),
        ARCH_GET_XCOMP_SUPP | ARCH_GET_XCOMP_PERM => {
            task.write_obj(UserRef::new(addr), &task.kernel().xstate().features)?;
        }
        ARCH_REQ_XCOMP_PERM => {
            // All that there is needs no permission.
            return Err(if addr.0 < 20 { Errno::EOPNOTSUPP } else { Errno::EINVAL }.into());
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
