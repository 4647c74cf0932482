//! futex(2) on words that another process shares.

use std::io::Result;
use std::time::Duration;

use crate::check;

/// Waits while the word at `word` is `value`, until a wake-up, a signal, or `timeout`. The host looks at the word: an
/// address that is not mapped is an error.
pub fn wait(word: *const u32, value: u32, timeout: Duration) -> Result<()> {
    let time = libc::timespec {
        tv_sec: timeout.as_secs().min(1 << 40) as i64,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the host checks the address, and only reads there; the time is valid for the call.
    check(unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, value, &raw const time) }).map(drop)
}

/// Wakes one that waits at `word`.
pub fn wake(word: *const u32) {
    // An error means that the address is not mapped, where nobody can wait.
    // SAFETY: the host uses the address as a name only.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, 1) };
}
