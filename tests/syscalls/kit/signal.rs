//! Raw signal actions and masks, and a log of what handlers saw.

use std::arch::global_asm;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use libc::{SA_SIGINFO, c_int, siginfo_t, ucontext_t};

use super::check::ok;
use crate::sys;

/// Set by every action here: x86-64 wants the restorer from user space.
pub const SA_RESTORER: u64 = 0x0400_0000;

/// `struct sigaction` as rt_sigaction(2) takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Handler, SIG_DFL (0) or SIG_IGN (1).
    pub handler: usize,
    /// SA_ flags.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: usize,
    /// Blocked while the handler runs.
    pub mask: u64,
}

/// A handler with SA_SIGINFO.
pub type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut ucontext_t);

global_asm!(".globl cases_restorer", "cases_restorer:", "mov eax, 15", "syscall", "ud2");
unsafe extern "C" {
    fn cases_restorer();
}

/// The address of the restorer: `mov $15, %eax; syscall`.
pub fn restorer() -> usize {
    cases_restorer as *const () as usize
}

/// An action for a handler.
pub fn action(handler: Handler, flags: c_int, mask: u64) -> Action {
    Action {
        handler: handler as usize,
        flags: flags as u32 as u64 | SA_SIGINFO as u64 | SA_RESTORER,
        restorer: restorer(),
        mask,
    }
}

/// Installs a handler, SA_SIGINFO added.
#[track_caller]
pub fn on(signal: c_int, handler: Handler, flags: c_int) {
    set(signal, action(handler, flags, 0));
}

/// Installs an action.
#[track_caller]
pub fn set(signal: c_int, action: Action) {
    ok(sys!(rt_sigaction, signal, &action, 0, 8));
}

/// The action in force.
#[track_caller]
pub fn get(signal: c_int) -> Action {
    let mut action = Action::default();
    ok(sys!(rt_sigaction, signal, 0, &mut action, 8));
    action
}

/// Ignores it.
#[track_caller]
pub fn ignore(signal: c_int) {
    set(signal, Action { handler: libc::SIG_IGN, ..Action::default() });
}

/// Default action.
#[track_caller]
pub fn default(signal: c_int) {
    set(signal, Action::default());
}

/// The signal's bit in a mask.
pub fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// Blocks these too; gives the mask before.
#[track_caller]
pub fn block(mask: u64) -> u64 {
    let mut old = 0u64;
    ok(sys!(rt_sigprocmask, libc::SIG_BLOCK, &mask, &mut old, 8));
    old
}

/// Unblocks these.
#[track_caller]
pub fn unblock(mask: u64) {
    ok(sys!(rt_sigprocmask, libc::SIG_UNBLOCK, &mask, 0, 8));
}

/// Sets the whole mask.
#[track_caller]
pub fn set_mask(mask: u64) {
    ok(sys!(rt_sigprocmask, libc::SIG_SETMASK, &mask, 0, 8));
}

/// The mask in force.
#[track_caller]
pub fn mask() -> u64 {
    let mut mask = 0u64;
    ok(sys!(rt_sigprocmask, libc::SIG_BLOCK, 0, &mut mask, 8));
    mask
}

/// What waits for this thread and its process.
#[track_caller]
pub fn pending() -> u64 {
    let mut mask = 0u64;
    ok(sys!(rt_sigpending, &mut mask, 8));
    mask
}

/// Sends a signal to this thread.
#[track_caller]
pub fn raise(signal: c_int) {
    ok(sys!(tgkill, ok(sys!(getpid)), ok(sys!(gettid)), signal));
}

/// rt_sigqueueinfo with SI_QUEUE and a value.
#[track_caller]
pub fn queue(pid: c_int, signal: c_int, value: u64) {
    let mut info = Info::default();
    info.put_i32(8, libc::SI_QUEUE);
    info.put_i32(16, ok(sys!(getpid)) as i32);
    info.put_i32(20, ok(sys!(getuid)) as i32);
    info.0[3] = value;
    ok(sys!(rt_sigqueueinfo, pid, signal, &info));
}

/// `siginfo_t` as its bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info(pub [u64; 16]);

impl Info {
    /// From what a handler was given.
    pub fn copy(info: *const siginfo_t) -> Info {
        // SAFETY: the kernel passes 128 aligned bytes that live as long as the handler runs.
        unsafe { *info.cast() }
    }
    fn i32_at(&self, offset: usize) -> i32 {
        (self.0[offset / 8] >> (offset % 8 * 8)) as i32
    }
    /// Writes a 32-bit field.
    pub fn put_i32(&mut self, offset: usize, value: i32) {
        let shift = offset % 8 * 8;
        let word = &mut self.0[offset / 8];
        *word = *word & !(0xffff_ffff << shift) | u64::from(value as u32) << shift;
    }
    /// si_signo
    pub fn signal(&self) -> i32 {
        self.i32_at(0)
    }
    /// si_errno
    pub fn errno(&self) -> i32 {
        self.i32_at(4)
    }
    /// si_code
    pub fn code(&self) -> i32 {
        self.i32_at(8)
    }
    /// si_pid (or si_timerid)
    pub fn pid(&self) -> i32 {
        self.i32_at(16)
    }
    /// si_uid (or si_overrun)
    pub fn uid(&self) -> i32 {
        self.i32_at(20)
    }
    /// si_value
    pub fn value(&self) -> u64 {
        self.0[3]
    }
    /// si_status of SIGCHLD, si_fd of SIGIO, si_syscall of SIGSYS
    pub fn status(&self) -> i32 {
        self.i32_at(24)
    }
    /// si_addr
    pub fn addr(&self) -> u64 {
        self.0[2]
    }
}

const LOG_SIZE: usize = 256;
static LOG: [[AtomicU64; 16]; LOG_SIZE] = [const { [const { AtomicU64::new(0) }; 16] }; LOG_SIZE];
static LOGGED: AtomicUsize = AtomicUsize::new(0);

/// A handler that appends to the log.
pub extern "C" fn record(_: c_int, info: *mut siginfo_t, _: *mut ucontext_t) {
    let slot = LOGGED.fetch_add(1, Ordering::SeqCst);
    if let Some(words) = LOG.get(slot) {
        for (word, value) in words.iter().zip(Info::copy(info).0) {
            word.store(value, Ordering::SeqCst);
        }
    }
}

/// How many signals `record` has seen.
pub fn count() -> usize {
    LOGGED.load(Ordering::SeqCst)
}

/// What `record` has seen.
pub fn log() -> Vec<Info> {
    LOG[..count().min(LOG_SIZE)]
        .iter()
        .map(|words| Info(std::array::from_fn(|i| words[i].load(Ordering::SeqCst))))
        .collect()
}

/// Only the signal numbers.
pub fn log_signals() -> Vec<i32> {
    log().iter().map(Info::signal).collect()
}

/// Forgets what was seen.
pub fn clear_log() {
    LOGGED.store(0, Ordering::SeqCst);
}
