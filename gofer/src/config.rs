//! What a Gofer serves and how; made by the command line.

use std::path::PathBuf;

/// Everything the Gofer has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The trees, in the order in which the Sentry names them.
    pub trees: Vec<TreeConfig>,
    /// User and group ids.
    pub ids: Ids,
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
    /// Whether the Sentry may open FIFOs in it.
    pub host_fifos: bool,
}

/// How ids of the host become those in replies and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// As they are in the namespace that the process was started in.
    AsTheyAre,
    /// The process was started in a new user namespace: it maps one user and one group there, the own ones. All
    /// others show up as 65534, and nothing can be given to them.
    MapOwn {
        /// Uid of the Gofer's files, outside the namespace.
        uid: u32,
        /// Gid, likewise.
        gid: u32,
        /// What 65534 is turned into.
        overflow: Overflow,
    },
}

/// What an owner without a name in the user namespace is shown as.
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
    /// A configuration for these trees, with ids as they are.
    pub fn new(trees: Vec<TreeConfig>) -> Config {
        Config { trees, ids: Ids::AsTheyAre, refused: Refused::Kill, channels: 4 }
    }
}
