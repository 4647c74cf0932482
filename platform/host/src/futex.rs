//! futex(2) on words that another process shares.

use std::io::Result;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::check;

/// Waits while `word` is `value`, until a wake-up, a signal, or `timeout`.
pub fn wait(word: &AtomicU32, value: u32, timeout: Duration) -> Result<()> {
    let time = libc::timespec {
        tv_sec: timeout.as_secs().min(1 << 40) as i64,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the word and the time are valid for the call.
    check(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const time) })
        .map(drop)
}

/// Wakes one that waits for a change of `word`.
pub fn wake(word: &AtomicU32) {
    // SAFETY: the host uses the address as a name only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}
