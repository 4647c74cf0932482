//! cgroup2: groups of processes (cgroups(7), version 2), as a kernel without controllers has them.
//!
//! There is one hierarchy, and every mount shows it. A process is in one group ([`ThreadGroup::cgroup`]), a child where its
//! parent is. Nothing is limited by a group: `cgroup.controllers` is empty, so that nobody is promised it.
//!
//! Locks: `Kernel` for changes of who is in which group and of groups that go, `InodeData` for names, `Leaf` elsewhere.

mod control;
mod dir;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use sync::Mutex;

use crate::task::ThreadGroup;
use crate::vfs::{Caller, Dentry, FileSystemType, Mount, MountFlags, MountRequest};
use crate::{Kernel, Result};

/// Groups at most, in all: each is memory of the Sentry's.
const MOST: u32 = 4096;

/// A group.
pub struct Cgroup {
    parent: Option<Arc<Cgroup>>,
    name: Box<[u8]>,
    depth: u32,
    /// Groups below it.
    descendants: AtomicU32,
    /// cgroup.max.descendants and cgroup.max.depth; `u32::MAX` is `max`.
    max_descendants: AtomicU32,
    max_depth: AtomicU32,
    removed: AtomicBool,
}

impl Cgroup {
    fn new(parent: Option<Arc<Cgroup>>, name: &[u8]) -> Arc<Cgroup> {
        Arc::new(Cgroup {
            depth: parent.as_ref().map_or(0, |parent| parent.depth + 1),
            parent,
            name: name.into(),
            descendants: AtomicU32::new(0),
            max_descendants: AtomicU32::new(u32::MAX),
            max_depth: AtomicU32::new(u32::MAX),
            removed: AtomicBool::new(false),
        })
    }

    /// It and those above it.
    fn upwards(self: &Arc<Cgroup>) -> impl Iterator<Item = Arc<Cgroup>> {
        std::iter::successors(Some(Arc::clone(self)), |group| group.parent.clone())
    }

    /// Its path from the root.
    pub fn path(self: &Arc<Cgroup>) -> Vec<u8> {
        let mut groups: Vec<Arc<Cgroup>> = self.upwards().filter(|group| group.parent.is_some()).collect();
        groups.reverse();
        let mut path: Vec<u8> = groups.iter().flat_map(|group| [b"/", &*group.name].concat()).collect();
        if path.is_empty() {
            path.push(b'/');
        }
        if self.removed.load(Ordering::Acquire) {
            path.extend_from_slice(b" (deleted)");
        }
        path
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

/// The hierarchy.
pub struct Cgroups {
    root: Arc<Cgroup>,
    /// Held while processes change groups, and groups go.
    changing: Mutex<(), sync::levels::Kernel>,
    mount: OnceLock<Arc<Mount>>,
}

impl Cgroups {
    /// With the root alone.
    pub fn new() -> Cgroups {
        Cgroups { root: Cgroup::new(None, b""), changing: Mutex::new(()), mount: OnceLock::new() }
    }

    /// The group that holds all that are in no other.
    pub fn root(&self) -> &Arc<Cgroup> {
        &self.root
    }

    /// The processes of a group that live.
    fn members(&self, kernel: &Kernel, cgroup: &Arc<Cgroup>) -> Vec<Arc<ThreadGroup>> {
        let groups: Vec<Arc<ThreadGroup>> =
            kernel.tree.lock().iter().map(|node| Arc::clone(&node.group)).collect();
        let is_in = |group: &Arc<ThreadGroup>| {
            group.any_thread().is_some() && Arc::ptr_eq(&group.cgroup(kernel), cgroup)
        };
        groups.into_iter().filter(is_in).collect()
    }

    /// Puts a process into a group: ENODEV when that has gone.
    fn enter(&self, group: &Arc<ThreadGroup>, cgroup: &Arc<Cgroup>) -> Result<()> {
        let _changing = self.changing.lock();
        if cgroup.removed.load(Ordering::Acquire) {
            return Err(Errno::ENODEV);
        }
        group.set_cgroup(Arc::clone(cgroup));
        Ok(())
    }

    /// Takes a group away: EBUSY while a process is in it.
    fn remove(&self, kernel: &Kernel, cgroup: &Arc<Cgroup>) -> Result<()> {
        let _changing = self.changing.lock();
        if !self.members(kernel, cgroup).is_empty() {
            return Err(Errno::EBUSY);
        }
        cgroup.removed.store(true, Ordering::Release);
        for above in cgroup.upwards().skip(1) {
            above.descendants.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}

/// The kind of file system.
pub struct Cgroup2 {
    kernel: Weak<Kernel>,
}

impl Cgroup2 {
    /// For this kernel.
    pub fn new(kernel: &Arc<Kernel>) -> Arc<Cgroup2> {
        Arc::new(Cgroup2 { kernel: Arc::downgrade(kernel) })
    }
}

impl FileSystemType for Cgroup2 {
    fn name(&self) -> &'static str {
        "cgroup2"
    }

    fn allowed_in_user_ns(&self) -> bool {
        true
    }

    fn mount(&self, request: &MountRequest<'_>, _caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        for option in request.options.split(|b| *b == b',').filter(|option| !option.is_empty()) {
            // Hints that change nothing where nothing is limited.
            if !matches!(option, b"nsdelegate" | b"favordynmods" | b"memory_recursiveprot") {
                return Err(Errno::EINVAL);
            }
        }
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        let mount = kernel.cgroups.mount.get_or_init(|| {
            let root = dir::new_root(&kernel, &kernel.cgroups.root);
            Mount::new(root, b"cgroup2", MountFlags::empty())
        });
        Ok(Arc::clone(&mount.root))
    }
}
