//! Descriptors of the current task: new ones, within RLIMIT_NOFILE.

use std::sync::Arc;

use abi::resource::RLIMIT_NOFILE;

use super::CurrentTask;
use crate::error::Result;
use crate::vfs::{File, OnExec, ReservedFd};

impl CurrentTask {
    /// One more than the highest descriptor number (RLIMIT_NOFILE).
    pub fn fd_limit(&self) -> u64 {
        self.thread_group().limit(RLIMIT_NOFILE).rlim_cur
    }

    /// Whether other tasks use the same table.
    pub fn shares_files(&self) -> bool {
        self.files().is_shared()
    }

    /// Puts `file` under the lowest free number; EMFILE when there is none.
    pub fn add_file(&self, file: Arc<File>, on_exec: OnExec) -> Result<i32> {
        self.files().add(file, self.fd_limit(), on_exec)
    }

    /// Takes the lowest free number for a file to come; EMFILE when there is none.
    pub fn reserve_fd(&self, on_exec: OnExec) -> Result<ReservedFd> {
        self.files().reserve(0, self.fd_limit(), on_exec)
    }
}
