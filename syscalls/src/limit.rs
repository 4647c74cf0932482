//! Resource limits and use (getrlimit(2), getrusage(2), times(2)).

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_SYS_RESOURCE;
use abi::resource::{
    RLIM_NLIMITS, RLIMIT_CPU, RLIMIT_NOFILE, RLIMIT_STACK, RLimit, RUSAGE_CHILDREN, RUSAGE_SELF,
    RUSAGE_THREAD, RUsage,
};
use abi::time::{CLK_TCK, Tms};
use sentry::SysResult;
use sentry::task::{CurrentTask, Task, Usage};

use crate::arg::{In, Out, Resource, RusageWho};
use crate::target;

/// The most files that RLIMIT_NOFILE can allow (`fs.nr_open`).
const NR_OPEN: u64 = 1 << 20;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// getrlimit(2)
pub fn getrlimit(task: &mut CurrentTask, resource: Resource, limit: Out<RLimit>) -> SysResult<()> {
    let current = limit_of(task, resource)?;
    task.write_obj(*limit, &current)?;
    Ok(())
}

fn limit_of(task: &Task, resource: Resource) -> Result<RLimit, Errno> {
    if resource.0 as usize >= RLIM_NLIMITS {
        return Err(Errno::EINVAL);
    }
    Ok(task.thread_group().limit(resource.0))
}

/// setrlimit(2)
pub fn setrlimit(task: &mut CurrentTask, resource: Resource, limit: In<RLimit>) -> SysResult<()> {
    let limit = task.read_obj(*limit)?;
    let own = Arc::clone(task.task());
    set_limit(task, &own, resource, limit)?;
    Ok(())
}

fn set_limit(task: &CurrentTask, target: &Task, resource: Resource, new: RLimit) -> Result<(), Errno> {
    if resource.0 as usize >= RLIM_NLIMITS || new.rlim_cur > new.rlim_max {
        return Err(Errno::EINVAL);
    }
    if resource.0 == RLIMIT_NOFILE && new.rlim_max > NR_OPEN {
        return Err(Errno::EPERM);
    }
    let may_raise = task.own_creds().has_cap_in(CAP_SYS_RESOURCE, &task.kernel().user_ns);
    let mut limits = target.thread_group().limits.lock();
    if new.rlim_max > limits.get(resource.0).rlim_max && !may_raise {
        return Err(Errno::EPERM);
    }
    limits.set(resource.0, new);
    drop(limits);
    if resource.0 == RLIMIT_CPU {
        target.thread_group().timers.update_cpu_limit(target.thread_group());
    }
    if resource.0 == RLIMIT_STACK
        && let Some(resources) = target.resources()
    {
        resources.mm.set_stack_limit(new.rlim_cur);
    }
    Ok(())
}

/// prlimit(2)
pub fn prlimit64(
    task: &mut CurrentTask,
    pid: i32,
    resource: Resource,
    new: In<RLimit>,
    old: Out<RLimit>,
) -> SysResult<()> {
    let new_limit = new.non_null().map(|new| task.read_obj(new)).transpose()?;
    let target = target::task(task, pid)?;
    if !Arc::ptr_eq(&target, task.task()) && !may_see_limits(task, &target) {
        return Err(Errno::EPERM.into());
    }
    let old_limit = limit_of(&target, resource)?;
    if let Some(new_limit) = new_limit {
        set_limit(task, &target, resource, new_limit)?;
    }
    if let Some(old) = old.non_null() {
        task.write_obj(old, &old_limit)?;
    }
    Ok(())
}

fn may_see_limits(task: &CurrentTask, target: &Task) -> bool {
    let (own, theirs) = (task.own_creds(), target.creds());
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|uid| *uid == own.uid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|gid| *gid == own.gid);
    same || own.has_cap_in(CAP_SYS_RESOURCE, &theirs.user_ns)
}

/// What the children that were waited for have used.
fn children_usage(task: &CurrentTask) -> Usage {
    let tree = task.kernel().tree.lock();
    tree.get(task.thread_group().id()).map_or_else(Usage::default, |node| node.children_usage)
}

/// getrusage(2)
pub fn getrusage(task: &mut CurrentTask, who: RusageWho, usage: Out<RUsage>) -> SysResult<()> {
    let used = match who.0 {
        RUSAGE_SELF => task.thread_group().usage(),
        RUSAGE_CHILDREN => children_usage(task),
        RUSAGE_THREAD => task.usage(),
        _ => return Err(Errno::EINVAL.into()),
    };
    task.write_obj(*usage, &crate::wait::rusage(&used))?;
    Ok(())
}

fn ticks(ns: u64) -> i64 {
    (ns / (NS_PER_SECOND / CLK_TCK as u64)) as i64
}

/// times(2): answers ticks since some moment in the past.
pub fn times(task: &mut CurrentTask, to: Out<Tms>) -> SysResult<i64> {
    if let Some(to) = to.non_null() {
        let (own, children) = (task.thread_group().usage(), children_usage(task));
        let tms = Tms {
            tms_utime: ticks(own.user_ns),
            tms_stime: ticks(own.system_ns),
            tms_cutime: ticks(children.user_ns),
            tms_cstime: ticks(children.system_ns),
        };
        task.write_obj(to, &tms)?;
    }
    Ok(ticks(task.kernel().boot_ns()))
}
