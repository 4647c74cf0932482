//! Extended attributes (xattr(7)): who may touch which.

use abi::Errno;
use abi::capability::{CAP_SETFCAP, CAP_SYS_ADMIN};
use abi::stat::S_ISVTX;

use super::acl::AclKind;
use super::caller::Caller;
use super::inode::{Inode, XattrSet};
use super::notify::{Events, notify};
use super::path::Path;
use super::permission::Want;
use crate::Result;

impl Caller<'_> {
    /// Value of an attribute.
    pub fn get_xattr(&self, place: &Path, name: &[u8]) -> Result<Vec<u8>> {
        let inode = place.inode();
        match AclKind::of_name(name) {
            Some(kind) if inode.ops().keeps_acls() => self.get_acl(inode, kind),
            _ => {
                self.may_use_xattr(inode, name, Want::READ)?;
                inode.ops().get_xattr(inode, name)
            }
        }
    }

    /// Sets an attribute.
    pub fn set_xattr(&self, place: &Path, name: &[u8], value: &[u8], mode: XattrSet) -> Result<()> {
        let inode = place.inode();
        if place.mount.is_read_only() {
            return Err(Errno::EROFS);
        }
        if let Some(kind) = AclKind::of_name(name).filter(|_| !inode.ops().acls_are_attributes()) {
            return self.set_acl(place, kind, value);
        }
        self.may_use_xattr(inode, name, Want::WRITE)?;
        inode.ops().set_xattr(inode, name, value, mode)?;
        notify(&place.dentry, Events::ATTRIB);
        Ok(())
    }

    /// Takes an attribute away.
    pub fn remove_xattr(&self, place: &Path, name: &[u8]) -> Result<()> {
        let inode = place.inode();
        if place.mount.is_read_only() {
            return Err(Errno::EROFS);
        }
        if let Some(kind) = AclKind::of_name(name).filter(|_| !inode.ops().acls_are_attributes()) {
            return self.set_acl(place, kind, &[]);
        }
        self.may_use_xattr(inode, name, Want::WRITE)?;
        inode.ops().remove_xattr(inode, name)?;
        notify(&place.dentry, Events::ATTRIB);
        Ok(())
    }

    /// Names of all attributes that the caller may know of.
    pub fn list_xattr(&self, place: &Path) -> Result<Vec<Vec<u8>>> {
        let inode = place.inode();
        let mut names = inode.ops().list_xattr(inode)?;
        if !self.creds.has_cap(CAP_SYS_ADMIN) {
            names.retain(|name| !name.starts_with(b"trusted."));
        }
        Ok(names)
    }

    fn may_use_xattr(&self, inode: &Inode, name: &[u8], want: Want) -> Result<()> {
        self.check_namespace(inode, name, want)?;
        // There is no kind for just any name that the system uses.
        if name == b"system." {
            return Err(Errno::EOPNOTSUPP);
        }
        // A kind alone is no name.
        if name.ends_with(b".") && name.iter().filter(|byte| **byte == b'.').count() == 1 {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    fn check_namespace(&self, inode: &Inode, name: &[u8], want: Want) -> Result<()> {
        let writes = want == Want::WRITE;
        if name.starts_with(b"security.") {
            let cap = if name == b"security.capability" { CAP_SETFCAP } else { CAP_SYS_ADMIN };
            return if writes && !self.creds.has_cap(cap) { Err(Errno::EPERM) } else { Ok(()) };
        }
        if name.starts_with(b"system.") {
            return Ok(());
        }
        if name.starts_with(b"trusted.") {
            return match self.creds.has_cap(CAP_SYS_ADMIN) {
                true => Ok(()),
                false if writes => Err(Errno::EPERM),
                false => Err(Errno::ENODATA),
            };
        }
        if !name.starts_with(b"user.") {
            inode.permission(self, want)?;
            return Err(Errno::EOPNOTSUPP);
        }
        if !inode.is_regular() && !inode.is_dir() {
            return Err(if writes { Errno::EPERM } else { Errno::ENODATA });
        }
        let (mode, _, _) = inode.owner();
        if writes && inode.is_dir() && mode & S_ISVTX != 0 && !inode.owner_or_capable(self.creds) {
            return Err(Errno::EPERM);
        }
        inode.permission(self, want)
    }
}
