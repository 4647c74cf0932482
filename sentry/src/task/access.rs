//! Who may look into another process (ptrace(2), "Ptrace access mode checking").

use abi::Errno;
use abi::capability::CAP_SYS_PTRACE;

use super::{Credentials, CurrentTask, Task};

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Through /proc: by the ids for file access.
    File,
    /// By a call: by the real ids.
    Call,
}

impl CurrentTask {
    /// EPERM where the caller may not look into `target`: other ids, not dumpable, or more capabilities, and no
    /// CAP_SYS_PTRACE over it.
    pub fn may_look_into(&self, target: &Task, access: Access) -> Result<(), Errno> {
        if may_look_into(Some(self.task()), self.own_creds(), target, access) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }
}

/// Whether `own` (`None`: the kernel itself), with these credentials, may look into `target`.
pub fn may_look_into(own: Option<&Task>, creds: &Credentials, target: &Task, access: Access) -> bool {
    if own.is_some_and(|own| own.thread_group().id() == target.thread_group().id()) {
        return true;
    }
    let theirs = target.creds();
    if creds.has_cap_in(CAP_SYS_PTRACE, &theirs.user_ns) {
        return true;
    }
    let (uid, gid, caps) = match access {
        Access::File => (creds.fsuid, creds.fsgid, creds.cap_effective),
        Access::Call => (creds.uid, creds.gid, creds.cap_permitted),
    };
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|id| *id == uid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|id| *id == gid);
    let dumpable = target.resources().is_none_or(|resources| resources.mm.dumpable() == 1);
    let no_more =
        std::sync::Arc::ptr_eq(&creds.user_ns, &theirs.user_ns) && caps.contains_all(theirs.cap_permitted);
    same && dumpable && no_more
}
