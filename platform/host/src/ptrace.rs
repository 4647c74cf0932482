//! ptrace(2): running another process's threads from outside.
//!
//! The host refuses to trace a thread of the caller's own process, so nothing here can change memory or registers of
//! the caller.

use std::io::Result;

use crate::{check, check_int, retry};

/// Words of `struct user_regs_struct`.
pub const REGISTERS: usize = 27;

/// The register set that holds the XSAVE area (elf.h).
const NT_X86_XSTATE: usize = 0x202;

/// Options of [`seize`].
pub mod options {
    /// The tracee dies with its tracer.
    pub const EXIT_KILL: u32 = libc::PTRACE_O_EXITKILL as u32;
    /// System call stops are `SIGTRAP | 0x80`.
    pub const SYSCALL_GOOD: u32 = libc::PTRACE_O_TRACESYSGOOD as u32;
}

/// How a tracee goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Freely, until a signal.
    Continue,
    /// Until a system call, which is not carried out, or a signal.
    SystemCallEmulation,
}

/// What [`wait`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A system call was made.
    SystemCall,
    /// A signal is about to be delivered.
    Signal(i32),
    /// Stopped by [`interrupt`], or together with its process.
    Event,
    /// It has ended and is reaped.
    Gone,
}

/// The parts of siginfo_t that matter for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// The signal.
    pub signal: i32,
    /// si_code.
    pub code: i32,
    /// si_addr (si_call_addr for SIGSYS).
    pub address: u64,
    /// si_syscall, for SIGSYS.
    pub syscall: i32,
}

fn request(request: libc::c_uint, tid: i32, address: usize, data: usize) -> Result<()> {
    // SAFETY: the callers pass pointers only for requests that use them, valid for what the host reads or writes.
    check(unsafe { libc::ptrace(request, tid, address, data) }).map(drop)
}

/// Becomes the tracer of `tid`, which goes on running.
pub fn seize(tid: i32, options: u32) -> Result<()> {
    request(libc::PTRACE_SEIZE, tid, 0, options as usize)
}

/// Makes a tracee stop (with [`Stop::Event`]).
pub fn interrupt(tid: i32) -> Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0)
}

/// Lets a stopped tracee go for good.
pub fn detach(tid: i32) -> Result<()> {
    request(libc::PTRACE_DETACH, tid, 0, 0)
}

/// Lets a stopped tracee go on, without the signal that stopped it.
pub fn resume(tid: i32, how: Resume) -> Result<()> {
    let how = match how {
        Resume::Continue => libc::PTRACE_CONT,
        Resume::SystemCallEmulation => libc::PTRACE_SYSEMU,
    };
    request(how, tid, 0, 0)
}

/// All general and segment registers, in the order of `struct user_regs_struct`.
pub fn registers(tid: i32, into: &mut [u64; REGISTERS]) -> Result<()> {
    request(libc::PTRACE_GETREGS, tid, 0, into.as_mut_ptr() as usize)
}

/// Sets the first registers of `struct user_regs_struct`, as many as `values` has.
pub fn set_registers(tid: i32, values: &[u64]) -> Result<()> {
    let iov = libc::iovec { iov_base: values.as_ptr().cast_mut().cast(), iov_len: size_of_val(values) };
    request(libc::PTRACE_SETREGSET, tid, libc::NT_PRSTATUS as usize, &raw const iov as usize)
}

/// One register, by its index in `struct user_regs_struct`.
pub fn register(tid: i32, index: usize) -> Result<u64> {
    let mut value = 0u64;
    // The raw call writes the word through `data` (glibc's wrapper would return it, and -1 would be ambiguous).
    // SAFETY: `value` is valid for the write.
    check(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_PEEKUSER, tid, index * 8, &raw mut value) })?;
    Ok(value)
}

/// Sets one register, by its index in `struct user_regs_struct`.
pub fn set_register(tid: i32, index: usize, value: u64) -> Result<()> {
    request(libc::PTRACE_POKEUSER, tid, index * 8, value as usize)
}

/// Reads the XSAVE area in standard form; how many bytes the host has of it.
pub fn extended_state(tid: i32, into: &mut [u8]) -> Result<usize> {
    let mut iov = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    request(libc::PTRACE_GETREGSET, tid, NT_X86_XSTATE, &raw mut iov as usize)?;
    Ok(iov.iov_len)
}

/// Sets the XSAVE area; it must have exactly the host's size.
pub fn set_extended_state(tid: i32, area: &[u8]) -> Result<()> {
    let iov = libc::iovec { iov_base: area.as_ptr().cast_mut().cast(), iov_len: area.len() };
    request(libc::PTRACE_SETREGSET, tid, NT_X86_XSTATE, &raw const iov as usize)
}

/// The signal that a tracee stopped with.
pub fn signal_info(tid: i32) -> Result<SignalInfo> {
    // SAFETY: an all-zero siginfo_t is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETSIGINFO, tid, 0, &raw mut info as usize)?;
    // SAFETY: si_addr lies at the same place for all signals that have an address; for others it is just a number.
    // For SIGSYS the system call number follows it (sigaction(2)).
    let (address, syscall) = unsafe {
        let address = info.si_addr() as u64;
        (address, (&raw const info).cast::<i32>().add(6).read())
    };
    Ok(SignalInfo { signal: info.si_signo, code: info.si_code, address, syscall })
}

/// Waits until the tracee stops or ends.
#[inline]
pub fn wait(tid: i32) -> Result<Stop> {
    let mut status = 0;
    // SAFETY: the integer is valid for the call.
    retry(|| check_int(unsafe { libc::waitpid(tid, &mut status, libc::__WALL) }))?;
    Ok(decode(status))
}

fn decode(status: i32) -> Stop {
    if !libc::WIFSTOPPED(status) {
        return Stop::Gone;
    }
    match (status >> 16, libc::WSTOPSIG(status)) {
        (0, signal) if signal == libc::SIGTRAP | 0x80 => Stop::SystemCall,
        (0, signal) => Stop::Signal(signal),
        _ => Stop::Event,
    }
}
