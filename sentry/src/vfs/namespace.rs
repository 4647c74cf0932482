//! Mount namespaces: a tree of mounts, and the changes of it.
//!
//! The top of the tree is an empty file system that nobody sees (Linux's rootfs); the root is mounted on it, so that
//! pivot_root(2) can exchange it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::mount::UmountFlags;

use super::dentry::Dentry;
use super::mount::{Mount, TreeLock, lock_tree, mounted_on};
use super::path::Path;
pub use super::propagation::PropagationKind;
use super::propagation::{self, Propagation};
use crate::Result;
use crate::fs::nsfs::{self, Namespace};
use crate::task::UserNamespace;

/// Mounts that a namespace may have (`/proc/sys/fs/mount-max`).
pub(super) const MOUNT_MAX: u64 = 100_000;

/// A mount namespace.
pub struct MountNamespace {
    /// What /proc/PID/ns/mnt shows.
    pub id: u64,
    /// Whose capabilities count for changes of the tree.
    pub user_ns: Arc<UserNamespace>,
    top: Arc<Mount>,
    kind: Kind,
    mounts: AtomicU64,
    this: Weak<MountNamespace>,
}

/// What a change of the tree has left over: to be dropped when no lock is held.
#[derive(Default)]
#[must_use]
pub struct Leftovers {
    mounts: Vec<(Arc<Mount>, Option<Path>)>,
    #[allow(dead_code, reason = "held until they may be dropped")]
    namespaces: Vec<Arc<MountNamespace>>,
}

/// Where [`MountNamespace::move_mount`] puts a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Over what is mounted there.
    Top,
    /// Under the mount whose root the place is (MOVE_MOUNT_BENEATH).
    Beneath,
}

impl MountNamespace {
    /// A namespace with `root` as root. `id` is what /proc/PID/ns shows.
    pub fn new(id: u64, root: Arc<Mount>, user_ns: Arc<UserNamespace>) -> Arc<MountNamespace> {
        let top = super::internal::rootfs();
        let place = Path::new(Arc::clone(&top), Arc::clone(&top.root));
        let lock = lock_tree();
        let namespace = Self::with_top(id, top, user_ns, Kind::Ordinary, &lock);
        root.attach(&place, &namespace.this, &lock);
        namespace.mounts.store(2, Ordering::Relaxed);
        namespace
    }

    /// A tree of mounts that is nowhere: it lives as long as the namespace, or until it is moved to a place.
    pub fn detached(root: Arc<Mount>, user_ns: Arc<UserNamespace>) -> Arc<MountNamespace> {
        let lock = lock_tree();
        Self::detached_locked(root, user_ns, &lock)
    }

    fn detached_locked(
        root: Arc<Mount>,
        user_ns: Arc<UserNamespace>,
        lock: &TreeLock,
    ) -> Arc<MountNamespace> {
        let tree = subtree(&root);
        let namespace = Self::with_top(0, root, user_ns, Kind::Detached, lock);
        namespace.mounts.store(tree.len() as u64, Ordering::Relaxed);
        for mount in &tree {
            mount.set_namespace(&namespace.this);
            propagation::enlist(mount, lock);
        }
        namespace
    }

    fn with_top(
        id: u64,
        top: Arc<Mount>,
        user_ns: Arc<UserNamespace>,
        kind: Kind,
        lock: &TreeLock,
    ) -> Arc<MountNamespace> {
        Arc::new_cyclic(|this| {
            top.make_top(this, lock);
            MountNamespace { id, user_ns, top, kind, mounts: AtomicU64::new(1), this: Weak::clone(this) }
        })
    }

    /// The root directory: what was mounted last on the top.
    pub fn root(&self) -> Path {
        Path::new(Arc::clone(&self.top), Arc::clone(&self.top.root)).topmost()
    }

    /// How many mounts it has.
    pub fn mount_count(&self) -> u64 {
        self.mounts.load(Ordering::Relaxed)
    }

