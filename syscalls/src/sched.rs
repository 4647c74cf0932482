//! Scheduling (sched(7)): policies, nice values, affinity. Kept and answered; the host schedules.

use std::sync::Arc;

use abi::Errno;
use abi::capability::{CAP_SYS_ADMIN, CAP_SYS_NICE};
use abi::resource::{
    IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_NONE, IOPRIO_CLASS_RT, IOPRIO_CLASS_SHIFT,
    IOPRIO_WHO_PGRP, IOPRIO_WHO_PROCESS, IOPRIO_WHO_USER, PRIO_PGRP, PRIO_PROCESS, PRIO_USER, RLIMIT_NICE,
    RLIMIT_RTPRIO,
};
use abi::sched::{
    SCHED_ATTR_SIZE_VER0, SCHED_ATTR_SIZE_VER1, SCHED_FIFO, SCHED_RESET_ON_FORK, SCHED_RR, SchedAttr,
    SchedFlags, SchedParam,
};
use abi::time::Timespec;
use sentry::SysResult;
use sentry::mm::{UserAddr, UserRef};
use sentry::sched::{MAX_CPUS, ROUND_NS, SchedChange, SchedParams, SchedRights, priority_range};
use sentry::task::{CurrentTask, Task, work};
use zerocopy::{FromZeros, IntoBytes};

use crate::arg::{In, IoprioWhich, Out, PriorityWhich, SchedPolicy};
use crate::target;

/// sched_yield(2)
pub fn sched_yield(task: &mut CurrentTask) -> SysResult<()> {
    task.yield_cpu();
    Ok(())
}

fn rights(task: &CurrentTask, target: &Task) -> SchedRights {
    let (own, theirs) = (task.own_creds(), target.creds());
    let group = target.thread_group();
    SchedRights {
        owner: own.euid == theirs.euid || own.euid == theirs.uid,
        capable: own.has_cap_in(CAP_SYS_NICE, &task.kernel().user_ns),
        nice_limit: group.limit(RLIMIT_NICE).rlim_cur,
        priority_limit: group.limit(RLIMIT_RTPRIO).rlim_cur,
    }
}

fn change(task: &CurrentTask, target: &Task, change: &SchedChange) -> Result<(), Errno> {
    let rights = rights(task, target);
    let mut params = target.sched.lock();
    *params = params.changed(change, &rights)?;
    Ok(())
}

/// sched_setscheduler(2)
pub fn sched_setscheduler(
    task: &mut CurrentTask,
    pid: i32,
    policy: SchedPolicy,
    param: In<SchedParam>,
) -> SysResult<()> {
    if (policy.0 as i32) < 0 || param.is_null() || pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    set_param(task, pid, Some(policy.0), *param)
}

/// sched_setparam(2)
pub fn sched_setparam(task: &mut CurrentTask, pid: i32, param: In<SchedParam>) -> SysResult<()> {
    if param.is_null() || pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    set_param(task, pid, None, *param)
}

fn set_param(
    task: &mut CurrentTask,
    pid: i32,
    policy: Option<u32>,
    param: UserRef<SchedParam>,
) -> SysResult<()> {
    let priority = task.read_obj(param)?.sched_priority as u32;
    let target = target::task(task, pid)?;
    let nice = target.sched.lock().nice;
    let reset_on_fork = policy.is_some_and(|policy| policy & SCHED_RESET_ON_FORK != 0);
    let policy = policy.map(|policy| policy & !SCHED_RESET_ON_FORK);
    change(task, &target, &SchedChange { policy, reset_on_fork, priority, nice })?;
    Ok(())
}

/// sched_getscheduler(2)
pub fn sched_getscheduler(task: &mut CurrentTask, pid: i32) -> SysResult<u32> {
    let params = params(task, pid)?;
    Ok(params.policy | if params.reset_on_fork { SCHED_RESET_ON_FORK } else { 0 })
}

