//! How mounts spread (mount_namespaces(7)): peer groups, slaves, and what happens to them when something is mounted or
//! unmounted below one.
//!
//! Mounts of one group give to and take from each other; a slave takes from its master group and gives nothing back.
//! Who is in which group changes only under the lock of all mount trees. Only mounts that have a place (or are the top
//! of a namespace) are listed, and they leave the lists, under that lock, before their last reference goes: so the
//! references that are handed out here are never the last.
//!
//! Lock level: `Leaf` for the lists, never held together with another lock.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use abi::Errno;
use sync::Mutex;

use super::mount::{Mount, TreeLock, lock_tree};
use super::namespace::{Copying, MOUNT_MAX, copy_below, subtree};
use super::path::Path;
use crate::Result;

/// How mounts below a mount spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// Peer group it gives to and takes from; 0 when not shared.
    pub group: u64,
    /// Peer group it takes from; 0 when no slave.
    pub master: u64,
    /// MS_UNBINDABLE.
    pub unbindable: bool,
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

type Members = BTreeMap<u64, Weak<Mount>>;

#[derive(Default)]
struct Group {
    peers: Members,
    slaves: Members,
}

static GROUPS: LazyLock<Mutex<HashMap<u64, Group>, sync::levels::Leaf>> = LazyLock::new(Mutex::default);

fn next_group() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn upgraded(members: &Members) -> Vec<Arc<Mount>> {
    members.values().filter_map(Weak::upgrade).collect()
}

fn peers(group: u64) -> Vec<Arc<Mount>> {
    GROUPS.lock().get(&group).map_or_else(Vec::new, |group| upgraded(&group.peers))
}

fn slaves(group: u64) -> Vec<Arc<Mount>> {
    GROUPS.lock().get(&group).map_or_else(Vec::new, |group| upgraded(&group.slaves))
}

/// `mount` has got a place: it is listed where its propagation says.
pub(super) fn enlist(mount: &Arc<Mount>, _lock: &TreeLock) {
    let Propagation { group, master, .. } = mount.propagation();
    if group == 0 && master == 0 {
        return;
    }
    let mut groups = GROUPS.lock();
    if group != 0 {
        groups.entry(group).or_default().peers.insert(mount.id, Arc::downgrade(mount));
    }
    if master != 0 {
        groups.entry(master).or_default().slaves.insert(mount.id, Arc::downgrade(mount));
    }
}

/// Takes `mount` off the lists. When it was the last of its group, the slaves of that go to its master.
fn delist(mount: &Arc<Mount>, keeps_master: bool) {
    let Propagation { group, master, .. } = mount.propagation();
    let mut orphans = Vec::new();
    {
        let mut groups = GROUPS.lock();
        if group != 0
            && let Some(list) = groups.get_mut(&group)
        {
            list.peers.remove(&mount.id);
            if list.peers.is_empty() {
                orphans = upgraded(&list.slaves);
                groups.remove(&group);
            }
        }
        if master != 0
            && !keeps_master
            && let Some(list) = groups.get_mut(&master)
        {
            list.slaves.remove(&mount.id);
            if list.peers.is_empty() && list.slaves.is_empty() {
                groups.remove(&master);
            }
        }
    }
    for orphan in orphans {
        let of_orphan = orphan.propagation();
        orphan.set_propagation(Propagation { master, ..of_orphan });
        if master != 0 {
            let mut groups = GROUPS.lock();
            groups.entry(master).or_default().slaves.insert(orphan.id, Arc::downgrade(&orphan));
        }
    }
}

/// `mount` loses its place for good.
pub(super) fn leave(mount: &Arc<Mount>, _lock: &TreeLock) {
    delist(mount, false);
    mount.set_propagation(Propagation {
        unbindable: mount.propagation().unbindable,
        ..Propagation::default()
    });
}

/// Makes `mount`, which is listed if it has a place, of this kind.
pub(super) fn change(mount: &Arc<Mount>, kind: PropagationKind, lock: &TreeLock) {
    let old = mount.propagation();
    match kind {
        PropagationKind::Shared => {
            let group = if old.group == 0 { next_group() } else { old.group };
            mount.set_propagation(Propagation { group, unbindable: false, ..old });
            enlist(mount, lock);
        }
        PropagationKind::Slave => {
            if old.group == 0 {
                return;
            }
            let alone = peers(old.group).iter().all(|peer| Arc::ptr_eq(peer, mount));
            if alone {
                delist(mount, true);
                mount.set_propagation(Propagation { group: 0, ..old });
            } else {
                delist(mount, false);
                mount.set_propagation(Propagation { group: 0, master: old.group, ..old });
                enlist(mount, lock);
            }
        }
        PropagationKind::Private | PropagationKind::Unbindable => {
            delist(mount, false);
            let unbindable = kind == PropagationKind::Unbindable;
            mount.set_propagation(Propagation { unbindable, ..Propagation::default() });
        }
    }
}

/// Puts `mount` into the group of `from`, or makes it a slave where that is one (MOVE_MOUNT_SET_GROUP).
pub(super) fn join(mount: &Arc<Mount>, from: &Mount, lock: &TreeLock) {
    let Propagation { group, master, .. } = from.propagation();
    mount.set_propagation(Propagation { group, master, unbindable: false });
    enlist(mount, lock);
}

/// What a copied mount has to do with its original.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// In the same groups.
    Peer,
    /// A slave of the original's group.
    Slave,
    /// A slave of it, and the first of a group of its own.
    SharedSlave,
}

