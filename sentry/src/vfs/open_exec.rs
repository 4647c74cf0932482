//! Opening a program for execve(2).

use std::sync::Arc;

use abi::Errno;
use abi::open::{AtFlags, OpenFlags};

use super::file::Claim;
use super::notify::{Events, ask_to_open, notify_path};
use super::resolve::{LookupFlags, lookup};
use super::{Caller, File, MountFlags, Path, Want};
use crate::Result;

/// Opens the program that `path` leads to from `at`: a regular file that the caller may execute, on a mount without
/// noexec (EACCES). `flags`: AT_EMPTY_PATH takes `at` itself for an empty path, AT_SYMLINK_NOFOLLOW refuses a link
/// (ELOOP). Executing is no reading: the rights to read are not asked for.
pub fn open_exec(caller: &Caller<'_>, at: &Path, path: &[u8], flags: AtFlags) -> Result<Arc<File>> {
    let mut lookup_flags = LookupFlags::empty();
    lookup_flags.set(LookupFlags::FOLLOW, !flags.contains(AtFlags::SYMLINK_NOFOLLOW));
    lookup_flags.set(LookupFlags::EMPTY, flags.contains(AtFlags::EMPTY_PATH));
    let place = lookup(caller, at, path, lookup_flags)?;
    let inode = Arc::clone(place.inode());
    if inode.is_symlink() {
        return Err(Errno::ELOOP);
    }
    if !inode.is_regular() || place.mount.flags().contains(MountFlags::NOEXEC) {
        return Err(Errno::EACCES);
    }
    inode.permission(caller, Want::EXEC)?;
    // Even for those who may do everything, a program is a file with an execute bit.
    let (mode, _, _) = inode.owner();
    if mode & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    ask_to_open(&place, true)?;
    inode.deny_write()?;
    let opened = inode.ops().open(&inode, OpenFlags::empty(), caller);
    let ops = opened.inspect_err(|_| inode.allow_write())?;
    notify_path(&place, Events::OPEN | Events::OPEN_EXEC);
    Ok(File::with_claim(ops, place, OpenFlags::empty(), Arc::clone(caller.creds), Claim::DenyWrite))
}
