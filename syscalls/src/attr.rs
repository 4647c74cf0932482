//! Changes of attributes: chmod(2), chown(2), utimensat(2) and their relatives.

use abi::Errno;
use abi::open::{AT_FDCWD, AtFlags};
use abi::time::{Timespec, Timeval, UTIME_NOW, UTIME_OMIT, Utimbuf};
use sentry::SysResult;
use sentry::mm::UserCStr;
use sentry::task::CurrentTask;
use sentry::vfs::set_attr::NewTime;
use sentry::vfs::{Path, Timestamp};

use crate::arg::{DirFd, Fd, Flags, In, Mode, UserId};
use crate::path::{At, at};

/// chmod(2)
pub fn chmod(task: &mut CurrentTask, path: UserCStr, mode: Mode) -> SysResult<()> {
    let place = at(task, DirFd(AT_FDCWD), path, At::FOLLOW)?;
    set_mode(task, &place, mode)
}

/// fchmod(2)
pub fn fchmod(task: &mut CurrentTask, fd: Fd, mode: Mode) -> SysResult<()> {
    let file = task.file(fd.0)?;
    set_mode(task, &file.path, mode)
}

/// fchmodat(2)
pub fn fchmodat(task: &mut CurrentTask, dir: DirFd, path: UserCStr, mode: Mode) -> SysResult<()> {
    let place = at(task, dir, path, At::FOLLOW)?;
    set_mode(task, &place, mode)
}

/// fchmodat2(2)
pub fn fchmodat2(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    mode: Mode,
    flags: Flags<AtFlags>,
) -> SysResult<()> {
    let place = at(task, dir, path, follow_or_empty(flags)?)?;
    set_mode(task, &place, mode)
}

fn set_mode(task: &CurrentTask, place: &Path, mode: Mode) -> SysResult<()> {
    let roots = task.fs().roots();
    Ok(task.caller(&roots).chmod(place, mode.0)?)
}

fn follow_or_empty(flags: Flags<AtFlags>) -> Result<At, Errno> {
    let flags = flags.retain();
    if (AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH).contains(flags) {
        Ok(At::of(flags))
    } else {
        Err(Errno::EINVAL)
    }
}

/// chown(2)
pub fn chown(task: &mut CurrentTask, path: UserCStr, uid: UserId, gid: UserId) -> SysResult<()> {
    let place = at(task, DirFd(AT_FDCWD), path, At::FOLLOW)?;
    set_owner(task, &place, uid, gid)
}

/// lchown(2)
pub fn lchown(task: &mut CurrentTask, path: UserCStr, uid: UserId, gid: UserId) -> SysResult<()> {
    let place = at(task, DirFd(AT_FDCWD), path, At::NO_FOLLOW)?;
    set_owner(task, &place, uid, gid)
}

/// fchown(2)
pub fn fchown(task: &mut CurrentTask, fd: Fd, uid: UserId, gid: UserId) -> SysResult<()> {
    let file = task.file(fd.0)?;
    set_owner(task, &file.path, uid, gid)
}

/// fchownat(2)
pub fn fchownat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    uid: UserId,
    gid: UserId,
    flags: Flags<AtFlags>,
) -> SysResult<()> {
    let place = at(task, dir, path, follow_or_empty(flags)?)?;
    set_owner(task, &place, uid, gid)
}

fn set_owner(task: &CurrentTask, place: &Path, uid: UserId, gid: UserId) -> SysResult<()> {
    let ns = &task.own_creds().user_ns;
    let uid = uid.given().map(|uid| ns.uid_kernel(uid).ok_or(Errno::EINVAL)).transpose()?;
    let gid = gid.given().map(|gid| ns.gid_kernel(gid).ok_or(Errno::EINVAL)).transpose()?;
    let roots = task.fs().roots();
    Ok(task.caller(&roots).chown(place, uid, gid)?)
}

/// utime(2)
pub fn utime(task: &mut CurrentTask, path: UserCStr, times: In<Utimbuf>) -> SysResult<()> {
    let times = match times.non_null() {
        None => [NewTime::Now; 2],
        Some(times) => {
            let times = task.read_obj(times)?;
            let at = |secs| NewTime::At(Timestamp { secs, nanos: 0 });
            [at(times.actime), at(times.modtime)]
        }
    };
    let place = at(task, DirFd(AT_FDCWD), path, At::FOLLOW)?;
    set_times(task, &place, times)
}

/// utimes(2)
pub fn utimes(task: &mut CurrentTask, path: UserCStr, times: In<[Timeval; 2]>) -> SysResult<()> {
    futimesat(task, DirFd(AT_FDCWD), path, times)
}

/// futimesat(2)
pub fn futimesat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    times: In<[Timeval; 2]>,
) -> SysResult<()> {
    let times = match times.non_null() {
        None => [NewTime::Now; 2],
        Some(times) => {
            let [atime, mtime]: [Timeval; 2] = task.read_obj(times)?;
            [from_timeval(atime)?, from_timeval(mtime)?]
        }
    };
    if dir.0 != AT_FDCWD && path.0.is_null() {
        let file = task.file(dir.0)?;
        return set_times(task, &file.path, times);
    }
    let place = at(task, dir, path, At::FOLLOW)?;
    set_times(task, &place, times)
}

fn from_timeval(time: Timeval) -> Result<NewTime, Errno> {
    if !(0..1_000_000).contains(&time.tv_usec) {
        return Err(Errno::EINVAL);
    }
    Ok(NewTime::At(Timestamp { secs: time.tv_sec, nanos: time.tv_usec as u32 * 1000 }))
}

/// utimensat(2)
pub fn utimensat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    times: In<[Timespec; 2]>,
    flags: Flags<AtFlags>,
) -> SysResult<()> {
    let times = match times.non_null() {
        None => [NewTime::Now; 2],
        Some(times) => {
            let [atime, mtime]: [Timespec; 2] = task.read_obj(times)?;
            if atime.tv_nsec == UTIME_OMIT && mtime.tv_nsec == UTIME_OMIT {
                // Nothing to do: not even the path is looked at.
                return Ok(());
            }
            [from_timespec(atime)?, from_timespec(mtime)?]
        }
    };
    if path.0.is_null() && dir.0 != AT_FDCWD && !flags.retain().contains(AtFlags::EMPTY_PATH) {
        if flags.bits() != 0 {
            return Err(Errno::EINVAL.into());
        }
        let file = task.file(dir.0)?;
        return set_times(task, &file.path, times);
    }
    let place = at(task, dir, path, follow_or_empty(flags)?)?;
    set_times(task, &place, times)
}

fn from_timespec(time: Timespec) -> Result<NewTime, Errno> {
    match time.tv_nsec {
        UTIME_OMIT => Ok(NewTime::Keep),
        UTIME_NOW => Ok(NewTime::Now),
        0..1_000_000_000 => Ok(NewTime::At(Timestamp { secs: time.tv_sec, nanos: time.tv_nsec as u32 })),
        _ => Err(Errno::EINVAL),
    }
}

fn set_times(task: &CurrentTask, place: &Path, [atime, mtime]: [NewTime; 2]) -> SysResult<()> {
    let roots = task.fs().roots();
    Ok(task.caller(&roots).set_times(place, atime, mtime)?)
}