/// sched_getparam(2)
pub fn sched_getparam(task: &mut CurrentTask, pid: i32, param: Out<SchedParam>) -> SysResult<()> {
    if param.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let params = params(task, pid)?;
    task.write_obj(*param, &SchedParam { sched_priority: params.priority })?;
    Ok(())
}

/// Parameters of a task; EINVAL for a negative id.
fn params(task: &CurrentTask, pid: i32) -> Result<SchedParams, Errno> {
    if pid < 0 {
        return Err(Errno::EINVAL);
    }
    let target = target::task(task, pid)?;
    let params = *target.sched.lock();
    Ok(params)
}

/// sched_get_priority_max(2)
pub fn sched_get_priority_max(_: &mut CurrentTask, policy: SchedPolicy) -> SysResult<i32> {
    Ok(priority_range(policy.0).ok_or(Errno::EINVAL)?.1)
}

/// sched_get_priority_min(2)
pub fn sched_get_priority_min(_: &mut CurrentTask, policy: SchedPolicy) -> SysResult<i32> {
    Ok(priority_range(policy.0).ok_or(Errno::EINVAL)?.0)
}

/// sched_rr_get_interval(2): the slice of other policies is less than a tick, as on Linux.
pub fn sched_rr_get_interval(task: &mut CurrentTask, pid: i32, interval: Out<Timespec>) -> SysResult<()> {
    let params = params(task, pid)?;
    let tv_nsec = if params.policy == SCHED_RR { ROUND_NS } else { 0 };
    task.write_obj(*interval, &Timespec { tv_sec: 0, tv_nsec })?;
    Ok(())
}

/// Nanoseconds that a task of a fair policy runs at a time, as Linux computes it from the number of CPUs.
fn slice_ns(cpus: u32) -> u64 {
    700_000 * u64::from(1 + cpus.clamp(1, 8).ilog2())
}

