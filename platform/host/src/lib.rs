//! Host calls: the one place for raw libc, with RAII.
//!
//! One file a topic. Everything here is safe to call; where the call itself would not be (a fork in a process with
//! threads), the wrapper checks. Errors are plain [`std::io::Error`]s with the host's errno: whoever calls knows
//! what was being done and says so. Calls that `rustix` wraps safely as they are (files, paths, times) are used from
//! there and not repeated.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

pub mod capabilities;
pub mod event;
pub mod file;
pub mod futex;
pub mod io;
pub mod memory;
pub mod namespace;
pub mod prctl;
pub mod process;
pub mod ptrace;
pub mod random;
pub mod refused_call;
pub mod seccomp;
pub mod seccomp_program;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod system;
pub mod thread;
pub mod tty;

use std::io::{Error, Result};

/// The value of a host call that answers -1 and errno on failure.
fn check(value: libc::c_long) -> Result<libc::c_long> {
    if value == -1 { Err(Error::last_os_error()) } else { Ok(value) }
}

/// [`check`] for calls that return an int.
fn check_int(value: libc::c_int) -> Result<libc::c_int> {
    if value == -1 { Err(Error::last_os_error()) } else { Ok(value) }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
