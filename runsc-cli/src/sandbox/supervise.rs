//! The command line while the program runs: signals go in, stops and the end come out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use host::process::Status;
use host::signal::{self, Received, SignalSet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cmd::tell;
use crate::sandbox::Sandbox;
use crate::sandbox::control::{Ended, Event, Order, Target};
use crate::sandbox::terminal::Terminal;

/// How a sandbox ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program ran and ended.
    Ended(Ended),
    /// The program could not be started.
    NotStarted {
        /// Whether there is no such file.
        missing: bool,
        /// Why.
        why: String,
    },
    /// The sandbox could not be started, or broke: one line.
    Failed(String),
}

/// Signals that the terminal sends to its foreground process group.
const TERMINAL_SIGNALS: [i32; 7] =
    [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGHUP, libc::SIGWINCH];

/// A Gofer ends when the Sentry has, and may be seen to end first: so long the Sentry has for its own end or last word.
pub const LAST_WORD: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Forwards signals and follows the program's stops until the sandbox has ended. All signals are blocked.
pub fn supervise(sandbox: &Sandbox, terminal: Option<&Terminal>) -> io::Result<Outcome> {
    let signals = signal::signalfd(&SignalSet::all())?;
    let mut gofer_lost = false;
    // From here on there is little to do.
    host::memory::forget_code();
    loop {
        // A Gofer that is known to have ended would always be ready.
        let gofer = if gofer_lost { signals.as_fd() } else { sandbox.gofer.process.pidfd().as_fd() };
        let fds = [sandbox.control.as_fd(), signals.as_fd(), gofer];
        let [mut control_ready, signals_ready, gofer_ended] = wait(fds, None)?;
        if signals_ready {
            while let Some(received) = signal::read_signalfd(&signals)? {
                if let Some(order) = order(received, terminal) {
                    // An error means that the Sentry is gone, which the control line tells.
                    let _ = sandbox.control.send(&order);
                }
            }
        }
        if gofer_ended && !gofer_lost && !control_ready {
            [control_ready] = wait([sandbox.control.as_fd()], Some(LAST_WORD))?;
            if !control_ready {
                // The Sentry goes on, and so does the program, without the host's files.
                gofer_lost = true;
                mourn(&sandbox.failure(died("gofer", sandbox.gofer.process.wait()?)));
            }
        }
        if !control_ready {
            continue;
        }
        match sandbox.control.receive()? {
            Some(Event::Running | Event::Created | Event::Confined(_)) => {}
            // The shell has to see that the program has stopped. SIGCONT is then among the signals to be read.
            Some(Event::Stopped(signal)) => signal::stop_self(signal)?,
            Some(Event::Ended(ended)) => return Ok(Outcome::Ended(ended)),
            Some(Event::NotStarted { missing, why }) => return Ok(Outcome::NotStarted { missing, why }),
            Some(Event::GoferLost(why)) if !gofer_lost => {
                gofer_lost = true;
                let [ended] = wait([sandbox.gofer.process.pidfd().as_fd()], Some(LAST_WORD))?;
                let status = if ended { Some(sandbox.gofer.process.wait()?) } else { None };
                mourn(&sandbox.failure(match status {
                    Some(status @ Status::Signaled(..)) => died("gofer", status),
                    _ => why,
                }));
            }
            Some(Event::GoferLost(_)) => {}
            Some(Event::Failed(why)) => return Ok(Outcome::Failed(sandbox.failure(why))),
            None => return Ok(Outcome::Failed(died("sentry", sandbox.sentry.wait()?))),
        }
    }
}

/// Says what became of the Gofer of a program that goes on.
fn mourn(why: &str) {
    tell(&format!("runsc: do: {why}; the host's files give i/o errors from now on"));
}

/// What a signal of the command line means for the program.
fn order(received: Received, terminal: Option<&Terminal>) -> Option<Order> {
    match forwarded(received)? {
        (libc::SIGCONT, ..) => {
            Some(Order::Continue { foreground: terminal.is_none_or(Terminal::foreground) })
        }
        (signal, value, to) => Some(Order::Signal { signal, value, to }),
    }
}

/// Which signal is passed on, with which value, and to whom.
pub fn forwarded(received: Received) -> Option<(i32, i32, Target)> {
    let Received { signal, code, value, .. } = received;
    // Told by the host about Sentry and Gofer, not sent by anyone.
    if signal == libc::SIGCHLD && code > 0 {
        return None;
    }
    let from_terminal = code == libc::SI_KERNEL && TERMINAL_SIGNALS.contains(&signal);
    let to = if from_terminal { Target::Foreground } else { Target::Init };
    Some((signal, value, to))
}

/// Waits until one of these can be read, or has ended, or the time is over; which.
pub fn wait<const N: usize>(fds: [BorrowedFd<'_>; N], at_most: Option<Timespec>) -> io::Result<[bool; N]> {
    let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut fds, at_most.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(fds.map(|fd| !fd.revents().is_empty())),
        Err(errno) => Err(errno.into()),
    }
}

/// The line for a process of the sandbox that ended without a word.
pub fn died(process: &str, status: Status) -> String {
    const ADVICE: &str = "run again with --debug-log FILE, and report what it says";
    match status {
        Status::Signaled(libc::SIGSYS, _) => {
            format!("{process}: killed for a host call outside its seccomp filter; {ADVICE}")
        }
        Status::Signaled(signal, _) => format!("{process}: killed by signal {signal}; {ADVICE}"),
        other => format!("{process}: ended by itself ({other:?}); {ADVICE}"),
    }
}
