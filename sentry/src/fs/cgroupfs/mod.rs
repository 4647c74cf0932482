//! Control groups (cgroups(7)): groups of processes in hierarchies of version 1 and 2.
//!
//! A process is in one group of each hierarchy ([`ThreadGroup::cgroup`]), a child where its parent is. The one of version 2
//! is always there; those of version 1 come with their mounts, and take their controllers from it.
//!
//! What limits a container is outside: the host's groups. The *root* of a hierarchy tells what the container of the reader
//! was granted there (`memory.max`, `cpu.cfs_quota_us` and so on), and can't change it. In groups that guests make there is
//! what is true of them: the controller `pids`, which this kernel does itself.
//!
//! Locks: `Kernel` for changes of who is in which group and of groups that go, `InodeData` for names, `Leaf` elsewhere.

mod control;
mod dir;
mod grants;
mod hierarchy;
mod mount;
mod namespace;
pub mod pids;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::Errno;

pub use self::hierarchy::{Cgroups, Hierarchy};
pub use self::mount::{Cgroup1, Cgroup2};
pub use self::namespace::CgroupNamespace;
use crate::task::ThreadGroup;
use crate::{Kernel, Result};

/// Groups at most, in all: each is memory of the Sentry's.
const MOST: u32 = 4096;

/// A group.
pub struct Cgroup {
    hierarchy: u32,
    parent: Option<Arc<Cgroup>>,
    name: Box<[u8]>,
    depth: u32,
    /// Groups below it.
    descendants: AtomicU32,
    /// cgroup.max.descendants and cgroup.max.depth; `u32::MAX` is `max`.
    max_descendants: AtomicU32,
    max_depth: AtomicU32,
    /// cgroup.clone_children: stored, and what groups below begin with.
    clone_children: AtomicBool,
    pids: pids::Limit,
    removed: AtomicBool,
}

impl Cgroup {
    fn new(hierarchy: u32, parent: Option<Arc<Cgroup>>, name: &[u8]) -> Arc<Cgroup> {
        let clone_children =
            parent.as_ref().is_some_and(|parent| parent.clone_children.load(Ordering::Relaxed));
        Arc::new(Cgroup {
            hierarchy,
            depth: parent.as_ref().map_or(0, |parent| parent.depth + 1),
            parent,
            name: name.into(),
            descendants: AtomicU32::new(0),
            max_descendants: AtomicU32::new(u32::MAX),
            max_depth: AtomicU32::new(u32::MAX),
            clone_children: AtomicBool::new(clone_children),
            pids: pids::Limit::default(),
            removed: AtomicBool::new(false),
        })
    }

    /// The number of the hierarchy that it is in, unique for ever.
    pub fn hierarchy(&self) -> u32 {
        self.hierarchy
    }

    /// Whether it is the root of its hierarchy.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// It and those above it.
    fn upwards(self: &Arc<Cgroup>) -> impl Iterator<Item = Arc<Cgroup>> {
        std::iter::successors(Some(Arc::clone(self)), |group| group.parent.clone())
    }

    /// Its path from the root.
    pub fn path(self: &Arc<Cgroup>) -> Vec<u8> {
        let top = self.upwards().last();
        self.path_from(top.as_ref().unwrap_or(self))
    }

    /// Its path from another group of its hierarchy, with `..` for each step upwards.
    fn path_from(self: &Arc<Cgroup>, from: &Arc<Cgroup>) -> Vec<u8> {
        let above: Vec<Arc<Cgroup>> = self.upwards().collect();
        let shared = |group: &Arc<Cgroup>| above.iter().position(|own| Arc::ptr_eq(own, group));
        let mut path = Vec::new();
        let mut below = above.len();
        for group in from.upwards() {
            if let Some(at) = shared(&group) {
                below = at;
                break;
            }
            path.extend_from_slice(b"/..");
        }
        for group in above[..below].iter().rev() {
            path.push(b'/');
            path.extend_from_slice(&group.name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        if self.removed.load(Ordering::Acquire) {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    /// Whether a process is in it; with `below` also in a group in it.
    fn holds(self: &Arc<Cgroup>, process: &ThreadGroup, below: bool) -> bool {
        match process.cgroup_in(self.hierarchy) {
            // In none but the root.
            None => self.is_root(),
            Some(own) if below => own.upwards().any(|above| Arc::ptr_eq(&above, self)),
            Some(own) => Arc::ptr_eq(&own, self),
        }
    }

    /// Whether there may be one more group in it: EAGAIN when not.
    fn may_grow(self: &Arc<Cgroup>, total: u32) -> Result<()> {
        let full = self.upwards().any(|above| {
            above.descendants.load(Ordering::Relaxed) >= above.max_descendants.load(Ordering::Relaxed)
                || self.depth + 1 - above.depth > above.max_depth.load(Ordering::Relaxed)
        });
        if full || total >= MOST { Err(Errno::EAGAIN) } else { Ok(()) }
    }
}

impl Kernel {
    /// The processes of a group that live; with `below` those of the groups in it as well.
    fn members_of(&self, cgroup: &Arc<Cgroup>, below: bool) -> Vec<Arc<ThreadGroup>> {
        let groups: Vec<Arc<ThreadGroup>> =
            self.tree.lock().iter().map(|node| Arc::clone(&node.group)).collect();
        let is_in = |group: &Arc<ThreadGroup>| cgroup.holds(group, below) && group.any_thread().is_some();
        groups.into_iter().filter(is_in).collect()
    }
}

impl Cgroups {
    /// Puts a process into a group: ENODEV when that has gone.
    pub fn enter(&self, group: &Arc<ThreadGroup>, cgroup: &Arc<Cgroup>) -> Result<()> {
        let _changing = self.changing.lock();
        if cgroup.removed.load(Ordering::Acquire) {
            return Err(Errno::ENODEV);
        }
        group.enter_cgroup(cgroup);
        Ok(())
    }

    /// Takes a group away: EBUSY while a process is in it.
    fn remove(&self, kernel: &Kernel, cgroup: &Arc<Cgroup>) -> Result<()> {
        let _changing = self.changing.lock();
        if !kernel.members_of(cgroup, false).is_empty() {
            return Err(Errno::EBUSY);
        }
        cgroup.removed.store(true, Ordering::Release);
        for above in cgroup.upwards().skip(1) {
            above.descendants.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
