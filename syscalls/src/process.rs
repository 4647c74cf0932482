//! Processes and threads: making them, ending them, their ids, groups and sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::clone::{CLONE_ARGS_SIZE_VER0, CSIGNAL, CloneFlags};
use sentry::SysResult;
use sentry::fs::nsfs;
use sentry::mm::{PAGE, UserAddr, UserRef};
use sentry::task::{CloneArgs, CurrentTask, PID_MAX, ProcessGroup, Session, ThreadGroup};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::arg::{CloneArg, ExitCode, Fd, Flags, In};
use crate::handler::Never;

pub fn getpid(task: &mut CurrentTask) -> SysResult<i32> {
    Ok(task.tgid())
}

pub fn gettid(task: &mut CurrentTask) -> SysResult<i32> {
    Ok(task.tid())
}

pub fn getppid(task: &mut CurrentTask) -> SysResult<i32> {
    let kernel = task.kernel();
    let tree = kernel.tree.lock();
    let group = task.thread_group();
    let parent = tree.get(group.id()).and_then(|n| n.parent).and_then(|p| tree.get(p));
    Ok(match parent {
        Some(parent) => parent.group.pid.number_in(group.pid.namespace()),
        // The kernel's own process 1, or nobody.
        None => kernel.own_init.as_ref().map_or(0, |init| init.number_in(group.pid.namespace())),
    })
}

pub fn fork(task: &mut CurrentTask) -> SysResult<i32> {
    task.clone_task(&CloneArgs { exit_signal: SIGCHLD, ..CloneArgs::default() })
}

pub fn vfork(task: &mut CurrentTask) -> SysResult<i32> {
    let flags = CloneFlags::VM | CloneFlags::VFORK;
    task.clone_task(&CloneArgs { flags, exit_signal: SIGCHLD, ..CloneArgs::default() })
}

const SIGCHLD: u64 = 17;

pub fn clone(
    task: &mut CurrentTask,
    flags: CloneArg,
    stack: UserAddr,
    parent_tid: UserRef<i32>,
    child_tid: UserAddr,
    tls: u64,
) -> SysResult<i32> {
    // The low byte is the exit signal; bits above 31 do not exist in this call.
    let flags = flags.0 & 0xffff_ffff;
    let args = CloneArgs {
        flags: CloneFlags::from_bits_retain(flags & !CSIGNAL),
        // Both say where an id goes: the kernel has one argument for the two.
        pidfd: parent_tid,
        child_tid,
        parent_tid,
        exit_signal: flags & CSIGNAL,
        stack_pointer: stack.0,
        tls,
        set_tid: Vec::new(),
    };
    if args.flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) {
        return Err(Errno::EINVAL.into());
    }
    task.clone_task(&args)
}

pub fn clone3(task: &mut CurrentTask, args: In<abi::clone::CloneArgs>, size: u64) -> SysResult<i32> {
    if size > PAGE {
        return Err(Errno::E2BIG.into());
    }
    if (size as usize) < CLONE_ARGS_SIZE_VER0 {
        return Err(Errno::EINVAL.into());
    }
    let wire: abi::clone::CloneArgs = read_extensible(task, args.addr(), size as usize)?;
    let flags = CloneFlags::from_bits(wire.flags).ok_or(Errno::EINVAL)?;
    let bad_set_tid = (wire.set_tid == 0) != (wire.set_tid_size == 0);
    if wire.set_tid_size > 32 || bad_set_tid {
        return Err(Errno::EINVAL.into());
    }
    if wire.exit_signal & !CSIGNAL != 0 || wire.exit_signal > 64 {
        return Err(Errno::EINVAL.into());
    }
    if flags.contains(CloneFlags::INTO_CGROUP) && (wire.cgroup > i32::MAX as u64) {
        return Err(Errno::EINVAL.into());
    }
    let own_exit = CloneFlags::THREAD | CloneFlags::PARENT;
    if flags.contains(CloneFlags::DETACHED) || flags.intersects(own_exit) && wire.exit_signal != 0 {
        return Err(Errno::EINVAL.into());
    }
    if (wire.stack == 0) != (wire.stack_size == 0) {
        return Err(Errno::EINVAL.into());
    }
    let stack_pointer = wire.stack.checked_add(wire.stack_size).ok_or(Errno::EINVAL)?;
    if wire.stack != 0 && !UserAddr(wire.stack).access_ok(wire.stack_size) {
        return Err(Errno::EINVAL.into());
    }
    if flags.contains(CloneFlags::INTO_CGROUP) {
        // No control groups to be made in yet.
        return Err(Errno::EBADF.into());
    }
    let set_tid: Vec<i32> = if wire.set_tid == 0 {
        Vec::new()
    } else {
        let array = UserRef::<i32>::new(UserAddr(wire.set_tid));
        let ids = task.mm().read_array(array, wire.set_tid_size as usize)?;
        if ids.iter().any(|id| *id <= 0 || *id >= PID_MAX) {
            return Err(Errno::EINVAL.into());
        }
        if !task.own_creds().has_cap(abi::capability::CAP_CHECKPOINT_RESTORE)
            && !task.own_creds().has_cap(abi::capability::CAP_SYS_ADMIN)
        {
            return Err(Errno::EPERM.into());
        }
        ids
    };
    task.clone_task(&CloneArgs {
        flags,
        pidfd: UserRef::new(UserAddr(wire.pidfd)),
        child_tid: UserAddr(wire.child_tid),
        parent_tid: UserRef::new(UserAddr(wire.parent_tid)),
        exit_signal: wire.exit_signal,
        stack_pointer,
        tls: wire.tls,
        set_tid,
    })
}

