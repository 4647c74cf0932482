//! What a Gofer serves and how; made by the command line.

use std::path::PathBuf;

/// Everything the Gofer has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The trees, in the order in which the Sentry names them.
    pub trees: Vec<TreeConfig>,
    /// How owners without a name in the process's user namespace are shown.
    pub overflow: Overflow,
    /// What happens at a host call that is not on the filter's list.
    pub refused: Refused,
    /// Requests that can be under way at a time: threads, and channels.
    pub channels: usize,
}

/// A host directory, or a single host file, that is served.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TreeConfig {
    /// Absolute path on the host. Links in it are followed: the path comes from whoever starts the sandbox.
    pub source: PathBuf,
    /// Whether every change is refused.
    pub read_only: bool,
    /// Directories, as paths below the source, that are shown empty. What is not there, or no directory, is left out.
    pub hide: Vec<PathBuf>,
    /// Whether the Sentry may connect to Unix sockets in it.
    pub host_sockets: bool,
    /// Whether the Sentry may make Unix sockets in it that programs of the host can reach.
    pub bound_sockets: bool,
    /// Whether the Sentry may open FIFOs in it.
    pub host_fifos: bool,
}

/// What an owner without a name in the user namespace is shown as. (The Gofer of an ordinary user is started in one
/// where only that user's own ids have names; nothing can be given to any other.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// 65534, as the host says.
    AsItIs,
    /// Root. For a sandbox of an ordinary user over the host's own files, most of which are root's. New files for root
    /// then get the user as their owner.
    Root,
}

/// What happens at a host call that is not on the filter's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The process is killed.
    Kill,
    /// It says which call it was, on standard error, and ends.
    Report,
}

impl Config {
    /// A configuration for these trees, with owners as the host shows them.
    pub fn new(trees: Vec<TreeConfig>) -> Config {
        Config { trees, overflow: Overflow::AsItIs, refused: Refused::Kill, channels: 4 }
    }
}