    /// All mounts, parents before children, the hidden top left out.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        let mut found = subtree(&self.top);
        found.remove(0);
        found
    }

    /// `mount` and all that is mounted below it, parents first.
    pub fn tree_below(&self, mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
        subtree(mount)
    }

    /// The top of a tree that is nowhere.
    pub fn root_of_detached(&self) -> Path {
        Path::new(Arc::clone(&self.top), Arc::clone(&self.top.root))
    }

    /// Whether `mount` is in it.
    pub fn holds(&self, mount: &Mount) -> bool {
        mount.is_in(&self.this)
    }

    /// Whether it is a tree of mounts that is nowhere.
    pub fn is_detached(&self) -> bool {
        self.kind == Kind::Detached
    }

    /// Whether the owner of this namespace may use what `mount` shows: it is in it, or in a tree that is nowhere and
    /// belongs to the same user namespace.
    fn may_use(&self, mount: &Mount, left: &mut Leftovers) -> bool {
        if self.holds(mount) {
            return true;
        }
        // Namespaces can be had as files without being mounted.
        if mount.sb().kind() == nsfs::KIND {
            return mount.namespace().is_none();
        }
        let Some(other) = mount.namespace() else { return false };
        let usable = other.is_detached() && Arc::ptr_eq(&other.user_ns, &self.user_ns);
        left.namespaces.push(other);
        usable
    }

    /// Puts `mount`, which is nowhere, on `place`, together with what is mounted below it.
    pub fn attach(&self, mount: &Arc<Mount>, place: &Path) -> Result<()> {
        let mut left = Leftovers::default();
        let done = {
            let lock = lock_tree();
            if self.holds(&place.mount) {
                self.attach_locked(mount, place, &lock, &mut left)
            } else {
                Err(Errno::EINVAL)
            }
        };
        drop(left);
        done
    }

    fn attach_locked(
        &self,
        mount: &Arc<Mount>,
        place: &Path,
        lock: &TreeLock,
        left: &mut Leftovers,
    ) -> Result<()> {
        if place.inode().is_dir() != mount.root.inode.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        // Somebody may have been faster: then it goes on top.
        let place = place.clone().topmost();
        self.graft(mount, &place, None, lock, left)
    }

    /// Puts `mount` on `place`, and copies of it wherever that spreads to. `above` comes on top of it.
    fn graft(
        &self,
        mount: &Arc<Mount>,
        place: &Path,
        above: Option<&Arc<Mount>>,
        lock: &TreeLock,
        left: &mut Leftovers,
    ) -> Result<()> {
        if place.dentry.is_unlinked() {
            return Err(Errno::ENOENT);
        }
        let new = subtree(mount);
        // A mount namespace stays in one place: others, which it may hold, would hold it.
        if place.mount.is_shared() && new.iter().any(|mount| mount.is_mount_namespace()) {
            return Err(Errno::EINVAL);
        }
        if self.mount_count() + new.len() as u64 > MOUNT_MAX {
            return Err(Errno::ENOSPC);
        }
        let mut copies = Vec::new();
        if place.mount.is_shared() {
            let before = propagation::share(&new);
            let made = propagation::copies(mount, place, lock).inspect_err(|_| before.restore(&new))?;
            for (copy, point) in made {
                // One that is being taken down gets nothing any more.
                let Some(namespace) = point.mount.namespace() else { continue };
                copies.push((copy, point, Arc::clone(&namespace)));
                left.namespaces.push(namespace);
            }
            let mut wanted: HashMap<*const MountNamespace, u64> = HashMap::new();
            for (_, _, namespace) in &copies {
                let count = wanted.entry(Arc::as_ptr(namespace)).or_default();
                *count += new.len() as u64;
                if namespace.mount_count() + *count > MOUNT_MAX {
                    left.mounts.extend(copies.into_iter().map(|(copy, _, _)| (copy, None)));
                    before.restore(&new);
                    return Err(Errno::ENOSPC);
                }
            }
        }
        self.put(mount, place, above, lock, left);
        for (copy, point, namespace) in copies {
            let covered = point.mount.child_at(&point.dentry);
            if !Arc::ptr_eq(&namespace.user_ns, &self.user_ns) {
                lock_tree_of_mounts(&copy);
                copy.set_locked(false);
            }
            namespace.put(&copy, &point, covered.as_ref(), lock, left);
        }
        Ok(())
    }

    /// Puts `mount` on `place`, under `above`.
    fn put(
        &self,
        mount: &Arc<Mount>,
        place: &Path,
        above: Option<&Arc<Mount>>,
        lock: &TreeLock,
        left: &mut Leftovers,
    ) {
        if let Some(above) = above {
            left.mounts.push((Arc::clone(above), above.detach(lock)));
        }
        mount.attach(place, &self.this, lock);
        let tree = subtree(mount);
        for mount in &tree {
            mount.set_namespace(&self.this);
            propagation::enlist(mount, lock);
        }
        self.mounts.fetch_add(tree.len() as u64, Ordering::Relaxed);
        if let Some(above) = above {
            let top = Path::new(Arc::clone(mount), Arc::clone(&mount.root)).topmost();
            let namespace = above.namespace();
            let weak = namespace.as_ref().map_or_else(|| Weak::clone(&self.this), |ns| Weak::clone(&ns.this));
            left.namespaces.extend(namespace);
            above.attach(&top, &weak, lock);
        }
    }

    /// Mounts what `source` shows on `place` too (MS_BIND); with what is mounted below it if `recursive`.
    pub fn bind(&self, source: &Path, recursive: Recursive, place: &Path) -> Result<Leftovers> {
        let lock = lock_tree();
        let mut left = Leftovers::default();
        let done = self.copy_of(source, recursive, &lock, &mut left).and_then(|copy| {
            left.mounts.push((Arc::clone(&copy), None));
            // Only one that is newer, and so can't hold this one.
            if let Some(Namespace::Mount(shown)) = nsfs::of_inode(&copy.root.inode)
                && shown.id <= self.id
            {
                return Err(Errno::EINVAL);
            }
            if !self.holds(&place.mount) {
                return Err(Errno::EINVAL);
            }
            self.attach_locked(&copy, place, &lock, &mut left)
        });
        drop(lock);
        done.map(|()| left)
    }

    /// A copy of what `source` shows, which is nowhere (OPEN_TREE_CLONE); with what is mounted below it if `recursive`.
    pub fn detached_copy(&self, source: &Path, recursive: Recursive) -> Result<Arc<MountNamespace>> {
        let mut left = Leftovers::default();
        let copy = {
            let lock = lock_tree();
            let mut copy = self.copy_of(source, recursive, &lock, &mut left);
            if copy.as_ref().is_ok_and(|copy| copy.is_mount_namespace()) {
                left.mounts.extend(copy.ok().map(|copy| (copy, None)));
                copy = Err(Errno::EINVAL);
            }
            copy.map(|copy| Self::detached_locked(copy, Arc::clone(&self.user_ns), &lock))
        };
        drop(left);
        copy
    }

    fn copy_of(
        &self,
        source: &Path,
        recursive: Recursive,
        lock: &TreeLock,
        left: &mut Leftovers,
    ) -> Result<Arc<Mount>> {
        if !self.may_use(&source.mount, left) || source.mount.propagation().unbindable {
            return Err(Errno::EINVAL);
        }
        let is_below = |point: &Path| {
            !Arc::ptr_eq(&point.mount, &source.mount) || source.dentry.is_ancestor_of(&point.dentry)
        };
        if recursive == Recursive::No {
            let mut children = source.mount.children().into_iter();
            if children.any(|child| child.is_locked() && child.mount_point().is_some_and(|at| is_below(&at)))
            {
                return Err(Errno::EINVAL);
            }
            return Ok(source.mount.copy(&source.dentry));
        }
        let copy = source.mount.copy(&source.dentry);
        let keep = |mount: &Arc<Mount>, point: &Path| !mount.propagation().unbindable && is_below(point);
        copy_below(&source.mount, &copy, &Weak::new(), keep, Copying::Unlisted, lock);
        Ok(copy)
    }

    /// umount2(2) of the mount whose top is `place`. `root` is the caller's.
    pub fn unmount(&self, place: Path, root: &Path, flags: UmountFlags) -> Result<Leftovers> {
        let Path { mount, dentry } = place;
        if !Arc::ptr_eq(&mount.root, &dentry) || !self.holds(&mount) || mount.is_locked() {
            return Err(Errno::EINVAL);
        }
        drop(dentry);
        let lock = lock_tree();
        let Some(point) = mount.mount_point() else { return Err(Errno::EINVAL) };
        let is_root = Arc::ptr_eq(&mount, &root.mount);
        if flags.contains(UmountFlags::MNT_EXPIRE) {
            if is_root || flags.intersects(UmountFlags::MNT_DETACH | UmountFlags::MNT_FORCE) {
                return Err(Errno::EINVAL);
            }
            if mount.has_children() || !mount.is_unused(2, &lock) {
                return Err(Errno::EBUSY);
            }
            if !mount.mark_expiring() {
                return Err(Errno::EAGAIN);
            }
        }
        if Arc::ptr_eq(&point.mount, &self.top) {
            // The root itself.
            return Err(Errno::EBUSY);
        }
        if flags.contains(UmountFlags::MNT_DETACH) {
            return Ok(self.detach_spread(&mount, &lock));
        }
        if mount.has_children() {
            return Err(Errno::EBUSY);
        }
        let mut left = Leftovers::default();
        let mut twins = propagation::twins(&point, &lock);
        // What has mounts of its own stays.
        twins.retain(|twin| only_on_top(twin).is_ok());
        let busy = twins.iter().any(|twin| {
            let over = usize::from(twin.has_children());
            !twin.is_unused(2 + over, &lock)
        });
        let done = !busy && mount.detach_if_unused(2, &lock);
        if !done {
            drop((twins, lock));
            return Err(Errno::EBUSY);
        }
        propagation::leave(&mount, &lock);
        self.mounts.fetch_sub(1, Ordering::Relaxed);
        left.mounts.push((mount, Some(point)));
        for twin in twins {
            take_out(&twin, &lock, &mut left);
        }
        Ok(left)
    }

    /// Takes a tree down, and its twins elsewhere.
    fn detach_spread(&self, mount: &Arc<Mount>, lock: &TreeLock) -> Leftovers {
        let mut doomed: HashMap<u64, Arc<Mount>> = HashMap::new();
        for mount in subtree(mount) {
            if let Some(point) = mount.mount_point() {
                doomed.extend(propagation::twins(&point, lock).into_iter().map(|twin| (twin.id, twin)));
            }
        }
        let mut left = self.detach_tree(mount, lock);
        for (gone, _) in &left.mounts {
            doomed.remove(&gone.id);
        }
        // From the leaves up; what still has others on it stays.
        while let Some(id) = doomed.values().find(|twin| only_on_top(twin).is_ok()).map(|twin| twin.id) {
            if let Some(twin) = doomed.remove(&id) {
                take_out(&twin, lock, &mut left);
            }
        }
        left.mounts.extend(doomed.into_values().map(|mount| (mount, None)));
        left
    }

    fn detach_tree(&self, mount: &Arc<Mount>, lock: &TreeLock) -> Leftovers {
        let tree = subtree(mount);
        self.mounts.fetch_sub(tree.len() as u64, Ordering::Relaxed);
        // From the leaves up: dropping them is then no recursion.
        let gone = tree.into_iter().rev().map(|mount| {
            propagation::leave(&mount, lock);
            let point = mount.detach(lock);
            (mount, point)
        });
        Leftovers { mounts: gone.collect(), namespaces: Vec::new() }
    }

    /// move_mount(2), and mount(2) with MS_MOVE: `mount`, whose top is `from`, goes to `to`.
    pub fn move_mount(&self, from: &Path, to: &Path, layer: Layer) -> Result<Leftovers> {
        let mut left = Leftovers::default();
        let lock = lock_tree();
        let done = self.move_locked(from, to, layer, &lock, &mut left);
        drop(lock);
        done.map(|()| left)
    }

    fn move_locked(
        &self,
        from: &Path,
        to: &Path,
        layer: Layer,
        lock: &TreeLock,
        left: &mut Leftovers,
    ) -> Result<()> {
        let mount = &from.mount;
        if !from.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let Some(old_home) = mount.namespace() else { return Err(Errno::EINVAL) };
        left.namespaces.push(Arc::clone(&old_home));
        let point = mount.mount_point();
        if self.holds(mount) {
            let Some(point) = &point else { return Err(Errno::EINVAL) };
            let fixed = Arc::ptr_eq(&point.mount, &self.top) || mount.is_locked() || point.mount.is_shared();
            if fixed || !self.holds(&to.mount) {
                return Err(Errno::EINVAL);
            }
        } else {
            let is_top = old_home.is_detached() && point.is_none();
            if !is_top || old_home.holds(&to.mount) || !self.may_use(&to.mount, left) {
                return Err(Errno::EINVAL);
            }
        }
        if from.inode().is_dir() != to.inode().is_dir() {
            return Err(Errno::EINVAL);
        }
        let place = match layer {
            Layer::Top => to.clone().topmost(),
            Layer::Beneath => {
                let above = to.mount.mount_point().filter(|_| to.is_mount_root()).ok_or(Errno::EINVAL)?;
                let is_root = Arc::ptr_eq(&above.mount, &self.top);
                // Neither under the root nor where it would spread to what is above it.
                if is_root || to.mount.is_locked() || Arc::ptr_eq(mount, &to.mount) {
                    return Err(Errno::EINVAL);
                }
                above
            }
        };
        if place.mount.is_shared() && subtree(mount).iter().any(|mount| mount.propagation().unbindable) {
            return Err(Errno::EINVAL);
        }
        if is_below(&place.mount, mount) {
            return Err(Errno::ELOOP);
        }
        let Some(new_home) = place.mount.namespace() else { return Err(Errno::EINVAL) };
        left.namespaces.push(Arc::clone(&new_home));
        let count = subtree(mount).len() as u64;
        old_home.mounts.fetch_sub(count, Ordering::Relaxed);
        let old = mount.detach(lock);
        let above = (layer == Layer::Beneath).then_some(&to.mount);
        let done = new_home.graft(mount, &place, above, lock, left);
        if done.is_err() {
            // Back to where it was.
            match &old {
                Some(point) => mount.attach(point, &old_home.this, lock),
                None => mount.make_top(&old_home.this, lock),
            }
            old_home.mounts.fetch_add(count, Ordering::Relaxed);
        }
        left.mounts.push((Arc::clone(mount), old));
        done
    }

    /// move_mount(2) with MOVE_MOUNT_SET_GROUP: `to` takes over the groups of `from`.
    pub fn set_group(&self, from: &Path, to: &Path) -> Result<()> {
        let lock = lock_tree();
        let (source, target) = (&from.mount, &to.mount);
        let own = self.holds(source) && self.holds(target);
        if !own || !from.is_mount_root() || !to.is_mount_root() || !Arc::ptr_eq(source.sb(), target.sb()) {
            return Err(Errno::EINVAL);
        }
        let is_grouped = |mount: &Mount| {
            let propagation = mount.propagation();
            propagation.group != 0 || propagation.master != 0
        };
        if is_grouped(target) || !is_grouped(source) || !source.root.is_ancestor_of(&target.root) {
            return Err(Errno::EINVAL);
        }
        propagation::join(target, source, &lock);
        Ok(())
    }

    /// pivot_root(2), seen from the caller's `root`. Those who stand at the old root are to be moved by the caller.
    pub fn pivot_root(&self, root: &Path, new_root: &Path, put_old: &Path) -> Result<Leftovers> {
        let lock = lock_tree();
        let (new, old) = (&new_root.mount, &root.mount);
        let parent_shared = |mount: &Mount| mount.mount_point().is_some_and(|point| point.mount.is_shared());
        if put_old.mount.is_shared() || parent_shared(new) || parent_shared(old) {
            return Err(Errno::EINVAL);
        }
        if !self.holds(new) || !self.holds(old) || new.is_locked() {
            return Err(Errno::EINVAL);
        }
        if new_root.dentry.is_unlinked() {
            return Err(Errno::ENOENT);
        }
        if Arc::ptr_eq(new, old) || Arc::ptr_eq(&put_old.mount, old) {
            return Err(Errno::EBUSY);
        }
        let (Some(root_point), Some(_)) = (old.mount_point(), new.mount_point()) else {
            return Err(Errno::EINVAL);
        };
        if !root.is_mount_root() || !new_root.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        if !put_old.is_below(new_root) || !new_root.is_below(root) {
            return Err(Errno::EINVAL);
        }
        let mounts = vec![(Arc::clone(new), new.detach(&lock)), (Arc::clone(old), old.detach(&lock))];
        new.set_locked(old.is_locked());
        old.set_locked(false);
        old.attach(put_old, &self.this, &lock);
        new.attach(&root_point, &self.this, &lock);
        Ok(Leftovers { mounts, namespaces: Vec::new() })
    }

    /// A copy for unshare(2) and clone(2) with CLONE_NEWNS, and which mount of it stands for which of this one. In
    /// another user namespace its mounts only take from the originals, and none can be taken off what it covers.
    pub fn copy(&self, id: u64, user_ns: Arc<UserNamespace>) -> (Arc<MountNamespace>, MountMap) {
        let lock = lock_tree();
        let copying = if Arc::ptr_eq(&user_ns, &self.user_ns) { Copying::Peers } else { Copying::Slaves };
        let top = self.top.copy(&self.top.root);
        let copy = Self::with_top(id, Arc::clone(&top), user_ns, Kind::Ordinary, &lock);
        let map = copy_below(&self.top, &top, &copy.this, |_, _| true, copying, &lock);
        if copying == Copying::Slaves {
            lock_tree_of_mounts(&top);
        }
        copy.mounts.store(map.0.len() as u64, Ordering::Relaxed);
        (copy, map)
    }

    /// Sets how `mount` spreads changes; with all below it if `recursive`.
    pub fn set_propagation(&self, mount: &Arc<Mount>, kind: PropagationKind, recursive: Recursive) {
        let lock = lock_tree();
        let affected = if recursive == Recursive::Yes { subtree(mount) } else { vec![Arc::clone(mount)] };
        for mount in &affected {
            propagation::change(mount, kind, &lock);
        }
    }
}

