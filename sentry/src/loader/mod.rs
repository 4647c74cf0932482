//! The loader: from a file to a process image (execve(2), elf(5)).

use std::sync::Arc;

use abi::Errno;
use platform::Registers;

use crate::Kernel;
use crate::mm::MemoryManager;
use crate::task::{Credentials, Limits};
use crate::vfs::{File, FsContext, MountNamespace};

/// What to load, and for whom.
pub struct LoadRequest<'a> {
    /// The kernel.
    pub kernel: &'a Arc<Kernel>,
    /// Credentials of the caller: those of the image come from them and from the file.
    pub creds: &'a Credentials,
    /// For interpreters named by relative paths.
    pub fs: &'a Arc<FsContext>,
    /// For interpreters.
    pub mounts: &'a Arc<MountNamespace>,
    /// RLIMIT_STACK bounds arguments and stack.
    pub limits: &'a Limits,
    /// The program, opened for execution.
    pub file: Arc<File>,
    /// As the caller named it.
    pub name: Vec<u8>,
    /// The name can't be used by an interpreter (ENOENT for scripts).
    pub name_is_closed: bool,
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: Vec<Vec<u8>>,
}

/// A program in memory, ready to run.
pub struct Image {
    /// Its address space.
    pub mm: Arc<MemoryManager>,
    /// Registers at its entry.
    pub regs: Registers,
    /// Name of the thread.
    pub comm: Vec<u8>,
    /// Credentials after set-user-id bits and capabilities.
    pub creds: Credentials,
    /// AT_SECURE: privileges changed.
    pub secure: bool,
}

/// Loads a program. ENOEXEC: no format that is known; ENOENT, EACCES, ELIBBAD … as execve(2).
pub fn load(request: LoadRequest<'_>) -> Result<Image, Errno> {
    let _ = request;
    Err(Errno::ENOEXEC)
}
