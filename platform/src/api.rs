//! What a platform is: the traits between the kernel and the code that runs guests.
//!
//! A platform knows how to run guest code until something happens, and nothing of Linux semantics: no tasks, no
//! files, no signal dispositions. Three kinds of object:
//!
//! - [`Platform`]: one per sandbox; makes the others, owns the [`MemoryFile`].
//! - [`AddressSpace`]: what guest code sees at which address; host mappings of the memory file and of donated files.
//! - [`Context`]: one per guest thread, bound to the Sentry thread that made it; runs guest code in an address space.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use bitflags::bitflags;

use crate::host_file::HostFile;
use crate::memory_file::MemoryFile;

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;

bitflags! {
    /// Page protection, the values of `PROT_*` in mmap(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Prot: u32 {
        /// Pages may be read.
        const READ = 1;
        /// Pages may be written.
        const WRITE = 2;
        /// Pages may be executed.
        const EXEC = 4;
    }
}

/// The registers of a guest thread, in the order of `struct user_regs_struct` (sys/user.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The system call number after [`Trap::Syscall`]; `u64::MAX` otherwise.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// What an access that faulted wanted to do, as far as the platform can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
    /// The platform can't tell (ptrace has no page-fault error code).
    Unknown,
}

/// Why guest code stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A `syscall` instruction: number in `orig_rax`, arguments in rdi, rsi, rdx, r10, r8, r9; rip is behind it.
    Syscall,
    /// A page fault that the host could not resolve.
    Fault {
        /// The address that was touched.
        address: u64,
        /// What the access wanted.
        access: Access,
        /// SIGSEGV or SIGBUS, as the host reported it.
        signal: i32,
        /// The host's si_code (SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR …).
        code: i32,
    },
    /// A CPU exception that Linux turns into a signal (SIGFPE, SIGILL, SIGTRAP, SIGBUS for alignment, SIGSEGV for
    /// general protection).
    Exception {
        /// The signal.
        signal: i32,
        /// The si_code.
        code: i32,
        /// si_addr.
        address: u64,
    },
    /// [`Interrupter::interrupt`] was called.
    Interrupted,
}

/// Something the host refused, or a guest thread that the host took away.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// A host call failed.
    #[error("{what}: {source}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// The host's error.
        source: std::io::Error,
    },
    /// The process or thread that ran the guest is gone (killed from outside, or out of memory).
    #[error("the host process of a guest thread is gone")]
    Gone,
    /// The host has no more threads, mappings or memory to give: the guest sees EAGAIN or ENOMEM.
    #[error("host resource exhausted: {0}")]
    Exhausted(&'static str),
    /// The guest broke a rule of its stub.
    #[error("guest tampered with its stub: {0}")]
    Tampered(&'static str),
}

/// What a range of guest addresses shows.
#[derive(Clone, Copy, Debug)]
pub enum Backing<'a> {
    /// The memory file from this offset, shared.
    Memory(u64),
    /// A donated host file from this offset, shared. Bytes behind its end give SIGBUS, as on Linux.
    File(&'a Arc<HostFile>, u64),
}

/// One per sandbox.
pub trait Platform: Send + Sync {
    /// `ptrace`, `systrap`, `kvm` or `mock`.
    fn name(&self) -> &'static str;
    /// The file that holds all guest memory.
    fn memory(&self) -> &Arc<MemoryFile>;
    /// Addresses guests may use. The stub lies outside.
    fn user_range(&self) -> Range<u64>;
    /// Bytes of the XSAVE area (standard, not compacted, form) and its XCR0 mask on this machine.
    fn xstate(&self) -> XState;
    /// A new, empty address space.
    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, PlatformError>;
    /// A context for the calling thread: only this thread may use it.
    fn new_context(&self) -> Result<Box<dyn Context>, PlatformError>;
}

/// Shape of the extended state of this machine's CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XState {
    /// Bytes of the whole area, legacy region and header included.
    pub size: usize,
    /// State components that are enabled (XCR0).
    pub features: u64,
}

