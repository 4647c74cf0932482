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
}

/// A running sandbox. Dropping it kills both processes, and with the Sentry every process of the sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// The Sentry.
    pub sentry: Child,
    /// The Gofer.
    pub gofer: Child,
    /// What tells an ordinary user's Gofer whose files are.
    owners: Option<Child>,
    /// The line to the Sentry.
    pub control: CommandEnd,
    /// The line to the Gofer.
    gofer_line: OwnedFd,
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
        let gofer_config = config::store(gofer).map_err(prepare("configuration"))?;
        timeline.done("connections and configuration");

        let sentry_process = start_sentry(sentry_config, sentry_end, client_end, streams)?;
        timeline.done("sentry process executed");
        namespace::map_ids(sentry_process.pid(), sentry.identity)?;
        let control = CommandEnd::new(command_end);
        // An error means that the Sentry is gone; it is seen, with its reason, where events are read.
        let _ = control.send(&Order::Start);
        timeline.done("ids mapped");

        let owners_line = match gofer.identity {
            Identity::Caller { .. } => Some(socketpair().map_err(prepare("owners connection"))?),
            Identity::Nobody { .. } => None,
        };
        let (asks, answers) = owners_line.unzip();
        let (gofer_process, gofer_line) = start_gofer(gofer, gofer_config, (server_end, asks), streams)?;
        let owners = answers.map(|line| start_owners(&line, streams)).transpose()?;
        timeline.done("gofer process executed");
        Ok(Sandbox { sentry: sentry_process, gofer: gofer_process, owners, control, gofer_line })
    }

    /// The line for a sandbox that could not go on: what its Gofer said is closer to the cause than `other`.
    pub fn failure(&self, other: String) -> String {
        gofer::last_word(&self.gofer_line).map_or(other, |word| format!("gofer: {word}"))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Errors: it has ended, or was waited for already.
        let all = || [&self.sentry, &self.gofer].into_iter().chain(&self.owners);
        for process in all() {
            let _ = process.kill(libc::SIGKILL);
        }
        for process in all() {
            let _ = process.wait();
        }
    }
}

/// Starts the Gofer: as root it keeps the rights to the host's files, as an ordinary user it gets a user namespace, where
/// it may confine itself.
fn start_gofer(
    gofer: &GoferConfig,
    config: OwnedFd,
    (connection, owners): (OwnedFd, Option<OwnedFd>),
    streams: &Streams<'_>,
) -> Result<(Child, OwnedFd), SandboxError> {
    let (own_end, its_end) =
        socketpair().map_err(|error| SandboxError::Prepare { what: "a line to the gofer", error })?;
    let isolation = match gofer.identity {
        Identity::Caller { .. } => Isolation::UserAndPid,
        Identity::Nobody { .. } => Isolation::Pid,
    };
    let mut fds =
        vec![(config.as_fd(), fd::CONFIG), (connection.as_fd(), fd::GOFER), (its_end.as_fd(), fd::GO)];
    fds.extend(owners.as_ref().map(|owners| (owners.as_fd(), fd::OWNERS)));
    let process = process::Start { command: "gofer", isolation, fds: &fds, log: streams.log }.start()?;
    if isolation == Isolation::UserAndPid {
        namespace::map_ids(process.pid(), gofer.identity)?;
    }
    // An error means that it is gone; that is seen where it is waited for.
    let _ = rustix::net::send(&own_end, b"!", SendFlags::NOSIGNAL);
    Ok((process, own_end))
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
    process::Start { command: "boot", isolation: Isolation::UserAndPid, fds: &fds, log: streams.log }.start()
}
