//! What files tell of themselves: stat(2), statx(2), statfs(2), access(2), readlink(2).

use std::sync::Arc;

use abi::Errno;
use abi::capability::{CapSet, SecureBits};
use abi::open::{AT_FDCWD, AT_STATX_SYNC_TYPE, AccessMode, AtFlags};
use abi::stat::{STATX_RESERVED, Stat, Statfs, StatfsFlags, Statx, StatxAttributes, StatxMask, major, minor};
use abi::time::StatxTimestamp;
use sentry::SysResult;
use sentry::mm::UserCStr;
use sentry::task::{Credentials, CurrentTask};
use sentry::vfs::resolve::{End, LookupFlags, lookup};
use sentry::vfs::{Attr, Caller, MountFlags, Path, Timestamp, Want};

use crate::arg::{AccessFlags, DirFd, Fd, Flags, Out, OutBuf};
use crate::path::{At, at, attr_at};

/// stat(2)
pub fn stat(task: &mut CurrentTask, path: UserCStr, buf: Out<Stat>) -> SysResult<()> {
    newfstatat(task, DirFd(AT_FDCWD), path, buf, Flags::of(AtFlags::empty()))
}

/// lstat(2)
pub fn lstat(task: &mut CurrentTask, path: UserCStr, buf: Out<Stat>) -> SysResult<()> {
    newfstatat(task, DirFd(AT_FDCWD), path, buf, Flags::of(AtFlags::SYMLINK_NOFOLLOW))
}

/// fstat(2)
pub fn fstat(task: &mut CurrentTask, fd: Fd, buf: Out<Stat>) -> SysResult<()> {
    let stat = {
        let file = task.file_or_path(fd.0)?;
        to_stat(task, file.path.inode().sb.dev, &file.path.inode().attr()?)
    };
    Ok(task.write_obj(*buf, &stat)?)
}

/// newfstatat(2)
pub fn newfstatat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    buf: Out<Stat>,
    flags: Flags<AtFlags>,
) -> SysResult<()> {
    let flags = flags.retain();
    if flags.contains(AtFlags::EMPTY_PATH)
        && dir.0 >= 0
        && (path.0.is_null() || crate::path::read(task, path).is_ok_and(|path| path.is_empty()))
    {
        // fstat by another name: Linux does not look at the other flags.
        return fstat(task, Fd(dir.0), buf);
    }
    let sync = AtFlags::STATX_FORCE_SYNC | AtFlags::STATX_DONT_SYNC;
    if !(AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH | sync).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let stat = match attr_at(task, dir, path, At::of(flags))? {
        End::Place(place) => to_stat(task, place.inode().sb.dev, &place.inode().attr()?),
        End::Entry(dir, attr) => to_stat(task, dir.inode().sb.dev, &attr),
    };
    Ok(task.write_obj(*buf, &stat)?)
}

fn to_stat(task: &CurrentTask, dev: u64, attr: &Attr) -> Stat {
    let ns = &task.own_creds().user_ns;
    Stat {
        st_dev: dev,
        st_ino: attr.ino,
        st_nlink: u64::from(attr.nlink),
        st_mode: attr.mode,
        st_uid: ns.uid_inside(attr.uid),
        st_gid: ns.gid_inside(attr.gid),
        st_rdev: attr.rdev,
        st_size: attr.size as i64,
        st_blksize: i64::from(attr.block_size),
        st_blocks: attr.blocks as i64,
        st_atime: attr.atime.secs,
        st_atime_nsec: i64::from(attr.atime.nanos),
        st_mtime: attr.mtime.secs,
        st_mtime_nsec: i64::from(attr.mtime.nanos),
        st_ctime: attr.ctime.secs,
        st_ctime_nsec: i64::from(attr.ctime.nanos),
        ..Stat::default()
    }
}

