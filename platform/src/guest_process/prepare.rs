//! The first of the processes that hold guest memory: forked from the Sentry, it sheds what is the Sentry's, and all
//! others are forked from it.

use std::arch::asm;
use std::{io, ptr};

use host::seccomp::Instruction;

/// Signals that the CPU raises, or a seccomp filter.
const FAULTS: [libc::c_int; 6] =
    [libc::SIGILL, libc::SIGTRAP, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV, libc::SIGSYS];

/// What the new process does with signals.
pub(crate) enum Signals {
    /// A tracer sees those that matter: the calling thread becomes it. None is blocked; those that are no fault are
    /// ignored.
    Traced,
    /// Faults and `kick` go to `handler`, on the alternate stack, and return through `restorer`. All are blocked: a
    /// thread gets them when it goes to guest code. The others are ignored.
    Handled {
        /// Address of the handler.
        handler: u64,
        /// Address of what the handler's frame returns to.
        restorer: u64,
        /// A signal that is no fault.
        kick: i32,
    },
}

/// What the new process is made of.
pub(crate) struct Setup<'a> {
    pub(crate) signals: Signals,
    pub(crate) filter: &'a [Instruction],
    /// More of the host's calls, to be made before the filter.
    pub(crate) more: &'a dyn Fn() -> Option<()>,
    /// The code that the process goes on with; it does not come back, and uses no stack.
    pub(crate) enter: fn([u64; 3]) -> !,
    /// For `enter`.
    pub(crate) arguments: [u64; 3],
}

/// Makes the process; its pid. It dies with the calling thread.
pub(crate) fn spawn(setup: &Setup<'_>) -> io::Result<i32> {
    // SAFETY: no arguments, no memory.
    let sentry = unsafe { libc::getpid() };
    let rseq = registered_rseq();
    // SAFETY: without CLONE_VM the child has a copy of all memory, and goes on here on its copy of this stack. It
    // runs nothing but `prepare` and what comes with `setup`, which take no lock and allocate nothing, so it does not
    // matter what other threads were doing.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_FILES, 0, 0, 0, 0) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => match prepare(setup, sentry, rseq) {
            Some(()) => (setup.enter)(setup.arguments),
            // SAFETY: ends the process.
            None => unsafe { libc::_exit(1) },
        },
        pid => Ok(pid as i32),
    }
}

/// Where glibc has registered this thread's restartable sequence.
fn registered_rseq() -> Option<u64> {
    // SAFETY: the names are valid strings; the symbols, where the C library has them, are a ptrdiff_t and an
    // unsigned int (sys/rseq.h) that never change.
    let (offset, size) = unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        let size = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()).cast::<u32>();
        if offset.is_null() || size.is_null() {
            return None;
        }
        (*offset, *size)
    };
    if size == 0 {
        return None;
    }
    let thread_pointer: u64;
    // SAFETY: the first word of the thread control block is its own address (x86-64 ABI).
    unsafe { asm!("mov {}, fs:[0]", out(reg) thread_pointer, options(nostack, readonly, preserves_flags)) };
    Some(thread_pointer.wrapping_add_signed(offset as i64))
}

/// Sheds what is the Sentry's. Raw calls only.
fn prepare(setup: &Setup<'_>, sentry: i32, rseq: Option<u64>) -> Option<()> {
    let ok = |value: libc::c_long| (value == 0).then_some(());
    let none = ptr::null::<u8>();
    // SAFETY: all pointers are to live values of the sizes that the calls expect. The calls change only this
    // process, which no longer runs anything but the code below.
    unsafe {
        // The host writes to a registered sequence when it preempts the thread, and kills where it can't.
        if let Some(rseq) = rseq {
            const UNREGISTER: libc::c_int = 1;
            const SIGNATURE: libc::c_uint = 0x5305_3053;
            // Its length is a matter between C library and host; 32 bytes at first, more on newer ones.
            (1..=32u32).find(|n| libc::syscall(libc::SYS_rseq, rseq, n * 32, UNREGISTER, SIGNATURE) == 0)?;
        }
        // Out of reach of the terminal's signals.
        if libc::setsid() == -1 {
            return None;
        }
        ok(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL).into())?;
        if libc::getppid() != sentry {
            return None;
        }
        // The Sentry has no rights to trace what is not dumpable; others shall not look into what nobody traces.
        let dumpable = matches!(setup.signals, Signals::Traced);
        ok(libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable)).into())?;
        let (handled, blocked) = match setup.signals {
            Signals::Traced => (None, 0u64),
            Signals::Handled { handler, restorer, kick } => (Some((handler, restorer, kick)), !0u64),
        };
        ok(libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const blocked, none, 8))?;
        for signal in 1..=64 {
            const RESTORER: u64 = 0x0400_0000;
            let fault = FAULTS.contains(&signal);
            // struct kernel_sigaction: handler, flags, restorer, mask
            let action = match handled {
                Some((handler, restorer, kick)) if fault || signal == kick => {
                    [handler, RESTORER | (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64, restorer, !0]
                }
                // Faults keep their default; all else is ignored while nobody traces. (A tracer sees ignored signals
                // too.)
                _ => [if fault { libc::SIG_DFL } else { libc::SIG_IGN } as u64, 0, 0, 0],
            };
            libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), none, 8);
        }
        // struct __user_cap_header_struct, version 3, and two empty data elements.
        let (header, data) = ([0x2008_0522u32, 0], [0u32; 6]);
        ok(libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()))?;
        if handled.is_none() {
            ok(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0))?;
        }
        (setup.more)()?;
        ok(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
        let program = libc::sock_fprog {
            len: setup.filter.len() as u16,
            filter: setup.filter.as_ptr().cast_mut().cast::<libc::sock_filter>(),
        };
        ok(libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program))
    }
}
