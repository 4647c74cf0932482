//! Why a Gofer did not start, or ended.

use std::io;
use std::path::{Path, PathBuf};

use gofer_protocol::Errno;
use gofer_protocol::socket::NoMessage;

/// Why a Gofer did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum GoferError {
    /// A tree of the configuration can't be opened.
    #[error("opening {}: {error}; give a file or directory that this user may read", .path.display())]
    Source {
        /// The path.
        path: PathBuf,
        /// The host's error.
        error: io::Error,
    },
    /// A step of the confinement failed.
    #[error("{step}: {error}; {advice}")]
    Confine {
        /// What was being done.
        step: &'static str,
        /// The host's error.
        error: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// After the confinement something is still there that should not be.
    #[error("after the confinement {0}; please report this")]
    NotConfined(&'static str),
    /// The server could not be set up.
    #[error("{what}: {error}; see the limits of descriptors and processes (ulimit -n, ulimit -u)")]
    Prepare {
        /// What was being made.
        what: &'static str,
        /// The host's error.
        error: io::Error,
    },
    /// The Sentry sent something that is no request.
    #[error("the sentry broke the protocol: {0}")]
    Protocol(&'static str),
    /// Receiving failed.
    #[error("receiving from the sentry: {0}")]
    Receive(NoMessage),
    /// Sending failed.
    #[error("sending to the sentry: {0}")]
    Send(Errno),
}

impl GoferError {
    pub(crate) fn source(path: &Path, error: impl Into<io::Error>) -> GoferError {
        GoferError::Source { path: path.to_path_buf(), error: error.into() }
    }
}
