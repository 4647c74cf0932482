//! Paths in arguments: copying them in, and where they start.

use abi::Errno;
use abi::open::{AT_FDCWD, AtFlags};
use sentry::mm::{CStrError, UserCStr, UserString};
use sentry::task::CurrentTask;
use sentry::vfs::{Path, Roots};

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
