//! Who may look into whom (ptrace(2), "Ptrace access mode checking").

use abi::Errno;
use abi::capability::CAP_SYS_PTRACE;

use super::{CurrentTask, Task};
use crate::error::Result;

impl CurrentTask {
    /// Whether this task may read what another keeps for itself (PTRACE_MODE_READ_REALCREDS): EPERM if not. Threads of
    /// one process always may.
    pub fn may_inspect(&self, target: &Task) -> Result<()> {
        if target.thread_group().id() == self.thread_group().id() {
            return Ok(());
        }
        let (own, other) = (self.own_creds(), target.creds());
        let same_user = [other.uid, other.euid, other.suid].iter().all(|uid| *uid == own.uid);
        let same_group = [other.gid, other.egid, other.sgid].iter().all(|gid| *gid == own.gid);
        let dumpable = target.resources().is_none_or(|r| r.mm.dumpable() == 1);
        if same_user && same_group && dumpable || own.has_cap_in(CAP_SYS_PTRACE, &other.user_ns) {
            return Ok(());
        }
        Err(Errno::EPERM)
    }
}
