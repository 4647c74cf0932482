//! Names taken away: unlink(2), rmdir(2).

use std::sync::Arc;

use abi::Errno;

use super::caller::Caller;
use super::dentry::Dentry;
use super::namespace::{detach_from, is_mount_point_in};
use super::notify::{Entry, Events, notify_entry, notify_inode};
use super::path::Path;
use super::permission::Want;
use super::resolve::{Last, Parent, lookup_parent};
use crate::Result;

impl Caller<'_> {
    /// Takes away the name of something that is no directory.
    pub fn unlink(&self, at: &Path, path: &[u8]) -> Result<()> {
        let parent = lookup_parent(self, at, path)?;
        let Last::Name(name) = &parent.last else { return Err(Errno::EISDIR) };
        let dir = &parent.dir;
        let (victim, lock) = self.find_victim(&parent, name.as_bytes())?;
        if parent.trailing_slash {
            return Err(if victim.inode.is_dir() { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        self.may_delete(dir, &victim)?;
        if victim.inode.is_dir() {
            return Err(Errno::EISDIR);
        }
        if is_mount_point_in(&victim, &dir.mount) {
            return Err(Errno::EBUSY);
        }
        dir.inode().ops().unlink(dir.inode(), name.as_bytes(), &victim.inode)?;
        dir.dentry.removed(&victim);
        drop(lock);
        detach_from(&victim);
        notify_inode(&victim.inode, Events::ATTRIB);
        let entry = Entry { dir: &dir.dentry, name: name.as_bytes() };
        notify_entry(entry, &victim.inode, Events::DELETE);
        Ok(())
    }

    /// Takes away an empty directory.
    pub fn rmdir(&self, at: &Path, path: &[u8]) -> Result<()> {
        let parent = lookup_parent(self, at, path)?;
        let name = match &parent.last {
            Last::Name(name) => name,
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        };
        let dir = &parent.dir;
        let (victim, lock) = self.find_victim(&parent, name.as_bytes())?;
        self.may_delete(dir, &victim)?;
        if !victim.inode.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if is_mount_point_in(&victim, &dir.mount) {
            return Err(Errno::EBUSY);
        }
        dir.inode().ops().rmdir(dir.inode(), name.as_bytes(), &victim.inode)?;
        dir.dentry.removed(&victim);
        drop(lock);
        detach_from(&victim);
        let entry = Entry { dir: &dir.dentry, name: name.as_bytes() };
        notify_entry(entry, &victim.inode, Events::DELETE);
        Ok(())
    }

    fn find_victim<'p>(
        &self,
        parent: &'p Parent,
        name: &[u8],
    ) -> Result<(Arc<Dentry>, sync::SleepMutexGuard<'p, ()>)> {
        let dir = &parent.dir;
        if dir.mount.is_read_only() {
            return Err(Errno::EROFS);
        }
        let lock = dir.inode().lock();
        let victim = dir.dentry.lookup_locked(name, self, &lock)?.ok_or(Errno::ENOENT)?;
        Ok((victim, lock))
    }

    /// Whether the name `victim` may be taken from `dir`.
    pub(super) fn may_delete(&self, dir: &Path, victim: &Dentry) -> Result<()> {
        dir.inode().permission(self, Want::WRITE | Want::EXEC)?;
        if dir.inode().sticky_forbids(&victim.inode, self.creds) {
            return Err(Errno::EPERM);
        }
        if dir.dentry.is_unlinked() { Err(Errno::ENOENT) } else { Ok(()) }
    }
}
