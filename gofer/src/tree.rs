//! Trees, and how files in them are reached.
//!
//! Every lookup is of one name in one directory that is held open, with openat2(2) told to stay below it and to follow
//! nothing. A name has been checked to be a single component. So no order of renames and link swaps by others can
//! lead elsewhere: there is no path that could be led.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use gofer_protocol::{Errno, FileType, Name, TreeFlags};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};

use crate::config::TreeConfig;
use crate::table::Node;

/// What may be done in a tree.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TreeOptions {
    pub read_only: bool,
    pub host_sockets: bool,
    pub bound_sockets: bool,
    pub host_fifos: bool,
}

impl TreeOptions {
    pub fn of(config: &TreeConfig) -> TreeOptions {
        let TreeConfig { read_only, host_sockets, bound_sockets, host_fifos, .. } = *config;
        TreeOptions { read_only, host_sockets, bound_sockets, host_fifos }
    }

    pub fn flags(self) -> TreeFlags {
        let mut flags = TreeFlags::empty();
        flags.set(TreeFlags::READ_ONLY, self.read_only);
        flags.set(TreeFlags::HOST_SOCKETS, self.host_sockets);
        flags.set(TreeFlags::BOUND_SOCKETS, self.bound_sockets);
        flags.set(TreeFlags::HOST_FIFOS, self.host_fifos);
        flags
    }
}

/// A tree that is served.
#[derive(Debug)]
pub struct Tree {
    pub(crate) root: Arc<Node>,
}

/// Never above the directory, never through a link.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Opens `name` in `dir`. A symbolic link is opened itself with `PATH | NOFOLLOW` and refused otherwise.
pub(crate) fn open_at(dir: impl AsFd, name: Name<'_>, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        match openat2(&dir, name.as_bytes(), flags, mode, RESOLVE) {
            // A rename or mount at the same moment: the host could not tell whether it stayed below.
            Err(Errno::AGAIN) => {}
            done => return done,
        }
    }
}

/// Holds what `name` is in `dir`, whatever that is.
pub(crate) fn hold_at(dir: impl AsFd, name: Name<'_>) -> Result<OwnedFd, Errno> {
    open_at(dir, name, OFlags::PATH, Mode::empty())
}

/// Opens a directory that is held, for listing or syncing it.
pub(crate) fn open_dir(dir: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(dir, c".", flags, Mode::empty(), RESOLVE)
}

/// The directory of the process's own descriptors, `/proc/self/fd`: the way from a descriptor that only holds a file
/// (`O_PATH`) to one that reads or writes it, without its name. Nothing else of /proc is in reach.
#[derive(Debug)]
pub struct SelfFds {
    dir: OwnedFd,
    /// Path of the directory, with a slash, for calls that take only paths.
    prefix: &'static str,
}

impl SelfFds {
    /// The directory `dir`, which can also be reached at the path `prefix` (ending in a slash).
    pub fn new(dir: OwnedFd, prefix: &'static str) -> SelfFds {
        SelfFds { dir, prefix }
    }

    /// Opens a held file once more. What kind of file it is must have been checked: opening a device has effects.
    pub(crate) fn reopen(&self, fd: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let number = Number::new(fd);
        openat(&self.dir, number.as_bytes(), flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
    }

    /// The directory, for calls on a file as `number` in it.
    pub(crate) fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// A path that leads to the held file, for calls that take nothing else.
    pub(crate) fn path(&self, fd: impl AsFd) -> String {
        format!("{}{}", self.prefix, fd.as_fd().as_raw_fd())
    }
}

/// A descriptor's number in decimal.
pub(crate) struct Number {
    digits: [u8; 10],
    first: usize,
}

impl Number {
    pub fn new(fd: impl AsFd) -> Number {
        let mut number = Number { digits: [0; 10], first: 10 };
        let mut rest = fd.as_fd().as_raw_fd().unsigned_abs();
        loop {
            number.first -= 1;
            number.digits[number.first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return number;
            }
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.first..]
    }
}

impl Tree {
    /// A tree with the directory or file `root` (an `O_PATH` descriptor) as its root.
    pub(crate) fn new(root: OwnedFd, options: TreeOptions) -> Result<Tree, Errno> {
        let mode = rustix::fs::fstat(&root)?.st_mode;
        let kind = FileType::from_number((mode >> 12 & 0xf) as u8).ok_or(Errno::IO)?;
        Ok(Tree { root: Arc::new(Node::new(root, kind, options)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal() {
        let file = std::fs::File::open("/").unwrap();
        assert_eq!(Number::new(&file).as_bytes(), file.as_raw_fd().to_string().as_bytes());
        assert_eq!(Number::new(rustix::fs::CWD).as_bytes(), b"100");
    }
}