/// A structure that may grow: bytes that the guest does not have are zero, and E2BIG when bytes that the kernel does
/// not know are not (copy_struct_from_user of Linux).
pub(crate) fn read_extensible<T: FromBytes + IntoBytes + FromZeros>(
    task: &CurrentTask,
    from: UserAddr,
    size: usize,
) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    let known = size.min(size_of::<T>());
    let mut rest = from.add(known as u64)?;
    let mut left = size - known;
    let mut unknown = [0u8; 256];
    while left > 0 {
        let n = left.min(unknown.len());
        task.copy_in(rest, &mut unknown[..n])?;
        if unknown[..n].iter().any(|b| *b != 0) {
            return Err(Errno::E2BIG);
        }
        rest = rest.add(n as u64)?;
        left -= n;
    }
    task.copy_in(from, &mut value.as_mut_bytes()[..known])?;
    Ok(value)
}

pub fn exit(task: &mut CurrentTask, code: ExitCode) -> SysResult<Never> {
    task.exit_thread(code.0);
    Ok(Never)
}

pub fn exit_group(task: &mut CurrentTask, code: ExitCode) -> SysResult<Never> {
    task.start_group_exit(abi::wait::exited(code.0));
    Ok(Never)
}

pub fn set_tid_address(task: &mut CurrentTask, address: UserAddr) -> SysResult<i32> {
    task.clear_child_tid.store(address.0, Ordering::Relaxed);
    Ok(task.tid())
}

pub fn getpgrp(task: &mut CurrentTask) -> SysResult<i32> {
    getpgid(task, 0)
}

pub fn getpgid(task: &mut CurrentTask, pid: i32) -> SysResult<i32> {
    let group = process(task, pid)?;
    let found = task.kernel().tree.lock().process_group(group.id()).ok_or(Errno::ESRCH)?;
    Ok(found.pid.number_in(task.pid().namespace()))
}

pub fn getsid(task: &mut CurrentTask, pid: i32) -> SysResult<i32> {
    let group = process(task, pid)?;
    let found = task.kernel().tree.lock().session(group.id()).ok_or(Errno::ESRCH)?;
    Ok(found.pid.number_in(task.pid().namespace()))
}

fn process(task: &CurrentTask, pid: i32) -> Result<Arc<ThreadGroup>, Errno> {
    match pid {
        0 => Ok(Arc::clone(task.thread_group())),
        _ => {
            let found = task.pid().namespace().task(pid).ok_or(Errno::ESRCH)?;
            Ok(Arc::clone(found.thread_group()))
        }
    }
}

pub fn setpgid(task: &mut CurrentTask, pid: i32, pgid: i32) -> SysResult<()> {
    // A group of 0 is the one of that number, be it nonsense.
    if pgid < 0 || pgid == 0 && pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let own = Arc::clone(task.thread_group());
    let ns = Arc::clone(task.pid().namespace());
    let target = match pid {
        0 => Arc::clone(&own),
        _ => match ns.thread_group(pid) {
            Some(group) => group,
            None if ns.task(pid).is_some() => return Err(Errno::EINVAL.into()),
            None => return Err(Errno::ESRCH.into()),
        },
    };
    let kernel = Arc::clone(task.kernel());
    let mut tree = kernel.tree.lock();
    let node = tree.get(target.id()).ok_or(Errno::ESRCH)?;
    let session = tree.session(own.id()).ok_or(Errno::ESRCH)?;
    if target.id() != own.id() {
        if node.parent != Some(own.id()) {
            return Err(Errno::ESRCH.into());
        }
        if !Arc::ptr_eq(&node.process_group.session, &session) {
            return Err(Errno::EPERM.into());
        }
        if node.did_exec {
            return Err(Errno::EACCES.into());
        }
    }
    if node.process_group.session.pid.identity == target.pid.identity {
        return Err(Errno::EPERM.into());
    }
    let wanted = if pgid == 0 { target.pid.number_in(&ns) } else { pgid };
    if wanted == node.process_group.pid.number_in(&ns) {
        return Ok(());
    }
    let group = if wanted == target.pid.number_in(&ns) {
        match target.pid.process_group() {
            Some(group) => group,
            None => ProcessGroup::new(Arc::clone(&target.pid), session),
        }
    } else {
        let founder = ns.find(wanted).and_then(|p| p.process_group()).ok_or(Errno::EPERM)?;
        tree.group_in_session(founder.id(), &session)?
    };
    tree.set_process_group(target.id(), group);
    Ok(())
}

