//! Hierarchies: trees of groups, and which controllers belong to which.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use bitflags::bitflags;
use sync::Mutex;

use super::dir;
use super::{Cgroup, CgroupNamespace};
use crate::task::ThreadGroup;
use crate::vfs::{Dentry, Mount, MountFlags};
use crate::{Kernel, Result};

bitflags! {
    /// What groups can be about.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Controllers: u8 {
        /// Which processors and memory nodes there are.
        const CPUSET = 1;
        /// Shares and quotas of processor time.
        const CPU = 2;
        /// Processor time used.
        const CPUACCT = 4;
        /// Memory.
        const MEMORY = 8;
        /// How many threads there may be.
        const PIDS = 16;
    }
}

/// Names, in the order in which the kernel lists them.
const NAMES: [(&str, Controllers); 5] = [
    ("cpuset", Controllers::CPUSET),
    ("cpu", Controllers::CPU),
    ("cpuacct", Controllers::CPUACCT),
    ("memory", Controllers::MEMORY),
    ("pids", Controllers::PIDS),
];

/// Hierarchies of version 1 at most.
const MOST: usize = 32;

impl Controllers {
    /// The controller with this name.
    pub(super) fn named(name: &[u8]) -> Option<Controllers> {
        NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, controller)| *controller)
    }

    /// Their names.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(move |(_, controller)| self.contains(*controller)).map(|(name, _)| *name)
    }
}

/// The two designs of cgroups(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each set of controllers.
    One,
    /// One hierarchy for all that the others have not.
    Two,
}

/// A tree of groups.
pub struct Hierarchy {
    /// As in /proc/PID/cgroup: 0 for version 2.
    pub(super) id: u32,
    pub(super) version: Version,
    /// Of version 1 what it was mounted with, of version 2 none: there it is what is left.
    controllers: Controllers,
    /// What `name=` gave it.
    name: Box<[u8]>,
    /// The group of all that are in no other.
    pub root: Arc<Cgroup>,
    /// Its root as a directory, the same for all mounts. Taken out when the hierarchy goes: the files hold that.
    mount: Mutex<Option<Arc<Mount>>, sync::levels::Leaf>,
}

impl Hierarchy {
    fn new(id: u32, version: Version, controllers: Controllers, name: &[u8]) -> Arc<Hierarchy> {
        Arc::new(Hierarchy {
            id,
            version,
            controllers,
            name: name.into(),
            root: Cgroup::new(id, None, b""),
            mount: Mutex::default(),
        })
    }

    /// Makes its root a directory, if it is none.
    fn make_root(self: &Arc<Self>, kernel: &Arc<Kernel>) {
        let kind: &[u8] = if self.version == Version::Two { b"cgroup2" } else { b"cgroup" };
        let mount = Mount::new(dir::new_root(kernel, self), kind, MountFlags::empty());
        let unused = {
            let mut known = self.mount.lock();
            if known.is_some() { Some(mount) } else { known.replace(mount) }
        };
        drop(unused);
    }

    /// Its root as a directory.
    fn root_dir(&self) -> Result<Arc<Dentry>> {
        self.mount.lock().as_ref().map(|mount| Arc::clone(&mount.root)).ok_or(Errno::ENODEV)
    }

    /// Whether it is mounted, or has groups: it stays then.
    fn is_used(&self) -> bool {
        // One reference is the mount's that is kept here.
        let mounted = self.mount.lock().as_ref().is_some_and(|mount| Arc::strong_count(&mount.root) > 1);
        mounted || self.root.descendants.load(Ordering::Relaxed) != 0
    }

    /// Its part of a line of /proc/PID/cgroup: number, and controllers or name.
    fn label(&self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = self.controllers.names().map(|name| name.as_bytes().to_vec()).collect();
        if !self.name.is_empty() {
            parts.push([b"name=", &*self.name].concat());
        }
        [self.id.to_string().as_bytes(), b":", &parts.join(&b','), b":"].concat()
    }

    /// What its mounts say of themselves.
    pub(super) fn options(&self) -> String {
        let mut parts: Vec<String> = self.controllers.names().map(str::to_owned).collect();
        if !self.name.is_empty() {
            parts.push(format!("name={}", String::from_utf8_lossy(&self.name)));
        }
        parts.join(",")
    }

    /// Whether it was mounted with a controller.
    pub(super) fn has(&self, controller: Controllers) -> bool {
        self.controllers.contains(controller)
    }
}

/// What a mount of version 1 asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// No controllers, and none wanted.
    pub none: bool,
    pub controllers: Controllers,
    pub name: Option<Box<[u8]>>,
}

/// All hierarchies.
pub struct Cgroups {
    unified: Arc<Hierarchy>,
    /// Of version 1; the newest last.
    others: Mutex<Others, sync::levels::Kernel>,
    /// Held while processes change groups, and groups go.
    pub(super) changing: Mutex<(), sync::levels::Kernel>,
}

#[derive(Default)]
struct Others {
    list: Vec<Arc<Hierarchy>>,
    last_id: u32,
}

impl Others {
    /// Takes out those that nobody uses; what is left of them is dropped by the caller, without locks.
    fn forget_unused(&mut self) -> Vec<(Arc<Hierarchy>, Option<Arc<Mount>>)> {
        let unused = self.list.extract_if(.., |hierarchy| !hierarchy.is_used());
        unused.map(|hierarchy| (Arc::clone(&hierarchy), hierarchy.mount.lock().take())).collect()
    }

