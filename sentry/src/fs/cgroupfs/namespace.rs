//! Cgroup namespaces (cgroup_namespaces(7)): which group of each hierarchy its members see as the root.

use std::sync::Arc;

use super::{Cgroup, dir};
use crate::Result;
use crate::task::{ThreadGroup, UserNamespace};
use crate::vfs::resolve::{LookupFlags, lookup};
use crate::vfs::{Caller, Dentry, Mount, MountFlags, Path, Roots};

/// A cgroup namespace.
pub struct CgroupNamespace {
    /// Unique; what /proc/PID/ns/cgroup shows.
    pub id: u64,
    /// The user namespace that owns it.
    pub user_ns: Arc<UserNamespace>,
    /// One of each hierarchy at most; where there is none, the root of the hierarchy is the root here.
    roots: Vec<Arc<Cgroup>>,
}

impl CgroupNamespace {
    /// The first one.
    pub fn initial(user_ns: Arc<UserNamespace>) -> Arc<CgroupNamespace> {
        Arc::new(CgroupNamespace { id: 0xefff_fffb, user_ns, roots: Vec::new() })
    }

    /// A new one, whose roots are the groups that a process is in now.
    pub fn of(id: u64, user_ns: Arc<UserNamespace>, process: &ThreadGroup) -> Arc<CgroupNamespace> {
        Arc::new(CgroupNamespace { id, user_ns, roots: process.cgroups() })
    }

    /// What members see as the root of a hierarchy, if that is not its own root.
    pub(super) fn root_in(&self, hierarchy: u32) -> Option<&Arc<Cgroup>> {
        self.roots.iter().find(|root| root.hierarchy() == hierarchy)
    }

    /// Where in its hierarchy a mount begins, as members see it; `None` for what is no control group.
    pub fn root_of(&self, mount: &Mount) -> Option<Vec<u8>> {
        dir::group_of(&mount.root.inode).map(|cgroup| self.path_of(cgroup))
    }

    /// The directory of a hierarchy that members get when they mount it.
    pub(super) fn directory(&self, root: Arc<Dentry>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        let hierarchy = dir::group_of(&root.inode).map(|cgroup| cgroup.hierarchy());
        let Some(own) = hierarchy.and_then(|hierarchy| self.root_in(hierarchy)) else { return Ok(root) };
        let mount = Mount::new(root, b"none", MountFlags::empty());
        let top = Path::new(Arc::clone(&mount), Arc::clone(&mount.root));
        let roots = Roots { root: top.clone(), cwd: top.clone() };
        let place = lookup(&Caller { roots: &roots, ..*caller }, &top, &own.path(), LookupFlags::DIRECTORY)?;
        Ok(Arc::clone(&place.dentry))
    }

    /// The path of a group as members see it: with `..` for what is above their root or beside it.
    pub fn path_of(&self, cgroup: &Arc<Cgroup>) -> Vec<u8> {
        match self.root_in(cgroup.hierarchy()) {
            None => cgroup.path(),
            Some(root) => cgroup.path_from(root),
        }
    }
}
