//! Signals to this process: masks, synchronous waiting, signalfd, dispositions.
//!
//! SIGSEGV and SIGBUS are never blocked here: copies of guest memory rely on them (see `usercopy`).

use std::io::{Error, Result};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::check_int;

/// A set of signals.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl SignalSet {
    /// None.
    pub fn empty() -> SignalSet {
        let mut set = std::mem::MaybeUninit::uninit();
        // SAFETY: sigemptyset fills the structure.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            SignalSet(set.assume_init())
        }
    }

    /// All but SIGSEGV and SIGBUS.
    pub fn all() -> SignalSet {
        let mut set = SignalSet::empty();
        // SAFETY: the structure is valid; the numbers are.
        unsafe {
            libc::sigfillset(&mut set.0);
            libc::sigdelset(&mut set.0, libc::SIGSEGV);
            libc::sigdelset(&mut set.0, libc::SIGBUS);
        }
        set
    }

    /// The listed ones, but for SIGSEGV and SIGBUS.
    pub fn of(signals: &[i32]) -> SignalSet {
        let mut set = SignalSet::empty();
        for &signal in signals.iter().filter(|&&s| s != libc::SIGSEGV && s != libc::SIGBUS) {
            // SAFETY: the structure is valid; a wrong number is answered with an error.
            unsafe { libc::sigaddset(&mut set.0, signal) };
        }
        set
    }

    /// Whether `signal` is in the set.
    pub fn contains(&self, signal: i32) -> bool {
        // SAFETY: the structure is valid; a wrong number is answered with an error.
        unsafe { libc::sigismember(&self.0, signal) == 1 }
    }

    /// As a word, bit `n - 1` for signal `n`.
    pub fn bits(&self) -> u64 {
        (1..=64).filter(|&signal| self.contains(signal)).fold(0, |bits, signal| bits | 1 << (signal - 1))
    }
}

fn mask(how: i32, set: &SignalSet) -> Result<SignalSet> {
    let mut old = SignalSet::empty();
    // SAFETY: both structures are valid.
    match unsafe { libc::pthread_sigmask(how, &set.0, &mut old.0) } {
        0 => Ok(old),
        error => Err(Error::from_raw_os_error(error)),
    }
}

/// Blocks more signals in the calling thread (and in threads it makes later); returns the mask before.
pub fn block(set: &SignalSet) -> Result<SignalSet> {
    mask(libc::SIG_BLOCK, set)
}

/// Unblocks signals in the calling thread; returns the mask before.
pub fn unblock(set: &SignalSet) -> Result<SignalSet> {
    mask(libc::SIG_UNBLOCK, set)
}

/// Replaces the calling thread's mask; returns the mask before.
pub fn set_mask(set: &SignalSet) -> Result<SignalSet> {
    mask(libc::SIG_SETMASK, set)
}

/// A signal that was taken from the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The signal.
    pub signal: i32,
    /// si_code.
    pub code: i32,
    /// Who sent it (0: nobody in this pid namespace).
    pub pid: i32,
    /// What sigqueue(3) passed with it.
    pub value: i32,
}

