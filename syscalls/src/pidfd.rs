//! Descriptors of processes.

use std::sync::Arc;

use abi::Errno;
use sentry::task::{CurrentTask, Task};

/// Identity of the process that a pidfd names: EBADF for a descriptor that is none.
pub(crate) fn identity(task: &CurrentTask, fd: i32) -> Result<u64, Errno> {
    // No call makes pidfds yet.
    task.file(fd)?;
    Err(Errno::EBADF)
}

/// A thread of the process that a pidfd names: ESRCH when it has gone.
pub(crate) fn task(current: &CurrentTask, fd: i32) -> Result<Arc<Task>, Errno> {
    let id = identity(current, fd)?;
    let tree = current.kernel().tree.lock();
    let group = tree.iter().find(|node| node.group.id() == id).map(|node| Arc::clone(&node.group));
    drop(tree);
    group.and_then(|group| group.any_thread()).ok_or(Errno::ESRCH)
}