/// statx(2)
pub fn statx(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: Flags<AtFlags>,
    mask: Flags<StatxMask>,
    buf: Out<Statx>,
) -> SysResult<()> {
    let flags = flags.retain();
    let known = AtFlags::SYMLINK_NOFOLLOW
        | AtFlags::NO_AUTOMOUNT
        | AtFlags::EMPTY_PATH
        | AtFlags::from_bits_retain(AT_STATX_SYNC_TYPE);
    let both_syncs = flags.bits() & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE;
    if mask.bits() & STATX_RESERVED != 0 || both_syncs || !known.contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let (place, attr, is_root) = match attr_at(task, dir, path, At::of(flags))? {
        End::Place(place) => {
            let (attr, is_root) = (place.inode().attr()?, place.is_mount_root());
            (place, attr, is_root)
        }
        End::Entry(dir, attr) => (dir, attr, false),
    };
    // Mount and file system are those of the directory as well.
    let statx = to_statx(task, &place, is_root, &attr, mask.retain());
    Ok(task.write_obj(*buf, &statx)?)
}

/// Attributes that the kernel knows of itself, whatever the file system.
const KNOWN_ATTRIBUTES: StatxAttributes =
    StatxAttributes::MOUNT_ROOT.union(StatxAttributes::AUTOMOUNT).union(StatxAttributes::DAX);

fn to_statx(task: &CurrentTask, place: &Path, is_root: bool, attr: &Attr, asked: StatxMask) -> Statx {
    let ns = &task.own_creds().user_ns;
    let time = |t: Timestamp| StatxTimestamp { tv_sec: t.secs, tv_nsec: t.nanos, reserved: 0 };
    let mut mask = StatxMask::BASIC_STATS;
    mask.set(StatxMask::BTIME, attr.btime.is_some());
    mask |=
        if asked.contains(StatxMask::MNT_ID_UNIQUE) { StatxMask::MNT_ID_UNIQUE } else { StatxMask::MNT_ID };
    let mut attributes = StatxAttributes::empty();
    attributes.set(StatxAttributes::MOUNT_ROOT, is_root);
    let dev = place.inode().sb.dev;
    Statx {
        stx_mask: mask.bits(),
        stx_blksize: attr.block_size,
        stx_attributes: attributes.bits(),
        stx_attributes_mask: KNOWN_ATTRIBUTES.bits(),
        stx_nlink: attr.nlink,
        stx_uid: ns.uid_inside(attr.uid),
        stx_gid: ns.gid_inside(attr.gid),
        stx_mode: attr.mode as u16,
        stx_ino: attr.ino,
        stx_size: attr.size,
        stx_blocks: attr.blocks,
        stx_atime: time(attr.atime),
        stx_btime: time(attr.btime.unwrap_or_default()),
        stx_ctime: time(attr.ctime),
        stx_mtime: time(attr.mtime),
        stx_rdev_major: major(attr.rdev),
        stx_rdev_minor: minor(attr.rdev),
        stx_dev_major: major(dev),
        stx_dev_minor: minor(dev),
        stx_mnt_id: if asked.contains(StatxMask::MNT_ID_UNIQUE) {
            place.mount.unique_id()
        } else {
            place.mount.id
        },
        ..Statx::default()
    }
}

/// statfs(2)
pub fn statfs(task: &mut CurrentTask, path: UserCStr, buf: Out<Statfs>) -> SysResult<()> {
    let place = at(task, DirFd(AT_FDCWD), path, At::FOLLOW)?;
    let statfs = to_statfs(&place)?;
    Ok(task.write_obj(*buf, &statfs)?)
}

/// fstatfs(2)
pub fn fstatfs(task: &mut CurrentTask, fd: Fd, buf: Out<Statfs>) -> SysResult<()> {
    let file = task.file_or_path(fd.0)?;
    let statfs = to_statfs(&file.path)?;
    Ok(task.write_obj(*buf, &statfs)?)
}

fn to_statfs(place: &Path) -> Result<Statfs, Errno> {
    let sb = &place.inode().sb;
    let stat = sb.ops().statfs()?;
    let mut flags = place.mount.flags() | StatfsFlags::VALID;
    flags.set(StatfsFlags::RDONLY, place.mount.is_read_only());
    Ok(Statfs {
        f_type: stat.magic,
        f_bsize: stat.block_size as i64,
        f_blocks: stat.blocks,
        f_bfree: stat.blocks_free,
        f_bavail: stat.blocks_available,
        f_files: stat.files,
        f_ffree: stat.files_free,
        f_fsid: sb.fsid(),
        f_namelen: stat.name_max as i64,
        f_frsize: stat.fragment_size.unwrap_or(stat.block_size) as i64,
        f_flags: flags.bits() as i64,
        ..Statfs::default()
    })
}

