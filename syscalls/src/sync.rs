//! Sizes and safety of contents: truncate(2), fallocate(2), fsync(2), sync(2), posix_fadvise(2), readahead(2).

use abi::Errno;
use abi::open::{AT_FDCWD, FallocateMode, POSIX_FADV_NOREUSE, SyncFileRangeFlags};
use sentry::SysResult;
use sentry::mm::UserCStr;
use sentry::task::CurrentTask;
use sentry::task::file_lock::Wait;
use sentry::vfs::File;
use sentry::vfs::attr::FileType;

use crate::arg::{DirFd, Fadvice, Fd, Flags};
use crate::path::{At, at};

/// truncate(2)
pub fn truncate(task: &mut CurrentTask, path: UserCStr, length: i64) -> SysResult<()> {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let place = at(task, DirFd(AT_FDCWD), path, At::FOLLOW)?;
    if place.inode().is_regular() {
        let old = place.inode().attr()?.size;
        task.check_new_size(length, old)?;
    }
    task.break_leases(place.inode(), true, Wait::Yes)?;
    let roots = task.fs().roots();
    Ok(task.caller(&roots).truncate(&place, length)?)
}

/// ftruncate(2)
pub fn ftruncate(task: &mut CurrentTask, fd: Fd, length: i64) -> SysResult<()> {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let file = task.file(fd.0)?;
    let inode = file.path.inode();
    if !inode.is_regular() || !file.access().write {
        return Err(Errno::EINVAL.into());
    }
    task.check_new_size(length, inode.attr()?.size)?;
    task.drop_set_id(&file)?;
    Ok(file.truncate(length)?)
}

/// fallocate(2)
pub fn fallocate(
    task: &mut CurrentTask,
    fd: Fd,
    mode: Flags<FallocateMode>,
    offset: i64,
    len: i64,
) -> SysResult<()> {
    let file = task.file(fd.0)?;
    let (Ok(offset), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else {
        return Err(Errno::EINVAL.into());
    };
    if len == 0 {
        return Err(Errno::EINVAL.into());
    }
    use FallocateMode as F;
    let mode = mode.known().map_err(|_| Errno::EOPNOTSUPP)?;
    let kinds =
        [F::PUNCH_HOLE, F::COLLAPSE_RANGE, F::ZERO_RANGE, F::INSERT_RANGE, F::UNSHARE_RANGE, F::WRITE_ZEROES];
    // Stale data are shown to nobody.
    if mode.contains(F::NO_HIDE_STALE) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if kinds.iter().filter(|kind| mode.contains(**kind)).count() > 1 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if mode.contains(F::PUNCH_HOLE) && !mode.contains(F::KEEP_SIZE) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let moves = F::COLLAPSE_RANGE | F::INSERT_RANGE | F::WRITE_ZEROES;
    if mode.intersects(moves) && mode.contains(F::KEEP_SIZE) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if !file.access().write {
        return Err(Errno::EBADF.into());
    }
    match file.path.inode().kind {
        FileType::Regular => {}
        FileType::Fifo => return Err(Errno::ESPIPE.into()),
        FileType::Directory => return Err(Errno::EISDIR.into()),
        _ => return Err(Errno::ENODEV.into()),
    }
    let end = offset.checked_add(len).filter(|end| *end <= i64::MAX as u64).ok_or(Errno::EFBIG)?;
    if !mode.intersects(F::KEEP_SIZE | F::PUNCH_HOLE) {
        task.check_new_size(end, file.path.inode().attr()?.size)?;
    }
    task.drop_set_id(&file)?;
    Ok(file.allocate(mode.bits(), offset, len)?)
}

/// fsync(2)
pub fn fsync(task: &mut CurrentTask, fd: Fd) -> SysResult<()> {
    let file = task.file(fd.0)?;
    Ok(file.ops().sync(&file, false)?)
}

/// fdatasync(2)
pub fn fdatasync(task: &mut CurrentTask, fd: Fd) -> SysResult<()> {
    let file = task.file(fd.0)?;
    Ok(file.ops().sync(&file, true)?)
}

/// sync(2)
pub fn sync(task: &mut CurrentTask) -> SysResult<()> {
    let mut seen: Vec<u64> = Vec::new();
    for mount in task.namespaces().mount.mounts() {
        let sb = mount.sb();
        if !seen.contains(&sb.dev) {
            seen.push(sb.dev);
            // sync(2) reports nothing.
            let _ = sb.ops().sync();
        }
    }
    Ok(())
}

/// syncfs(2)
pub fn syncfs(task: &mut CurrentTask, fd: Fd) -> SysResult<()> {
    let file = task.file(fd.0)?;
    Ok(file.path.inode().sb.ops().sync()?)
}

/// sync_file_range(2)
pub fn sync_file_range(
    task: &mut CurrentTask,
    fd: Fd,
    offset: i64,
    len: i64,
    flags: Flags<SyncFileRangeFlags>,
) -> SysResult<()> {
    let file = task.file(fd.0)?;
    let flags = flags.known()?;
    if offset < 0 || len < 0 || offset.checked_add(len).is_none() {
        return Err(Errno::EINVAL.into());
    }
    match kind(&file) {
        Some(FileType::Regular | FileType::BlockDevice | FileType::Directory | FileType::Symlink) => {}
        _ => return Err(Errno::ESPIPE.into()),
    }
    if flags.intersects(SyncFileRangeFlags::WAIT_BEFORE | SyncFileRangeFlags::WAIT_AFTER) {
        file.ops().sync(&file, true)?;
    }
    Ok(())
}

/// fadvise64(2)
pub fn fadvise64(task: &mut CurrentTask, fd: Fd, _offset: i64, len: i64, advice: Fadvice) -> SysResult<()> {
    let file = task.file(fd.0)?;
    if file.path.inode().kind == FileType::Fifo {
        return Err(Errno::ESPIPE.into());
    }
    if len < 0 || advice.0 > POSIX_FADV_NOREUSE {
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// readahead(2)
pub fn readahead(task: &mut CurrentTask, fd: Fd, _offset: i64, count: i64) -> SysResult<()> {
    let file = task.file(fd.0)?;
    if !file.access().read {
        return Err(Errno::EBADF.into());
    }
    match kind(&file) {
        Some(FileType::Regular | FileType::BlockDevice) if count >= 0 => Ok(()),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// The file's type; none for an anonymous one (epoll, eventfd …).
fn kind(file: &File) -> Option<FileType> {
    let (mode, _, _) = file.path.inode().owner();
    FileType::from_mode(mode)
}
