//! Waiting for file locks.

use std::sync::Arc;

use abi::Errno;
use abi::poll::PollEvents;

use super::{CurrentTask, WaitEnd};
use crate::error::{Restart, SysResult};
use crate::vfs::lock::{LockKind, LockOwner, RangeLock, Waiting};
use crate::vfs::{File, Inode};

/// Whether a lock that can't be had is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// F_SETLKW, flock(2) without LOCK_NB.
    Yes,
    /// EAGAIN at once.
    No,
}

impl CurrentTask {
    /// Sets a lock of a range of `file`.
    pub fn lock_range(&mut self, file: &Arc<File>, lock: RangeLock, wait: Wait) -> SysResult<()> {
        let locks = file.path.inode().locks();
        if locks.set(lock)?.is_ok() {
            return Ok(());
        }
        if wait == Wait::No {
            return Err(Errno::EAGAIN.into());
        }
        let key = locks.wait_queue().register(PollEvents::IN, self.waker());
        let result = loop {
            let holder = match locks.set(lock) {
                Ok(Ok(())) => break Ok(()),
                Ok(Err(other)) => other,
                Err(errno) => break Err(errno.into()),
            };
            let watched = matches!(lock.owner, LockOwner::Table(_));
            let waiting = match watched.then(|| Waiting::begin(lock.owner, holder.owner)).transpose() {
                Ok(waiting) => waiting,
                Err(errno) => break Err(errno.into()),
            };
            let parked = self.park(None);
            drop(waiting);
            if let Err(end) = parked {
                break Err(end.into_error(Restart::Sys, Errno::EINTR));
            }
        };
        locks.wait_queue().unregister(key);
        result
    }

    /// Breaks the leases in the way of an open of `inode` (for writing if `writes`), and waits until they have gone.
    /// EAGAIN without waiting where that is not wanted.
    pub fn break_leases(&mut self, inode: &Inode, writes: bool, wait: Wait) -> SysResult<()> {
        let Some(locks) = inode.locks_if_any() else { return Ok(()) };
        loop {
            let Some(in_the_way) = locks.break_leases(writes) else { return Ok(()) };
            for broken in &in_the_way.told {
                super::sigio::lease_broken(self.kernel(), &broken.file, broken.fd);
            }
            let until = in_the_way.until;
            drop(in_the_way);
            if wait == Wait::No {
                return Err(Errno::EAGAIN.into());
            }
            let gone = |_: &mut Self| (!locks.has_lease_against(writes)).then_some(());
            match self.wait_for(locks.wait_queue(), PollEvents::IN, Some(until), gone) {
                // Out of time: they go the next time round.
                Ok(()) | Err(WaitEnd::TimedOut) => {}
                Err(end) => return Err(end.into_error(Restart::Sys, Errno::EAGAIN)),
            }
        }
    }

    /// flock(2).
    pub fn flock(&mut self, file: &Arc<File>, kind: LockKind, wait: Wait) -> SysResult<()> {
        let locks = file.path.inode().locks();
        let pid = self.tgid();
        if locks.flock(file.id, kind, pid) {
            return Ok(());
        }
        if wait == Wait::No {
            return Err(Errno::EAGAIN.into());
        }
        let attempt = |_: &mut Self| locks.flock(file.id, kind, pid).then_some(());
        self.wait_for(locks.wait_queue(), PollEvents::IN, None, attempt)
            .map_err(|end| end.into_error(Restart::Sys, Errno::EINTR))
    }
}
