//! A sandbox as its maker sees it: two processes, the Sentry and the Gofer, and a line to the Sentry.
//!
//! [`Sandbox::start`] runs in the command line; [`boot`] is the Sentry's side of it, [`gofer`] the Gofer's.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use host::process::Child;
use host::spawn::Isolation;
use rustix::net::SendFlags;

use crate::config::{self, GoferConfig, Identity, SentryConfig, fd};
use crate::log::Timeline;

pub mod boot;
pub mod choose_platform;
pub mod control;
pub mod filter;
pub mod gofer;
pub mod kernel;
pub mod mounts;
pub mod namespace;
pub mod pod;
pub mod privileges;
pub mod process;
pub mod program;
pub mod streams;
pub mod supervise;
pub mod terminal;
pub mod user;

use control::{CommandEnd, Order, socketpair};

/// Why a sandbox was not started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A host call of the preparation failed.
    #[error("{what}: {error}; see the limits of descriptors (ulimit -n) and memory")]
    Prepare {
        /// What was being made.
        what: &'static str,
        /// The host's error.
        error: io::Error,
    },
    /// A process could not be started.
    #[error(transparent)]
    Process(#[from] process::ProcessError),
    /// The Sentry's user namespace could not be set up.
    #[error(transparent)]
    Namespace(#[from] namespace::NamespaceError),
}

/// Descriptors that go to the Sentry besides its own connections.
#[derive(Debug)]
pub struct Streams<'a> {
    /// Standard input, output and error of the program.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Where `--strace` lines go.
    pub strace: BorrowedFd<'a>,
    /// Where the profile goes.
    pub profile: Option<BorrowedFd<'a>>,
    /// The debug log.
    pub log: Option<&'a File>,
    /// Where the Sentry of a container listens.
    pub listener: Option<BorrowedFd<'a>>,
    /// Descriptors of the program from 3 on.
    pub passed: &'a [BorrowedFd<'a>],
}

/// A running sandbox. Dropping it kills both processes, and with the Sentry every process of the sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// The Sentry.
    pub sentry: Child,
    /// The Gofer.
    pub gofer: GoferProcess,
    /// The line to the Sentry.
    pub control: CommandEnd,
}

/// A Gofer, which dropping it kills.
#[derive(Debug)]
pub struct GoferProcess {
    /// The process.
    pub process: Child,
    /// What tells an ordinary user's Gofer whose files are.
    owners: Option<Child>,
    /// The line to it.
    line: OwnedFd,
}

impl Sandbox {
    /// Starts both processes, and tells the Sentry to go on. It answers over the control line.
    pub fn start(
        sentry: &SentryConfig,
        gofer: &GoferConfig,
        streams: &Streams<'_>,
        timeline: &mut Timeline,
    ) -> Result<Sandbox, SandboxError> {
        let prepare = |what| move |error| SandboxError::Prepare { what, error };
        let (command_end, sentry_end) = socketpair().map_err(prepare("control connection"))?;
        let (client_end, server_end) = socketpair().map_err(prepare("gofer connection"))?;
        let sentry_config = config::store(sentry).map_err(prepare("configuration"))?;
        timeline.done("connections and configuration");

        let sentry_process = start_sentry(sentry_config, sentry_end, client_end, streams)?;
        timeline.done("sentry process executed");
        namespace::map_ids(&sentry_process, sentry.identity)?;
        let control = CommandEnd::new(command_end);
        // An error means that the Sentry is gone; it is seen, with its reason, where events are read.
        let _ = control.send_with(&Order::Start, streams.passed);
        timeline.done("ids mapped");

        let gofer = GoferProcess::start(gofer, server_end, streams)?;
        timeline.done("gofer process executed");
        Ok(Sandbox { sentry: sentry_process, gofer, control })
    }

    /// The line for a sandbox that could not go on: what its Gofer said is closer to the cause than `other`.
    pub fn failure(&self, other: String) -> String {
        self.gofer.failure(other)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Errors: it has ended, or was waited for already. The Gofer is told first, so that both end at once.
        let _ = self.sentry.kill(libc::SIGKILL);
        let _ = self.gofer.process.kill(libc::SIGKILL);
        let _ = self.sentry.wait();
    }
}

