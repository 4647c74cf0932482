//! Descriptors: dup(2), fcntl(2), flock(2), and what ioctl(2) does to any file.

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_LEASE;
use abi::fcntl as f;
use abi::ioctl as i;
use abi::open::OpenFlags;
use sentry::SysResult;
use sentry::fs::tmpfs::memfd;
use sentry::mm::UserRef;
use sentry::net::Socket;
use sentry::task::CurrentTask;
use sentry::task::file_lock::Wait;
use sentry::vfs::file::OwnerKind;
use sentry::vfs::lock::{LockKind, LockOwner, LockRange, RangeLock, TO_END};
use sentry::vfs::pipe::PipeEnd;
use sentry::vfs::{File, OnExec, dnotify};

use crate::arg::{FcntlArg, FcntlCommand, Fd, Flags, FlockOp, IoctlArg, IoctlRequest};
use crate::file_ioctl;

/// dup(2)
pub fn dup(task: &mut CurrentTask, fd: Fd) -> SysResult<Fd> {
    let file = task.file_or_path(fd.0)?;
    Ok(Fd(task.add_file(file, OnExec::Keep)?))
}

/// dup2(2)
pub fn dup2(task: &mut CurrentTask, old: Fd, new: Fd) -> SysResult<Fd> {
    if old == new {
        task.file_or_path(old.0)?;
        return Ok(new);
    }
    replace(task, old, new, OnExec::Keep)
}

/// dup3(2)
pub fn dup3(task: &mut CurrentTask, old: Fd, new: Fd, flags: Flags<OpenFlags>) -> SysResult<Fd> {
    let flags = flags.retain();
    if !OpenFlags::CLOEXEC.contains(flags) || old == new {
        return Err(Errno::EINVAL.into());
    }
    replace(task, old, new, OnExec::from_flags(flags))
}

fn replace(task: &mut CurrentTask, old: Fd, new: Fd, on_exec: OnExec) -> SysResult<Fd> {
    let number = u32::try_from(new.0).map_err(|_| Errno::EBADF)?;
    let limit = task.fd_limit();
    if u64::from(number) >= limit {
        return Err(Errno::EBADF.into());
    }
    let file = task.file_or_path(old.0)?;
    if let Some(replaced) = task.files().replace(number, file, limit, on_exec)? {
        // Errors of the file that goes are nobody's.
        let _ = task.files().closed(replaced);
    }
    Ok(new)
}

