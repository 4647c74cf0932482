//! Requests of ioctl(2) about where a file's blocks are, and that share them between files (ioctl_ficlone(2), ioctl_fideduperange(2)).
//!
//! No file system here shares blocks or tells of them. Each request is an error: EOPNOTSUPP, as on a file system of Linux that can't, or what
//! Linux finds wrong before it asks the file system.

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_SYS_RAWIO;
use abi::ioctl::FileCloneRange;
use abi::open::OpenFlags;
use sentry::mm::{UserAddr, UserRef};
use sentry::task::CurrentTask;
use sentry::vfs::File;

/// Bytes of the head of `struct file_dedupe_range`, and of each target after it.
const DEDUPE_HEAD: usize = 24;
const DEDUPE_TARGET: usize = 32;
/// A request that is longer than a page is ENOMEM.
const PAGE: usize = 4096;

/// Whether it is a regular file of some file system: what epoll_create(2) and its like open is none.
pub(crate) fn is_regular(file: &File) -> bool {
    file.path.inode().is_regular() && file.ops().seekable()
}

/// FICLONE: the whole of the descriptor `source` into `file`. EBADF, EXDEV, EISDIR, EINVAL; else EOPNOTSUPP.
pub(crate) fn clone_file(task: &CurrentTask, file: &Arc<File>, source: i32) -> Result<u64, Errno> {
    let from = task.file(source)?;
    let (source, target) = (from.path.inode(), file.path.inode());
    if !Arc::ptr_eq(&source.sb, &target.sb) {
        return Err(Errno::EXDEV);
    }
    if source.is_dir() || target.is_dir() {
        return Err(Errno::EISDIR);
    }
    if !is_regular(&from) || !is_regular(file) {
        return Err(Errno::EINVAL);
    }
    let may = from.access().read && file.access().write && !file.flags().contains(OpenFlags::APPEND);
    Err(if may { Errno::EOPNOTSUPP } else { Errno::EBADF })
}

/// FICLONERANGE: as FICLONE, of a `struct file_clone_range` at `arg`: EFAULT.
pub(crate) fn clone_part(task: &CurrentTask, file: &Arc<File>, arg: UserAddr) -> Result<u64, Errno> {
    let range: FileCloneRange = task.read_obj(UserRef::new(arg))?;
    clone_file(task, file, range.src_fd as i32)
}

/// FIDEDUPERANGE. EFAULT, ENOMEM, EINVAL, EISDIR; else EOPNOTSUPP.
pub(crate) fn dedupe(task: &CurrentTask, file: &File, arg: UserAddr) -> Result<u64, Errno> {
    let targets: u16 = task.read_obj(UserRef::new(arg.add(16)?))?;
    let len = DEDUPE_HEAD + usize::from(targets) * DEDUPE_TARGET;
    if len > PAGE {
        return Err(Errno::ENOMEM);
    }
    let mut request = vec![0u8; len];
    task.copy_in(arg, &mut request)?;
    let inode = file.path.inode();
    let reserved = &request[18..DEDUPE_HEAD];
    if !file.access().read || reserved.iter().any(|byte| *byte != 0) {
        return Err(Errno::EINVAL);
    }
    if inode.is_dir() {
        return Err(Errno::EISDIR);
    }
    Err(if is_regular(file) { Errno::EOPNOTSUPP } else { Errno::EINVAL })
}

/// FIBMAP of a regular file. EPERM, EFAULT; else EINVAL.
pub(crate) fn block_of(task: &CurrentTask, file: &File, arg: UserAddr) -> Result<u64, Errno> {
    if !file.path.inode().sb_capable(task.own_creds(), CAP_SYS_RAWIO) {
        return Err(Errno::EPERM);
    }
    let _block: i32 = task.read_obj(UserRef::new(arg))?;
    Err(Errno::EINVAL)
}