/// A copy of a tree whose mounts are all shared. Not listed yet.
fn copy_tree(tree: &Arc<Mount>, relation: Relation, lock: &TreeLock) -> Arc<Mount> {
    let copy = tree.copy(&tree.root);
    copy_below(
        tree,
        &copy,
        &Weak::new(),
        |mount, _| !mount.propagation().unbindable,
        Copying::Unlisted,
        lock,
    );
    if relation != Relation::Peer {
        for mount in subtree(&copy) {
            let master = mount.propagation().group;
            let group = if relation == Relation::SharedSlave { next_group() } else { 0 };
            mount.set_propagation(Propagation { group, master, unbindable: false });
        }
    }
    copy
}

/// All mounts that take from `from`, itself left out, group by group: each with the group that its own group takes
/// from.
fn takers(from: &Mount, mut visit: impl FnMut(&[Arc<Mount>], u64) -> Result<()>) -> Result<()> {
    let group = from.propagation().group;
    if group == 0 {
        return Ok(());
    }
    let mut first = peers(group);
    first.retain(|peer| peer.id != from.id);
    visit(&first, 0)?;
    let mut seen = HashSet::from([group]);
    let mut queue = VecDeque::from([group]);
    while let Some(master) = queue.pop_front() {
        for slave in slaves(master) {
            let own = slave.propagation().group;
            if own == 0 {
                visit(&[slave], master)?;
            } else if seen.insert(own) {
                visit(&peers(own), master)?;
                queue.push_back(own);
            }
        }
    }
    Ok(())
}

fn shows(mount: &Mount, place: &Path) -> bool {
    Arc::ptr_eq(mount.sb(), place.mount.sb()) && mount.root.is_ancestor_of(&place.dentry)
}

/// What is to be mounted where when `tree`, whose mounts are all shared, is mounted on `place`: a copy for every mount
/// that takes from that one and shows the same directory. Not listed yet.
pub(super) fn copies(tree: &Arc<Mount>, place: &Path, lock: &TreeLock) -> Result<Vec<(Arc<Mount>, Path)>> {
    let size = subtree(tree).len();
    let mut made: Vec<(Arc<Mount>, Path)> = Vec::new();
    // Of each group, a tree whose mounts the copies of its slaves are slaves of.
    let mut sources = HashMap::from([(place.mount.propagation().group, Arc::clone(tree))]);
    takers(&place.mount, |mounts, master| {
        let group = mounts.first().map_or(0, |mount| mount.propagation().group);
        let mut own = if master == 0 { Some(Arc::clone(tree)) } else { None };
        let above = Arc::clone(sources.get(&master).unwrap_or(tree));
        for mount in mounts.iter().filter(|mount| shows(mount, place)) {
            if (made.len() as u64 + 1) * size as u64 > MOUNT_MAX {
                return Err(Errno::ENOSPC);
            }
            let copy = match &own {
                Some(own) => copy_tree(own, Relation::Peer, lock),
                None if group == 0 => copy_tree(&above, Relation::Slave, lock),
                None => copy_tree(&above, Relation::SharedSlave, lock),
            };
            own.get_or_insert_with(|| Arc::clone(&copy));
            made.push((copy, Path::new(Arc::clone(mount), Arc::clone(&place.dentry))));
        }
        if group != 0 {
            sources.insert(group, own.unwrap_or(above));
        }
        Ok(())
    })?;
    Ok(made)
}

/// What mounts were before [`share`].
pub(super) struct Before(Vec<Propagation>);

impl Before {
    /// The tree has got no place after all.
    pub(super) fn restore(&self, tree: &[Arc<Mount>]) {
        for (mount, old) in tree.iter().zip(&self.0) {
            mount.set_propagation(*old);
        }
    }
}

/// Makes all mounts of a tree that is about to be mounted on a shared one shared too.
pub(super) fn share(tree: &[Arc<Mount>]) -> Before {
    let before = tree.iter().map(|mount| mount.propagation()).collect();
    for mount in tree {
        let old = mount.propagation();
        if old.group == 0 {
            mount.set_propagation(Propagation { group: next_group(), unbindable: false, ..old });
        }
    }
    Before(before)
}

/// What goes together with a mount whose place is `point`: the mounts at the same place below the mounts that take
/// from that one's parent.
pub(super) fn twins(point: &Path, _lock: &TreeLock) -> Vec<Arc<Mount>> {
    let mut found = Vec::new();
    let visited = takers(&point.mount, |mounts, _| {
        found.extend(mounts.iter().filter_map(|mount| mount.child_at(&point.dentry)));
        Ok(())
    });
    debug_assert!(visited.is_ok(), "nothing fails");
    found
}

/// The nearest group that `mount` takes from over others and that has a mount of `seen`: `propagate_from` in
/// mountinfo. 0 when its own master has one.
pub fn dominating_group(mount: &Mount, seen: impl Fn(&Mount) -> bool) -> u64 {
    // References of mounts are taken and dropped here: not while somebody counts them.
    let _lock = lock_tree();
    let mut master = mount.propagation().master;
    let mut nearest = true;
    for _ in 0..64 {
        let members = peers(master);
        if members.iter().any(|peer| seen(peer)) {
            return if nearest { 0 } else { master };
        }
        master = members.first().map_or(0, |peer| peer.propagation().master);
        nearest = false;
    }
    0
}
