//! Who may look into another process (ptrace(2), "Ptrace access mode checking").

use abi::Errno;
use abi::capability::CAP_SYS_PTRACE;

use super::{CurrentTask, Task};

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
        if std::ptr::eq(self.thread_group().as_ref(), target.thread_group().as_ref()) {
            return Ok(());
        }
        let (own, theirs) = (self.own_creds(), target.creds());
        if own.has_cap_in(CAP_SYS_PTRACE, &theirs.user_ns) {
            return Ok(());
        }
        let (uid, gid, caps) = match access {
            Access::File => (own.fsuid, own.fsgid, own.cap_effective),
            Access::Call => (own.uid, own.gid, own.cap_permitted),
        };
        let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|id| *id == uid)
            && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|id| *id == gid);
        let dumpable = target.resources().is_none_or(|resources| resources.mm.dumpable() == 1);
        let no_more =
            std::sync::Arc::ptr_eq(&own.user_ns, &theirs.user_ns) && caps.contains_all(theirs.cap_permitted);
        if same && dumpable && no_more { Ok(()) } else { Err(Errno::EPERM) }
    }
}
