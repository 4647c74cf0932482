//! Directories: getdents64(2), getcwd(2), chdir(2), chroot(2), and names that come and go: mkdir(2), mknod(2),
//! symlink(2), link(2), unlink(2), rmdir(2), rename(2).

use std::sync::Arc;

use abi::Errno;
use abi::capability::{CAP_DAC_READ_SEARCH, CAP_SYS_CHROOT};
use abi::dirent::{
    DIRENT_NAME_OFFSET, DIRENT_RECLEN_OFFSET, DIRENT64_NAME_OFFSET, DIRENT64_TYPE_OFFSET, DT_DIR,
};
use abi::open::{AT_FDCWD, AtFlags, RenameFlags};
use abi::stat::{FileType, S_IFMT};
use sentry::SysResult;
use sentry::mm::{UserAddr, UserCStr};
use sentry::task::CurrentTask;
use sentry::vfs::notify::ask_to_read;
use sentry::vfs::resolve::{LookupFlags, lookup, lookup_parent};
use sentry::vfs::{File, NewKind, Path, Want};

use crate::arg::{Dev, DirFd, Fd, Flags, Mode, OutDirents, OutString};

/// What one call gives at most.
const MAX_LISTING: usize = 64 * 1024;

/// Where the parts of an entry are.
#[derive(Clone, Copy)]
enum Layout {
    /// getdents(2): the type is the last byte.
    Old,
    /// getdents64(2).
    New,
}

/// getdents64(2)
pub fn getdents64(task: &mut CurrentTask, fd: Fd, buf: OutDirents, count: u32) -> SysResult<usize> {
    list(task, fd, *buf, count, Layout::New)
}

/// getdents(2)
pub fn getdents(task: &mut CurrentTask, fd: Fd, buf: OutDirents, count: u32) -> SysResult<usize> {
    list(task, fd, *buf, count, Layout::Old)
}

fn list(task: &mut CurrentTask, fd: Fd, buf: UserAddr, count: u32, layout: Layout) -> SysResult<usize> {
    let file = task.file(fd.0)?;
    if !file.path.inode().is_dir() {
        return Err(Errno::ENOTDIR.into());
    }
    let mut position = file.position();
    ask_to_read(&file)?;
    if file.path.dentry.is_unlinked() {
        return Err(Errno::ENOENT.into());
    }
    // To Linux the count is a signed number.
    let room = usize::try_from(count as i32).unwrap_or(0).min(MAX_LISTING);
    let mut entries = Listing { bytes: Vec::new(), room, layout, full: false };
    let next = fill(&file, *position, &mut entries)?;
    if entries.bytes.is_empty() && entries.full {
        return Err(Errno::EINVAL.into());
    }
    task.copy_out(buf, &entries.bytes)?;
    *position = next;
    drop(position);
    file.listed();
    Ok(entries.bytes.len())
}

fn fill(file: &File, mut position: u64, entries: &mut Listing) -> Result<u64, Errno> {
    let dentry = &file.path.dentry;
    if position == 0 {
        if !entries.push(b".", dentry.inode.ino, 1, DT_DIR) {
            return Ok(0);
        }
        position = 1;
    }
    if position == 1 {
        let parent = dentry.parent().map_or(dentry.inode.ino, |parent| parent.inode.ino);
        if !entries.push(b"..", parent, 2, DT_DIR) {
            return Ok(1);
        }
        position = 2;
    }
    file.ops().read_dir(file, position, &mut |name, ino, next, kind| entries.push(name, ino, next, kind))
}

/// Entries as the guest gets them.
struct Listing {
    bytes: Vec<u8>,
    room: usize,
    layout: Layout,
    full: bool,
}

impl Listing {
    fn push(&mut self, name: &[u8], ino: u64, next: u64, kind: u8) -> bool {
        let (name_offset, behind) = match self.layout {
            // A NUL, and the type behind it.
            Layout::Old => (DIRENT_NAME_OFFSET, 2),
            Layout::New => (DIRENT64_NAME_OFFSET, 1),
        };
        let len = (name_offset + name.len() + behind).next_multiple_of(8);
        let start = self.bytes.len();
        if start + len > self.room {
            self.full = true;
            return false;
        }
        self.bytes.resize(start + len, 0);
        let entry = &mut self.bytes[start..];
        entry[..8].copy_from_slice(&ino.to_ne_bytes());
        entry[8..16].copy_from_slice(&next.to_ne_bytes());
        entry[DIRENT_RECLEN_OFFSET..][..2].copy_from_slice(&(len as u16).to_ne_bytes());
        match self.layout {
            Layout::Old => entry[len - 1] = kind,
            Layout::New => entry[DIRENT64_TYPE_OFFSET] = kind,
        }
        entry[name_offset..][..name.len()].copy_from_slice(name);
        true
    }
}