/// sched_setattr(2)
pub fn sched_setattr(task: &mut CurrentTask, pid: i32, attr: In<SchedAttr>, flags: u32) -> SysResult<()> {
    if attr.is_null() || pid < 0 || flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let attr = read_attr(task, *attr)?;
    let known = SchedFlags::from_bits(attr.sched_flags).ok_or(Errno::EINVAL)?;
    if (attr.sched_policy as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = target::task(task, pid)?;
    if known.intersects(SchedFlags::UTIL_CLAMP_MIN | SchedFlags::UTIL_CLAMP_MAX) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let old = *target.sched.lock();
    let keep_params = known.contains(SchedFlags::KEEP_PARAMS);
    let request = SchedChange {
        policy: (!known.contains(SchedFlags::KEEP_POLICY)).then_some(attr.sched_policy),
        reset_on_fork: known.contains(SchedFlags::RESET_ON_FORK),
        priority: if keep_params { old.priority as u32 } else { attr.sched_priority },
        nice: if keep_params { old.nice } else { attr.sched_nice.clamp(-20, 19) },
    };
    change(task, &target, &request)?;
    Ok(())
}

/// Copies a structure in whose size its first field says. E2BIG for one that says more than is known here; the size that
/// is known is put in.
fn read_attr(task: &CurrentTask, from: UserRef<SchedAttr>) -> Result<SchedAttr, Errno> {
    let size = match task.read_obj(from.cast::<u32>())? as usize {
        0 => SCHED_ATTR_SIZE_VER0,
        size => size,
    };
    let too_big = || {
        task.write_obj(from.cast::<u32>(), &(size_of::<SchedAttr>() as u32))?;
        Err(Errno::E2BIG)
    };
    if !(SCHED_ATTR_SIZE_VER0..=abi::PAGE_SIZE as usize).contains(&size) {
        return too_big();
    }
    let mut attr = SchedAttr::new_zeroed();
    let known = size.min(size_of::<SchedAttr>());
    task.copy_in(from.addr(), &mut attr.as_mut_bytes()[..known])?;
    let mut rest = from.addr().add(known as u64)?;
    for _ in known..size {
        if task.read_obj(UserRef::<u8>::new(rest))? != 0 {
            return too_big();
        }
        rest = rest.add(1)?;
    }
    let clamps = (SchedFlags::UTIL_CLAMP_MIN | SchedFlags::UTIL_CLAMP_MAX).bits();
    if attr.sched_flags & clamps != 0 && size < SCHED_ATTR_SIZE_VER1 {
        return Err(Errno::EINVAL);
    }
    Ok(attr)
}

/// sched_getattr(2)
pub fn sched_getattr(
    task: &mut CurrentTask,
    pid: i32,
    attr: Out<SchedAttr>,
    size: u32,
    flags: u32,
) -> SysResult<()> {
    let size = size as usize;
    if attr.is_null()
        || pid < 0
        || size > abi::PAGE_SIZE as usize
        || size < SCHED_ATTR_SIZE_VER0
        || flags != 0
    {
        return Err(Errno::EINVAL.into());
    }
    let params = params(task, pid)?;
    let real_time = matches!(params.policy, SCHED_FIFO | SCHED_RR);
    let known = size.min(size_of::<SchedAttr>());
    let value = SchedAttr {
        size: known as u32,
        sched_policy: params.policy,
        sched_flags: if params.reset_on_fork { SchedFlags::RESET_ON_FORK.bits() } else { 0 },
        sched_nice: if real_time { 0 } else { params.nice },
        sched_priority: params.priority as u32,
        sched_runtime: if real_time { 0 } else { slice_ns(task.kernel().cpus) },
        ..SchedAttr::default()
    };
    task.copy_out(attr.addr(), &value.as_bytes()[..known])?;
    Ok(())
}

/// sched_setaffinity(2)
pub fn sched_setaffinity(task: &mut CurrentTask, pid: i32, len: u32, mask: UserAddr) -> SysResult<()> {
    let mut affinity = [0u64; MAX_CPUS / 64];
    let bytes = affinity.as_mut_bytes();
    let len = (len as usize).min(bytes.len());
    task.copy_in(mask, &mut bytes[..len])?;
    let target = target::task(task, pid)?;
    let rights = rights(task, &target);
    if !rights.owner && !task.own_creds().has_cap_in(CAP_SYS_NICE, &target.creds().user_ns) {
        return Err(Errno::EPERM.into());
    }
    let cpus = task.kernel().cpus;
    {
        let mut params = target.sched.lock();
        *params = params.with_affinity(affinity, cpus)?;
    }
    // Its CPU for rseq(2) may be another now.
    target.kick(work::NOTIFY);
    Ok(())
}

/// sched_getaffinity(2): answers how many bytes it wrote.
pub fn sched_getaffinity(task: &mut CurrentTask, pid: i32, len: u32, mask: UserAddr) -> SysResult<usize> {
    let cpus = task.kernel().cpus;
    if u64::from(len) * 8 < u64::from(cpus) || !len.is_multiple_of(8) {
        return Err(Errno::EINVAL.into());
    }
    let target = target::task(task, pid)?;
    let params = *target.sched.lock();
    let words = (cpus.div_ceil(64) as usize).min(len as usize / 8);
    for word in 0..words {
        let to = UserRef::<u64>::new(mask).at(word as u64)?;
        task.write_obj(to, &params.affinity_word(word, cpus))?;
    }
    Ok(words * 8)
}

/// Those that `which` and `who` name; EINVAL for a `which` that is none.
fn tasks_named(task: &CurrentTask, which: u32, kinds: [u32; 3], who: i32) -> Result<Vec<Arc<Task>>, Errno> {
    let [process, group, user] = kinds;
    if which == process {
        Ok(target::task(task, who).into_iter().collect())
    } else if which == group {
        Ok(target::tasks_of_group(task, who))
    } else if which == user {
        let creds = task.own_creds();
        let uid = if who == 0 { Some(creds.uid) } else { creds.user_ns.uid_kernel(who as u32) };
        Ok(uid.map_or_else(Vec::new, |uid| target::tasks_of_user(task, uid)))
    } else {
        Err(Errno::EINVAL)
    }
}

/// getpriority(2): 20 minus the lowest nice value, so that no answer looks like an error.
pub fn getpriority(task: &mut CurrentTask, which: PriorityWhich, who: i32) -> SysResult<i32> {
    let tasks = tasks_named(task, which.0, [PRIO_PROCESS, PRIO_PGRP, PRIO_USER], who)?;
    let lowest = tasks.iter().map(|task| task.sched.lock().nice).min().ok_or(Errno::ESRCH)?;
    Ok(20 - lowest)
}

/// setpriority(2)
pub fn setpriority(task: &mut CurrentTask, which: PriorityWhich, who: i32, nice: i32) -> SysResult<()> {
    let nice = nice.clamp(-20, 19);
    let tasks = tasks_named(task, which.0, [PRIO_PROCESS, PRIO_PGRP, PRIO_USER], who)?;
    let mut result = Err(Errno::ESRCH);
    for target in tasks {
        let rights = rights(task, &target);
        if !rights.owner && !task.own_creds().has_cap_in(CAP_SYS_NICE, &target.creds().user_ns) {
            result = Err(Errno::EPERM);
            continue;
        }
        let mut params = target.sched.lock();
        if !rights.may_nice(params.nice, nice) {
            result = Err(Errno::EACCES);
            continue;
        }
        params.nice = nice;
        if result == Err(Errno::ESRCH) {
            result = Ok(());
        }
    }
    Ok(result?)
}

/// ioprio_get(2): the highest of several.
pub fn ioprio_get(task: &mut CurrentTask, which: IoprioWhich, who: i32) -> SysResult<u32> {
    let tasks = tasks_named(task, which.0, [IOPRIO_WHO_PROCESS, IOPRIO_WHO_PGRP, IOPRIO_WHO_USER], who)?;
    // Lower numbers are higher classes and levels, but for "none", which is in the middle of best effort.
    let rank = |priority: &u16| {
        if *priority == 0 { IOPRIO_CLASS_BE << IOPRIO_CLASS_SHIFT | 4 } else { u32::from(*priority) }
    };
    let priorities = tasks.iter().map(|task| task.sched.lock().io_priority);
    Ok(u32::from(priorities.min_by_key(rank).ok_or(Errno::ESRCH)?))
}

/// Whether the caller may have this I/O priority.
pub(crate) fn check_io_priority(task: &CurrentTask, priority: u32) -> Result<(), Errno> {
    let (class, level) = (priority >> IOPRIO_CLASS_SHIFT & 7, priority & 7);
    let creds = task.own_creds();
    let user_ns = &task.kernel().user_ns;
    let capable = creds.has_cap_in(CAP_SYS_ADMIN, user_ns) || creds.has_cap_in(CAP_SYS_NICE, user_ns);
    match class {
        IOPRIO_CLASS_RT if !capable => Err(Errno::EPERM),
        IOPRIO_CLASS_RT | IOPRIO_CLASS_BE | IOPRIO_CLASS_IDLE => Ok(()),
        IOPRIO_CLASS_NONE if level == 0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// ioprio_set(2)
pub fn ioprio_set(task: &mut CurrentTask, which: IoprioWhich, who: i32, priority: u32) -> SysResult<()> {
    check_io_priority(task, priority)?;
    let creds = task.own_creds();
    let user_ns = &task.kernel().user_ns;
    let tasks = tasks_named(task, which.0, [IOPRIO_WHO_PROCESS, IOPRIO_WHO_PGRP, IOPRIO_WHO_USER], who)?;
    if tasks.is_empty() {
        return Err(Errno::ESRCH.into());
    }
    for target in tasks {
        let theirs = target.creds();
        let owner = theirs.uid == creds.euid || theirs.uid == creds.uid;
        if !owner && !creds.has_cap_in(CAP_SYS_NICE, user_ns) {
            return Err(Errno::EPERM.into());
        }
        target.sched.lock().io_priority = priority as u16;
    }
    Ok(())
}
