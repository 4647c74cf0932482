//! The terminal that the command line was started on.
//!
//! The program uses it directly; the command line only keeps its place in the shell's job control: it knows whether it
//! is in the foreground, stops when the program has stopped, and puts the settings back when the program was killed
//! before it could.

use std::io;
use std::os::fd::OwnedFd;

// nix, because rustix takes no 0 for an id: what lies outside of this PID namespace has that one.
use nix::unistd::{getpgid, getpgrp, getppid, getsid, tcgetpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::sandbox::streams;

/// The terminal and its settings as they were found.
#[derive(Debug)]
pub struct Terminal {
    fd: OwnedFd,
    saved: Termios,
}

impl Terminal {
    /// The first of the standard descriptors that is a terminal.
    pub fn find() -> Option<Terminal> {
        streams::standard().into_iter().flatten().find_map(|fd| {
            let saved = tcgetattr(&fd).ok()?;
            Some(Terminal { fd, saved })
        })
    }

    /// Whether this process's group may read from it. True when it is not the terminal of this session.
    pub fn foreground(&self) -> bool {
        tcgetpgrp(&self.fd).map_or(true, |group| group == getpgrp())
    }

    /// Puts the settings back. The caller has blocked SIGTTOU.
    pub fn restore(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.fd, OptionalActions::Now, &self.saved)?)
    }
}

/// Whether a shell of this session controls this process's group: an orphaned group, which nobody would continue, is
/// not to be stopped by the terminal (setpgid(2)).
///
/// A parent outside of this PID namespace (0) can't be asked, and is taken for none. Sessions and groups whose leader is
/// outside are all 0.
pub fn job_control() -> bool {
    let parent = getppid();
    parent.as_raw() != 0
        && getsid(Some(parent)) == getsid(None)
        && getpgid(Some(parent)).is_ok_and(|group| group != getpgrp())
}
