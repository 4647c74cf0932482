//! The loader: from a file to a process image (execve(2), elf(5)).
//!
//! Nothing in the file is trusted: headers are copied and checked, a page at a time. Linux refuses bad files in two
//! ways, and so does this: with an error number while the old program can still go on, and with a fatal signal once
//! memory is being mapped ([`LoadError`]).

mod creds;
mod elf;
mod script;
mod stack;
mod vdso;

pub use vdso::Vdso;

use std::sync::Arc;

use abi::Errno;
use abi::elf::{BINPRM_BUF_SIZE, ELFMAG, Personality};
use abi::resource::RLIMIT_STACK;
use abi::signal::Signal;
use platform::{Registers, Title};

use crate::Kernel;
use crate::mm::MemoryManager;
use crate::mm::layout::aslr_random;
use crate::task::{Credentials, Limits};
use crate::vfs::{BufSink, File};

/// Interpreters of interpreters of …: one more is ELOOP.
const MAX_INTERPRETERS: usize = 5;

/// Opens a file for execution: follows links, demands a regular file, the right to execute it and a mount without
/// noexec; EACCES, ENOENT and so on otherwise.
pub type OpenExec<'a> = dyn Fn(&[u8]) -> Result<Arc<File>, Errno> + 'a;

/// What to load, and for whom.
pub struct LoadRequest<'a> {
    /// The kernel.
    pub kernel: &'a Arc<Kernel>,
    /// Credentials of the caller: those of the image come from them and from the file.
    pub creds: &'a Credentials,
    /// Opens interpreters.
    pub open: &'a OpenExec<'a>,
    /// personality(2).
    pub personality: Personality,
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

impl LoadRequest<'_> {
    /// Random bits for a place in memory; 0 where the caller wants no randomness.
    fn random(&self) -> u64 {
        if self.personality.contains(Personality::ADDR_NO_RANDOMIZE) { 0 } else { aslr_random() }
    }
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

/// Why there is no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// execve fails with this.
    Errno(Errno),
    /// Too late for an error: Linux kills the process with this signal.
    Fatal(Signal),
}

impl From<Errno> for LoadError {
    fn from(errno: Errno) -> Self {
        LoadError::Errno(errno)
    }
}

/// Loads a program. ENOEXEC: no format that is known; ENOENT, EACCES, ELIBBAD, E2BIG … as execve(2).
pub fn load(mut request: LoadRequest<'_>) -> Result<Image, LoadError> {
    stack::check_size(&request.argv, &request.envp, request.limits)?;
    let comm = request.name.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
    let exec_name = request.name.clone();
    for _ in 0..=MAX_INTERPRETERS {
        let mut head = [0u8; BINPRM_BUF_SIZE];
        let len = read_at(&request.file, 0, &mut head)?;
        let head = &head[..len];
        if head.starts_with(b"#!") {
            script::use_interpreter(&mut request, head)?;
            stack::check_size(&request.argv, &request.envp, request.limits)?;
        } else if head.starts_with(&ELFMAG) {
            return build(request, comm, &exec_name);
        } else {
            return Err(Errno::ENOEXEC.into());
        }
    }
    Err(Errno::ELOOP.into())
}

fn build(request: LoadRequest<'_>, comm: Vec<u8>, exec_name: &[u8]) -> Result<Image, LoadError> {
    let program = elf::Program::read(&request.file)?;
    let interpreter = match program.interpreter(&request.file)? {
        // An empty name is the current directory's.
        Some(path) if path.is_empty() => return Err(Errno::EACCES.into()),
        Some(path) => {
            let file = (request.open)(&path)?;
            Some((elf::Program::read_interpreter(&file)?, file))
        }
        None => None,
    };
    let (creds, secure) = creds::after_exec(request.creds, &request.file)?;
    let mm = MemoryManager::new(&request.kernel.platform)?;
    let stack_limit = request.limits.get(RLIMIT_STACK).rlim_cur;
    mm.set_stack_limit(stack_limit);
    // From here on Linux has left the old program behind.
    let fatal = |errno: Errno| {
        tracing::debug!(?errno, "program can't be mapped");
        LoadError::Fatal(Signal::SIGSEGV)
    };
    let top = stack::map(&mm, &program, stack_limit, &request, exec_name).map_err(fatal)?;
    let loaded = elf::map(&mm, &program, &request, interpreter.as_ref()).map_err(fatal)?;
    let vdso = vdso::map(&mm, request.kernel).map_err(fatal)?;
    let rsp = stack::fill(&mm, top, &loaded, &request, exec_name, vdso, &creds, secure).map_err(fatal)?;
    mm.set_exe(Some(request.file.clone()));
    mm.space().set_title(Title { name: comm.clone(), command_line: command_line(&request.argv) });
    if secure {
        mm.set_dumpable(0);
    }
    let regs = Registers {
        rip: loaded.entry,
        rsp,
        cs: 0x33,
        ss: 0x2b,
        eflags: 0x200,
        orig_rax: u64::MAX,
        ..Registers::default()
    };
    Ok(Image { mm, regs, comm, creds, secure })
}

/// The arguments as /proc/PID/cmdline has them, as far as anybody shows them.
fn command_line(argv: &[Vec<u8>]) -> Vec<u8> {
    const ENOUGH: usize = 1024;
    let bytes = argv.iter().flat_map(|arg| arg.iter().chain(&[0]));
    bytes.copied().take(ENOUGH).collect()
}

/// Reads as much of `buffer` as the file has at `offset`.
fn read_at(file: &Arc<File>, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while done < buffer.len() {
        let mut sink = BufSink::new(&mut buffer[done..]);
        match file.ops().read(file, &mut sink, offset + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}
