//! Mounts: a subtree of a file system, shown at a place of another mount.
//!
//! The shape of the tree (who is mounted where) changes under one lock for all namespaces, because propagation crosses
//! them; walks read single mounts without it.
//!
//! Lock levels: `Mount` for the tree lock ([`lock_tree`]); the fields of a mount are `Leaf`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use abi::Errno;
use sync::{Mutex, MutexGuard, RwLock};

use super::dentry::Dentry;
use super::fanotify::Marks;
use super::namespace::MountNamespace;
use super::path::Path;
pub use super::propagation::Propagation;
use super::super_block::SuperBlock;
use crate::Result;
use crate::fs::nsfs::{self, Namespace};

/// Flags of one mount: RDONLY, NOSUID, NODEV, NOEXEC, NOATIME, NODIRATIME, RELATIME, NOSYMFOLLOW.
pub use abi::stat::StatfsFlags as MountFlags;

/// A mount.
pub struct Mount {
    /// What statx(2) and mountinfo call it. Never used twice.
    pub id: u64,
    /// What it shows.
    pub root: Arc<Dentry>,
    /// The source as it was given to mount(2).
    pub source: Box<[u8]>,
    flags: AtomicU64,
    /// Flags that its holder may not take off, because it came from a more privileged user namespace.
    locked_flags: AtomicU64,
    /// It may not be taken from its place alone: what it covers is hidden from a less privileged user namespace.
    locked: AtomicBool,
    /// Files that were opened for writing through it.
    writers: AtomicU64,
    /// umount2(2) with MNT_EXPIRE has come by, and nobody has used it since.
    expiring: AtomicBool,
    place: RwLock<MountPlace, sync::levels::Leaf>,
    /// What is mounted on dentries of this mount, by their address; they stay while mounts hold them.
    children: RwLock<HashMap<usize, Arc<Mount>>, sync::levels::Leaf>,
    propagation: Mutex<Propagation, sync::levels::Leaf>,
    /// Marks of fanotify(7), made when the first comes.
    marks: OnceLock<Box<Marks>>,
}

