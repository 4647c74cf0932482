//! setns(2): going into namespaces that there are.

use std::sync::Arc;

use abi::Errno;
use abi::capability::{CAP_SYS_ADMIN, CAP_SYS_CHROOT};
use abi::clone::CloneFlags;

use super::{Access, Credentials, CurrentTask, Namespaces, PidNamespace, Task, UserNamespace};
use crate::Result;
use crate::fs::nsfs::Namespace;

/// All kinds, as setns(2) takes them for a process, in the order in which they are entered.
const ORDER: [CloneFlags; 8] = [
    CloneFlags::NEWUSER,
    CloneFlags::NEWNS,
    CloneFlags::NEWUTS,
    CloneFlags::NEWIPC,
    CloneFlags::NEWPID,
    CloneFlags::NEWCGROUP,
    CloneFlags::NEWNET,
    CloneFlags::NEWTIME,
];

impl CurrentTask {
    /// Goes into the namespaces of these kinds that `target` is in. ESRCH once that has gone, EPERM where the caller may not
    /// look into it.
    pub fn join_namespaces_of(&mut self, target: &Arc<Task>, kinds: CloneFlags) -> Result<()> {
        self.may_look_into(target, Access::Call)?;
        let theirs = target.resources().ok_or(Errno::ESRCH)?.namespaces;
        let of = |kind: CloneFlags| match kind {
            CloneFlags::NEWUSER => Namespace::User(Arc::clone(&target.creds().user_ns)),
            CloneFlags::NEWNS => Namespace::Mount(Arc::clone(&theirs.mount)),
            CloneFlags::NEWUTS => Namespace::Uts(Arc::clone(&theirs.uts)),
            CloneFlags::NEWIPC => Namespace::Ipc(Arc::clone(&theirs.ipc)),
            CloneFlags::NEWPID => Namespace::Pid(Arc::clone(target.pid().namespace())),
            CloneFlags::NEWCGROUP => Namespace::Cgroup(Arc::clone(&theirs.cgroup)),
            CloneFlags::NEWNET => Namespace::Net(Arc::clone(&theirs.net)),
            _ => Namespace::Time(Arc::clone(&self.kernel().user_ns)),
        };
        let wanted: Vec<Namespace> = ORDER.into_iter().filter(|kind| kinds.contains(*kind)).map(of).collect();
        self.join_namespaces(&wanted)
    }

    /// Goes into these namespaces, all or none.
    pub fn join_namespaces(&mut self, wanted: &[Namespace]) -> Result<()> {
        let mut creds: Option<Credentials> = None;
        let mut new = Namespaces::clone(self.namespaces());
        let mut leaves_undo = false;
        let mut root = None;
        for namespace in wanted {
            // Rights from before count: over the namespace, and in the user namespace that it will be in.
            let own = self.own_creds();
            let future = creds.as_ref().map_or(&own.user_ns, |new| &new.user_ns);
            let allowed = |owner: &Arc<UserNamespace>| {
                let both = own.has_cap_in(CAP_SYS_ADMIN, owner) && own.has_cap_in(CAP_SYS_ADMIN, future);
                if both { Ok(()) } else { Err(Errno::EPERM) }
            };
            match namespace {
                Namespace::User(ns) => creds = Some(self.creds_in(ns)?),
                Namespace::Mount(ns) => {
                    allowed(&ns.user_ns)?;
                    if !own.has_cap_in(CAP_SYS_CHROOT, future) {
                        return Err(Errno::EPERM);
                    }
                    if ns.is_detached() || self.shares_fs() {
                        return Err(Errno::EINVAL);
                    }
                    root = Some(ns.root());
                    new.mount = Arc::clone(ns);
                }
                Namespace::Uts(ns) => {
                    allowed(&ns.user_ns)?;
                    new.uts = Arc::clone(ns);
                }
                Namespace::Ipc(ns) => {
                    allowed(&ns.user_ns)?;
                    new.ipc = Arc::clone(ns);
                    leaves_undo = true;
                }
                Namespace::Pid(ns) => {
                    allowed(&ns.user_ns)?;
                    self.may_have_children_in(ns)?;
                    new.pid_for_children = Arc::clone(ns);
                }
                Namespace::Cgroup(ns) => {
                    allowed(&ns.user_ns)?;
                    new.cgroup = Arc::clone(ns);
                }
                Namespace::Net(ns) => {
                    allowed(&ns.user_ns)?;
                    new.net = Arc::clone(ns);
                }
                // There is one: it is left for itself.
                Namespace::Time(owner) => {
                    if self.thread_group().threads().len() > 1 {
                        return Err(Errno::EUSERS);
                    }
                    allowed(owner)?;
                }
            }
        }
        if leaves_undo {
            self.leave_undo_list();
        }
        if let Some(creds) = creds {
            self.commit_creds(creds);
        }
        if let Some(root) = root {
            self.fs().set_roots(root.clone(), root);
        }
        self.set_namespaces(new);
        Ok(())
    }

    /// Credentials in a user namespace that there is: all capabilities there.
    fn creds_in(&self, ns: &Arc<UserNamespace>) -> Result<Credentials> {
        let own = self.own_creds();
        if Arc::ptr_eq(ns, &own.user_ns) || self.thread_group().threads().len() > 1 || self.shares_fs() {
            return Err(Errno::EINVAL);
        }
        if !own.has_cap_in(CAP_SYS_ADMIN, ns) {
            return Err(Errno::EPERM);
        }
        Ok(own.all_capabilities_in(Arc::clone(ns)))
    }

    /// Children can be made in its own PID namespace and in those below: EINVAL for others.
    fn may_have_children_in(&self, ns: &Arc<PidNamespace>) -> Result<()> {
        let own = self.pid();
        let mut at = Some(ns);
        while let Some(ns) = at {
            if Arc::ptr_eq(ns, own.namespace()) {
                return Ok(());
            }
            at = ns.parent();
        }
        Err(Errno::EINVAL)
    }

    /// Whether other tasks share root and working directory.
    fn shares_fs(&self) -> bool {
        // Its own reference, and that of its task.
        Arc::strong_count(self.fs()) > 2
    }
}
