//! The running task: registers, context, and the shared things it uses, at hand without a lock.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use abi::Errno;
use abi::signal::SigSet;
use platform::{AddressSpace, Context, Registers};

use super::{Credentials, Namespaces, Resources, RestartBlock, Task};
use crate::error::{Restart, Result};
use crate::mm::{MemoryManager, UserAddr, UserRef};
use crate::vfs::{Caller, FdTable, File, FsContext, Roots};
use crate::wait::Parker;

/// What a signal frame says about the last CPU exception.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastFault {
    /// Exception number (14: page fault).
    pub trap: u64,
    /// Error code as the CPU gives it; bit 1 is a write, bit 2 user mode.
    pub error: u64,
    /// CR2.
    pub address: u64,
}

/// A guest thread as its own host thread sees it. Derefs to its [`Task`].
pub struct CurrentTask {
    pub(super) task: Arc<Task>,
    /// Guest registers: those of the call or trap being answered.
    pub regs: Registers,
    pub(super) context: Box<dyn Context>,
    pub(super) space: Arc<dyn AddressSpace>,
    pub(super) resources: Resources,
    pub(super) creds: Arc<Credentials>,
    pub(super) parker: Arc<Parker>,
    /// A call was interrupted: what to do once signals have been looked at.
    pub(crate) restart: Option<Restart>,
    /// What restart_syscall(2) goes on with.
    pub restart_block: Option<RestartBlock>,
    /// The mask to put back after sigsuspend, ppoll, pselect, epoll_pwait.
    pub(crate) saved_mask: Option<SigSet>,
    /// The last fault, for signal frames.
    pub(crate) last_fault: LastFault,
    /// rseq(2).
    pub(super) rseq: super::rseq::Rseq,
    /// What the page of the vDSO says of its CPU.
    pub(super) published: Option<super::cpu_number::Published>,
    /// How long the current call has been waiting: not processor time.
    pub(super) waited: std::time::Duration,
    /// The vfork parent that waits for this task.
    pub(super) vfork_done: Option<Arc<super::clone::VforkDone>>,
    /// Set by exit(2), exec and fatal signals: the run loop ends.
    pub(super) ended: Option<super::run::End>,
    pub(super) not_send: PhantomData<*const ()>,
}

impl Deref for CurrentTask {
    type Target = Task;
    fn deref(&self) -> &Task {
        &self.task
    }
}

impl CurrentTask {
    /// The shared view of this task.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Address space.
    pub fn mm(&self) -> &Arc<MemoryManager> {
        &self.resources.mm
    }

    /// Open files.
    pub fn files(&self) -> &Arc<FdTable> {
        &self.resources.files
    }

    /// Root, working directory, umask.
    pub fn fs(&self) -> &Arc<FsContext> {
        &self.resources.fs
    }

    /// Namespaces.
    pub fn namespaces(&self) -> &Arc<Namespaces> {
        &self.resources.namespaces
    }

    /// Own credentials, without a lock.
    pub fn own_creds(&self) -> &Arc<Credentials> {
        &self.creds
    }

    /// Changes the credentials.
    pub fn set_creds(&mut self, creds: Credentials) {
        self.creds = Arc::new(creds);
        self.task.store_creds(Arc::clone(&self.creds));
        self.answers_changed();
    }

    /// Replaces the open files (unshare, close_range with CLOSE_RANGE_UNSHARE).
    pub fn set_files(&mut self, files: Arc<FdTable>) {
        self.resources.files = files;
        self.task.set_resources(Some(self.resources.clone()));
    }

    /// Replaces root, working directory and umask (unshare).
    pub fn set_fs(&mut self, fs: Arc<FsContext>) {
        self.resources.fs = fs;
        self.task.set_resources(Some(self.resources.clone()));
    }

    /// Replaces namespaces (unshare, setns).
    pub fn set_namespaces(&mut self, namespaces: Namespaces) {
        self.resources.namespaces = Arc::new(namespaces);
        self.task.set_resources(Some(self.resources.clone()));
    }

    /// The open file with this number, EBADF without one. `O_PATH` files too.
    pub fn file_or_path(&self, fd: i32) -> Result<Arc<File>> {
        self.resources.files.get(fd).ok_or(Errno::EBADF)
    }

    /// The open file with this number, EBADF without one or for an `O_PATH` one.
    pub fn file(&self, fd: i32) -> Result<Arc<File>> {
        let file = self.file_or_path(fd)?;
        if file.is_path() { Err(Errno::EBADF) } else { Ok(file) }
    }

    /// On whose behalf this task asks the file system; `roots` are those of [`fs`](Self::fs).
    pub fn caller<'a>(&'a self, roots: &'a Roots) -> Caller<'a> {
        let vfs = &self.task.kernel().vfs;
        Caller { creds: &self.creds, vfs, roots, umask: self.resources.fs.umask(), task: Some(&self.task) }
    }

    /// Reads a structure out of guest memory.
    pub fn read_obj<T: zerocopy::FromBytes + zerocopy::IntoBytes>(&self, from: UserRef<T>) -> Result<T> {
        self.resources.mm.read_obj(from)
    }

    /// Writes a structure to guest memory.
    pub fn write_obj<T: zerocopy::IntoBytes + zerocopy::Immutable>(
        &self,
        to: UserRef<T>,
        value: &T,
    ) -> Result<()> {
        self.resources.mm.write_obj(to, value)
    }

    /// Copies bytes out of guest memory.
    pub fn copy_in(&self, from: UserAddr, to: &mut [u8]) -> Result<()> {
        self.resources.mm.copy_in(from, to)
    }

    /// Copies bytes to guest memory.
    pub fn copy_out(&self, to: UserAddr, from: &[u8]) -> Result<()> {
        self.resources.mm.copy_out(to, from)
    }

    /// The extended CPU state of the guest: the XSAVE area in standard form.
    pub fn fpu(&mut self) -> Result<&[u8]> {
        self.context.fpu().map_err(|_| Errno::EIO)
    }

    /// Puts the extended CPU state back to its initial state.
    pub fn reset_fpu(&mut self) -> Result<()> {
        self.context.reset_fpu().map_err(|_| Errno::EIO)
    }

    /// Replaces the extended CPU state.
    pub fn set_fpu(&mut self, area: &[u8]) -> Result<()> {
        self.context.set_fpu(area).map_err(|_| Errno::EIO)
    }
}
