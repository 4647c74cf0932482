//! Who may do what with an inode (path_resolution(7), capabilities(7)).

use abi::Errno;
use abi::capability::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER};
use abi::stat::{S_IRWXG, S_ISGID, S_ISVTX, S_IXGRP, S_IXUGO};

use super::acl::AclKind;
use super::caller::Caller;
use super::inode::Inode;
use crate::Result;
use crate::task::Credentials;

bitflags::bitflags! {
    /// What is to be done; the values of `R_OK` and so on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Want: u32 {
        /// Execute, or search a directory.
        const EXEC = 1;
        /// Write, or change a directory.
        const WRITE = 2;
        /// Read, or list a directory.
        const READ = 4;
    }
}

impl Inode {
    /// Whether `caller` may do what it `want`s: EACCES when not, EROFS for writes to a read-only file system.
    pub fn permission(&self, caller: &Caller<'_>, want: Want) -> Result<()> {
        if want.contains(Want::WRITE)
            && self.sb.is_read_only()
            && (self.is_regular() || self.is_dir() || self.is_symlink())
        {
            return Err(Errno::EROFS);
        }
        self.ops().permission(self, caller, want)
    }

    /// As [`permission`](Self::permission), for access(2) and chdir(2), which file systems may look at more closely.
    pub fn access(&self, caller: &Caller<'_>, want: Want) -> Result<()> {
        self.permission(caller, want)?;
        self.ops().access(self, caller, want)
    }

    /// Whether `creds` owns the file or has a capability that is as good.
    pub fn owner_or_capable(&self, creds: &Credentials) -> bool {
        let (_, uid, _) = self.owner();
        creds.fsuid == uid || self.capable(creds, CAP_FOWNER)
    }

    /// Whether capability `cap` of `creds` counts for this file: its owner and group exist in their user namespace.
    pub fn capable(&self, creds: &Credentials, cap: u32) -> bool {
        if !creds.has_cap(cap) {
            return false;
        }
        let ns = &creds.user_ns;
        if ns.parent().is_none() {
            return true;
        }
        let (_, uid, gid) = self.owner();
        ns.uid_kernel(ns.uid_inside(uid)) == Some(uid) && ns.gid_kernel(ns.gid_inside(gid)) == Some(gid)
    }

    /// Whether capability `cap` of `creds` counts for the file system as a whole: held in the first user namespace.
    pub fn sb_capable(&self, creds: &Credentials, cap: u32) -> bool {
        creds.has_cap(cap) && creds.user_ns.parent().is_none()
    }

    /// Whether the sticky bit of this directory keeps `creds` from removing `victim`.
    pub fn sticky_forbids(&self, victim: &Inode, creds: &Credentials) -> bool {
        let (mode, dir_uid, _) = self.owner();
        let (_, victim_uid, _) = victim.owner();
        mode & S_ISVTX != 0
            && victim_uid != creds.fsuid
            && dir_uid != creds.fsuid
            && !victim.capable(creds, CAP_FOWNER)
    }
}

/// The rule of mode bits, access control lists and capabilities.
pub fn generic_permission(inode: &Inode, creds: &Credentials, want: Want) -> Result<()> {
    let (mode, uid, gid) = inode.owner();
    let bits = if creds.fsuid == uid {
        mode >> 6
    } else if (mode ^ (mode >> 3)) & want.bits() == 0 || !creds.in_group(gid) {
        // Group and others may do the same, or the group does not matter.
        mode
    } else {
        mode >> 3
    };
    // A list can say more than the group's bits do, and less than those of the others. It says nothing of the owner.
    if creds.fsuid != uid && mode & S_IRWXG != 0 && inode.may_have_acl(AclKind::Access) {
        // Asking for the list may take a while: not where capabilities decide.
        if is_capable(inode, creds, mode, want) {
            return Ok(());
        }
        if let Some(acl) = inode.acl(AclKind::Access)? {
            return if acl.allows(creds, (uid, gid), want) { Ok(()) } else { Err(Errno::EACCES) };
        }
    }
    if want.bits() & !bits & 7 == 0 || is_capable(inode, creds, mode, want) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// Whether `creds` may do what they `want` whatever the mode's bits and lists say.
fn is_capable(inode: &Inode, creds: &Credentials, mode: u32, want: Want) -> bool {
    if inode.is_dir() {
        return !want.contains(Want::WRITE) && inode.capable(creds, CAP_DAC_READ_SEARCH)
            || inode.capable(creds, CAP_DAC_OVERRIDE);
    }
    if want == Want::READ && inode.capable(creds, CAP_DAC_READ_SEARCH) {
        return true;
    }
    let executable = !want.contains(Want::EXEC) || mode & S_IXUGO != 0;
    executable && inode.capable(creds, CAP_DAC_OVERRIDE)
}

/// The set-id bits that a write, a truncation or a change of owner takes from a regular file's `mode`.
pub fn without_set_id(mode: u32) -> u32 {
    let mut kept = mode & !abi::stat::S_ISUID;
    if mode & S_IXGRP != 0 {
        kept &= !S_ISGID;
    }
    kept
}
