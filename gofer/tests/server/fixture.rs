//! A tree, a server over it, and a client.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use gofer::server::{Parts, Ready};
use gofer::{Config, GoferError, TreeConfig};
use gofer_protocol::{Attr, Client, Errno, Handle, Leaf, Looked, Name, Owner, Perm};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

pub struct Fixture {
    pub dir: tempfile::TempDir,
    /// `None` once the connection is closed.
    client: Option<Client>,
    server: Option<JoinHandle<Result<(), GoferError>>>,
}

/// A server over `trees`; its thread, and the other end.
pub fn serve(trees: Vec<TreeConfig>) -> (JoinHandle<Result<(), GoferError>>, OwnedFd) {
    // Tests compare modes, so none may get lost.
    rustix::process::umask(rustix::fs::Mode::empty());
    // As the process of its own does; the tests' threads share one table.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let parts = Parts::unconfined(&Config::new(trees)).unwrap();
    let server = std::thread::spawn(move || Ready::new(parts, theirs)?.run());
    (server, ours)
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::with(TreeConfig::default())
    }

    /// A tree in a new directory, with these options: `root` in it is the tree's root, the rest is outside.
    pub fn with(options: TreeConfig) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let (server, socket) = serve(vec![TreeConfig { source: root, ..options }]);
        Fixture { dir, client: Some(Client::connect(socket).unwrap()), server: Some(server) }
    }

    pub fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Path of a file in the tree, on the host.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    /// Path of a file beside the tree.
    pub fn outside(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn root(&self) -> Handle {
        self.client().attach(0).unwrap().handle
    }

    /// A handle of what is at `path`.
    pub fn handle(&self, path: &str) -> Handle {
        self.find(path).unwrap().handle.unwrap()
    }

    /// Walks to `path` as a whole.
    pub fn find(&self, path: &str) -> Result<Looked, Errno> {
        let names = names(path);
        let walked = self.client().walk(self.root(), &names, Leaf::Handle)?;
        match walked.error {
            Some(errno) => Err(errno),
            None if walked.found.len() < names.len() => Err(Errno::NOTDIR),
            None => Ok(*walked.found.last().unwrap()),
        }
    }

    /// Closes the connection; the server must end without an error.
    pub fn end(mut self) {
        self.client = None;
        self.server.take().unwrap().join().unwrap().unwrap();
    }
}

pub fn name(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Name<'_> {
    Name::new(bytes.as_ref()).unwrap()
}

pub fn names(path: &str) -> Vec<Name<'_>> {
    path.split('/').map(name).collect()
}

pub fn perm(bits: u32) -> Perm {
    Perm::of_mode(bits)
}

/// This user, as owner of what is made.
pub fn me() -> Owner {
    Owner::new(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()).unwrap()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether attributes are those that lstat(2) has for a host path.
#[track_caller]
pub fn assert_attr(attr: &Attr, path: &Path) {
    let host = fs::symlink_metadata(path).unwrap();
    let mode = (attr.kind as u32) << 12 | u32::from(attr.perm.bits());
    assert_eq!(
        (mode, attr.nlink.into(), attr.uid, attr.gid, attr.size, attr.blocks, attr.id.ino),
        (host.mode(), host.nlink(), host.uid(), host.gid(), host.size(), host.blocks(), host.ino())
    );
    assert_eq!((attr.mtime.seconds(), attr.mtime.nanoseconds().into()), (host.mtime(), host.mtime_nsec()));
    assert_eq!((attr.ctime.seconds(), attr.ctime.nanoseconds().into()), (host.ctime(), host.ctime_nsec()));
    assert_eq!((attr.atime.seconds(), attr.atime.nanoseconds().into()), (host.atime(), host.atime_nsec()));
}
