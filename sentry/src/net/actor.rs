//! On whose behalf something is done with a socket.

use std::sync::Arc;

use crate::task::{Credentials, CurrentTask, Pid, Task};
use crate::vfs::{Caller, FsContext, Vfs};

/// Who asks: identity for what is stamped on messages, and where paths start.
#[derive(Clone, Copy)]
pub struct Actor<'a> {
    /// The process.
    pub pid: &'a Arc<Pid>,
    /// Ids and capabilities.
    pub creds: &'a Arc<Credentials>,
    /// Kinds of file systems, drivers.
    pub vfs: &'a Vfs,
    /// Root, working directory, umask.
    pub fs: &'a FsContext,
    /// The task; `None` in tests.
    pub task: Option<&'a Arc<Task>>,
    /// Descriptors it may have (RLIMIT_NOFILE): a bound of those it may have in flight.
    pub fd_limit: u64,
}

impl<'a> Actor<'a> {
    /// The current task.
    pub fn of(task: &'a CurrentTask) -> Actor<'a> {
        Actor {
            pid: &task.thread_group().pid,
            creds: task.own_creds(),
            vfs: &task.kernel().vfs,
            fs: task.fs(),
            task: Some(task.task()),
            fd_limit: task.fd_limit(),
        }
    }

    /// Does something with paths.
    pub fn with_caller<R>(&self, with: impl FnOnce(&Caller<'_>) -> R) -> R {
        let roots = self.fs.roots();
        let umask = self.fs.umask();
        with(&Caller { creds: self.creds, vfs: self.vfs, roots: &roots, umask, task: self.task })
    }
}
