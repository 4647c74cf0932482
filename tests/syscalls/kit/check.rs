//! Assertions. A failed one prints file, line, what was expected and what came, and ends the process with status 1;
//! in a forked child too, whose parent then sees that status.

use std::fmt::{Debug, Display};
use std::panic::Location;

use libc::c_int;

use super::errno::Errno;
use super::sys::Answer;

/// The status of a case that the host can't run.
pub const SKIPPED: c_int = 77;

/// Ends the process at once, with no destructor.
pub fn exit_now(status: c_int) -> ! {
    // SAFETY: exit_group has no memory argument.
    unsafe { super::sys::raw(super::numbers::nr::exit_group, [status as u64, 0, 0, 0, 0, 0]) };
    // SAFETY: the kernel does not return from exit_group; a trap beats running on if it ever does.
    unsafe { std::arch::asm!("ud2", options(noreturn)) }
}

/// Writes a line to stderr in one call.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    let _ = crate::sys!(write, 2, line.as_ptr(), line.len());
}

/// Fails the case.
#[track_caller]
pub fn fail(why: impl Display) -> ! {
    let at = Location::caller();
    say(&format!("{}:{}: {why}", at.file(), at.line()));
    exit_now(1)
}

/// Leaves the case with a reason why this host can't run it.
pub fn skip(why: impl Display) -> ! {
    say(&format!("skipped: {why}"));
    exit_now(SKIPPED)
}

/// The call must succeed; gives its result.
#[track_caller]
pub fn ok(answer: Answer) -> i64 {
    match answer {
        Ok(value) => value,
        Err(errno) => fail(format_args!("expected success, got {errno:?}")),
    }
}

/// The call must succeed; gives its result as a descriptor or pid.
#[track_caller]
pub fn ok_i32(answer: Answer) -> i32 {
    ok(answer) as i32
}

/// The call must succeed; its result is of no interest.
#[track_caller]
pub fn done(answer: Answer) {
    ok(answer);
}

/// The call must fail with this error number.
#[track_caller]
pub fn fails(answer: Answer, errno: c_int) {
    let want = Errno(errno);
    match answer {
        Ok(value) => fail(format_args!("expected {want:?}, got success with {value} ({value:#x})")),
        Err(got) if got != want => fail(format_args!("expected {want:?}, got {got:?}")),
        Err(_) => {}
    }
}

/// The call must fail with one of these (kernels and file systems differ legitimately).
#[track_caller]
pub fn fails_any(answer: Answer, errnos: &[c_int]) {
    match answer {
        Err(got) if errnos.contains(&got.0) => {}
        other => {
            let want: Vec<Errno> = errnos.iter().map(|e| Errno(*e)).collect();
            fail(format_args!("expected one of {want:?}, got {other:?}"))
        }
    }
}

/// Both must be equal.
#[track_caller]
pub fn eq<A: Debug + PartialEq<B>, B: Debug>(got: A, want: B) {
    if got != want {
        fail(format_args!("expected {want:?}, got {got:?}"))
    }
}

/// Both must be equal; `what` names the thing.
#[track_caller]
pub fn eq_of<A: Debug + PartialEq<B>, B: Debug>(what: impl Display, got: A, want: B) {
    if got != want {
        fail(format_args!("{what}: expected {want:?}, got {got:?}"))
    }
}

/// The condition must hold.
#[track_caller]
pub fn check(holds: bool, what: impl Display) {
    if !holds {
        fail(format_args!("does not hold: {what}"))
    }
}

/// `got` must lie in the range, both ends included.
#[track_caller]
pub fn within<T: Debug + PartialOrd>(what: impl Display, got: T, low: T, high: T) {
    if got < low || got > high {
        fail(format_args!("{what}: expected {low:?} to {high:?}, got {got:?}"))
    }
}
