//! Making and leaving namespaces (unshare(2), clone(2), setns(2)).

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_SYS_ADMIN;
use abi::clone::CloneFlags;

use super::{Credentials, CurrentTask, Namespaces, PidNamespace, UserNamespace};
use crate::fs::cgroupfs::CgroupNamespace;
use crate::net::{Loopback, NetNamespace};
use crate::vfs::namespace::MountMap;

/// How deep user namespaces nest.
const MAX_USER_NS_LEVEL: u32 = 32;

impl CurrentTask {
    /// Namespaces as `flags` (CLONE_NEW*) ask for, the others as they are; new ones belong to `user_ns`. With
    /// CLONE_NEWNS also which mounts stand for which: root and working directory are to be translated. EPERM without
    /// CAP_SYS_ADMIN.
    pub fn unshared_namespaces(
        &self,
        flags: CloneFlags,
        user_ns: &Arc<UserNamespace>,
    ) -> Result<(Namespaces, Option<MountMap>), Errno> {
        use CloneFlags as C;
        // With CLONE_NEWUSER the rights come from the new user namespace.
        if !flags.contains(C::NEWUSER) && !self.own_creds().has_cap(CAP_SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        // Not there yet: as a kernel without that kind of namespace answers.
        if flags.contains(C::NEWTIME) {
            return Err(Errno::EINVAL);
        }
        let kernel = self.kernel();
        let mut namespaces = Namespaces::clone(self.namespaces());
        if flags.contains(C::NEWUTS) {
            namespaces.uts = namespaces.uts.copy(kernel.next_namespace_id(), Arc::clone(user_ns));
        }
        if flags.contains(C::NEWPID) {
            // The second time it would not be clear whose child the next process is.
            if self.pid().namespace().id != namespaces.pid_for_children.id {
                return Err(Errno::EINVAL);
            }
            let id = kernel.next_namespace_id();
            namespaces.pid_for_children =
                PidNamespace::new(id, &namespaces.pid_for_children, Arc::clone(user_ns))?;
        }
        if flags.contains(C::NEWIPC) {
            namespaces.ipc = namespaces.ipc.another(kernel.next_namespace_id(), Arc::clone(user_ns))?;
        }
        if flags.contains(C::NEWCGROUP) {
            let id = kernel.next_namespace_id();
            namespaces.cgroup = CgroupNamespace::of(id, Arc::clone(user_ns), self.thread_group());
        }
        if flags.contains(C::NEWNET) {
            namespaces.net =
                NetNamespace::new(kernel.next_namespace_id(), Arc::clone(user_ns), Loopback::Down);
        }
        let mut map = None;
        if flags.contains(C::NEWNS) {
            let (copy, mounts) = namespaces.mount.copy(kernel.next_namespace_id(), Arc::clone(user_ns));
            namespaces.mount = copy;
            map = Some(mounts);
        }
        Ok((namespaces, map))
    }

    /// Credentials in a new user namespace: all capabilities there.
    pub fn creds_in_new_user_namespace(&self) -> Result<Credentials, Errno> {
        let creds = self.own_creds();
        let mut level = 0;
        let mut at = creds.user_ns.parent();
        while let Some(ns) = at {
            level += 1;
            at = ns.parent();
        }
        if level > MAX_USER_NS_LEVEL {
            return Err(Errno::ENOSPC);
        }
        let id = self.kernel().next_namespace_id();
        let user_ns = UserNamespace::new(id, &creds.user_ns, creds.euid);
        Ok(creds.all_capabilities_in(user_ns))
    }
}
