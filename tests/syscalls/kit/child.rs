//! Forked children and how they end.

use std::ffi::CStr;

use libc::{CLONE_VM, EINTR, c_char, c_int};

use super::check::{SKIPPED, exit_now, fail, ok};
use super::files::{close, pipe, read_to_end};
use super::probe::program;
use super::sys::Answer;
use crate::sys;

/// A forked child that has not been waited for.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: c_int,
}

/// Forks; the child runs `body` and ends with status 0 when that returns.
#[track_caller]
pub fn fork(body: impl FnOnce()) -> Child {
    let pid = ok(sys!(fork)) as c_int;
    if pid == 0 {
        body();
        exit_now(0);
    }
    Child { pid }
}

/// Forks and waits; the child must end with status 0.
#[track_caller]
pub fn in_child(body: impl FnOnce()) {
    fork(body).succeeds();
}

/// `clone` with these flags (exit signal included) and a copied stack; not for CLONE_VM.
#[track_caller]
pub fn clone_child(flags: u64, body: impl FnOnce()) -> Child {
    assert_eq!(flags & CLONE_VM as u64, 0, "a shared address space needs a stack of its own");
    let pid = ok(sys!(clone, flags, 0, 0, 0, 0)) as c_int;
    if pid == 0 {
        body();
        exit_now(0);
    }
    Child { pid }
}

/// wait4, again after a signal.
#[track_caller]
pub fn wait_for(pid: c_int, options: c_int) -> (c_int, c_int) {
    let mut status: c_int = 0;
    loop {
        match sys!(wait4, pid, &mut status, options, 0) {
            Err(e) if e.0 == EINTR => {}
            other => return (ok(other) as c_int, status),
        }
    }
}

/// A wait status in words.
pub fn describe(status: c_int) -> String {
    if libc::WIFEXITED(status) {
        format!("exited with {}", libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        let core = if libc::WCOREDUMP(status) { ", core dumped" } else { "" };
        format!("killed by signal {}{core}", libc::WTERMSIG(status))
    } else if libc::WIFSTOPPED(status) {
        format!("stopped by signal {}", libc::WSTOPSIG(status))
    } else if libc::WIFCONTINUED(status) {
        "continued".to_string()
    } else {
        format!("status {status:#x}")
    }
}

impl Child {
    /// Waits for the end and gives the status word.
    #[track_caller]
    pub fn status(self) -> c_int {
        let (pid, status) = wait_for(self.pid, 0);
        if pid != self.pid {
            fail(format_args!("waited for {}, got {pid}", self.pid));
        }
        status
    }

    /// The child must exit with 0.
    #[track_caller]
    pub fn succeeds(self) {
        self.exits_with(0);
    }

    /// The child must exit with this. What it skips, the case skips.
    #[track_caller]
    pub fn exits_with(self, want: c_int) {
        let status = self.status();
        if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == SKIPPED && want != SKIPPED {
            exit_now(SKIPPED);
        }
        if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != want {
            fail(format_args!("child: expected exit status {want}, got: {}", describe(status)));
        }
    }

    /// The child must be killed by this signal.
    #[track_caller]
    pub fn dies_of(self, signal: c_int) {
        let status = self.status();
        if !libc::WIFSIGNALED(status) || libc::WTERMSIG(status) != signal {
            fail(format_args!("child: expected death by signal {signal}, got: {}", describe(status)));
        }
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn kill(&self, signal: c_int) {
        ok(sys!(kill, self.pid, signal));
    }

    /// Kills and reaps it.
    #[track_caller]
    pub fn end(self) {
        self.kill(libc::SIGKILL);
        self.dies_of(libc::SIGKILL);
    }
}

/// The list that execve(2) wants.
pub fn pointers(strings: &[&CStr]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// execve; returns only if it fails.
pub fn exec(path: &CStr, argv: &[&CStr], env: &[&CStr]) -> Answer {
    sys!(execve, path, pointers(argv).as_slice(), pointers(env).as_slice())
}

/// Runs a program in a child with these descriptors and gives what it wrote to stdout; it must exit with 0. `prepare` runs
/// in the child before.
#[track_caller]
pub fn exec_output(path: &CStr, argv: &[&CStr], env: &[&CStr], prepare: impl FnOnce()) -> String {
    let [read_end, write_end] = pipe(0);
    let child = fork(|| {
        ok(sys!(dup3, write_end, 1, 0));
        close(read_end);
        close(write_end);
        prepare();
        ok(exec(path, argv, env));
    });
    close(write_end);
    let output = read_to_end(read_end);
    close(read_end);
    child.succeeds();
    String::from_utf8_lossy(&output).into_owned()
}

/// Asks a fresh instance of this program; see `kit::probe`.
#[track_caller]
pub fn probe(what: &CStr, prepare: impl FnOnce()) -> String {
    exec_output(program(), &[c"cases", c"probe", what], &[], prepare)
}