/// access(2)
pub fn access(task: &mut CurrentTask, path: UserCStr, mode: Flags<AccessMode>) -> SysResult<()> {
    faccessat2(task, DirFd(AT_FDCWD), path, mode, AccessFlags(0))
}

/// faccessat(2)
pub fn faccessat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    mode: Flags<AccessMode>,
) -> SysResult<()> {
    faccessat2(task, dir, path, mode, AccessFlags(0))
}

/// faccessat2(2)
pub fn faccessat2(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    mode: Flags<AccessMode>,
    flags: AccessFlags,
) -> SysResult<()> {
    let want = Want::from_bits(mode.bits()).ok_or(Errno::EINVAL)?;
    let flags = AtFlags::from_bits_retain(flags.0);
    if !(AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let path = crate::path::read(task, path)?;
    let roots = task.fs().roots();
    let start = crate::path::start(task, &roots, dir, &path, flags)?;
    let creds = if flags.contains(AtFlags::EACCESS) {
        Arc::clone(task.own_creds())
    } else {
        Arc::new(with_real_ids(task.own_creds()))
    };
    let caller = Caller { creds: &creds, ..task.caller(&roots) };
    let mut lookup_flags = LookupFlags::empty();
    lookup_flags.set(LookupFlags::FOLLOW, !flags.contains(AtFlags::SYMLINK_NOFOLLOW));
    lookup_flags.set(LookupFlags::EMPTY, flags.contains(AtFlags::EMPTY_PATH));
    let place = lookup(&caller, &start, &path, lookup_flags)?;
    let inode = place.inode();
    if want.contains(Want::EXEC) && inode.is_regular() && place.mount.flags().contains(MountFlags::NOEXEC) {
        return Err(Errno::EACCES.into());
    }
    inode.access(&caller, want)?;
    let special = !inode.is_regular() && !inode.is_dir() && !inode.is_symlink();
    if want.contains(Want::WRITE) && !special && place.mount.is_read_only() {
        return Err(Errno::EROFS.into());
    }
    Ok(())
}

/// What the caller may do by its real ids, as a set-user-ID program asks.
fn with_real_ids(creds: &Credentials) -> Credentials {
    let mut real = creds.clone();
    real.fsuid = creds.uid;
    real.fsgid = creds.gid;
    if creds.securebits & SecureBits::NO_SETUID_FIXUP.bits() == 0 {
        let is_root = creds.user_ns.uid_inside(creds.uid) == 0;
        real.cap_effective = if is_root { creds.cap_permitted } else { CapSet::EMPTY };
    }
    real
}

/// readlink(2)
pub fn readlink(task: &mut CurrentTask, path: UserCStr, buf: OutBuf, size: i32) -> SysResult<usize> {
    readlinkat(task, DirFd(AT_FDCWD), path, buf, size)
}

/// readlinkat(2)
pub fn readlinkat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    buf: OutBuf,
    size: i32,
) -> SysResult<usize> {
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let path = crate::path::read(task, path)?;
    let text = {
        let roots = task.fs().roots();
        let caller = task.caller(&roots);
        // An empty path names the link that the descriptor is.
        let start = crate::path::start(task, &roots, dir, &path, AtFlags::EMPTY_PATH)?;
        let place = lookup(&caller, &start, &path, LookupFlags::EMPTY)?;
        let inode = place.inode();
        if !inode.is_symlink() {
            return Err(if path.is_empty() { Errno::ENOENT } else { Errno::EINVAL }.into());
        }
        inode.ops().read_link(inode, &caller)?
    };
    let len = text.len().min(size);
    task.copy_out(*buf, &text[..len])?;
    Ok(len)
}
