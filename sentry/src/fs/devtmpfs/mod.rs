//! devtmpfs: a tmpfs with the device nodes and links that every program expects in /dev.

use std::sync::Arc;

use abi::stat::makedev;

use crate::Result;
use crate::fs::tmpfs;
use crate::vfs::{Caller, Dentry, FsContext, Mount, MountFlags, NewKind, Path};
use crate::vfs::{FileSystemType, MountRequest};

/// The kind of file system. Each mount is an instance of its own.
pub struct DevTmpfs;

/// Character devices: name, mode, major, minor.
const DEVICES: [(&str, u32, u32, u32); 8] = [
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("full", 0o666, 1, 7),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("tty", 0o666, 5, 0),
    ("console", 0o600, 5, 1),
    ("fuse", 0o666, super::fuse::DEVICE.0, super::fuse::DEVICE.1),
];

/// Symbolic links: name, target.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// Directories that other file systems are mounted on.
const DIRECTORIES: [&str; 3] = ["pts", "shm", "mqueue"];

impl FileSystemType for DevTmpfs {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn mount(&self, request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        let mut options = tmpfs::Options { mode: 0o755, kind: "devtmpfs", ..tmpfs::Options::default() };
        options.parse(request.options)?;
        let root = tmpfs::new_root(caller.vfs.memory(), &options)?;
        // Filled through a mount of its own that nobody else sees.
        let mount = Mount::new(Arc::clone(&root), b"devtmpfs", MountFlags::empty());
        let at = Path::new(mount, Arc::clone(&root));
        let fs = FsContext::new(at.clone(), 0);
        let roots = fs.roots();
        let caller = Caller { roots: &roots, umask: 0, ..*caller };
        for (name, mode, major, minor) in DEVICES {
            caller.mknod(&at, name.as_bytes(), NewKind::CharDevice(makedev(major, minor)), mode)?;
        }
        for (name, target) in LINKS {
            caller.symlink(target.as_bytes(), &at, name.as_bytes())?;
        }
        for name in DIRECTORIES {
            caller.mkdir(&at, name.as_bytes(), 0o755)?;
        }
        Ok(root)
    }
}