/// fcntl(2)
pub fn fcntl(task: &mut CurrentTask, fd: Fd, command: FcntlCommand, arg: FcntlArg) -> SysResult<u64> {
    let file = task.file_or_path(fd.0)?;
    let on_descriptor = [
        f::F_DUPFD,
        f::F_DUPFD_CLOEXEC,
        f::F_DUPFD_QUERY,
        f::F_CREATED_QUERY,
        f::F_GETFD,
        f::F_SETFD,
        f::F_GETFL,
    ];
    if file.is_path() && !on_descriptor.contains(&command.0) {
        return Err(Errno::EBADF.into());
    }
    match command.0 {
        f::F_DUPFD => duplicate(task, file, arg, OnExec::Keep),
        f::F_DUPFD_CLOEXEC => duplicate(task, file, arg, OnExec::Close),
        f::F_DUPFD_QUERY => {
            let other = task.file_or_path(arg.0 as i32)?;
            Ok(u64::from(Arc::ptr_eq(&file, &other)))
        }
        f::F_GETFD => match task.files().on_exec(fd.0) {
            Some(OnExec::Close) => Ok(u64::from(f::FD_CLOEXEC)),
            _ => Ok(0),
        },
        f::F_SETFD => {
            let on_exec = if arg.0 & u64::from(f::FD_CLOEXEC) != 0 { OnExec::Close } else { OnExec::Keep };
            task.files().set_on_exec(fd.0, on_exec)?;
            Ok(0)
        }
        f::F_GETFL => Ok(u64::from(file.flags().bits())),
        f::F_SETFL => set_flags(task, &file, fd, arg.0 as u32),
        f::F_GETLK => get_lock(task, &file, arg, false),
        f::F_SETLK => set_lock(task, &file, fd, arg, false, Wait::No),
        f::F_SETLKW => set_lock(task, &file, fd, arg, false, Wait::Yes),
        f::F_OFD_GETLK => get_lock(task, &file, arg, true),
        f::F_OFD_SETLK => set_lock(task, &file, fd, arg, true, Wait::No),
        f::F_OFD_SETLKW => set_lock(task, &file, fd, arg, true, Wait::Yes),
        f::F_SETOWN => set_owner_by_number(task, &file, arg.0 as i32),
        f::F_GETOWN => Ok(owner_as_number(task, &file) as u64),
        f::F_SETOWN_EX => {
            let owner: f::FOwnerEx = task.read_obj(UserRef::new(arg.addr()))?;
            let kind = match owner.r#type {
                f::F_OWNER_TID => OwnerKind::Thread,
                f::F_OWNER_PID => OwnerKind::Process,
                f::F_OWNER_PGRP => OwnerKind::Group,
                _ => return Err(Errno::EINVAL.into()),
            };
            set_owner(task, &file, kind, owner.pid)
        }
        f::F_GETOWN_EX => {
            let (r#type, pid) = owner(task, &file);
            task.write_obj(UserRef::new(arg.addr()), &f::FOwnerEx { r#type, pid })?;
            Ok(0)
        }
        f::F_SETSIG => {
            let signal = i32::try_from(arg.0).ok().filter(|s| (0..=64).contains(s)).ok_or(Errno::EINVAL)?;
            file.owner.lock().signal = signal;
            Ok(0)
        }
        f::F_GETSIG => Ok(file.owner.lock().signal as u64),
        f::F_GETPIPE_SZ => Ok(pipe(&file)?.pipe().size() as u64),
        f::F_SETPIPE_SZ => {
            let privileged = task.own_creds().has_cap(abi::capability::CAP_SYS_RESOURCE);
            Ok(pipe(&file)?.pipe().set_size(u64::from(arg.0 as u32), privileged)? as u64)
        }
        f::F_GETLEASE => {
            let lease = file.path.inode().locks_if_any().and_then(|locks| locks.lease(file.id));
            Ok(match lease {
                None => f::F_UNLCK,
                Some(LockKind::Shared) => f::F_RDLCK,
                Some(LockKind::Exclusive) => f::F_WRLCK,
            } as u64)
        }
        f::F_NOTIFY => {
            let flags = f::NotifyFlags::from_bits_retain(arg.0 as u32);
            dnotify::request(task.kernel(), task.files().id, &file, fd.0, flags)?;
            name_default_owner(task, &file)?;
            Ok(0)
        }
        f::F_SETLEASE => set_lease(task, &file, fd, arg.0 as i32),
        f::F_GETOWNER_UIDS => {
            let ns = &task.own_creds().user_ns;
            let (uid, euid) = file.owner.lock().by;
            task.write_obj(UserRef::new(arg.addr()), &[ns.uid_inside(uid), ns.uid_inside(euid)])?;
            Ok(0)
        }
        f::F_CREATED_QUERY => Ok(u64::from(file.has_created())),
        f::F_GET_RW_HINT => {
            task.write_obj(UserRef::new(arg.addr()), &u64::from(file.path.inode().write_hint()))?;
            Ok(0)
        }
        f::F_SET_RW_HINT => {
            let inode = file.path.inode();
            if !inode.owner_or_capable(task.own_creds()) {
                return Err(Errno::EPERM.into());
            }
            let hint: u64 = task.read_obj(UserRef::new(arg.addr()))?;
            let hint = u32::try_from(hint).ok().filter(|hint| *hint <= f::RWH_WRITE_LIFE_EXTREME);
            inode.set_write_hint(hint.ok_or(Errno::EINVAL)?);
            Ok(0)
        }
        f::F_ADD_SEALS => {
            memfd::add_seals(&file, arg.0 as u32)?;
            Ok(0)
        }
        f::F_GET_SEALS => Ok(u64::from(memfd::get_seals(&file)?.bits())),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn set_lease(task: &mut CurrentTask, file: &Arc<File>, fd: Fd, kind: i32) -> SysResult<u64> {
    let inode = file.path.inode();
    let kind = match i16::try_from(kind) {
        Ok(f::F_UNLCK) => {
            inode.locks_if_any().ok_or(Errno::EAGAIN)?.end_lease(file.id)?;
            return Ok(0);
        }
        Ok(f::F_RDLCK) => LockKind::Shared,
        Ok(f::F_WRLCK) => LockKind::Exclusive,
        _ => return Err(Errno::EINVAL.into()),
    };
    let (_, uid, _) = inode.owner();
    if task.own_creds().fsuid != uid && !task.own_creds().has_cap(CAP_LEASE) {
        return Err(Errno::EACCES.into());
    }
    if !inode.is_regular() {
        return Err(Errno::EINVAL.into());
    }
    inode.locks().set_lease(inode, file, (task.tgid(), fd.0), kind)?;
    name_default_owner(task, file)?;
    Ok(0)
}

/// Whoever takes a lease, or wants to be told of changes, gets the signal, if nobody else was named.
fn name_default_owner(task: &CurrentTask, file: &File) -> SysResult<()> {
    if file.owner.lock().who.is_none() {
        set_owner(task, file, OwnerKind::Process, task.tgid())?;
    }
    Ok(())
}

fn pipe(file: &File) -> Result<&PipeEnd, Errno> {
    file.downcast::<PipeEnd>().ok_or(Errno::EBADF)
}

fn duplicate(task: &mut CurrentTask, file: Arc<File>, arg: FcntlArg, on_exec: OnExec) -> SysResult<u64> {
    let limit = task.fd_limit();
    // An `int` to Linux.
    let least = arg.0 as u32;
    if u64::from(least) >= limit {
        return Err(Errno::EINVAL.into());
    }
    let fd = task.files().add_from(least, file, limit, on_exec)?;
    Ok(fd as u64)
}

fn set_flags(task: &CurrentTask, file: &Arc<File>, fd: Fd, bits: u32) -> SysResult<u64> {
    let flags = OpenFlags::from_bits_retain(bits);
    let newly_no_atime = flags.contains(OpenFlags::NOATIME) && !file.flags().contains(OpenFlags::NOATIME);
    if newly_no_atime && !file.path.inode().owner_or_capable(task.own_creds()) {
        return Err(Errno::EPERM.into());
    }
    task.set_file_flags(file, fd.0, flags)?;
    Ok(0)
}

fn set_owner(task: &CurrentTask, file: &File, kind: OwnerKind, id: i32) -> SysResult<u64> {
    let who = match id {
        0 => None,
        id => Some((kind, task.pid().namespace().find(id).ok_or(Errno::ESRCH)?)),
    };
    let own = task.own_creds();
    let old = {
        let mut owner = file.owner.lock();
        if who.is_some() {
            owner.by = (own.uid, own.euid);
        }
        std::mem::replace(&mut owner.who, who)
    };
    drop(old);
    Ok(0)
}

/// F_SETOWN and FIOSETOWN: a process, or with a negative number a process group.
fn set_owner_by_number(task: &CurrentTask, file: &File, who: i32) -> SysResult<u64> {
    let kind = if who < 0 { OwnerKind::Group } else { OwnerKind::Process };
    set_owner(task, file, kind, who.checked_abs().ok_or(Errno::EINVAL)?)
}

/// F_GETOWN and FIOGETOWN.
fn owner_as_number(task: &CurrentTask, file: &File) -> i32 {
    let (kind, id) = owner(task, file);
    if kind == f::F_OWNER_PGRP { -id } else { id }
}

/// Kind and number of who gets signals, as the caller sees it; 0 for nobody.
fn owner(task: &CurrentTask, file: &File) -> (i32, i32) {
    let owner = file.owner.lock().clone();
    let Some((kind, pid)) = owner.who else { return (f::F_OWNER_TID, 0) };
    let kind = match kind {
        OwnerKind::Thread => f::F_OWNER_TID,
        OwnerKind::Process => f::F_OWNER_PID,
        OwnerKind::Group => f::F_OWNER_PGRP,
    };
    (kind, pid.number_in(task.pid().namespace()))
}

/// The bytes that a `struct flock` means.
fn lock_range(file: &File, flock: &f::Flock) -> Result<LockRange, Errno> {
    let base = match flock.l_whence {
        0 => 0,
        1 => *file.position() as i64,
        2 => file.path.inode().attr()?.size as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(flock.l_start).ok_or(Errno::EOVERFLOW)?;
    let (start, last) = match flock.l_len {
        0 => (start, TO_END as i64),
        len if len > 0 => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        len => (start.checked_add(len).ok_or(Errno::EINVAL)?, start - 1),
    };
    match (u64::try_from(start), u64::try_from(last)) {
        (Ok(start), Ok(last)) => Ok(LockRange { start, last }),
        _ => Err(Errno::EINVAL),
    }
}

fn lock_owner(task: &CurrentTask, file: &File, of_description: bool) -> (LockOwner, i32) {
    if of_description {
        (LockOwner::Description(file.id), -1)
    } else {
        (LockOwner::Table(task.files().id), task.tgid())
    }
}

fn get_lock(task: &mut CurrentTask, file: &File, arg: FcntlArg, of_description: bool) -> SysResult<u64> {
    let to = UserRef::<f::Flock>::new(arg.addr());
    let mut flock = task.read_obj(to)?;
    let kind = match flock.l_type {
        f::F_RDLCK => Some(LockKind::Shared),
        f::F_WRLCK => Some(LockKind::Exclusive),
        _ => None,
    };
    if kind.is_none() && !of_description {
        return Err(Errno::EINVAL.into());
    }
    let range = lock_range(file, &flock)?;
    if of_description && (flock.l_pid != 0 || kind.is_none() && flock.l_type != f::F_UNLCK) {
        return Err(Errno::EINVAL.into());
    }
    let (owner, pid) = lock_owner(task, file, of_description);
    let conflict = file.path.inode().locks_if_any().and_then(|locks| match kind {
        Some(kind) => locks.first_conflict(&RangeLock { owner, kind, range, pid }),
        // A description asks for its own (F_UNLCK).
        None => locks.first_of(owner, range),
    });
    match conflict {
        None => flock.l_type = f::F_UNLCK,
        Some(lock) => {
            flock.l_type = if lock.kind == LockKind::Shared { f::F_RDLCK } else { f::F_WRLCK };
            flock.l_whence = 0;
            flock.l_start = lock.range.start as i64;
            flock.l_len =
                if lock.range.last == TO_END { 0 } else { (lock.range.last - lock.range.start + 1) as i64 };
            flock.l_pid = lock.pid;
        }
    }
    task.write_obj(to, &flock)?;
    Ok(0)
}

fn set_lock(
    task: &mut CurrentTask,
    file: &Arc<File>,
    fd: Fd,
    arg: FcntlArg,
    of_description: bool,
    wait: Wait,
) -> SysResult<u64> {
    let flock: f::Flock = task.read_obj(UserRef::new(arg.addr()))?;
    let range = lock_range(file, &flock)?;
    if of_description && flock.l_pid != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (owner, pid) = lock_owner(task, file, of_description);
    let access = file.access();
    let kind = match flock.l_type {
        f::F_RDLCK if !access.read => return Err(Errno::EBADF.into()),
        f::F_WRLCK if !access.write => return Err(Errno::EBADF.into()),
        f::F_RDLCK => LockKind::Shared,
        f::F_WRLCK => LockKind::Exclusive,
        f::F_UNLCK => {
            if let Some(locks) = file.path.inode().locks_if_any() {
                locks.unlock(owner, range);
            }
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    task.lock_range(file, RangeLock { owner, kind, range, pid }, wait)?;
    if !of_description && task.files().get(fd.0).is_none_or(|now| !Arc::ptr_eq(&now, file)) {
        // Another thread has closed the descriptor meanwhile, and the lock must not outlive that.
        file.path.inode().locks().unlock(owner, range);
        return Err(Errno::EBADF.into());
    }
    Ok(0)
}

/// flock(2)
pub fn flock(task: &mut CurrentTask, fd: Fd, operation: FlockOp) -> SysResult<()> {
    // Mandatory locks never did anything, and Linux goes on to say that they were had, of whatever descriptor.
    if operation.0 & f::LOCK_MAND != 0 {
        return Ok(());
    }
    let (op, wait) = (operation.0 & !f::LOCK_NB, operation.0 & f::LOCK_NB == 0);
    let wait = if wait { Wait::Yes } else { Wait::No };
    let kind = match op {
        f::LOCK_SH => Some(LockKind::Shared),
        f::LOCK_EX => Some(LockKind::Exclusive),
        f::LOCK_UN => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    let file = task.file(fd.0)?;
    match kind {
        Some(kind) => task.flock(&file, kind, wait),
        None => {
            if let Some(locks) = file.path.inode().locks_if_any() {
                locks.funlock(file.id);
            }
            Ok(())
        }
    }
}

/// ioctl(2)
pub fn ioctl(task: &mut CurrentTask, fd: Fd, request: IoctlRequest, arg: IoctlArg) -> SysResult<u64> {
    let file = task.file(fd.0)?;
    let inode = file.path.inode();
    let set = |task: &CurrentTask, flag: OpenFlags| -> SysResult<u64> {
        let on: i32 = task.read_obj(UserRef::new(arg.addr()))?;
        let mut flags = file.flags();
        flags.set(flag, on != 0);
        task.set_file_flags(&file, fd.0, flags)?;
        Ok(0)
    };
    match request.0 {
        i::FIOCLEX => task.files().set_on_exec(fd.0, OnExec::Close)?,
        i::FIONCLEX => task.files().set_on_exec(fd.0, OnExec::Keep)?,
        i::FIONBIO => return set(task, OpenFlags::NONBLOCK),
        i::FIOASYNC => {
            let on: i32 = task.read_obj(UserRef::new(arg.addr()))?;
            if (on != 0) != file.flags().contains(OpenFlags::ASYNC) && !file.ops().signals_io() {
                return Err(Errno::ENOTTY.into());
            }
            return set(task, OpenFlags::ASYNC);
        }
        i::FIOSETOWN | i::SIOCSPGRP if file.downcast::<Socket>().is_some() => {
            let who: i32 = task.read_obj(UserRef::new(arg.addr()))?;
            return set_owner_by_number(task, &file, who);
        }
        i::FIOGETOWN | i::SIOCGPGRP if file.downcast::<Socket>().is_some() => {
            task.write_obj(UserRef::new(arg.addr()), &owner_as_number(task, &file))?;
        }
        i::FIOQSIZE => {
            if !file_ioctl::is_regular(&file) && !inode.is_dir() && !inode.is_symlink() {
                return Err(Errno::ENOTTY.into());
            }
            task.write_obj(UserRef::new(arg.addr()), &(inode.attr()?.size as i64))?;
        }
        i::FIGETBSZ => task.write_obj(UserRef::new(arg.addr()), &(inode.attr()?.block_size as i32))?,
        i::FIONREAD if file_ioctl::is_regular(&file) => {
            let left = inode.attr()?.size as i64 - *file.position() as i64;
            task.write_obj(UserRef::new(arg.addr()), &(left as i32))?;
        }
        i::FS_IOC_FIEMAP => return Err(Errno::EOPNOTSUPP.into()),
        i::FICLONE => return Ok(file_ioctl::clone_file(task, &file, arg.0 as i32)?),
        i::FICLONERANGE => return Ok(file_ioctl::clone_part(task, &file, arg.addr())?),
        i::FIDEDUPERANGE => return Ok(file_ioctl::dedupe(task, &file, arg.addr())?),
        i::FIBMAP if file_ioctl::is_regular(&file) => {
            return Ok(file_ioctl::block_of(task, &file, arg.addr())?);
        }
        request => return file.ops().ioctl(&file, task, request, arg.0),
    }
    Ok(0)
}
