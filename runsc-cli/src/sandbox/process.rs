//! Starting Sentry and Gofer: this program again, with the descriptors of [`config::fd`](crate::config::fd) and no
//! others, no environment, and standard error as their log.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use host::process::Child;
use host::spawn::{Isolation, Spawn, SpawnError};

/// This very program, even when its file has been replaced.
const SELF: &CStr = c"/proc/self/exe";

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// /dev/null could not be opened.
    #[error("/dev/null: {0}; make the host's /dev readable")]
    Null(io::Error),
    /// A call of the start failed.
    #[error("starting the {command} process: {error}; {}", advice(.error))]
    Spawn {
        /// `boot` or `gofer`.
        command: &'static str,
        /// The call and the host's error.
        error: SpawnError,
    },
}

fn advice(error: &SpawnError) -> &'static str {
    match (error.step, error.error.raw_os_error()) {
        ("clone", Some(libc::EPERM)) => {
            "user namespaces are not allowed here: set kernel.unprivileged_userns_clone=1 with sysctl, or run as root"
        }
        ("clone", Some(libc::ENOSPC | libc::EUSERS)) => {
            "too many namespaces: raise user.max_user_namespaces and user.max_pid_namespaces with sysctl"
        }
        ("clone", Some(libc::EAGAIN)) => "too many processes: raise the limit (ulimit -u) or end some",
        ("exec", _) => "runsc has to be readable and executable, and /proc mounted",
        _ => "please report this",
    }
}

/// What a process gets.
#[derive(Debug)]
pub struct Start<'a> {
    /// The sub-command that it runs.
    pub command: &'static str,
    /// Its namespaces.
    pub isolation: Isolation,
    /// Its descriptors from 3 on.
    pub fds: &'a [(BorrowedFd<'a>, RawFd)],
    /// Its log, as standard error.
    pub log: Option<&'a File>,
}

impl Start<'_> {
    /// Starts it; it runs when this returns.
    pub fn start(&self) -> Result<Child, ProcessError> {
        let null = File::options().read(true).write(true).open("/dev/null").map_err(ProcessError::Null)?;
        let failed = |error| ProcessError::Spawn { command: self.command, error };
        let args =
            ["runsc", self.command].map(|arg| std::ffi::CString::new(arg).expect("no NUL in a constant"));
        let mut spawn = Spawn::new(SELF, args);
        spawn.isolation(self.isolation);
        spawn.fd(null.as_fd(), 0).map_err(failed)?.fd(null.as_fd(), 1).map_err(failed)?;
        spawn.fd(self.log.unwrap_or(&null).as_fd(), 2).map_err(failed)?;
        for &(fd, number) in self.fds {
            spawn.fd(fd, number).map_err(failed)?;
        }
        spawn.start().map_err(failed)
    }
}