impl XState {
    /// Whether the CPU would take `area` (what sigreturn(2) finds in a guest's signal frame): no reserved bit is set.
    pub fn accepts(&self, area: &[u8]) -> bool {
        const MXCSR: usize = 24;
        const HEADER: usize = 512;
        let half =
            |at: usize| area.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        if half(MXCSR) & !crate::cpu::mxcsr_mask() != 0 {
            return false;
        }
        let Some(header) = area.get(HEADER..HEADER + 64) else { return true };
        let present = u64::from(half(HEADER)) | u64::from(half(HEADER + 4)) << 32;
        // The other words are those of the compacted form, and reserved ones.
        present & !self.features == 0 && header[8..24].iter().all(|&byte| byte == 0)
    }
}

/// What the host's tools are to show of the process that holds an address space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Title {
    /// Name of the program; what is behind the 15th byte may be left out.
    pub name: Vec<u8>,
    /// Its arguments, NUL behind each; what is behind the 900th byte may be left out.
    pub command_line: Vec<u8>,
}

/// What guest code sees at which address. Addresses and lengths are page multiples inside
/// [`Platform::user_range`]; anything else is a bug of the caller and answered with an error.
///
/// Every call takes effect for all threads of the address space before it returns: a thread that runs guest code
/// meanwhile is stopped or answers for itself. (So pages may be freed after [`unmap`](Self::unmap).)
pub trait AddressSpace: Send + Sync {
    /// Shows `backing` at `addr`, replacing what was there.
    fn map(&self, addr: u64, len: u64, prot: Prot, backing: Backing<'_>) -> Result<(), PlatformError>;
    /// [`map`](Self::map) of pages that are in memory and about to be used: where the platform can, touching them is no fault of
    /// the host's.
    fn map_present(
        &self,
        addr: u64,
        len: u64,
        prot: Prot,
        backing: Backing<'_>,
    ) -> Result<(), PlatformError> {
        self.map(addr, len, prot, backing)
    }
    /// Takes away what is there; holes are allowed.
    fn unmap(&self, addr: u64, len: u64) -> Result<(), PlatformError>;
    /// Changes the protection; holes are skipped.
    fn protect(&self, addr: u64, len: u64, prot: Prot) -> Result<(), PlatformError>;
    /// [`protect`](Self::protect) for several ranges, which do not overlap: where the platform can, in one go. After an error some
    /// of them may have changed.
    fn protect_all(&self, parts: &[(Range<u64>, Prot)]) -> Result<(), PlatformError> {
        parts.iter().try_for_each(|(at, prot)| self.protect(at.start, at.end - at.start, *prot))
    }
    /// A child with the same host mappings (all of them shared with the memory file: copy on write is the caller's
    /// business, who has write-protected before it calls). Called by a thread whose context last ran in this space
    /// where that is possible, which is the fast way.
    fn fork(&self) -> Result<Arc<dyn AddressSpace>, PlatformError>;
    /// Makes sure that another context can start to run in this space without the help of those that run there now.
    /// To be called by a thread whose context last ran in the space, before it starts the thread of a guest thread
    /// that will share the space (clone with CLONE_VM, vfork). Without this the new thread might have to wait until another
    /// context runs guest code again.
    fn prepare_thread(&self) -> Result<(), PlatformError> {
        Ok(())
    }
    /// Nobody wants guest code of this space to run any more. What is in `kept` is dropped when nothing of the space can be seen or
    /// changed by it any more, which may be later: a process of the host takes its time to end. An error gives it back: this
    /// platform keeps nothing.
    fn retire(&self, kept: Box<dyn Any + Send>) -> Result<(), Box<dyn Any + Send>> {
        Err(kept)
    }
    /// For who has the last reference, before others are told that the guest's process has ended: whether the space may be dropped
    /// after that. Then this has waited until the platform can take the end of one more.
    fn reserve_end(&self) -> bool {
        false
    }
    /// CPU time that guest code in this space has used, in nanoseconds.
    fn cpu_time_ns(&self) -> u64;
    /// Tells the host's tools (ps(1)) what runs here, for people to look at: nothing depends on it, and where the host can't
    /// show it nothing happens.
    fn set_title(&self, _title: Title) {}
    /// The host process that holds the space, if it has one by now: a pid as the Sentry sees it.
    fn host_process(&self) -> Option<i32> {
        None
    }
    /// For the platform's own downcast.
    fn as_any(&self) -> &dyn Any;
}

/// A system call that only tells a guest thread about itself, and what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The call.
    pub number: u32,
    /// What is in rax afterwards.
    pub value: u32,
}

