//! Changes of attributes: chmod(2), chown(2), utimensat(2), truncate(2).

use std::sync::Arc;

use abi::Errno;
use abi::capability::{CAP_CHOWN, CAP_FSETID};
use abi::stat::{S_IALLUGO, S_ISGID, S_ISUID};

use super::attr::{SetAttr, Timestamp};
use super::caller::Caller;
use super::inode::Inode;
use super::notify::{Events, notify};
use super::path::Path;
use super::permission::{Want, without_set_id};
use crate::Result;

/// A new value of a time, for utimensat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    /// UTIME_OMIT
    Keep,
    /// UTIME_NOW
    Now,
    /// This.
    At(Timestamp),
}

impl Caller<'_> {
    /// Sets the permission bits.
    pub fn chmod(&self, place: &Path, mode: u32) -> Result<()> {
        let inode = place.inode();
        writable(place)?;
        if inode.is_symlink() {
            return Err(Errno::EOPNOTSUPP);
        }
        inode.ops().attributes_change()?;
        if !inode.owner_or_capable(self.creds) {
            return Err(Errno::EPERM);
        }
        let mut permissions = mode & S_IALLUGO;
        if !self.may_keep_set_gid(inode) {
            permissions &= !S_ISGID;
        }
        inode.ops().set_attr(inode, &SetAttr { permissions: Some(permissions), ..SetAttr::default() })?;
        notify(&place.dentry, Events::ATTRIB);
        Ok(())
    }

    /// Whether the caller may have the set-group-ID bit on this file.
    pub(super) fn may_keep_set_gid(&self, inode: &Inode) -> bool {
        let (_, _, gid) = inode.owner();
        self.creds.in_group(gid) || inode.capable(self.creds, CAP_FSETID)
    }

    /// Sets owner, group or both.
    pub fn chown(&self, place: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let inode = place.inode();
        writable(place)?;
        inode.ops().attributes_change()?;
        let (mode, old_uid, old_gid) = inode.owner();
        let capable = inode.capable(self.creds, CAP_CHOWN);
        let is_owner = self.creds.fsuid == old_uid;
        if uid.is_some_and(|uid| !((is_owner && uid == old_uid) || capable)) {
            return Err(Errno::EPERM);
        }
        if gid.is_some_and(|gid| !((is_owner && (gid == old_gid || self.creds.in_group(gid))) || capable)) {
            return Err(Errno::EPERM);
        }
        let mut change = SetAttr { uid, gid, ..SetAttr::default() };
        if !inode.is_dir() {
            let mut kept = without_set_id(mode);
            if mode & S_ISGID != 0 && !self.creds.in_group(old_gid) && !inode.capable(self.creds, CAP_FSETID)
            {
                kept &= !S_ISGID;
            }
            if kept != mode {
                change.permissions = Some(kept & S_IALLUGO);
            }
        }
        inode.ops().set_attr(inode, &change)?;
        if uid.is_some() || gid.is_some() {
            notify(&place.dentry, Events::ATTRIB);
        }
        Ok(())
    }

    /// Sets the times of last access and last modification.
    pub fn set_times(&self, place: &Path, atime: NewTime, mtime: NewTime) -> Result<()> {
        let inode = place.inode();
        writable(place)?;
        let touch = atime == NewTime::Now && mtime == NewTime::Now;
        if !touch {
            inode.ops().attributes_change()?;
        }
        if !inode.owner_or_capable(self.creds) {
            if !touch {
                return Err(Errno::EPERM);
            }
            inode.permission(self, Want::WRITE)?;
        }
        let mut change = SetAttr { times_are_now: touch, ..SetAttr::default() };
        let value = |time| match time {
            NewTime::Keep => None,
            NewTime::Now => Some(change.ctime),
            NewTime::At(time) => Some(time),
        };
        (change.atime, change.mtime) = (value(atime), value(mtime));
        inode.ops().set_attr(inode, &change)?;
        let mut events = Events::ATTRIB;
        if change.atime.is_some() != change.mtime.is_some() {
            events = if change.atime.is_some() { Events::ACCESS } else { Events::MODIFY };
        }
        notify(&place.dentry, events);
        Ok(())
    }

    /// truncate(2). `size` is below the caller's limit of file sizes.
    pub fn truncate(&self, place: &Path, size: u64) -> Result<()> {
        let inode = place.inode();
        if inode.is_dir() {
            return Err(Errno::EISDIR);
        }
        if !inode.is_regular() {
            return Err(Errno::EINVAL);
        }
        writable(place)?;
        inode.permission(self, Want::WRITE)?;
        inode.get_write()?;
        let mut change = SetAttr { size: Some(size), ..SetAttr::default() };
        change.mtime = Some(change.ctime);
        self.drop_set_id(inode, &mut change);
        let done = inode.ops().set_attr(inode, &change);
        inode.put_write();
        if done.is_ok() {
            notify(&place.dentry, Events::MODIFY);
        }
        done
    }

    /// Adds to `change` that the set-id bits go, as they do when the contents of a file change.
    pub(super) fn drop_set_id(&self, inode: &Arc<Inode>, change: &mut SetAttr) {
        let (mode, _, _) = inode.owner();
        if mode & (S_ISUID | S_ISGID) != 0 && !inode.capable(self.creds, CAP_FSETID) {
            let kept = without_set_id(mode);
            if kept != mode {
                change.permissions = Some(kept & S_IALLUGO);
            }
        }
    }
}

fn writable(place: &Path) -> Result<()> {
    if place.mount.is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
}
