//! Mounts: a subtree of a file system, shown at a place of another mount.
//!
//! The shape of the tree (who is mounted where) changes under one lock for all namespaces, because propagation crosses
//! them; walks read single mounts without it.
//!
//! Lock levels: `Mount` for the tree lock ([`lock_tree`]); the fields of a mount are `Leaf`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use sync::{Mutex, MutexGuard, RwLock};

use super::dentry::Dentry;
use super::namespace::MountNamespace;
use super::path::Path;
use super::super_block::SuperBlock;

/// Flags of one mount: RDONLY, NOSUID, NODEV, NOEXEC, NOATIME, NODIRATIME, RELATIME, NOSYMFOLLOW.
pub use abi::stat::StatfsFlags as MountFlags;

/// How mounts below this one spread (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// Peer group it gives to and takes from; 0 when not shared.
    pub group: u64,
    /// Peer group it takes from; 0 when no slave.
    pub master: u64,
    /// MS_UNBINDABLE.
    pub unbindable: bool,
}

/// A mount.
pub struct Mount {
    /// What statx(2) and mountinfo call it. Never used twice.
    pub id: u64,
    /// What it shows.
    pub root: Arc<Dentry>,
    /// The source as it was given to mount(2).
    pub source: Box<[u8]>,
    flags: AtomicU64,
    place: RwLock<MountPlace, sync::levels::Leaf>,
    /// What is mounted on dentries of this mount, by their address; they stay while mounts hold them.
    children: RwLock<HashMap<usize, Arc<Mount>>, sync::levels::Leaf>,
    propagation: Mutex<Propagation, sync::levels::Leaf>,
}

#[derive(Default)]
struct MountPlace {
    point: Option<Path>,
    namespace: Weak<MountNamespace>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(20);
static TREE: Mutex<(), sync::levels::Mount> = Mutex::new(());

/// Counts changes of mount trees.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// How often the shape of mount trees has changed.
pub fn tree_changes() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

/// The right to change the shape of mount trees.
pub struct TreeLock(
    #[allow(dead_code, reason = "held for its lock")] MutexGuard<'static, (), sync::levels::Mount>,
);

/// Takes the lock of all mount trees. Mounts that are taken out must be dropped after it.
pub fn lock_tree() -> TreeLock {
    TreeLock(TREE.lock())
}

impl Mount {
    /// A mount that is nowhere yet.
    pub fn new(root: Arc<Dentry>, source: &[u8], flags: MountFlags) -> Arc<Mount> {
        root.inode.sb.activate();
        Arc::new(Mount {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            root,
            source: source.into(),
            flags: AtomicU64::new(flags.bits()),
            place: RwLock::default(),
            children: RwLock::default(),
            propagation: Mutex::default(),
        })
    }

    /// The file system.
    pub fn sb(&self) -> &Arc<SuperBlock> {
        &self.root.inode.sb
    }

    /// Flags of this mount.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Replaces the flags.
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// Whether nothing may be changed through it.
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MountFlags::RDONLY) || self.sb().is_read_only()
    }

    /// Where it is mounted; `None` at the top of a tree, and when it is not mounted any more.
    pub fn mount_point(&self) -> Option<Path> {
        self.place.read().point.clone()
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> Option<Arc<MountNamespace>> {
        self.place.read().namespace.upgrade()
    }

    /// Whether it is in this namespace. Unlike [`namespace`](Self::namespace) this never holds the last reference.
    pub(super) fn is_in(&self, namespace: &Weak<MountNamespace>) -> bool {
        Weak::ptr_eq(&self.place.read().namespace, namespace)
    }

    /// What is mounted on `dentry` of this mount.
    pub fn child_at(&self, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        self.children.read().get(&key(dentry)).cloned()
    }

    /// What is mounted on dentries of this mount, in the order in which it was mounted.
    pub fn children(&self) -> Vec<Arc<Mount>> {
        let mut children: Vec<_> = self.children.read().values().cloned().collect();
        children.sort_by_key(|m| m.id);
        children
    }

    /// Propagation.
    pub fn propagation(&self) -> Propagation {
        *self.propagation.lock()
    }

    /// Sets the propagation.
    pub fn set_propagation(&self, propagation: Propagation) {
        *self.propagation.lock() = propagation;
    }

    /// Whether anything is mounted below it.
    pub fn has_children(&self) -> bool {
        !self.children.read().is_empty()
    }

    /// Another mount of the same file system that shows `root`, with the same flags.
    pub(super) fn copy(&self, root: &Arc<Dentry>) -> Arc<Mount> {
        let copy = Mount::new(Arc::clone(root), &self.source, self.flags());
        copy.set_propagation(self.propagation());
        copy
    }

    /// It is part of `namespace`.
    pub(super) fn set_namespace(&self, namespace: &Weak<MountNamespace>) {
        self.place.write().namespace = Weak::clone(namespace);
    }

    /// Takes it from its place if nobody but the parent and `others - 1` references of the caller hold it.
    pub(super) fn detach_if_unused(self: &Arc<Self>, others: usize, _lock: &TreeLock) -> bool {
        let Some(point) = self.mount_point() else { return false };
        let removed = {
            // Walks get a new reference from the parent's table only: not while this is held.
            let mut table = point.mount.children.write();
            if Arc::strong_count(self) != others {
                return false;
            }
            table.remove(&key(&point.dentry))
        };
        let place = std::mem::take(&mut *self.place.write());
        CHANGES.fetch_add(1, Ordering::AcqRel);
        point.dentry.remove_mount();
        drop((removed, place));
        true
    }

    /// Puts it on `point`, where nothing is mounted yet.
    pub(super) fn attach(self: &Arc<Self>, point: &Path, namespace: &Weak<MountNamespace>, _lock: &TreeLock) {
        CHANGES.fetch_add(1, Ordering::AcqRel);
        *self.place.write() = MountPlace { point: Some(point.clone()), namespace: Weak::clone(namespace) };
        point.dentry.add_mount();
        point.mount.children.write().insert(key(&point.dentry), Arc::clone(self));
    }

    /// Makes it the top of `namespace`.
    pub(super) fn make_top(&self, namespace: &Weak<MountNamespace>, _lock: &TreeLock) {
        *self.place.write() = MountPlace { point: None, namespace: Weak::clone(namespace) };
    }

    /// Takes it from its place. The answer is dropped after the lock.
    pub(super) fn detach(self: &Arc<Self>, _lock: &TreeLock) -> Option<Path> {
        CHANGES.fetch_add(1, Ordering::AcqRel);
        let place = std::mem::take(&mut *self.place.write());
        let point = place.point?;
        point.mount.children.write().remove(&key(&point.dentry));
        point.dentry.remove_mount();
        Some(point)
    }
}

fn key(dentry: &Arc<Dentry>) -> usize {
    Arc::as_ptr(dentry) as usize
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.root.inode.sb.deactivate();
    }
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mount {} of {}", self.id, self.sb().kind())
    }
}
