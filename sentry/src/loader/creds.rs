//! Credentials over exec: set-user-id bits and capabilities (capabilities(7), "Transformation of capabilities").

use std::sync::Arc;

use abi::Errno;
use abi::capability::CapSet;

use crate::task::Credentials;
use crate::vfs::File;

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;
/// SECBIT_NOROOT: uid 0 has no special meaning.
const SECBIT_NOROOT: u32 = 1;
/// SECBIT_KEEP_CAPS is cleared by exec.
const SECBIT_KEEP_CAPS: u32 = 1 << 4;

/// The credentials after executing `file`, and whether the program has to be careful with its environment (AT_SECURE).
pub(super) fn after_exec(old: &Credentials, file: &Arc<File>) -> Result<(Credentials, bool), Errno> {
    let attr = file.path.inode().attr()?;
    let mut new = old.clone();
    new.securebits &= !SECBIT_KEEP_CAPS;
    if !file.path.mount.flags().contains(crate::vfs::MountFlags::NOSUID) && !old.no_new_privs {
        if attr.mode & S_ISUID != 0 {
            new.euid = attr.uid;
        }
        // Set-group-id without group execute meant mandatory locking.
        if attr.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
            new.egid = attr.gid;
        }
    }
    new.suid = new.euid;
    new.sgid = new.egid;
    new.fsuid = new.euid;
    new.fsgid = new.egid;

    let ids_changed = new.euid != old.uid || new.egid != old.gid;
    // No file capabilities yet: a plain file has none, root counts as having all.
    let is_root = |id: u32| old.user_ns.uid_kernel(0) == Some(id);
    let root_rules = new.securebits & SECBIT_NOROOT == 0;
    let file_all = root_rules && (is_root(new.euid) || is_root(new.uid));
    let file_effective = root_rules && is_root(new.euid);
    if ids_changed {
        new.cap_ambient = CapSet::EMPTY;
    }
    let file_permitted = if file_all { new.cap_bounding } else { CapSet::EMPTY };
    let file_inheritable = if file_all { CapSet::ALL } else { CapSet::EMPTY };
    new.cap_permitted =
        old.cap_inheritable.intersection(file_inheritable).union(file_permitted).union(new.cap_ambient);
    new.cap_effective = if file_effective { new.cap_permitted } else { new.cap_ambient };
    let gained = !old.cap_permitted.contains_all(new.cap_permitted);
    let secure = ids_changed || gained && !is_root(new.uid);
    Ok((new, secure))
}
