//! Mount namespaces: a tree of mounts, and the changes of it.
//!
//! The top of the tree is an empty file system that nobody sees (Linux's rootfs); the root is mounted on it, so that
//! pivot_root(2) can exchange it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::mount::UmountFlags;

use super::mount::{Mount, Propagation, TreeLock, lock_tree};
use super::path::Path;
use crate::Result;
use crate::task::UserNamespace;

/// Mounts that a namespace may have (`/proc/sys/fs/mount-max`).
const MOUNT_MAX: u64 = 100_000;

/// A mount namespace.
pub struct MountNamespace {
    /// What /proc/PID/ns/mnt shows.
    pub id: u64,
    /// Whose capabilities count for changes of the tree.
    pub user_ns: Arc<UserNamespace>,
    top: Arc<Mount>,
    mounts: AtomicU64,
    this: Weak<MountNamespace>,
}

/// What a change of the tree has left over: to be dropped when no lock is held.
#[derive(Default)]
#[must_use]
pub struct Leftovers(
    #[allow(dead_code, reason = "held until it may be dropped")] Vec<(Arc<Mount>, Option<Path>)>,
);

impl MountNamespace {
    /// A namespace with `root` as root. `id` is what /proc/PID/ns shows.
    pub fn new(id: u64, root: Arc<Mount>, user_ns: Arc<UserNamespace>) -> Arc<MountNamespace> {
        let top = super::internal::rootfs();
        let place = Path::new(Arc::clone(&top), Arc::clone(&top.root));
        let lock = lock_tree();
        let namespace = Self::with_top(id, top, user_ns, &lock);
        root.attach(&place, &namespace.this, &lock);
        namespace.mounts.store(2, Ordering::Relaxed);
        namespace
    }

    fn with_top(
        id: u64,
        top: Arc<Mount>,
        user_ns: Arc<UserNamespace>,
        lock: &TreeLock,
    ) -> Arc<MountNamespace> {
        Arc::new_cyclic(|this| {
            top.make_top(this, lock);
            MountNamespace { id, user_ns, top, mounts: AtomicU64::new(1), this: Weak::clone(this) }
        })
    }

    /// The root directory: what was mounted last on the top.
    pub fn root(&self) -> Path {
        let mut place = Path::new(Arc::clone(&self.top), Arc::clone(&self.top.root));
        while place.dentry.is_mount_point() {
            let Some(above) = place.mount.child_at(&place.dentry) else { break };
            let dentry = Arc::clone(&above.root);
            place = Path::new(above, dentry);
        }
        place
    }

    /// How many mounts it has.
    pub fn mount_count(&self) -> u64 {
        self.mounts.load(Ordering::Relaxed)
    }