/// What a namespace is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Processes are in it.
    Ordinary,
    /// A tree that is nowhere.
    Detached,
}

/// What a copied mount becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copying {
    /// Its groups are known, its place is not: it is listed when it gets one.
    Unlisted,
    /// A peer of the original.
    Peers,
    /// A slave of the original.
    Slaves,
}

/// Whether something is mounted on `dentry` in the namespace that `mount` is in: such a name can't go.
pub(super) fn is_mount_point_in(dentry: &Arc<Dentry>, mount: &Mount) -> bool {
    if !dentry.is_mount_point() {
        return false;
    }
    let home = mount.namespace();
    let is_here = {
        let lock = lock_tree();
        let mounts = mounted_on(dentry, &lock);
        mounts.iter().any(|mount| home.as_ref().is_some_and(|home| home.holds(mount)))
    };
    drop(home);
    is_here
}

/// The name `dentry` has gone: what is mounted on it, in other namespaces, goes with it.
pub(super) fn detach_from(dentry: &Arc<Dentry>) {
    if !dentry.is_mount_point() {
        return;
    }
    let mut left = Leftovers::default();
    {
        let lock = lock_tree();
        for mount in mounted_on(dentry, &lock) {
            let Some(home) = mount.namespace() else { continue };
            let gone = home.detach_tree(&mount, &lock);
            left.mounts.extend(gone.mounts);
            left.mounts.push((mount, None));
            left.namespaces.push(home);
        }
    }
    drop(left);
}