/// getcwd(2)
pub fn getcwd(task: &mut CurrentTask, buf: OutString, size: usize) -> SysResult<usize> {
    let roots = task.fs().roots();
    let text = roots.cwd.text(&roots.root);
    if text.deleted {
        return Err(Errno::ENOENT.into());
    }
    let mut bytes = if text.reachable { Vec::new() } else { b"(unreachable)".to_vec() };
    bytes.extend_from_slice(&text.text);
    bytes.push(0);
    if bytes.len() > crate::path::PATH_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    if bytes.len() > size {
        return Err(Errno::ERANGE.into());
    }
    task.copy_out(*buf, &bytes)?;
    Ok(bytes.len())
}

/// chdir(2)
pub fn chdir(task: &mut CurrentTask, path: UserCStr) -> SysResult<()> {
    let place = directory(task, path)?;
    task.fs().set_cwd(place);
    Ok(())
}

/// fchdir(2)
pub fn fchdir(task: &mut CurrentTask, fd: Fd) -> SysResult<()> {
    let file = task.file_or_path(fd.0)?;
    let inode = file.path.inode();
    if !inode.is_dir() {
        return Err(Errno::ENOTDIR.into());
    }
    let roots = task.fs().roots();
    inode.access(&task.caller(&roots), Want::EXEC)?;
    task.fs().set_cwd(file.path.clone());
    Ok(())
}

/// chroot(2)
pub fn chroot(task: &mut CurrentTask, path: UserCStr) -> SysResult<()> {
    let place = directory(task, path)?;
    if !task.own_creds().has_cap(CAP_SYS_CHROOT) {
        return Err(Errno::EPERM.into());
    }
    task.fs().set_root(place);
    Ok(())
}

