//! Files inherited from the host: the standard descriptors that `runsc` was given.
//!
//! The Sentry opens nothing of the host; these come with the process. Each guest file stands for one host descriptor,
//! whose position and flags it shares with whoever else holds it outside (a shell's redirection), so both are kept on
//! the host's side. Waiting goes through the [`Reactor`].

mod file;
mod reactor;
mod tty;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::S_IFDIR;
use platform::HostFile;
use sync::Mutex;

pub use reactor::Reactor;
pub use tty::HostTty;

use crate::Result;
use crate::task::{ControllingTty, Credentials};
use crate::vfs::{
    Attr, Caller, Dentry, File, FileOps, Inode, InodeOps, Mount, MountFlags, Path, SetAttr, StatFs,
    SuperBlock, SuperBlockOps, Timestamp,
};

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
        let root = Inode::new(&sb, &root, Box::new(HostInode { host: None }));
        let mount = Mount::new(Dentry::new_root(root), b"none", MountFlags::empty());
        Ok(HostFs { mount, reactor: Reactor::start()?, ttys: Mutex::default() })
    }

    /// A guest file for `fd`; with the terminal behind it, if it is one.
    pub fn import(
        &self,
        fd: OwnedFd,
        creds: &Arc<Credentials>,
    ) -> std::io::Result<(Arc<File>, Option<Arc<HostTty>>)> {
        let stat = host::file::stat(&fd)?;
        let flags = OpenFlags::from_bits_truncate(host::file::status_flags(&fd)?);
        let writable = flags.bits() & abi::open::O_ACCMODE != abi::open::O_RDONLY;
        let is_tty = host::tty::attributes(&fd).is_ok();
        let host = Arc::new(HostFile::new(fd, writable));
        let sb = self.mount.sb();
        let mut attr = attr_of(&stat);
        attr.ino = sb.next_ino();
        let inode = Inode::new(sb, &attr, Box::new(HostInode { host: Some((Arc::clone(&host), attr.ino)) }));
        let (ops, tty): (Box<dyn FileOps>, _) = if is_tty {
            let tty = self.tty(stat.rdev);
            (Box::new(tty::HostTtyFile::new(&tty, &host, &self.reactor)), Some(tty))
        } else {
            (Box::new(file::HostStream::new(host, &stat, &self.reactor)), None)
        };
        let name = ops.anonymous_name();
        let path = Path::new(Arc::clone(&self.mount), Dentry::new_unnamed(inode, None, name.as_bytes()));
        // Waiting is the guest's business: whether the host's description is non-blocking says nothing to it.
        Ok((File::new(ops, path, flags - OpenFlags::NONBLOCK, Arc::clone(creds)), tty))
    }

    /// The terminal with this device number.
    fn tty(&self, device: u64) -> Arc<HostTty> {
        let mut ttys = self.ttys.lock();
        let known = ttys.iter().filter_map(Weak::upgrade).find(|tty| tty.device() == device);
        known.unwrap_or_else(|| {
            let tty = HostTty::new(device);
            ttys.retain(|tty| tty.strong_count() > 0);
            ttys.push(Arc::downgrade(&tty));
            tty
        })
    }
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
        Ok(StatFs {
            magic: 0x00c0_ffee,
            block_size: 4096,
            blocks: 0,
            blocks_free: 0,
            blocks_available: 0,
            files: 0,
            files_free: 0,
            name_max: 255,
        })
    }
}

struct HostInode {
    /// The file and its number here.
    host: Option<(Arc<HostFile>, u64)>,
}

impl InodeOps for HostInode {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        let Some((host, ino)) = &self.host else { return Ok(Attr::new(inode.ino, S_IFDIR | 0o500, 0, 0)) };
        let stat = host::file::stat(host.fd()).map_err(crate::vfs::io::host_errno)?;
        Ok(Attr { ino: *ino, ..attr_of(&stat) })
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

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        Err(Errno::ENXIO)
    }
}