/// What covers `mount` as a whole, if that is all that is mounted on it; an error when there is more.
fn only_on_top(mount: &Arc<Mount>) -> std::result::Result<Option<Arc<Mount>>, ()> {
    let mut children = mount.children();
    match (children.pop(), children.pop()) {
        (None, _) => Ok(None),
        (Some(only), None) if only.mount_point().is_some_and(|at| Arc::ptr_eq(&at.dentry, &mount.root)) => {
            Ok(Some(only))
        }
        _ => Err(()),
    }
}

/// Takes one mount out of its tree; what covers it comes in its place.
fn take_out(mount: &Arc<Mount>, lock: &TreeLock, left: &mut Leftovers) {
    let over = only_on_top(mount).ok().flatten();
    let namespace = mount.namespace();
    if let Some(over) = &over {
        left.mounts.push((Arc::clone(over), over.detach(lock)));
    }
    propagation::leave(mount, lock);
    let point = mount.detach(lock);
    if let (Some(over), Some(point), Some(namespace)) = (&over, &point, &namespace) {
        over.attach(point, &namespace.this, lock);
    }
    if let Some(namespace) = namespace {
        namespace.mounts.fetch_sub(1, Ordering::Relaxed);
        left.namespaces.push(namespace);
    }
    left.mounts.push((Arc::clone(mount), point));
}

