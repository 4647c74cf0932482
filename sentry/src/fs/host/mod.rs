//! Files inherited from the host: the standard descriptors that `runsc` was given.
//!
//! The Sentry opens nothing of the host; these come with the process. Each guest file stands for one host descriptor,
//! whose position and flags it shares with whoever else holds it outside (a shell's redirection), so both are kept on
//! the host's side. Waiting goes through the [`Reactor`].

mod file;
mod reactor;
mod socket;
mod tty;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::S_IFDIR;
use platform::HostFile;
use sync::Mutex;

pub(super) use file::HostStream;
pub use reactor::Reactor;
pub use socket::HostSocket;
pub use tty::HostTty;

use crate::Result;
use crate::vfs::{
    AccessMode, Attr, Caller, Dentry, File, FileOps, Inode, InodeOps, Mount, MountFlags, Path, SetAttr,
    StatFs, SuperBlock, SuperBlockOps, Timestamp,
};

/// A descriptor that the process was started with.
pub struct Inherited {
    /// The descriptor.
    pub fd: OwnedFd,
    /// User and group of the file as the caller sees them: the Sentry's user namespace has no names for most.
    pub owner: (u32, u32),
    /// Whether the caller's description is non-blocking. What is said of `fd` means nothing: the Sentry may have got a
    /// description of its own.
    pub nonblocking: bool,
}

/// The file system that host files have their inodes in; mounted nowhere.
pub struct HostFs {
    mount: Arc<Mount>,
    reactor: Arc<Reactor>,
    /// Terminals by device number: several descriptors are mostly of the same one.
    ttys: Mutex<Vec<Weak<HostTty>>, sync::levels::Leaf>,
}

impl HostFs {
    /// Starts the thread that watches host descriptors.
    pub fn new() -> std::io::Result<HostFs> {
        let sb = SuperBlock::new(Box::new(HostSuper));
        let root = Attr::new(sb.next_ino(), S_IFDIR | 0o500, 0, 0);
        let root = Inode::new(&sb, &root, Box::new(HostInode { host: None, source: None }));
        let mount = Mount::new(Dentry::new_root(root), b"none", MountFlags::empty());
        Ok(HostFs { mount, reactor: Reactor::start()?, ttys: Mutex::default() })
    }

    /// A guest file for a descriptor, opened by `caller`; with the terminal behind it, if it is one. A terminal is given a name in the devpts
    /// at `terminals`.
    pub fn import(
        &self,
        inherited: Inherited,
        caller: &Caller<'_>,
        terminals: Option<&Path>,
    ) -> std::io::Result<(Arc<File>, Option<Arc<HostTty>>)> {
        let Inherited { fd, owner, nonblocking } = inherited;
        let stat = host::file::stat(&fd)?;
        let flags = OpenFlags::from_bits_truncate(host::file::status_flags(&fd)?);
        let writable = flags.bits() & abi::open::O_ACCMODE != abi::open::O_RDONLY;
        let is_tty = host::tty::attributes(&fd).is_ok();
        let host = Arc::new(HostFile::new(fd, writable));
        let mut source = None;
        let sb = self.mount.sb();
        let attr = Attr { ino: sb.next_ino(), uid: owner.0, gid: owner.1, ..attr_of(&stat) };
        let (ops, tty): (Box<dyn FileOps>, _) = if is_tty {
            let tty = self.tty(stat.rdev);
            (Box::new(tty::HostTtyFile::new(&tty, &host, &self.reactor)), Some(tty))
        } else {
            let access = AccessMode::from_flags(flags);
            let new = Arc::new(file::Source::new(Arc::clone(&host), access, &stat, &self.reactor));
            let file = new.inherited();
            source = Some(new);
            (Box::new(file), None)
        };
        let named = match (terminals, &tty) {
            (Some(dir), Some(tty)) => tty.name_in(dir, &attr, caller),
            _ => None,
        };
        let path = named.unwrap_or_else(|| {
            let name = ops.anonymous_name();
            let ops = HostInode { host: Some((host, attr)), source };
            let inode = Inode::new(sb, &attr, Box::new(ops));
            Path::new(Arc::clone(&self.mount), Dentry::new_unnamed(inode, None, name.as_bytes()))
        });
        let mut flags = flags;
        flags.set(OpenFlags::NONBLOCK, nonblocking);
        Ok((File::new(ops, path, flags, Arc::clone(caller.creds)), tty))
    }

    /// The terminal with this device number.
    fn tty(&self, device: u64) -> Arc<HostTty> {
        let mut ttys = self.ttys.lock();
        let known = ttys.iter().filter_map(Weak::upgrade).find(|tty| tty.host_device == device);
        known.unwrap_or_else(|| {
            let tty = HostTty::new(device);
            ttys.retain(|tty| tty.strong_count() > 0);
            ttys.push(Arc::downgrade(&tty));
            tty
        })
    }
}

/// What is done with a descriptor of the host that is a pipe or the like, open without waiting.
pub(super) fn stream(fd: OwnedFd, writable: bool, reactor: &Reactor) -> std::io::Result<HostStream> {
    let stat = host::file::stat(&fd)?;
    let access = AccessMode { read: true, write: writable };
    Ok(Arc::new(
        file::Source::new(Arc::new(HostFile::new(fd, writable)), access, &stat, reactor).nonblocking(),
    )
    .inherited())
}

fn attr_of(stat: &host::file::Stat) -> Attr {
    let time = |(secs, nanos): (i64, u32)| Timestamp { secs, nanos };
    Attr {
        ino: stat.ino,
        mode: stat.mode,
        nlink: stat.nlink as u32,
        uid: stat.uid,
        gid: stat.gid,
        rdev: stat.rdev,
        size: stat.size,
        blocks: stat.blocks,
        block_size: stat.block_size,
        atime: time(stat.atime),
        mtime: time(stat.mtime),
        ctime: time(stat.ctime),
        btime: None,
    }
}

struct HostSuper;

impl SuperBlockOps for HostSuper {
    fn kind(&self) -> &'static str {
        "hostfs"
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs::uncounted(0x00c0_ffee))
    }
}

struct HostInode {
    /// The file, and what it is here: its number and owner stay.
    host: Option<(Arc<HostFile>, Attr)>,
    /// What it is opened again by, if it is no terminal.
    source: Option<Arc<file::Source>>,
}

impl InodeOps for HostInode {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        let Some((host, here)) = &self.host else { return Ok(Attr::new(inode.ino, S_IFDIR | 0o500, 0, 0)) };
        let stat = host::file::stat(host.fd()).map_err(crate::vfs::io::host_errno)?;
        Ok(Attr { ino: here.ino, uid: here.uid, gid: here.gid, ..attr_of(&stat) })
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        // Its owner and mode are the host's business; its size is the guest's, if it may write.
        match (&self.host, change.size) {
            (Some((host, _)), Some(size)) if host.writable() && inode.is_regular() => {
                host::file::truncate(host.fd(), size).map_err(crate::vfs::io::host_errno)
            }
            _ => Err(Errno::EPERM),
        }
    }

    /// By its name in /proc/PID/fd, which /dev/stdout leads to.
    fn open(&self, _inode: &Arc<Inode>, flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        match &self.source {
            Some(source) if source.opens_again() => Ok(Box::new(source.open(AccessMode::from_flags(flags))?)),
            _ => Err(Errno::ENXIO),
        }
    }

    fn is_special(&self, _inode: &Inode) -> bool {
        !self.source.as_ref().is_some_and(|source| source.opens_again())
    }
}
