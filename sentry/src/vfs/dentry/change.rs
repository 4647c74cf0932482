//! Names that come, go and move: the cache follows what the file system has done.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::children::{Child, Children};
use super::{Dentry, MOVES, UNLINKED};
use crate::vfs::inode::Inode;
use crate::vfs::name::Name;

impl Dentry {
    /// `name` has been made here, the caller holds [`Inode::lock`] of the directory. Answers its dentry.
    pub(in crate::vfs) fn added(self: &Arc<Self>, name: &[u8], inode: Arc<Inode>) -> Arc<Dentry> {
        let child = Dentry::new(inode, Some(Arc::clone(self)), Name::new(name), 0);
        self.change(|children| children.insert(name, Child::Positive(Arc::downgrade(&child))));
        child.used();
        child
    }

    /// The name of `child` has been taken away, the caller holds [`Inode::lock`] of the directory.
    pub(in crate::vfs) fn removed(&self, child: &Arc<Dentry>) {
        child.state.fetch_or(UNLINKED, Ordering::AcqRel);
        let name = child.name();
        let known = !self.inode.ops().revalidate(&self.inode);
        self.change(|children| match known {
            true => children.insert_negative(name.as_bytes()),
            false => children.forget(name.as_bytes()),
        });
        child.inode.sb.forget(child);
    }

    /// Makes a change to the table that goes with one of the directory.
    fn change(&self, update: impl FnOnce(&mut Children)) {
        let mut table = self.children.write();
        let children = table.get_or_insert_with(Box::default);
        // Nobody else counts up meanwhile but a change behind the VFS's back, which then has the last word.
        children.refresh(self.inode.changes());
        update(children);
        let now = self.inode.entries_changed();
        if children.valid_for + 1 == now {
            children.valid_for = now;
        }
    }

    /// `child` has been moved from `from` to `name` in `to`; `replaced` had that name. The caller holds the locks of
    /// both directories, and the rename lock when they differ.
    pub(in crate::vfs) fn moved(
        from: &Arc<Dentry>,
        child: &Arc<Dentry>,
        to: &Arc<Dentry>,
        name: &[u8],
        replaced: Option<&Arc<Dentry>>,
    ) {
        MOVES.fetch_add(1, Ordering::AcqRel);
        let old_name = child.name();
        from.change(|children| children.forget(old_name.as_bytes()));
        if let Some(replaced) = replaced {
            replaced.state.fetch_or(UNLINKED, Ordering::AcqRel);
        }
        let old_parent = child.set_place(to, name);
        to.change(|children| children.insert(name, Child::Positive(Arc::downgrade(child))));
        MOVES.fetch_add(1, Ordering::AcqRel);
        drop(old_parent);
        if let Some(replaced) = replaced {
            replaced.inode.sb.forget(replaced);
        }
    }

    /// `a` and `b` have changed places; locks as for [`moved`](Self::moved).
    pub(in crate::vfs) fn exchanged(
        a_dir: &Arc<Dentry>,
        a: &Arc<Dentry>,
        b_dir: &Arc<Dentry>,
        b: &Arc<Dentry>,
    ) {
        MOVES.fetch_add(1, Ordering::AcqRel);
        let (a_name, b_name) = (a.name(), b.name());
        let old = (a.set_place(b_dir, b_name.as_bytes()), b.set_place(a_dir, a_name.as_bytes()));
        a_dir.change(|children| children.insert(a_name.as_bytes(), Child::Positive(Arc::downgrade(b))));
        b_dir.change(|children| children.insert(b_name.as_bytes(), Child::Positive(Arc::downgrade(a))));
        MOVES.fetch_add(1, Ordering::AcqRel);
        drop(old);
    }

    /// Takes the entry of a child that is going away out of the table.
    pub(super) fn forget_dead(&self, name: &[u8]) {
        let mut table = self.children.write();
        if let Some(children) = &mut *table {
            if let Some(Child::Positive(child) | Child::Stale(child)) = children.entries.get(name)
                && child.strong_count() == 0
            {
                children.entries.remove(name);
            }
            if children.entries.is_empty() {
                *table = None;
            }
        }
    }
}