/// A tree comes to a less privileged user namespace: flags stay, and nothing can be taken off alone.
fn lock_tree_of_mounts(top: &Arc<Mount>) {
    for mount in subtree(top) {
        mount.lock_flags();
        mount.set_locked(!Arc::ptr_eq(&mount, top));
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

/// `mount` and all that is mounted below it, parents first.
pub(super) fn subtree(mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let mut found = vec![Arc::clone(mount)];
    let mut at = 0;
    while at < found.len() {
        found.extend(found[at].children());
        at += 1;
    }
    found
}

/// Copies what is mounted below `from` to below `to`, as far as it is kept.
pub(super) fn copy_below(
    from: &Arc<Mount>,
    to: &Arc<Mount>,
    namespace: &Weak<MountNamespace>,
    keep: impl Fn(&Arc<Mount>, &Path) -> bool,
    copying: Copying,
    lock: &TreeLock,
) -> MountMap {
    let mut map = HashMap::from([(from.id, Arc::clone(to))]);
    for mount in subtree(from).into_iter().skip(1) {
        let Some(point) = mount.mount_point() else { continue };
        // What is below something that was left out is left out.
        let Some(parent) = map.get(&point.mount.id) else { continue };
        if keep(&mount, &point) && !mount.is_mount_namespace() {
            let copy = mount.copy(&mount.root);
            copy.set_locked(mount.is_locked());
            if copying == Copying::Slaves {
                let old = mount.propagation();
                let master = if old.group == 0 { old.master } else { old.group };
                copy.set_propagation(Propagation { group: 0, master, ..old });
            }
            if copying != Copying::Unlisted {
                propagation::enlist(&copy, lock);
            }
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

impl Drop for MountNamespace {
    fn drop(&mut self) {
        let leftovers = {
            let lock = lock_tree();
            let top = Arc::clone(&self.top);
            // A tree that was nowhere may have got a place meanwhile.
            if self.kind == Kind::Detached && !top.is_in(&self.this) {
                return;
            }
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