    /// The hierarchy that a mount asks for. EBUSY where others have some of the controllers.
    fn find(&self, wanted: &Wanted) -> Result<Option<Arc<Hierarchy>>> {
        for known in &self.list {
            let same_name = match &wanted.name {
                Some(name) if *name != known.name => continue,
                name => name.is_some(),
            };
            let asks = wanted.none || !wanted.controllers.is_empty();
            if asks && wanted.controllers != known.controllers {
                match same_name {
                    true => return Err(Errno::EBUSY),
                    false => continue,
                }
            }
            return Ok(Some(Arc::clone(known)));
        }
        // A name alone finds, and makes nothing.
        if wanted.controllers.is_empty() && !wanted.none {
            return Err(Errno::EINVAL);
        }
        if self.list.iter().any(|known| known.controllers.intersects(wanted.controllers)) {
            return Err(Errno::EBUSY);
        }
        Ok(None)
    }
}

impl Cgroups {
    /// With the root of version 2 alone.
    pub fn new() -> Cgroups {
        Cgroups {
            unified: Hierarchy::new(0, Version::Two, Controllers::empty(), b""),
            others: Mutex::default(),
            changing: Mutex::new(()),
        }
    }

    /// All that are in use, version 2 last.
    fn all(&self) -> Vec<Arc<Hierarchy>> {
        let mut others = self.others.lock();
        let unused = others.forget_unused();
        let mut all: Vec<Arc<Hierarchy>> = others.list.iter().rev().map(Arc::clone).collect();
        drop(others);
        drop(unused);
        all.push(Arc::clone(&self.unified));
        all
    }

    /// The controllers that a hierarchy has.
    pub(super) fn controllers(&self, hierarchy: &Hierarchy) -> Controllers {
        match hierarchy.version {
            Version::One => hierarchy.controllers,
            Version::Two => {
                let taken =
                    self.all().iter().fold(Controllers::empty(), |taken, other| taken | other.controllers);
                Controllers::all() - taken
            }
        }
    }

    /// How many groups there are.
    pub(super) fn count(&self) -> u32 {
        self.all().iter().map(|hierarchy| hierarchy.root.descendants.load(Ordering::Relaxed)).sum()
    }

    /// The directory of version 2.
    pub(super) fn unified_root(&self, kernel: &Arc<Kernel>) -> Result<Arc<Dentry>> {
        if let Ok(root) = self.unified.root_dir() {
            return Ok(root);
        }
        self.unified.make_root(kernel);
        self.unified.root_dir()
    }

    /// The directory of version 1 for a mount: of a hierarchy that is there, or of a new one with controllers that nobody
    /// has. EBUSY where others have some of them.
    pub(super) fn root_for(&self, wanted: &Wanted, kernel: &Arc<Kernel>) -> Result<Arc<Dentry>> {
        let mut made = None;
        loop {
            let mut others = self.others.lock();
            let unused = others.forget_unused();
            let found = match others.find(wanted)? {
                Some(known) => Some(known.root_dir()),
                None if others.list.len() >= MOST => Some(Err(Errno::ENOSPC)),
                // It is used from now on: the root is held.
                None => made.take().map(|(hierarchy, root)| {
                    others.list.push(hierarchy);
                    Ok(root)
                }),
            };
            if found.is_none() {
                others.last_id += 1;
            }
            let id = others.last_id;
            drop(others);
            drop(unused);
            if let Some(found) = found {
                // Somebody else may have been faster: what was made for nothing holds itself.
                let surplus = made.and_then(|(hierarchy, _)| hierarchy.mount.lock().take());
                drop(surplus);
                return found;
            }
            let name = wanted.name.as_deref().unwrap_or_default();
            let hierarchy = Hierarchy::new(id, Version::One, wanted.controllers, name);
            hierarchy.make_root(kernel);
            let root = hierarchy.root_dir()?;
            made = Some((hierarchy, root));
        }
    }

    /// The groups with this path in the hierarchy of a controller (by its name; `name=…` for one without). Without one: in all of
    /// version 1, or where there is none of those in version 2. ENODEV for a controller that no hierarchy of version 1 has,
    /// ENOENT for a path that leads nowhere, EINVAL for one that leads up.
    pub fn at(&self, controller: Option<&[u8]>, path: &[u8]) -> Result<Vec<Arc<Cgroup>>> {
        let mut found = self.all();
        let unified = found.pop();
        match controller {
            Some(name) => {
                found.retain(|known| match name.strip_prefix(b"name=") {
                    Some(name) => *known.name == *name,
                    None => Controllers::named(name).is_some_and(|controller| known.has(controller)),
                });
                if found.is_empty() {
                    return Err(Errno::ENODEV);
                }
            }
            None if found.is_empty() => found.extend(unified),
            None => {}
        }
        let at = |hierarchy: &Arc<Hierarchy>| match hierarchy.root_dir() {
            Ok(root) => dir::below(&root, path),
            // It was never mounted: nobody has made a group.
            Err(_) if path.iter().all(|byte| *byte == b'/') => Ok(Arc::clone(&hierarchy.root)),
            Err(_) => Err(Errno::ENOENT),
        };
        found.iter().map(at).collect()
    }

    /// /proc/PID/cgroup of a process, as members of `seen_from` see it.
    pub fn of(&self, group: &ThreadGroup, seen_from: &CgroupNamespace) -> Vec<u8> {
        let mut text = Vec::new();
        for hierarchy in self.all() {
            text.extend_from_slice(&hierarchy.label());
            text.extend_from_slice(&seen_from.path_of(&group.cgroup(&hierarchy.root)));
            text.push(b'\n');
        }
        text
    }

    /// /proc/cgroups.
    pub fn summary(&self) -> String {
        let all = self.all();
        let mut text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n".to_owned();
        for (name, controller) in NAMES {
            let of = all.iter().find(|h| h.has(controller)).unwrap_or(&self.unified);
            let groups = 1 + of.root.descendants.load(Ordering::Relaxed);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}\t{}\t{groups}\t1", of.id);
        }
        text
    }
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}