/// Runs one guest thread. Bound to its thread: neither `Send` nor `Sync`.
pub trait Context {
    /// Runs guest code in `space` from `regs` until it traps. Changing `space` between calls is how exec works.
    fn run(&mut self, space: &Arc<dyn AddressSpace>, regs: &mut Registers) -> Result<Trap, PlatformError>;
    /// Makes a running or about to run context return [`Trap::Interrupted`], from any thread. No wake-up is lost:
    /// an interrupt that comes while the context is not running makes the next `run` return at once.
    fn interrupter(&self) -> Arc<dyn Interrupter>;
    /// The XSAVE area, in standard form, [`XState::size`] bytes. Fetched when first asked for after a `run`.
    fn fpu(&mut self) -> Result<&[u8], PlatformError>;
    /// Replaces the XSAVE area before the next `run`. The bytes may come from a guest (sigreturn): header and MXCSR
    /// are sanitised here, never trusted. Shorter input leaves the other components in their initial state.
    fn set_fpu(&mut self, area: &[u8]) -> Result<(), PlatformError>;
    /// Puts all extended state back to the initial state (exec).
    fn reset_fpu(&mut self) -> Result<(), PlatformError>;
    /// The guest thread is about to have a child in a process of its own, and then to wait until that has ended, if `waits`, as far as
    /// anybody can tell. Before the child's host thread is started: for where the platform has the two of them run.
    fn expect_wait(&mut self, _waits: bool) {}
    /// Lets the platform answer these calls of the guest thread from now on, instead of those told before. It may, and need
    /// not: as many as it likes, from whatever place it likes. Without any, every call is to be a trap.
    fn set_answers(&mut self, _answers: &[Answer]) {}
    /// The thread's signal mask, if the platform can let the guest change it by rt_sigprocmask(2) without a trap.
    fn signal_mask(&self) -> Option<Arc<dyn SignalMask>> {
        None
    }
    /// Its robust list, if the platform can let the guest change that by set_robust_list(2) without a trap, which it may while the context
    /// has [answers](Self::set_answers).
    fn robust_list(&self) -> Option<Arc<dyn RobustList>> {
        None
    }
    /// The calling thread is going to wait, and the guest with it, as long as others run: they may have its place.
    fn rest(&mut self) {}
}

/// The address that a guest thread has last given set_robust_list(2), where guest code can change it: see [`Context::robust_list`]. It may
/// be anything at any time.
pub trait RobustList: Send + Sync {
    /// The address.
    fn head(&self) -> u64;
    /// Changes it. The context runs no guest code.
    fn set_head(&self, address: u64);
}

/// A guest thread's signal mask, where guest code can change it by rt_sigprocmask(2) without a trap: see [`Context::signal_mask`]. Bit
/// n - 1 is signal n. The guest may put anything there at any time, SIGKILL and SIGSTOP included.
///
/// It is *closed* at first. While it is [open](Self::open), and the context has [answers](Context::set_answers), calls that change or
/// ask for it need not be traps.
pub trait SignalMask: Send + Sync {
    /// The mask.
    fn get(&self) -> u64;
    /// Changes it. The context runs no guest code.
    fn set(&self, mask: u64);
    /// Lets guest code change it. The context runs no guest code.
    fn open(&self);
    /// Guest code shall not change it any more, from any thread. When this has returned, a [`get`](Self::get) sees each change that was
    /// made without a trap, except for one that was under way: for such a one the context's `run` returns
    /// [`Trap::Interrupted`] once it is made.
    fn close(&self);
}

/// See [`Context::interrupter`].
pub trait Interrupter: Send + Sync {
    /// Makes the context return.
    fn interrupt(&self);
    /// [`interrupt`](Self::interrupt), and nobody wants guest code of the context to run any more: a platform need not wait for
    /// long until it stops, if the same is true of all contexts that run in its space.
    fn give_up(&self) {
        self.interrupt();
    }
    /// Takes the context's [answers](Context::set_answers) away: calls that the guest makes after this has returned are
    /// traps, until answers are given anew. The context need not stop for it.
    fn silence(&self) {}
}
