//! A command that stays with its container: it passes signals on, carries bytes between its own terminal and the
//! container's, and ends as the container does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use host::process::{Child, Status};
use host::signal::{self, SignalSet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// Bytes that are carried at a time.
const CHUNK: usize = 16 * 1024;

/// This command's terminal in raw mode, until it is dropped.
struct Raw {
    saved: Termios,
}

impl Raw {
    fn new() -> Option<Raw> {
        let saved = tcgetattr(io::stdin()).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Raw { saved })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // An error: the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.saved);
    }
}

/// Blocks signals, before the process that they are for is started.
pub fn hold_signals() -> io::Result<()> {
    signal::block(&SignalSet::all()).map(drop)
}

/// Stays until the monitor has ended; the exit status. Signals are held.
pub fn attend(monitor: &Child, master: Option<OwnedFd>) -> io::Result<i32> {
    let signals = signal::signalfd(&SignalSet::all())?;
    let raw = master.as_ref().and_then(|_| Raw::new());
    if let Some(master) = &master {
        pass_size(master);
    }
    let mut input_open = master.is_some();
    let mut output_open = master.is_some();
    loop {
        let stdin = io::stdin();
        let terminal = master.as_ref().map_or(monitor.pidfd().as_fd(), AsFd::as_fd);
        let mut fds = vec![
            PollFd::from_borrowed_fd(monitor.pidfd().as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if output_open {
            fds.push(PollFd::from_borrowed_fd(terminal, PollFlags::IN));
        }
        if input_open {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, None::<&Timespec>) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready[1] {
            while let Some(received) = signal::read_signalfd(&signals)? {
                match received.signal {
                    libc::SIGCHLD => {}
                    libc::SIGWINCH => {
                        if let Some(master) = &master {
                            pass_size(master);
                        }
                    }
                    // An error: it has just ended.
                    other => drop(monitor.kill(other)),
                }
            }
        }
        // Standard input comes last, if it is asked.
        let input_ready = input_open && ready.last() == Some(&true);
        if output_open && ready[2] {
            output_open = carry(terminal, io::stdout().as_fd())?;
        }
        if input_ready {
            input_open = carry(stdin.as_fd(), terminal)?;
        }
        if ready[0] {
            if let Some(master) = &master {
                drain(master)?;
            }
            drop(raw);
            return Ok(match monitor.wait()? {
                Status::Exited(status) => status,
                other => other.shell_code(),
            });
        }
    }
}

/// What the container has still written.
fn drain(master: &OwnedFd) -> io::Result<()> {
    loop {
        let mut fds = [PollFd::new(master, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut fds, Some(&now)) {
            Ok(n) if n > 0 && fds[0].revents().contains(PollFlags::IN) => {
                if !carry(master.as_fd(), io::stdout().as_fd())? {
                    return Ok(());
                }
            }
            _ => return Ok(()),
        }
    }
}

/// Carries what is there; false at the end.
fn carry(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<bool> {
    let mut bytes = [0; CHUNK];
    let count = match rustix::io::read(from, &mut bytes) {
        Ok(0) => return Ok(false),
        Ok(count) => count,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
        // The other side of a terminal is closed.
        Err(Errno::IO) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    };
    let mut rest = &bytes[..count];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None::<&Timespec>);
            }
            // Nobody reads any more.
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Gives the container's terminal the size of this one.
fn pass_size(master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(io::stdin()) {
        // An error: the terminal is gone.
        let _ = tcsetwinsize(master, size);
    }
}
