//! On whose behalf something is done with files.

use std::sync::Arc;

use super::fs_context::Roots;
use super::registry::Vfs;
use crate::task::{Credentials, Task};

/// Who asks. Borrowed from the current task (`CurrentTask::caller`), or put together by tests.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Ids and capabilities.
    pub creds: &'a Arc<Credentials>,
    /// Kinds of file systems, drivers.
    pub vfs: &'a Vfs,
    /// Where absolute and relative paths start.
    pub roots: &'a Roots,
    /// Bits that new files don't get.
    pub umask: u32,
    /// The task, for what depends on it (`/proc/self`, `/dev/tty`); `None` for the kernel itself.
    pub task: Option<&'a Arc<Task>>,
}
