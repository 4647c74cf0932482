//! Who may do what with an object (svipc(7)).

use std::sync::Arc;

use abi::Errno;
use abi::capability::{CAP_IPC_OWNER, CAP_SYS_ADMIN};
use abi::ipc::IpcPerm;

use super::IpcNamespace;
use crate::Result;
use crate::task::{Credentials, CurrentTask, Pid, PidTrace, UserNamespace};
use crate::vfs::Timestamp;

/// Who asks.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// Credentials.
    pub creds: &'a Credentials,
    /// The user namespace that owns the objects.
    pub user_ns: &'a Arc<UserNamespace>,
    /// The process.
    pub process: &'a Arc<Pid>,
}

impl<'a> Asker<'a> {
    /// The running task, towards objects of `namespace`.
    pub fn of(task: &'a CurrentTask, namespace: &'a IpcNamespace) -> Asker<'a> {
        Asker { creds: task.own_creds(), user_ns: &namespace.user_ns, process: &task.thread_group().pid }
    }

    /// Whether the mode bits of `perm` allow all of `wanted` (bits as in a mode, in any of the three places): EACCES.
    pub(super) fn may(&self, perm: &IpcPerm, wanted: u32) -> Result<()> {
        let wanted = (wanted >> 6 | wanted >> 3 | wanted) & 7;
        let granted = if self.is_owner(perm) {
            perm.mode >> 6
        } else if self.creds.in_group(perm.gid) || self.creds.in_group(perm.cgid) {
            perm.mode >> 3
        } else {
            perm.mode
        };
        let allowed = wanted & !granted == 0 || self.creds.has_cap_in(CAP_IPC_OWNER, self.user_ns);
        if allowed { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether it may remove the object or give it to others: EPERM.
    pub(super) fn may_control(&self, perm: &IpcPerm) -> Result<()> {
        let allowed = self.is_owner(perm) || self.creds.has_cap_in(CAP_SYS_ADMIN, self.user_ns);
        if allowed { Ok(()) } else { Err(Errno::EPERM) }
    }

    pub(super) fn is_owner(&self, perm: &IpcPerm) -> bool {
        self.creds.euid == perm.uid || self.creds.euid == perm.cuid
    }

    /// Permissions of a new object.
    pub(super) fn new_perm(&self, key: i32, flags: u32) -> IpcPerm {
        IpcPerm {
            key,
            uid: self.creds.euid,
            gid: self.creds.egid,
            cuid: self.creds.euid,
            cgid: self.creds.egid,
            mode: flags & 0o777,
            seq: 0,
            pad2: [0; 3],
            unused1: 0,
            unused2: 0,
        }
    }

    /// What IPC_SET is to make of an object. Takes a lock of the user namespace.
    pub(super) fn wish(&self, new: &IpcPerm) -> Wish {
        let own = &self.creds.user_ns;
        Wish {
            uid: own.uid_kernel(new.uid).filter(|id| *id != u32::MAX),
            gid: own.gid_kernel(new.gid).filter(|id| *id != u32::MAX),
            mode: new.mode & 0o777,
        }
    }

    /// Permissions as the asker sees them: ids of its user namespace.
    pub(super) fn shown(&self, perm: &IpcPerm) -> IpcPerm {
        let own = &self.creds.user_ns;
        IpcPerm {
            uid: own.uid_inside(perm.uid),
            gid: own.gid_inside(perm.gid),
            cuid: own.uid_inside(perm.cuid),
            cgid: own.gid_inside(perm.cgid),
            ..*perm
        }
    }

    /// The number of a process as the asker sees it; 0 for none.
    pub(super) fn number(&self, process: &Option<Arc<PidTrace>>) -> i32 {
        process.as_ref().map_or(0, |trace| trace.number_in(self.process.namespace()))
    }

    /// What to remember of its process.
    pub(super) fn trace(&self) -> Arc<PidTrace> {
        Arc::new(self.process.trace())
    }
}

/// Owner and mode that an object is to have; `None` for ids that mean nobody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
}

impl Wish {
    /// Gives them to the object: EINVAL for ids that mean nobody.
    pub fn fulfil(self, perm: &mut IpcPerm) -> Result<()> {
        let (Some(uid), Some(gid)) = (self.uid, self.gid) else { return Err(Errno::EINVAL) };
        (perm.uid, perm.gid) = (uid, gid);
        perm.mode = perm.mode & !0o777 | self.mode;
        Ok(())
    }
}

/// Whether permission to read is not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anybody {
    /// The commands `…_STAT_ANY`.
    Yes,
    /// The others.
    No,
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    Timestamp::now().secs
}