#[derive(Default)]
struct MountPlace {
    point: Option<Path>,
    namespace: Weak<MountNamespace>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(20);
/// Mounts by the dentries that they are on, in all namespaces.
static POINTS: LazyLock<Mutex<Points, sync::levels::Leaf>> = LazyLock::new(Mutex::default);

type Points = HashMap<usize, Vec<Weak<Mount>>>;

/// What is mounted on `dentry` in any namespace.
pub(super) fn mounted_on(dentry: &Arc<Dentry>, _lock: &TreeLock) -> Vec<Arc<Mount>> {
    let points = POINTS.lock();
    points.get(&key(dentry)).map_or_else(Vec::new, |mounts| mounts.iter().filter_map(Weak::upgrade).collect())
}

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
            locked_flags: AtomicU64::new(0),
            locked: AtomicBool::new(false),
            writers: AtomicU64::new(0),
            expiring: AtomicBool::new(false),
            place: RwLock::default(),
            children: RwLock::default(),
            propagation: Mutex::default(),
            marks: OnceLock::new(),
        })
    }

    /// Its marks of fanotify(7); made on first use.
    pub(super) fn marks(&self) -> &Marks {
        self.marks.get_or_init(Box::default)
    }

    /// Its marks of fanotify(7), if ever there were any.
    pub(super) fn marks_if_any(&self) -> Option<&Marks> {
        self.marks.get().map(|marks| &**marks)
    }

    /// Its id in the newer calls: never that of a mount by the older count.
    pub fn unique_id(&self) -> u64 {
        self.id + (1 << 32)
    }

    /// Whether it shows a mount namespace as a file.
    pub(super) fn is_mount_namespace(&self) -> bool {
        matches!(nsfs::of_inode(&self.root.inode), Some(Namespace::Mount(_)))
    }

    /// Where in its file system it begins.
    pub fn root_text(&self) -> Vec<u8> {
        if nsfs::of_inode(&self.root.inode).is_some() {
            return self.root.name().as_bytes().to_vec();
        }
        let mut text: Vec<u8> = Vec::new();
        let mut dentry = Arc::clone(&self.root);
        while let Some(up) = dentry.parent() {
            let name = dentry.name();
            text = [b"/", name.as_bytes(), &text[..]].concat();
            dentry = up;
        }
        if text.is_empty() {
            text.push(b'/');
        }
        if self.root.is_unlinked() {
            text.extend_from_slice(b"//deleted");
        }
        text
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

    /// Replaces the flags as a caller asks who may not take off locked ones: EPERM.
    pub fn change_flags(&self, flags: MountFlags) -> Result<()> {
        self.may_change_flags(flags)?;
        self.set_flags(flags);
        Ok(())
    }

    /// Whether [`change_flags`](Self::change_flags) may; EBUSY when it is to be read-only and files are open for writing.
    pub fn may_change_flags(&self, flags: MountFlags) -> Result<()> {
        self.may_take_off(flags)?;
        let newly_read_only =
            flags.contains(MountFlags::RDONLY) && !self.flags().contains(MountFlags::RDONLY);
        if newly_read_only && self.has_writers() { Err(Errno::EBUSY) } else { Ok(()) }
    }

    /// EPERM where `flags` lack a locked one.
    pub fn may_take_off(&self, flags: MountFlags) -> Result<()> {
        let locked = MountFlags::from_bits_retain(self.locked_flags.load(Ordering::Relaxed));
        let kept = locked & !ATIME;
        let same_atime = !locked.intersects(ATIME) || (flags ^ self.flags()) & ATIME == MountFlags::empty();
        if flags.contains(kept) && same_atime { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) != 0
    }

    /// A file is opened for writing through it.
    pub(super) fn writer_comes(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
        self.sb().writer_comes();
    }

    /// It is closed.
    pub(super) fn writer_goes(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
        self.sb().writer_goes();
    }

    /// It has come to a less privileged user namespace: its flags stay on.
    pub(super) fn lock_flags(&self) {
        let stay = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // How times of access are kept is locked whatever it is.
        let locked = (self.flags() & stay) | ATIME;
        self.locked_flags.fetch_or(locked.bits(), Ordering::Relaxed);
    }

    /// Whether it is bound to its place.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    /// Binds it to its place, or frees it.
    pub(super) fn set_locked(&self, locked: bool) {
        self.locked.store(locked, Ordering::Relaxed);
    }

    /// Marks it as about to expire; whether it was marked.
    pub(super) fn mark_expiring(&self) -> bool {
        self.expiring.swap(true, Ordering::Relaxed)
    }

    /// Somebody uses it.
    pub fn used(&self) {
        if self.expiring.load(Ordering::Relaxed) {
            self.expiring.store(false, Ordering::Relaxed);
        }
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

    /// Sets the propagation; who is in which group is the business of `propagation::groups`.
    pub(super) fn set_propagation(&self, propagation: Propagation) {
        *self.propagation.lock() = propagation;
    }

    /// Whether it gives to peers.
    pub fn is_shared(&self) -> bool {
        self.propagation().group != 0
    }

    /// Whether anything is mounted below it.
    pub fn has_children(&self) -> bool {
        !self.children.read().is_empty()
    }

    /// Another mount of the same file system that shows `root`, with the same flags and the same propagation.
    pub(super) fn copy(&self, root: &Arc<Dentry>) -> Arc<Mount> {
        let copy = Mount::new(Arc::clone(root), &self.source, self.flags());
        copy.locked_flags.store(self.locked_flags.load(Ordering::Relaxed), Ordering::Relaxed);
        copy.set_propagation(Propagation { unbindable: false, ..self.propagation() });
        copy
    }

    /// It is part of `namespace`.
    pub(super) fn set_namespace(&self, namespace: &Weak<MountNamespace>) {
        self.place.write().namespace = Weak::clone(namespace);
    }

    /// Whether nobody but the parent's table and `others - 1` references of the caller hold it.
    pub(super) fn is_unused(self: &Arc<Self>, others: usize, _lock: &TreeLock) -> bool {
        Arc::strong_count(self) == others
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
        self.forget_point(&point);
        drop((removed, place));
        true
    }

    /// Puts it on `point`, where nothing is mounted yet.
    pub(super) fn attach(self: &Arc<Self>, point: &Path, namespace: &Weak<MountNamespace>, _lock: &TreeLock) {
        CHANGES.fetch_add(1, Ordering::AcqRel);
        *self.place.write() = MountPlace { point: Some(point.clone()), namespace: Weak::clone(namespace) };
        point.dentry.add_mount();
        POINTS.lock().entry(key(&point.dentry)).or_default().push(Arc::downgrade(self));
        point.mount.children.write().insert(key(&point.dentry), Arc::clone(self));
    }

    fn forget_point(self: &Arc<Self>, point: &Path) {
        let mut points = POINTS.lock();
        if let Some(mounts) = points.get_mut(&key(&point.dentry)) {
            mounts.retain(|mount| !std::ptr::eq(mount.as_ptr(), Arc::as_ptr(self)));
            if mounts.is_empty() {
                points.remove(&key(&point.dentry));
            }
        }
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
        self.forget_point(&point);
        Some(point)
    }
}

/// How times of access are kept.
pub(super) const ATIME: MountFlags =
    MountFlags::NOATIME.union(MountFlags::NODIRATIME).union(MountFlags::RELATIME);

fn key(dentry: &Arc<Dentry>) -> usize {
    Arc::as_ptr(dentry) as usize
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(marks) = self.marks.get() {
            marks.end_all();
        }
        self.root.inode.sb.deactivate();
    }
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mount {} of {}", self.id, self.sb().kind())
    }
}
