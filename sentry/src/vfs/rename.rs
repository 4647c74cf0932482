//! rename(2), renameat2(2).

use std::sync::Arc;

use abi::Errno;
use abi::open::RenameFlags;

use super::caller::Caller;
use super::dentry::Dentry;
use super::inode::RenameEnd;
use super::namespace::{detach_from, is_mount_point_in};
use super::notify::{Entry, notify_moved};
use super::path::Path;
use super::permission::Want;
use super::resolve::{Last, lookup_parent};
use crate::Result;

impl Caller<'_> {
    /// Moves `from` to `to`, each seen from its own starting place.
    pub fn rename(&self, from: (&Path, &[u8]), to: (&Path, &[u8]), flags: RenameFlags) -> Result<()> {
        use RenameFlags as R;
        if flags.contains(R::EXCHANGE) && flags.intersects(R::NOREPLACE | R::WHITEOUT) {
            return Err(Errno::EINVAL);
        }
        let from = lookup_parent(self, from.0, from.1)?;
        let to = lookup_parent(self, to.0, to.1)?;
        if !Arc::ptr_eq(&from.dir.mount, &to.dir.mount) {
            return Err(Errno::EXDEV);
        }
        let Last::Name(from_name) = &from.last else { return Err(Errno::EBUSY) };
        let Last::Name(to_name) = &to.last else {
            return Err(if flags.contains(R::NOREPLACE) { Errno::EEXIST } else { Errno::EBUSY });
        };
        if from.dir.mount.is_read_only() {
            return Err(Errno::EROFS);
        }
        let (from_dir, to_dir) = (&from.dir.dentry, &to.dir.dentry);
        let locks = DirLocks::take(from_dir, to_dir);
        let (from_lock, to_lock) = locks.guards();
        let source = from_dir.lookup_locked(from_name.as_bytes(), self, from_lock)?.ok_or(Errno::ENOENT)?;
        let target = to_dir.lookup_locked(to_name.as_bytes(), self, to_lock)?;
        let exchange = flags.contains(R::EXCHANGE);
        if exchange {
            let target = target.as_ref().ok_or(Errno::ENOENT)?;
            if !target.inode.is_dir() && to.trailing_slash {
                return Err(Errno::ENOTDIR);
            }
        } else if flags.contains(R::NOREPLACE) && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if !source.inode.is_dir() && (from.trailing_slash || (!exchange && to.trailing_slash)) {
            return Err(Errno::ENOTDIR);
        }
        check_loops(&source, from_dir, target.as_ref(), to_dir, exchange)?;
        if target.as_ref().is_some_and(|target| Arc::ptr_eq(&target.inode, &source.inode)) {
            // Two names of one file: nothing is to be done.
            return Ok(());
        }
        self.may_rename(&from.dir, &source, &to.dir, target.as_ref(), exchange)?;
        let is_busy = |dentry: &Arc<Dentry>| is_mount_point_in(dentry, &from.dir.mount);
        if is_busy(&source) || target.as_ref().is_some_and(is_busy) {
            return Err(Errno::EBUSY);
        }
        let from_end =
            RenameEnd { dir: &from_dir.inode, name: from_name.as_bytes(), inode: Some(&source.inode) };
        let to_end = RenameEnd {
            dir: &to_dir.inode,
            name: to_name.as_bytes(),
            inode: target.as_ref().map(|t| &t.inode),
        };
        from_dir.inode.ops().rename(from_end, to_end, flags)?;
        match &target {
            Some(target) if exchange => Dentry::exchanged(from_dir, &source, to_dir, target),
            target => Dentry::moved(from_dir, &source, to_dir, to_name.as_bytes(), target.as_ref()),
        }
        if flags.contains(R::WHITEOUT) {
            // Something else has the old name now.
            from_dir.inode.entries_changed();
        }
        drop(locks);
        if let Some(target) = &target
            && !exchange
        {
            detach_from(target);
        }
        let from_end = Entry { dir: from_dir, name: from_name.as_bytes() };
        let to_end = Entry { dir: to_dir, name: to_name.as_bytes() };
        let replaced = target.as_ref().filter(|target| !exchange && !target.inode.is_dir());
        notify_moved(from_end, to_end, &source.inode, replaced.map(|target| &target.inode));
        if let Some(target) = target.as_ref().filter(|_| exchange) {
            notify_moved(to_end, from_end, &target.inode, None);
        }
        Ok(())
    }

    fn may_rename(
        &self,
        from: &Path,
        source: &Arc<Dentry>,
        to: &Path,
        target: Option<&Arc<Dentry>>,
        exchange: bool,
    ) -> Result<()> {
        let source_is_dir = source.inode.is_dir();
        self.may_delete(from, source)?;
        match target {
            None => self.may_create_in(to)?,
            Some(target) => {
                self.may_delete(to, target)?;
                if !exchange && source_is_dir && !target.inode.is_dir() {
                    return Err(Errno::ENOTDIR);
                }
                if !exchange && !source_is_dir && target.inode.is_dir() {
                    return Err(Errno::EISDIR);
                }
            }
        }
        if !Arc::ptr_eq(&from.dentry, &to.dentry) {
            // Its `..` changes.
            if source_is_dir {
                source.inode.permission(self, Want::WRITE)?;
            }
            if let Some(target) = target
                && exchange
                && target.inode.is_dir()
            {
                target.inode.permission(self, Want::WRITE)?;
            }
        }
        Ok(())
    }
}

/// A directory can't be moved below itself, nor replace one that it is in.
fn check_loops(
    source: &Arc<Dentry>,
    from_dir: &Arc<Dentry>,
    target: Option<&Arc<Dentry>>,
    to_dir: &Arc<Dentry>,
    exchange: bool,
) -> Result<()> {
    if Arc::ptr_eq(from_dir, to_dir) {
        return Ok(());
    }
    if source.inode.is_dir() && source.is_ancestor_of(to_dir) {
        return Err(Errno::EINVAL);
    }
    if let Some(target) = target
        && target.inode.is_dir()
        && target.is_ancestor_of(from_dir)
    {
        return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
    }
    Ok(())
}

/// The locks of the two directories; between different ones also the file system's rename lock, which keeps the shape
/// of the tree while the order of the two is found.
struct DirLocks<'a> {
    first: sync::SleepMutexGuard<'a, ()>,
    second: Option<sync::SleepMutexGuard<'a, ()>>,
    /// The first one is the source's.
    source_first: bool,
    _tree: Option<sync::SleepMutexGuard<'a, ()>>,
}

impl<'a> DirLocks<'a> {
    fn take(from: &'a Arc<Dentry>, to: &'a Arc<Dentry>) -> DirLocks<'a> {
        if Arc::ptr_eq(&from.inode, &to.inode) {
            return DirLocks { first: from.inode.lock(), second: None, source_first: true, _tree: None };
        }
        let tree = from.inode.sb.rename.lock();
        let source_first = if from.is_ancestor_of(to) {
            true
        } else if to.is_ancestor_of(from) {
            false
        } else {
            from.inode.ino < to.inode.ino
        };
        let (first, second) = if source_first { (from, to) } else { (to, from) };
        DirLocks {
            first: first.inode.lock(),
            second: Some(second.inode.lock()),
            source_first,
            _tree: Some(tree),
        }
    }

    /// The guards of source and target directory.
    fn guards(&self) -> (&sync::SleepMutexGuard<'a, ()>, &sync::SleepMutexGuard<'a, ()>) {
        match &self.second {
            None => (&self.first, &self.first),
            Some(second) if self.source_first => (&self.first, second),
            Some(second) => (second, &self.first),
        }
    }
}