/// A directory that the caller may enter.
fn directory(task: &CurrentTask, path: UserCStr) -> Result<Path, Errno> {
    let path = crate::path::read(task, path)?;
    let roots = task.fs().roots();
    let caller = task.caller(&roots);
    let place = lookup(&caller, &roots.cwd, &path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    place.inode().access(&caller, Want::EXEC)?;
    Ok(place)
}

/// umask(2)
pub fn umask(task: &mut CurrentTask, mask: Mode) -> SysResult<Mode> {
    Ok(Mode(task.fs().set_umask(mask.0)))
}

/// mkdir(2)
pub fn mkdir(task: &mut CurrentTask, path: UserCStr, mode: Mode) -> SysResult<()> {
    mkdirat(task, DirFd(AT_FDCWD), path, mode)
}

/// mkdirat(2)
pub fn mkdirat(task: &mut CurrentTask, dir: DirFd, path: UserCStr, mode: Mode) -> SysResult<()> {
    let path = crate::path::read(task, path)?;
    let roots = task.fs().roots();
    let start = crate::path::start(task, &roots, dir, &path, AtFlags::empty())?;
    Ok(task.caller(&roots).mkdir(&start, &path, mode.0)?)
}

/// mknod(2)
pub fn mknod(task: &mut CurrentTask, path: UserCStr, mode: Mode, dev: Dev) -> SysResult<()> {
    mknodat(task, DirFd(AT_FDCWD), path, mode, dev)
}

/// mknodat(2)
pub fn mknodat(task: &mut CurrentTask, dir: DirFd, path: UserCStr, mode: Mode, dev: Dev) -> SysResult<()> {
    let kind = match mode.0 & S_IFMT {
        0 => NewKind::Regular,
        bits => match FileType::from_mode(bits) {
            Some(FileType::Regular) => NewKind::Regular,
            Some(FileType::Fifo) => NewKind::Fifo,
            Some(FileType::Socket) => NewKind::Socket,
            Some(FileType::CharDevice) => NewKind::CharDevice(u64::from(dev.0)),
            Some(FileType::BlockDevice) => NewKind::BlockDevice(u64::from(dev.0)),
            Some(FileType::Directory) => return Err(Errno::EPERM.into()),
            _ => return Err(Errno::EINVAL.into()),
        },
    };
    let path = crate::path::read(task, path)?;
    let roots = task.fs().roots();
    let start = crate::path::start(task, &roots, dir, &path, AtFlags::empty())?;
    task.caller(&roots).mknod(&start, &path, kind, mode.0)?;
    Ok(())
}

/// symlink(2)
pub fn symlink(task: &mut CurrentTask, target: UserCStr, path: UserCStr) -> SysResult<()> {
    symlinkat(task, target, DirFd(AT_FDCWD), path)
}

/// symlinkat(2)
pub fn symlinkat(task: &mut CurrentTask, target: UserCStr, dir: DirFd, path: UserCStr) -> SysResult<()> {
    let target = crate::path::read(task, target)?;
    if target.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let path = crate::path::read(task, path)?;
    let roots = task.fs().roots();
    let start = crate::path::start(task, &roots, dir, &path, AtFlags::empty())?;
    Ok(task.caller(&roots).symlink(&target, &start, &path)?)
}

/// link(2)
pub fn link(task: &mut CurrentTask, old: UserCStr, new: UserCStr) -> SysResult<()> {
    linkat(task, DirFd(AT_FDCWD), old, DirFd(AT_FDCWD), new, Flags::of(AtFlags::empty()))
}

/// linkat(2)
pub fn linkat(
    task: &mut CurrentTask,
    old_dir: DirFd,
    old: UserCStr,
    new_dir: DirFd,
    new: UserCStr,
    flags: Flags<AtFlags>,
) -> SysResult<()> {
    let flags = flags.retain();
    if !(AtFlags::SYMLINK_FOLLOW | AtFlags::EMPTY_PATH).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let old = crate::path::read(task, old)?;
    let roots = task.fs().roots();
    let caller = task.caller(&roots);
    let start = crate::path::start(task, &roots, old_dir, &old, flags)?;
    let mut lookup_flags = LookupFlags::empty();
    lookup_flags.set(LookupFlags::FOLLOW, flags.contains(AtFlags::SYMLINK_FOLLOW));
    lookup_flags.set(LookupFlags::EMPTY, flags.contains(AtFlags::EMPTY_PATH));
    if old.is_empty() && flags.contains(AtFlags::EMPTY_PATH) && !task.own_creds().has_cap(CAP_DAC_READ_SEARCH)
    {
        // Without the right to search everywhere only what was opened by the same credentials.
        let own =
            old_dir.0 != AT_FDCWD && Arc::ptr_eq(&task.file_or_path(old_dir.0)?.opener, task.own_creds());
        if !own {
            return Err(Errno::ENOENT.into());
        }
    }
    let target = lookup(&caller, &start, &old, lookup_flags)?;
    // Read only now: what is wrong with the old name wins.
    let new = crate::path::read(task, new)?;
    let start = crate::path::start(task, &roots, new_dir, &new, AtFlags::empty())?;
    Ok(caller.link(&target, &start, &new)?)
}

/// unlink(2)
pub fn unlink(task: &mut CurrentTask, path: UserCStr) -> SysResult<()> {
    unlinkat(task, DirFd(AT_FDCWD), path, Flags::of(AtFlags::empty()))
}

/// rmdir(2)
pub fn rmdir(task: &mut CurrentTask, path: UserCStr) -> SysResult<()> {
    unlinkat(task, DirFd(AT_FDCWD), path, Flags::of(AtFlags::REMOVEDIR))
}

/// unlinkat(2)
pub fn unlinkat(task: &mut CurrentTask, dir: DirFd, path: UserCStr, flags: Flags<AtFlags>) -> SysResult<()> {
    let flags = flags.retain();
    if !AtFlags::REMOVEDIR.contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let path = crate::path::read(task, path)?;
    let roots = task.fs().roots();
    let start = crate::path::start(task, &roots, dir, &path, AtFlags::empty())?;
    let caller = task.caller(&roots);
    let removed = if flags.contains(AtFlags::REMOVEDIR) {
        caller.rmdir(&start, &path)
    } else {
        caller.unlink(&start, &path)
    };
    Ok(removed?)
}

/// rename(2)
pub fn rename(task: &mut CurrentTask, old: UserCStr, new: UserCStr) -> SysResult<()> {
    renameat2(task, DirFd(AT_FDCWD), old, DirFd(AT_FDCWD), new, Flags::of(RenameFlags::empty()))
}

/// renameat(2)
pub fn renameat(
    task: &mut CurrentTask,
    old_dir: DirFd,
    old: UserCStr,
    new_dir: DirFd,
    new: UserCStr,
) -> SysResult<()> {
    renameat2(task, old_dir, old, new_dir, new, Flags::of(RenameFlags::empty()))
}

/// renameat2(2)
pub fn renameat2(
    task: &mut CurrentTask,
    old_dir: DirFd,
    old: UserCStr,
    new_dir: DirFd,
    new: UserCStr,
    flags: Flags<RenameFlags>,
) -> SysResult<()> {
    let flags = flags.known()?;
    let exchange = flags.contains(RenameFlags::EXCHANGE);
    if exchange && flags.intersects(RenameFlags::NOREPLACE | RenameFlags::WHITEOUT) {
        return Err(Errno::EINVAL.into());
    }
    let old = crate::path::read(task, old)?;
    let roots = task.fs().roots();
    let old_start = crate::path::start(task, &roots, old_dir, &old, AtFlags::empty())?;
    let new = match crate::path::read(task, new) {
        Ok(new) => new,
        Err(errno) => {
            // What is wrong with the old name wins.
            lookup_parent(&task.caller(&roots), &old_start, &old)?;
            return Err(errno.into());
        }
    };
    let new_start = crate::path::start(task, &roots, new_dir, &new, AtFlags::empty())?;
    Ok(task.caller(&roots).rename((&old_start, &old), (&new_start, &new), flags)?)
}