    /// All mounts, parents before children, the hidden top left out.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        let mut found = vec![Arc::clone(&self.top)];
        let mut at = 0;
        while at < found.len() {
            found.extend(found[at].children());
            at += 1;
        }
        found.remove(0);
        found
    }

    fn holds(&self, mount: &Mount) -> bool {
        mount.is_in(&self.this)
    }

    /// Puts `mount`, which is nowhere, on `place`, together with what is mounted below it.
    pub fn attach(&self, mount: &Arc<Mount>, place: &Path) -> Result<()> {
        let lock = lock_tree();
        self.attach_locked(mount, place, &lock)
    }

    fn attach_locked(&self, mount: &Arc<Mount>, place: &Path, lock: &TreeLock) -> Result<()> {
        if !self.holds(&place.mount) {
            return Err(Errno::EINVAL);
        }
        if place.inode().is_dir() != mount.root.inode.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if place.dentry.is_unlinked() {
            return Err(Errno::ENOENT);
        }
        let new = subtree(mount);
        if self.mount_count() + new.len() as u64 > MOUNT_MAX {
            return Err(Errno::ENOSPC);
        }
        // Somebody may have been faster: then it goes on top.
        let mut place = place.clone();
        while let Some(above) = place.mount.child_at(&place.dentry) {
            let dentry = Arc::clone(&above.root);
            place = Path::new(above, dentry);
        }
        mount.attach(&place, &self.this, lock);
        for below in new.iter().skip(1) {
            below.set_namespace(&self.this);
        }
        self.mounts.fetch_add(new.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// A copy of what `source` shows, to be mounted elsewhere (MS_BIND); with what is mounted below it if `recursive`.
    pub fn bind(&self, source: &Path, recursive: Recursive) -> Result<Arc<Mount>> {
        let lock = lock_tree();
        if !self.holds(&source.mount) || source.mount.propagation().unbindable {
            return Err(Errno::EINVAL);
        }
        let copy = source.mount.copy(&source.dentry);
        if recursive == Recursive::Yes {
            let keep = |mount: &Arc<Mount>, point: &Path| {
                !mount.propagation().unbindable
                    && (!Arc::ptr_eq(&point.mount, &source.mount)
                        || source.dentry.is_ancestor_of(&point.dentry))
            };
            copy_below(&source.mount, &copy, &Weak::new(), keep, &lock);
        }
        Ok(copy)
    }

    /// umount2(2) of the mount whose top is `place`.
    pub fn unmount(&self, place: Path, flags: UmountFlags) -> Result<Leftovers> {
        let Path { mount, dentry } = place;
        if !self.holds(&mount) || !Arc::ptr_eq(&mount.root, &dentry) {
            return Err(Errno::EINVAL);
        }
        drop(dentry);
        let lock = lock_tree();
        let Some(point) = mount.mount_point() else { return Err(Errno::EINVAL) };
        if Arc::ptr_eq(&point.mount, &self.top) {
            // The root itself.
            return Err(Errno::EBUSY);
        }
        if flags.contains(UmountFlags::MNT_DETACH) {
            return Ok(self.detach_tree(&mount, &lock));
        }
        if mount.has_children() || !mount.detach_if_unused(2, &lock) {
            return Err(Errno::EBUSY);
        }
        self.mounts.fetch_sub(1, Ordering::Relaxed);
        Ok(Leftovers(vec![(mount, Some(point))]))
    }

    fn detach_tree(&self, mount: &Arc<Mount>, lock: &TreeLock) -> Leftovers {
        let tree = subtree(mount);
        self.mounts.fetch_sub(tree.len() as u64, Ordering::Relaxed);
        // From the leaves up: dropping them is then no recursion.
        let gone = tree.into_iter().rev().map(|mount| {
            let point = mount.detach(lock);
            (mount, point)
        });
        Leftovers(gone.collect())
    }

    /// mount(2) with MS_MOVE: `mount`, whose top is `from`, goes to `to`.
    pub fn move_mount(&self, from: &Path, to: &Path) -> Result<Leftovers> {
        let mount = &from.mount;
        if !self.holds(mount) || !self.holds(&to.mount) || !from.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let lock = lock_tree();
        let Some(point) = mount.mount_point() else { return Err(Errno::EINVAL) };
        if Arc::ptr_eq(&point.mount, &self.top) || point.mount.propagation().group != 0 {
            return Err(Errno::EINVAL);
        }
        if from.inode().is_dir() != to.inode().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if is_below(&to.mount, mount) {
            return Err(Errno::ELOOP);
        }
        let old = mount.detach(&lock);
        self.mounts.fetch_sub(subtree(mount).len() as u64, Ordering::Relaxed);
        self.attach_locked(mount, to, &lock)?;
        Ok(Leftovers(vec![(Arc::clone(mount), old)]))
    }

    /// pivot_root(2), seen from the caller's `root`. Those who stand at the old root are to be moved by the caller.
    pub fn pivot_root(&self, root: &Path, new_root: &Path, put_old: &Path) -> Result<Leftovers> {
        let lock = lock_tree();
        let (new, old) = (&new_root.mount, &root.mount);
        if ![new, old, &put_old.mount].iter().all(|mount| self.holds(mount)) {
            return Err(Errno::EINVAL);
        }
        if new_root.dentry.is_unlinked() {
            return Err(Errno::ENOENT);
        }
        if Arc::ptr_eq(new, old) || Arc::ptr_eq(&put_old.mount, old) {
            return Err(Errno::EBUSY);
        }
        let (Some(root_point), Some(new_point)) = (old.mount_point(), new.mount_point()) else {
            return Err(Errno::EINVAL);
        };
        let shared = |mount: &Mount| mount.propagation().group != 0;
        let in_place = root.is_mount_root() && new_root.is_mount_root();
        if !in_place || shared(&new_point.mount) || shared(&root_point.mount) || shared(new) {
            return Err(Errno::EINVAL);
        }
        if !is_reachable(put_old, new_root) || !is_reachable(new_root, root) {
            return Err(Errno::EINVAL);
        }
        let leftovers = vec![(Arc::clone(new), new.detach(&lock)), (Arc::clone(old), old.detach(&lock))];
        old.attach(put_old, &self.this, &lock);
        new.attach(&root_point, &self.this, &lock);
        Ok(Leftovers(leftovers))
    }

    /// A copy for unshare(2) and clone(2) with CLONE_NEWNS, and which mount of it stands for which of this one.
    pub fn copy(&self, id: u64, user_ns: Arc<UserNamespace>) -> (Arc<MountNamespace>, MountMap) {
        let lock = lock_tree();
        let top = self.top.copy(&self.top.root);
        let copy = Self::with_top(id, Arc::clone(&top), user_ns, &lock);
        let map = copy_below(&self.top, &top, &copy.this, |_, _| true, &lock);
        copy.mounts.store(map.0.len() as u64, Ordering::Relaxed);
        (copy, map)
    }

    /// Sets how `mount` spreads changes; with all below it if `recursive`.
    pub fn set_propagation(&self, mount: &Arc<Mount>, kind: PropagationKind, recursive: Recursive) {
        let _lock = lock_tree();
        let affected = if recursive == Recursive::Yes { subtree(mount) } else { vec![Arc::clone(mount)] };
        for mount in affected {
            let old = mount.propagation();
            let new = match kind {
                PropagationKind::Shared if old.group != 0 => old,
                PropagationKind::Shared => Propagation { group: next_group(), unbindable: false, ..old },
                PropagationKind::Private => Propagation::default(),
                PropagationKind::Slave => Propagation { group: 0, master: old.group.max(old.master), ..old },
                PropagationKind::Unbindable => Propagation { unbindable: true, ..Propagation::default() },
            };
            mount.set_propagation(new);
        }
    }
}

/// Whether what is mounted below is meant too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursive {
    /// MS_REC, AT_RECURSIVE.
    Yes,
    /// This mount alone.
    No,
}