impl GoferProcess {
    /// Starts it, to serve `connection`: as root it keeps the rights to the host's files, as an ordinary user it gets a user
    /// namespace, where it may confine itself; so it does for a container that has one.
    pub fn start(
        gofer: &GoferConfig,
        connection: OwnedFd,
        streams: &Streams<'_>,
    ) -> Result<GoferProcess, SandboxError> {
        let prepare = |what| move |error| SandboxError::Prepare { what, error };
        let config = config::store(gofer).map_err(prepare("configuration"))?;
        let (own_end, its_end) = socketpair().map_err(prepare("a line to the gofer"))?;
        let isolation = match gofer.identity {
            Identity::Nobody { .. } if gofer.id_maps.is_none() => Isolation::Pid,
            _ => Isolation::UserAndPid,
        };
        let (asks, answers) = match gofer.identity {
            Identity::Caller { .. } if gofer.id_maps.is_none() => {
                Some(socketpair().map_err(prepare("owners connection"))?)
            }
            _ => None,
        }
        .unzip();
        let mut fds =
            vec![(config.as_fd(), fd::CONFIG), (connection.as_fd(), fd::GOFER), (its_end.as_fd(), fd::GO)];
        fds.extend(asks.as_ref().map(|asks| (asks.as_fd(), fd::OWNERS)));
        let process = process::Start { command: "gofer", isolation, fds: &fds, log: streams.log }.start()?;
        let mut started = GoferProcess { process, owners: None, line: own_end };
        match &gofer.id_maps {
            Some(maps) => namespace::map_id_ranges(&started.process, maps)?,
            None if isolation == Isolation::UserAndPid => {
                namespace::map_ids(&started.process, gofer.identity)?;
            }
            None => {}
        }
        // An error means that it is gone; that is seen where it is waited for.
        let _ = rustix::net::send(&started.line, b"!", SendFlags::NOSIGNAL);
        started.owners = answers.map(|line| start_owners(&line, streams)).transpose()?;
        Ok(started)
    }

    /// The process, and that which tells it whose files are.
    pub fn processes(&self) -> impl Iterator<Item = &Child> {
        [&self.process].into_iter().chain(&self.owners)
    }

    /// What it said before it ended, or else `other`.
    pub fn failure(&self, other: String) -> String {
        gofer::last_word(&self.line).map_or(other, |word| format!("gofer: {word}"))
    }
}

impl Drop for GoferProcess {
    fn drop(&mut self) {
        // Errors: it has ended, or was waited for already.
        for process in self.processes() {
            let _ = process.kill(libc::SIGKILL);
        }
        for process in self.processes() {
            let _ = process.wait();
        }
    }
}

/// Starts what tells an ordinary user's Gofer whose files are: it stays outside of the Gofer's user namespace, where only
/// that user has a name.
fn start_owners(line: &OwnedFd, streams: &Streams<'_>) -> Result<Child, process::ProcessError> {
    let fds = [(line.as_fd(), fd::OWNERS)];
    process::Start { command: "owners", isolation: Isolation::Inherited, fds: &fds, log: streams.log }.start()
}

fn start_sentry(
    config: OwnedFd,
    control: OwnedFd,
    gofer: OwnedFd,
    streams: &Streams<'_>,
) -> Result<Child, process::ProcessError> {
    let mut fds: Vec<(BorrowedFd<'_>, RawFd)> =
        vec![(config.as_fd(), fd::CONFIG), (control.as_fd(), fd::CONTROL), (gofer.as_fd(), fd::GOFER)];
    fds.extend(streams.stdio.into_iter().zip(fd::STDIO));
    fds.push((streams.strace, fd::STRACE));
    fds.extend(streams.profile.map(|profile| (profile, fd::PROFILE)));
    fds.extend(streams.listener.map(|listener| (listener, fd::LISTENER)));
    process::Start { command: "boot", isolation: Isolation::UserAndPid, fds: &fds, log: streams.log }.start()
}
