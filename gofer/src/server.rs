//! The server: trees, handles, and a thread for each channel.
//!
//! A channel's thread takes a request, does it and sends the reply; requests on different channels run side by side.
//! Nothing is shared between them but the table of handles.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use gofer_protocol::MAX_CHANNELS;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use rustix::process::{Resource, getrlimit};

use crate::attr::IdRule;
use crate::config::{Config, Overflow};
use crate::connection;
use crate::error::GoferError;
use crate::owners::Owners;
use crate::table::Table;
use crate::tree::{SelfFds, Tree, TreeOptions};

/// Bytes of stack of a channel's thread. What it does is not deep, and its buffers are elsewhere.
const STACK: usize = 256 * 1024;

/// Descriptors that are not for handles.
const SPARE_FDS: usize = 128;

/// What all channels share.
#[derive(Debug)]
pub(crate) struct Server {
    pub trees: Vec<Tree>,
    pub self_fds: SelfFds,
    pub ids: IdRule,
    pub table: Table,
    /// The Sentry's ends of all channels but the first, until the greeting.
    channels: Mutex<Option<Vec<OwnedFd>>>,
}

impl Server {
    /// The other ends of the further channels; once.
    pub fn take_channels(&self) -> Option<Vec<OwnedFd>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a server is made of.
#[derive(Debug)]
pub struct Parts {
    /// The trees.
    pub trees: Vec<Tree>,
    /// The way to reopen descriptors.
    pub self_fds: SelfFds,
    /// How owners without a name are shown.
    pub overflow: Overflow,
    /// Who tells their true ids.
    pub owners: Option<Owners>,
    /// Requests under way at a time.
    pub channels: usize,
    /// Handles at a time.
    pub max_handles: usize,
}

impl Parts {
    /// A server of these trees that is not confined, for tests: `hide` has no effect.
    pub fn unconfined(config: &Config) -> Result<Parts, GoferError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let open = |path: &Path| openat(CWD, path, flags, Mode::empty()).map_err(io::Error::from);
        let trees = config.trees.iter().map(|tree| {
            let root = open(&tree.source).map_err(|error| GoferError::source(&tree.source, error))?;
            Tree::new(root, TreeOptions::of(tree)).map_err(|errno| GoferError::source(&tree.source, errno))
        });
        let fds = Path::new("/proc/self/fd");
        Ok(Parts {
            trees: trees.collect::<Result<_, _>>()?,
            self_fds: SelfFds::new(
                open(fds).map_err(|error| GoferError::source(fds, error))?,
                "/proc/self/fd/",
            ),
            overflow: config.overflow,
            owners: None,
            channels: config.channels,
            max_handles: max_handles(),
        })
    }
}

/// Handles that this process has descriptors for, with some to spare for what is opened in passing.
pub(crate) fn max_handles() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(SPARE_FDS)
}

/// A server whose threads have started, so that a filter can be installed over them, and wait. None of them can get a request before [`run`](Self::run), because
/// the Sentry gets their channels with the greeting.
#[derive(Debug)]
pub struct Ready {
    server: Arc<Server>,
    first: OwnedFd,
    others: Vec<(Arc<OwnedFd>, JoinHandle<()>)>,
}

impl Ready {
    /// Makes the further channels and their threads.
    pub fn new(parts: Parts, first: OwnedFd) -> Result<Ready, GoferError> {
        // Asked for the first time, while that is allowed.
        let _ = host::thread::initial_affinity();
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 1..parts.channels.clamp(1, MAX_CHANNELS) {
            let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|errno| GoferError::Prepare { what: "channel", error: errno.into() })?;
            ours.push(Arc::new(a));
            theirs.push(b);
        }
        let server = Arc::new(Server {
            trees: parts.trees,
            self_fds: parts.self_fds,
            ids: IdRule::new(parts.overflow, parts.owners),
            table: Table::new(parts.max_handles),
            channels: Mutex::new(Some(theirs)),
        });
        let started = Arc::new(Barrier::new(ours.len() + 1));
        let others = ours
            .into_iter()
            .map(|socket| {
                Ok((Arc::clone(&socket), spawn(Arc::clone(&server), socket, Arc::clone(&started))?))
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| GoferError::Prepare { what: "thread", error })?;
        started.wait();
        Ok(Ready { server, first, others })
    }

    /// Serves until the Sentry closes the first channel.
    pub fn run(self) -> Result<(), GoferError> {
        let Ready { server, first, others } = self;
        host::memory::forget_code();
        let end = connection::serve(&server, &first);
        // So that the Sentry sees the end on every channel, and the threads go.
        drop(server.take_channels());
        let _ = shutdown(&first, Shutdown::Both);
        for (socket, _) in &others {
            let _ = shutdown(&**socket, Shutdown::Both);
        }
        for (_, thread) in others {
            let _ = thread.join();
        }
        end
    }
}

fn spawn(server: Arc<Server>, socket: Arc<OwnedFd>, started: Arc<Barrier>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("channel".into()).stack_size(STACK).spawn(move || {
        started.wait();
        drop(started);
        if let Err(error) = connection::serve(&server, &socket) {
            tracing::error!("{error}");
        }
        // The Sentry sees that this channel has ended; what it then does with the others is its business.
        let _ = shutdown(&*socket, Shutdown::Both);
    })
}
