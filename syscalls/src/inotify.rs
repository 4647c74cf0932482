//! Watching files: inotify_init(2), inotify_init1(2), inotify_add_watch(2), inotify_rm_watch(2).

use std::sync::Arc;

use abi::Errno;
use abi::inotify::{InotifyFlags, InotifyMask};
use abi::open::{AT_FDCWD, AtFlags, OpenFlags};
use sentry::SysResult;
use sentry::mm::UserCStr;
use sentry::task::CurrentTask;
use sentry::vfs::inotify::Inotify;
use sentry::vfs::resolve::{LookupFlags, lookup};
use sentry::vfs::{File, OnExec, Want};

use crate::arg::{DirFd, Fd, Flags};

/// inotify_init(2)
pub fn inotify_init(task: &mut CurrentTask) -> SysResult<Fd> {
    make(task, InotifyFlags::empty())
}

/// inotify_init1(2)
pub fn inotify_init1(task: &mut CurrentTask, flags: Flags<InotifyFlags>) -> SysResult<Fd> {
    make(task, flags.known()?)
}

fn make(task: &mut CurrentTask, flags: InotifyFlags) -> SysResult<Fd> {
    let flags = OpenFlags::from_bits_retain(flags.bits());
    let reserved = task.reserve_fd(OnExec::from_flags(flags))?;
    let inotify = Inotify::new(task.own_creds().euid)?;
    let file =
        task.kernel().internal.anonymous(Box::new(inotify), flags - OpenFlags::CLOEXEC, task.own_creds());
    Ok(Fd(reserved.fill(file)))
}

fn instance(task: &CurrentTask, fd: Fd) -> Result<Arc<File>, Errno> {
    let file = task.file(fd.0)?;
    if file.downcast::<Inotify>().is_none() { Err(Errno::EINVAL) } else { Ok(file) }
}

/// inotify_add_watch(2)
pub fn inotify_add_watch(
    task: &mut CurrentTask,
    fd: Fd,
    path: UserCStr,
    mask: Flags<InotifyMask>,
) -> SysResult<i32> {
    let mask = mask.retain();
    let both = InotifyMask::MASK_ADD | InotifyMask::MASK_CREATE;
    if !InotifyMask::all().contains(mask) || mask.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    let file = task.file(fd.0)?;
    if mask.contains(both) {
        return Err(Errno::EINVAL.into());
    }
    let Some(inotify) = file.downcast::<Inotify>() else { return Err(Errno::EINVAL.into()) };
    let path = crate::path::read(task, path)?;
    let roots = task.fs().roots();
    let caller = task.caller(&roots);
    let at = crate::path::start(task, &roots, DirFd(AT_FDCWD), &path, AtFlags::empty())?;
    let mut flags = LookupFlags::empty();
    flags.set(LookupFlags::FOLLOW, !mask.contains(InotifyMask::DONT_FOLLOW));
    flags.set(LookupFlags::DIRECTORY, mask.contains(InotifyMask::ONLYDIR));
    let place = lookup(&caller, &at, &path, flags)?;
    place.inode().permission(&caller, Want::READ)?;
    Ok(inotify.watch(place.inode(), mask)?)
}

/// inotify_rm_watch(2)
pub fn inotify_rm_watch(task: &mut CurrentTask, fd: Fd, wd: i32) -> SysResult<()> {
    let file = instance(task, fd)?;
    let Some(inotify) = file.downcast::<Inotify>() else { return Err(Errno::EINVAL.into()) };
    Ok(inotify.unwatch(wd)?)
}
