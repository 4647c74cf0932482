//! Containers as the command line sees them, by verb: what is kept of one between commands, and how its sandbox is asked.
//!
//! Each container has a directory below `--root` with its state, a copy of its configuration and, when it began a sandbox,
//! the socket of that. The host process that stands for it, whose pid engines get, is its *monitor* ([`monitor`]): it started
//! Sentry and Gofer, which die with it, and its exit status is the container's.

use std::path::PathBuf;

use crate::cmd::HostUds;
use crate::config::PlatformName;
use crate::overlay::Overlays;

pub mod ask;
pub mod clock;
pub mod console;
pub mod create;
pub mod delete;
pub mod descriptors;
pub mod exec;
pub mod hooks;
pub mod host_pids;
pub mod monitor;
mod mount_points;
pub mod namespaces;
pub mod notes;
pub mod notify;
pub mod relay;
pub mod start;
pub mod state_file;
pub mod status;
pub mod store;
pub mod view;

/// What the global flags say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the state of containers is kept.
    pub root: PathBuf,
    /// What runs guest code.
    pub platform: PlatformName,
    /// Whether systemd is to make the cgroups.
    pub systemd_cgroup: bool,
    /// Whether cgroups are left alone.
    pub ignore_cgroups: bool,
    /// Whether every system call is printed, to the debug log.
    pub strace: bool,
    /// Where sandboxes write what they do.
    pub debug_log: Option<PathBuf>,
    /// Which of a container's trees have layers for changes.
    pub overlays: Overlays,
    /// Which Unix sockets are the host's.
    pub host_uds: HostUds,
    /// Whether FIFOs are opened on the host.
    pub host_fifos: bool,
}

/// Why something could not be done with a container. The texts that engines look for are runc's.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// There is none with this id.
    #[error("container does not exist; 'runsc list' shows those below --root")]
    Missing,
    /// There is one already.
    #[error("container with given ID already exists; choose another or delete it")]
    Exists,
    /// The id can't be used.
    #[error("invalid container ID {0:?}: use letters, digits, '_', '+', '-' and '.', at most 1024")]
    Id(String),
    /// It has no process that runs.
    #[error("container not running; 'runsc state' tells what it is doing")]
    NotRunning,
    /// It is not in the right state for that.
    #[error("{0}")]
    State(String),
    /// Its directory could not be read or written.
    #[error("{}: {what}: {error}; see its owner and the room on its disk", .path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// The host's error.
        error: std::io::Error,
    },
    /// One of its processes was killed, and is still there.
    #[error(
        "process {pid} was killed and has not ended in {seconds} s; see /proc/{pid}/stack for what it waits for, and delete again"
    )]
    Lingers {
        /// Of the process.
        pid: i32,
        /// Since it was killed.
        seconds: u64,
    },
    /// Its sandbox does not answer.
    #[error("the sandbox does not answer: {0}; 'runsc delete --force' removes it")]
    Silent(std::io::Error),
    /// Its sandbox refused.
    #[error("{0}")]
    Refused(String),
}

/// Makes an error of the disk.
pub fn disk(path: &std::path::Path, what: &'static str) -> impl FnOnce(std::io::Error) -> ContainerError {
    let path = path.to_owned();
    move |error| ContainerError::Disk { path, what, error }
}
