//! Waiting for children: wait4(2), waitid(2), and the status they give.

use crate::signal::{CLD_DUMPED, CLD_EXITED, CLD_KILLED};

flags! {
    /// Options of wait4(2) and waitid(2).
    pub struct WaitOptions: u32, "" {
        const WNOHANG = 1;
        /// WSTOPPED of waitid(2).
        const WUNTRACED = 2;
        const WEXITED = 4;
        const WCONTINUED = 8;
        const WNOWAIT = 0x0100_0000;
        const WNOTHREAD("__WNOTHREAD") = 0x2000_0000;
        const WALL("__WALL") = 0x4000_0000;
        const WCLONE("__WCLONE") = 0x8000_0000;
    }
}

constants! {
    /// What waitid(2) waits for.
    pub table WAITID_TYPES: u32 {
        P_ALL = 0;
        P_PID = 1;
        P_PGID = 2;
        P_PIDFD = 3;
    }
}

/// Status of a process that exited with `code`.
pub const fn exited(code: i32) -> i32 {
    (code & 0xff) << 8
}

/// Status of a process that a signal killed.
pub const fn killed(signal: u32, dumped_core: bool) -> i32 {
    signal as i32 | (dumped_core as i32) << 7
}

/// How SIGCHLD and waitid(2) tell the status of a process that is gone: the `CLD_*` code, and what it exited with or
/// the signal that killed it.
pub const fn ended(status: i32) -> (i32, i32) {
    match status & 0x7f {
        0 => (CLD_EXITED, status >> 8 & 0xff),
        signal if status & 0x80 != 0 => (CLD_DUMPED, signal),
        signal => (CLD_KILLED, signal),
    }
}

/// Status of a process that a signal (or a ptrace event in bits 8 and up) stopped.
pub const fn stopped(signal: u32) -> i32 {
    (signal as i32) << 8 | 0x7f
}

/// Status of a process that goes on.
pub const CONTINUED: i32 = 0xffff;