/// MS_SHARED and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropagationKind {
    /// Gives to and takes from its peers.
    Shared,
    /// Neither.
    Private,
    /// Takes only.
    Slave,
    /// Neither, and can't be bound elsewhere.
    Unbindable,
}

/// Which mount of a copied namespace stands for which of the original.
pub struct MountMap(HashMap<u64, Arc<Mount>>);

impl MountMap {
    /// The same place in the copy; as it is, when it was not in the original.
    pub fn translate(&self, path: &Path) -> Path {
        match self.0.get(&path.mount.id) {
            Some(mount) => Path::new(Arc::clone(mount), Arc::clone(&path.dentry)),
            None => path.clone(),
        }
    }
}

fn next_group() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// `mount` and all that is mounted below it, parents first.
fn subtree(mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let mut found = vec![Arc::clone(mount)];
    let mut at = 0;
    while at < found.len() {
        found.extend(found[at].children());
        at += 1;
    }
    found
}

/// Copies what is mounted below `from` to below `to`, as far as it is kept.
fn copy_below(
    from: &Arc<Mount>,
    to: &Arc<Mount>,
    namespace: &Weak<MountNamespace>,
    keep: impl Fn(&Arc<Mount>, &Path) -> bool,
    lock: &TreeLock,
) -> MountMap {
    let mut map = HashMap::from([(from.id, Arc::clone(to))]);
    for mount in subtree(from).into_iter().skip(1) {
        let Some(point) = mount.mount_point() else { continue };
        // What is below something that was left out is left out.
        let Some(parent) = map.get(&point.mount.id) else { continue };
        if keep(&mount, &point) {
            let copy = mount.copy(&mount.root);
            copy.attach(&Path::new(Arc::clone(parent), Arc::clone(&point.dentry)), namespace, lock);
            map.insert(mount.id, copy);
        }
    }
    MountMap(map)
}

/// Whether `mount` is `top` or mounted below it.
fn is_below(mount: &Arc<Mount>, top: &Arc<Mount>) -> bool {
    let mut at = Arc::clone(mount);
    loop {
        if Arc::ptr_eq(&at, top) {
            return true;
        }
        let Some(point) = at.mount_point() else { return false };
        at = point.mount;
    }
}

/// Whether the way up from `place` meets `root`.
fn is_reachable(place: &Path, root: &Path) -> bool {
    let mut at = place.clone();
    while !Arc::ptr_eq(&at.mount, &root.mount) {
        let Some(point) = at.mount.mount_point() else { return false };
        at = point;
    }
    root.dentry.is_ancestor_of(&at.dentry)
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        let leftovers = {
            let lock = lock_tree();
            let top = Arc::clone(&self.top);
            self.detach_tree(&top, &lock)
        };
        drop(leftovers);
    }
}

impl std::fmt::Debug for MountNamespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mnt:[{}]", self.id)
    }
}
