//! Waiting for file locks.

use std::sync::Arc;

use abi::Errno;
use abi::poll::PollEvents;

use super::CurrentTask;
use crate::error::{Restart, SysResult};
use crate::vfs::File;
use crate::vfs::lock::{LockKind, LockOwner, RangeLock, Waiting};

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

    /// flock(2).
    pub fn flock(&mut self, file: &Arc<File>, kind: LockKind, wait: Wait) -> SysResult<()> {
        let locks = file.path.inode().locks();
        if locks.flock(file.id, kind) {
            return Ok(());
        }
        if wait == Wait::No {
            return Err(Errno::EAGAIN.into());
        }
        let attempt = |_: &mut Self| locks.flock(file.id, kind).then_some(());
        self.wait_for(locks.wait_queue(), PollEvents::IN, None, attempt)
            .map_err(|end| end.into_error(Restart::Sys, Errno::EINTR))
    }
}
