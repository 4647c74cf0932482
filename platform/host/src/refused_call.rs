//! Says which host call a seccomp filter refused, where the filter raises SIGSYS instead of killing.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Exit status of a process that ended so.
pub const STATUS: i32 = 70;

/// From now on SIGSYS writes one line to standard error and ends the process with [`STATUS`].
pub fn report() -> io::Result<()> {
    // SAFETY: zero is a valid sigaction; the handler has the signature that SA_SIGINFO asks for and makes only raw
    // calls on its own stack.
    let done = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &action, ptr::null_mut())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

extern "C" fn handler(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // struct siginfo, _sigsys: the call's address at 16, its number at 24.
    // SAFETY: the kernel passes a whole siginfo.
    let number = unsafe { info.cast::<u8>().add(24).cast::<i32>().read_unaligned() };
    let mut line = *b"host call      refused by the seccomp filter\n";
    let mut rest = number.unsigned_abs();
    for place in (10..14).rev() {
        line[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    // SAFETY: a live buffer; then the end of the process.
    unsafe {
        libc::write(2, line.as_ptr().cast(), line.len());
        libc::_exit(STATUS);
    }
}
