//! Paths in arguments: copying them in, and where they start.

use abi::Errno;
use abi::open::{AT_FDCWD, AtFlags};
use sentry::mm::{CStrError, UserCStr, UserString};
use sentry::task::CurrentTask;
use sentry::vfs::resolve::{End, LookupFlags, lookup, lookup_attr};
use sentry::vfs::{Caller, Path, Roots};

use crate::arg::DirFd;

/// The longest path, its NUL included.
pub(crate) const PATH_MAX: usize = 4096;

/// Copies a path in: EFAULT, ENAMETOOLONG. Empty paths are the business of whoever walks them.
pub(crate) fn read(task: &CurrentTask, path: UserCStr) -> Result<UserString, Errno> {
    task.mm().copy_in_cstr(path.0, PATH_MAX).map_err(|error| match error {
        CStrError::Fault => Errno::EFAULT,
        CStrError::TooLong => Errno::ENAMETOOLONG,
    })
}

/// Where a path starts: an absolute one at the root, others at `dir`. EBADF for a descriptor that is none; ENOTDIR for
/// one that is no directory, unless an empty path means the file itself. A descriptor that an absolute path makes
/// meaningless is not looked at.
pub(crate) fn start(
    task: &CurrentTask,
    roots: &Roots,
    dir: DirFd,
    path: &[u8],
    flags: AtFlags,
) -> Result<Path, Errno> {
    if path.starts_with(b"/") {
        return Ok(roots.root.clone());
    }
    if dir.0 == AT_FDCWD {
        return Ok(roots.cwd.clone());
    }
    if path.is_empty() && !flags.contains(AtFlags::EMPTY_PATH) {
        return Err(Errno::ENOENT);
    }
    let file = task.file_or_path(dir.0)?;
    if !path.is_empty() && !file.path.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    Ok(file.path.clone())
}

/// How a path argument is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// A link at the end is followed.
    follow: bool,
    /// An empty path (and a null pointer, for that) is the directory itself.
    empty: bool,
    /// Looking it up is no use of its mount (MNT_EXPIRE).
    unused: bool,
}

impl At {
    /// A link at the end is followed, an empty path is an error.
    pub(crate) const FOLLOW: At = At { follow: true, empty: false, unused: false };
    /// A link at the end is the thing itself, an empty path is an error.
    pub(crate) const NO_FOLLOW: At = At { follow: false, empty: false, unused: false };

    /// As AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH say.
    pub(crate) fn of(flags: AtFlags) -> At {
        At {
            follow: !flags.contains(AtFlags::SYMLINK_NOFOLLOW),
            empty: flags.contains(AtFlags::EMPTY_PATH),
            unused: false,
        }
    }

    /// The same, but looking it up is no use of its mount.
    pub(crate) fn unused(self) -> At {
        At { unused: true, ..self }
    }
}

/// The place that a path argument means.
pub(crate) fn at(task: &CurrentTask, dir: DirFd, path: UserCStr, how: At) -> Result<Path, Errno> {
    let place = walk(task, dir, path, how, lookup)?;
    if !how.unused {
        place.mount.used();
    }
    Ok(place)
}

/// What a path argument means, for who only wants its attributes.
pub(crate) fn attr_at(task: &CurrentTask, dir: DirFd, path: UserCStr, how: At) -> Result<End, Errno> {
    let end = walk(task, dir, path, how, lookup_attr)?;
    let (End::Place(place) | End::Entry(place, _)) = &end;
    place.mount.used();
    Ok(end)
}

/// Has a path argument looked up.
fn walk<T>(
    task: &CurrentTask,
    dir: DirFd,
    path: UserCStr,
    how: At,
    lookup: impl FnOnce(&Caller<'_>, &Path, &[u8], LookupFlags) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let path = if how.empty && path.0.is_null() { UserString::new() } else { read(task, path)? };
    let roots = task.fs().roots();
    let flags = if how.empty { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    let start = start(task, &roots, dir, &path, flags)?;
    let mut lookup_flags = LookupFlags::empty();
    lookup_flags.set(LookupFlags::FOLLOW, how.follow);
    lookup_flags.set(LookupFlags::EMPTY, how.empty);
    lookup(&task.caller(&roots), &start, &path, lookup_flags)
}
