//! /proc (proc(5)).
//!
//! Each mount is for one PID namespace. Files are made when they are read, from the kernel's objects; nothing is kept
//! but the inodes of tasks that somebody looks at.

mod fd;
mod ipc;
mod link;
mod locks;
mod maps;
mod mem;
mod mounts;
mod net;
mod root;
mod status;
mod sys;
mod task;
mod write;

use std::sync::{Arc, Weak};

use abi::Errno;

use crate::fs::pseudo::{PseudoDir, PseudoSuper};
use crate::task::Task;
use crate::vfs::{Caller, Dentry, SuperBlock};
use crate::vfs::{FileSystemType, MountRequest};
use crate::{Kernel, Result};

/// The kind of file system.
pub struct ProcFs {
    kernel: Weak<Kernel>,
}

impl ProcFs {
    /// For this kernel.
    pub fn new(kernel: &Arc<Kernel>) -> Arc<ProcFs> {
        Arc::new(ProcFs { kernel: Arc::downgrade(kernel) })
    }
}

impl FileSystemType for ProcFs {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn allowed_in_user_ns(&self) -> bool {
        true
    }

    /// A new /proc for the PID namespace of who mounts it.
    fn mount(&self, _request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        let kernel = self.kernel.upgrade().ok_or(Errno::EIO)?;
        let ns = caller.task.map_or_else(|| Arc::clone(&kernel.pid_ns), |t| Arc::clone(t.pid().namespace()));
        let sb = SuperBlock::new(Box::new(PseudoSuper { kind: "proc", magic: 0x9fa0, revalidate: true }));
        let root = root::Root::new(&sb, &kernel, &ns);
        Ok(Dentry::new_root(PseudoDir::inode(&sb, root)))
    }
}

/// The command line of a thread's process, each argument ended by a NUL; empty when its memory is gone.
pub fn command_line(task: &Arc<Task>) -> Vec<u8> {
    status::cmdline(task).unwrap_or_default()
}