/// Waits until a signal of `set` (blocked in all threads) is pending and takes it; `None` when `timeout` ran out or
/// another signal came.
pub fn wait(set: &SignalSet, timeout: Option<Duration>) -> Result<Option<Received>> {
    let limit = timeout.map(|t| libc::timespec {
        tv_sec: t.as_secs().min(i64::MAX as u64) as i64,
        tv_nsec: t.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: an all-zero siginfo_t is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: all pointers are valid or null where null is allowed.
    let signal = unsafe { libc::sigtimedwait(&set.0, &mut info, limit) };
    if signal < 0 {
        let error = Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(None),
            _ => Err(error),
        };
    }
    // SAFETY: every signal has the fields at the places of si_pid and si_value, though only some mean it; an int is
    // valid whatever the bytes are.
    let (pid, value) = unsafe { (info.si_pid(), info.si_value().sival_ptr as usize as i32) };
    Ok(Some(Received { signal, code: info.si_code, pid, value }))
}

/// An fd that reads as the pending signals of `set` (block them first). Non-blocking, close-on-exec.
pub fn signalfd(set: &SignalSet) -> Result<OwnedFd> {
    // SAFETY: a new fd is made; the structure is valid.
    let fd = check_int(unsafe { libc::signalfd(-1, &set.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
    // SAFETY: the fd is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the next signal from a [`signalfd`]; `None` when there is none.
pub fn read_signalfd(fd: &OwnedFd) -> Result<Option<Received>> {
    let mut bytes = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(fd, &mut bytes) {
        Ok(n) if n == bytes.len() => {
            let word =
                |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            // ssi_signo, ssi_code, ssi_pid and ssi_int (signalfd(2)).
            Ok(Some(Received { signal: word(0), code: word(8), pid: word(12), value: word(44) }))
        }
        Ok(_) => Ok(None),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Ignores a signal, process-wide.
pub fn ignore(signal: i32) -> Result<()> {
    set_disposition(signal, libc::SIG_IGN, 0)
}

/// Whether SIGPIPE was ignored when the program was executed: Rust's runtime ignores it by itself before `main`.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before Rust's runtime, as the C library's start-up calls what is listed in this section.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_PIPE: extern "C" fn() = {
    extern "C" fn look() {
        PIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    }
    look
};

fn is_ignored(signal: i32) -> bool {
    // The kernel's own structure (handler, flags, restorer, mask): the C library refuses the two numbers that it keeps
    // for itself.
    let mut action = [0u64; 4];
    // SAFETY: only asks; the array has the size of the structure, with a mask of 8 bytes.
    let asked = unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, std::ptr::null::<u64>(), action.as_mut_ptr(), 8usize)
    };
    asked == 0 && action[0] == libc::SIG_IGN as u64
}

/// The signals that this process was told to ignore when it was started, bit `n - 1` for signal `n`.
pub fn ignored() -> u64 {
    let ignored = |signal: &i32| match *signal {
        libc::SIGPIPE => PIPE_WAS_IGNORED.load(Ordering::Relaxed),
        signal => is_ignored(signal),
    };
    (1..=64).filter(ignored).fold(0, |bits, signal| bits | 1 << (signal - 1))
}

/// Sends a blocked stop signal to this process and lets it act at once: when this returns, the process has been stopped
/// and continued, or the signal had no effect (an orphaned process group, stop signals of the terminal).
pub fn stop_self(signal: i32) -> Result<()> {
    kill(std::process::id() as i32, signal)?;
    let set = SignalSet::of(&[signal]);
    unblock(&set)?;
    block(&set).map(drop)
}

/// Gives a signal its default action, process-wide.
pub fn reset(signal: i32) -> Result<()> {
    set_disposition(signal, libc::SIG_DFL, 0)
}

/// No SIGCHLD when a child or tracee merely stops (each guest trap would send one). The handler stays as it is.
pub fn no_child_stop_signals() -> Result<()> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the call fills the structure; set back with one flag more, it is as valid as before.
    unsafe {
        check_int(libc::sigaction(libc::SIGCHLD, std::ptr::null(), action.as_mut_ptr()))?;
        let mut action = action.assume_init();
        action.sa_flags |= libc::SA_NOCLDSTOP;
        check_int(libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut())).map(drop)
    }
}

/// Lets `signal` interrupt a blocking host call of the thread that gets it: a handler that does nothing, without
/// SA_RESTART.
pub fn make_interrupting(signal: i32) -> Result<()> {
    extern "C" fn nothing(_: i32) {}
    set_disposition(signal, nothing as *const () as usize, 0)
}

fn set_disposition(signal: i32, handler: usize, flags: i32) -> Result<()> {
    if signal == libc::SIGSEGV || signal == libc::SIGBUS {
        return Err(Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: an all-zero sigaction is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the handler is SIG_IGN, SIG_DFL or a function that does nothing.
    check_int(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }).map(drop)
}

/// kill(2): to a process, to a group when `pid` is negative.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: numbers only.
    check_int(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Sends `signal` to the calling thread (with its default action: how a command ends as its guest ended).
pub fn raise(signal: i32) -> Result<()> {
    // SAFETY: numbers only.
    check_int(unsafe { libc::raise(signal) }).map(drop)
}
