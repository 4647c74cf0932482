//! A terminal with a program on it, as a person would use it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};

use crate::command::{self, LIMIT};

/// A session on a pseudo terminal.
pub struct Session {
    child: Child,
    terminal: File,
    seen: String,
}

impl Session {
    /// Starts a program whose controlling terminal is a new one of this size.
    pub fn start(program: &Command, rows: u16, columns: u16) -> Result<Session> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None)?;
        let slave = |fd: &OwnedFd| fd.try_clone();
        let mut setsid = Command::new("setsid");
        setsid.args(["--ctty", "--wait"]).arg(program.get_program()).args(program.get_args());
        setsid.stdin(slave(&pair.slave)?).stdout(slave(&pair.slave)?).stderr(slave(&pair.slave)?);
        let child = setsid.spawn()?;
        Ok(Session { child, terminal: File::from(pair.master), seen: String::new() })
    }

    /// Types.
    pub fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.terminal.write_all(text.as_bytes())?)
    }

    /// Reads until this has been printed after what was expected before.
    pub fn expect(&mut self, wanted: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.seen.find(wanted) {
                self.seen.drain(..at + wanted.len());
                return Ok(());
            }
            ensure!(
                begun.elapsed() < LIMIT,
                "{wanted:?} did not appear on the terminal after {:?}",
                self.seen
            );
            if !self.read()? {
                bail!("the terminal was closed before {wanted:?}, after {:?}", self.seen);
            }
        }
    }

    fn read(&mut self) -> Result<bool> {
        let mut fds = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(100u8))? == 0 {
            return Ok(true);
        }
        let mut bytes = [0; 4096];
        match self.terminal.read(&mut bytes) {
            Ok(0) | Err(_) => Ok(false),
            Ok(count) => {
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
                Ok(true)
            }
        }
    }

    /// Changes the size of the terminal, of which the program is told by SIGWINCH: at once, as a window does. Of two changes in
    /// a row (stty(1) makes two of rows and columns) Podman sometimes misses the second on a busy machine, with runc too.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // The size belongs to the pair, so the master's end serves.
        Ok(rustix::termios::tcsetwinsize(&self.terminal, size)?)
    }

    /// The exit status, once what it prints has been read to the end.
    pub fn end(mut self) -> Result<i32> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            if let Some(status) = self.child.try_wait()? {
                return Ok(command::code(status));
            }
            if !self.read()? {
                break;
            }
        }
        match command::wait(&mut self.child, Duration::from_secs(5))? {
            Some(status) => Ok(command::code(status)),
            None => bail!("the program on the terminal did not end; it printed {:?}", self.seen),
        }
    }
}
