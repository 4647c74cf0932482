//! Names that come, go and move: the cache follows what the file system has done.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sync::RwLockWriteGuard;

use super::children::{Children, Looked};
use super::{Dentry, MOVES, UNLINKED};
use crate::vfs::inode::Inode;
use crate::vfs::name::Name;

/// A table, locked for a change.
type TableGuard<'a> = RwLockWriteGuard<'a, Children, sync::levels::Dentry>;

impl Dentry {
    /// `name` has been made here, the caller holds [`Inode::lock`] of the directory. Answers its dentry.
    pub(in crate::vfs) fn added(self: &Arc<Self>, name: &[u8], inode: Arc<Inode>) -> Arc<Dentry> {
        let child = Dentry::new(inode, Some(Arc::clone(self)), Name::new(name), 0);
        self.change(|children, looked| children.insert(name, &child, looked));
        child.used();
        child
    }

    /// The name of `child` has been taken away, the caller holds [`Inode::lock`] of the directory.
    pub(in crate::vfs) fn removed(&self, child: &Arc<Dentry>) {
        child.state.fetch_or(UNLINKED, Ordering::AcqRel);
        let name = child.name();
        let known = !self.inode.ops().revalidate(&self.inode);
        self.change(|children, looked| match known {
            true => children.insert_negative(name.as_bytes(), looked),
            false => children.forget(name.as_bytes(), looked),
        });
        child.inode.sb.forget(child);
    }

    /// Makes a change to the table that goes with one of the directory.
    fn change(&self, update: impl FnOnce(&mut Children, &mut Looked)) {
        let mut looked = Looked::new();
        let mut children = self.children().write();
        self.change_table(&mut children, |children| update(children, &mut looked));
        drop(children);
    }

    /// See [`change`](Self::change), of the table that is locked.
    fn change_table<R>(&self, children: &mut Children, update: impl FnOnce(&mut Children) -> R) -> R {
        // Nobody else counts up meanwhile but a change behind the VFS's back, which then has the last word.
        children.refresh(self.inode.changes());
        let done = update(children);
        let now = self.inode.entries_changed();
        if children.valid_for + 1 == now {
            children.valid_for = now;
        }
        done
    }

    /// The tables of two directories, the one at the lower address locked first.
    fn both_tables<'a>(a: &'a Arc<Dentry>, b: &'a Arc<Dentry>) -> (TableGuard<'a>, TableGuard<'a>) {
        if Arc::as_ptr(a) < Arc::as_ptr(b) {
            let first = a.children().write();
            (first, b.children().write_nested())
        } else {
            let first = b.children().write();
            (a.children().write_nested(), first)
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
        from.change(|children, _| children.forget_dentry(old_name.as_bytes(), child));
        if let Some(replaced) = replaced {
            replaced.state.fetch_or(UNLINKED, Ordering::AcqRel);
        }
        let old_parent = child.set_place(to, name);
        to.change(|children, looked| children.insert(name, child, looked));
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
        let mut looked = Looked::new();
        let old;
        // Both at once: who finds the one by its old name must not find the other by its own.
        if Arc::ptr_eq(a_dir, b_dir) {
            let mut table = a_dir.children().write();
            old = a_dir.change_table(&mut table, |children| {
                children.forget_dentry(a_name.as_bytes(), a);
                children.forget_dentry(b_name.as_bytes(), b);
                let old = (a.set_place(b_dir, b_name.as_bytes()), b.set_place(a_dir, a_name.as_bytes()));
                children.insert(a_name.as_bytes(), b, &mut looked);
                children.insert(b_name.as_bytes(), a, &mut looked);
                old
            });
        } else {
            let (mut a_table, mut b_table) = Self::both_tables(a_dir, b_dir);
            a_dir.change_table(&mut a_table, |children| children.forget_dentry(a_name.as_bytes(), a));
            b_dir.change_table(&mut b_table, |children| children.forget_dentry(b_name.as_bytes(), b));
            old = (a.set_place(b_dir, b_name.as_bytes()), b.set_place(a_dir, a_name.as_bytes()));
            a_table.insert(a_name.as_bytes(), b, &mut looked);
            b_table.insert(b_name.as_bytes(), a, &mut looked);
        }
        MOVES.fetch_add(1, Ordering::AcqRel);
        drop(old);
    }

    /// Takes the entry of a child that is going away out of the table.
    pub(super) fn forget_dead(&self, name: &[u8]) {
        if let Some(more) = self.more.get() {
            more.children.write().forget_dead(name);
        }
    }
}