pub fn setsid(task: &mut CurrentTask) -> SysResult<i32> {
    let own = Arc::clone(task.thread_group());
    let kernel = Arc::clone(task.kernel());
    let mut tree = kernel.tree.lock();
    // A process group with this process's id, be it its own or one that it founded, is in the old session.
    if own.pid.process_group().is_some_and(|g| tree.group_exists(g.id())) {
        return Err(Errno::EPERM.into());
    }
    let session = Session::new(Arc::clone(&own.pid));
    let group = ProcessGroup::new(Arc::clone(&own.pid), session);
    tree.set_process_group(own.id(), group);
    own.set_gave_up_tty(false);
    Ok(own.pid.number_in(task.pid().namespace()))
}

pub fn unshare(task: &mut CurrentTask, flags: Flags<CloneFlags>) -> SysResult<()> {
    use CloneFlags as C;
    let flags = flags.known()?;
    let new =
        C::NEWNS | C::NEWUTS | C::NEWPID | C::NEWIPC | C::NEWNET | C::NEWCGROUP | C::NEWTIME | C::NEWUSER;
    let shared = C::FS | C::FILES | C::VM | C::THREAD | C::SIGHAND | C::SYSVSEM;
    if !(new | shared).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let alone = task.thread_group().threads().len() == 1;
    // Memory and signal handlers can't be taken apart once threads share them.
    if flags.intersects(C::THREAD | C::SIGHAND | C::VM | C::NEWUSER) && !alone {
        return Err(Errno::EINVAL.into());
    }
    let creds = if flags.contains(C::NEWUSER) { Some(task.creds_in_new_user_namespace()?) } else { None };
    let user_ns = &creds.as_ref().unwrap_or(task.own_creds()).user_ns;
    let (namespaces, mounts) = if flags.intersects(new - C::NEWUSER) {
        let (namespaces, mounts) = task.unshared_namespaces(flags, user_ns)?;
        (Some(namespaces), mounts)
    } else {
        (None, None)
    };
    if flags.intersects(C::SYSVSEM | C::NEWIPC) {
        task.leave_undo_list();
    }
    if let Some(creds) = creds {
        task.commit_creds(creds);
    }
    if flags.intersects(C::FS | C::NEWNS | C::NEWUSER) {
        let fs = task.fs().fork();
        if let Some(mounts) = &mounts {
            fs.translate(mounts);
        }
        task.set_fs(fs);
    }
    if flags.contains(C::FILES) {
        let files = task.files().fork();
        task.set_files(files);
    }
    if let Some(namespaces) = namespaces {
        task.set_namespaces(namespaces);
    }
    Ok(())
}

/// setns(2)
pub fn setns(task: &mut CurrentTask, fd: Fd, kinds: Flags<CloneFlags>) -> SysResult<()> {
    use CloneFlags as C;
    let file = task.file(fd.0)?;
    let kinds = kinds.retain();
    if let Some(namespace) = nsfs::of_file(&file) {
        if !kinds.is_empty() && kinds != namespace.kind() {
            return Err(Errno::EINVAL.into());
        }
        return Ok(task.join_namespaces(std::slice::from_ref(namespace))?);
    }
    let pid = crate::pidfd::of_file(&file).map_err(|_| Errno::EINVAL)?;
    let all =
        C::NEWNS | C::NEWUTS | C::NEWPID | C::NEWIPC | C::NEWNET | C::NEWCGROUP | C::NEWTIME | C::NEWUSER;
    if kinds.is_empty() || !all.contains(kinds) {
        return Err(Errno::EINVAL.into());
    }
    let target = pid.task().ok_or(Errno::ESRCH)?;
    Ok(task.join_namespaces_of(&target, kinds)?)
}

/// vhangup(2)
pub fn vhangup(task: &mut CurrentTask) -> SysResult<()> {
    if !task.own_creds().has_cap(abi::capability::CAP_SYS_TTY_CONFIG) {
        return Err(Errno::EPERM.into());
    }
    if let Some(tty) = task.thread_group().tty() {
        tty.hang_up();
    }
    Ok(())
}
