//! File systems that are mounted nowhere: where pipes, sockets and other files without a name have their inodes.

use std::sync::Arc;

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::{S_IFDIR, S_IFIFO, S_IFSOCK};
use sync::Mutex;

use super::attr::{Attr, SetAttr, StatFs, Timestamp};
use super::caller::Caller;
use super::dentry::Dentry;
use super::file::{File, FileOps};
use super::inode::{Inode, InodeOps};
use super::mount::{Mount, MountFlags};
use super::path::Path;
use super::pipe::{Fifo, PipeEnd, new_pipe};
use super::super_block::{SuperBlock, SuperBlockOps};
use crate::Result;
use crate::net::Socket;
use crate::task::Credentials;

/// pipefs, sockfs and anon_inodefs.
pub struct InternalFs {
    pipes: Arc<Mount>,
    sockets: Arc<Mount>,
    anonymous: Arc<Mount>,
    /// All anonymous files share one inode.
    anonymous_inode: Arc<Inode>,
}

impl InternalFs {
    /// Their mounts.
    pub fn new() -> InternalFs {
        let anonymous = mount("anon_inodefs", 0x0904_1934);
        let sb = anonymous.sb();
        let anonymous_inode = inode(sb, Attr::new(sb.next_ino(), 0o600, 0, 0), Change::Forbidden);
        let pipes = mount("pipefs", 0x5049_5045);
        InternalFs { pipes, sockets: mount("sockfs", 0x534f_434b), anonymous, anonymous_inode }
    }

    /// A new pipe: its reading and its writing end. `flags`: `O_NONBLOCK`, `O_DIRECT`.
    pub fn pipe(&self, flags: OpenFlags, creds: &Arc<Credentials>) -> (Arc<File>, Arc<File>) {
        let (read, write) = new_pipe();
        let sb = self.pipes.sb();
        let attr = Attr::new(sb.next_ino(), S_IFIFO | 0o600, creds.fsuid, creds.fsgid);
        let inode = inode(sb, attr, Change::Allowed);
        // Opening /proc/PID/fd/N gives one more end.
        inode.attach_with(|| Arc::new(Fifo::of_unnamed(read.pipe())));
        let dentry = Dentry::new_unnamed(inode, None, format!("pipe:[{}]", attr.ino).as_bytes());
        let file = |end: PipeEnd, flags| {
            let path = Path::new(Arc::clone(&self.pipes), Arc::clone(&dentry));
            File::new(Box::new(end), path, flags, Arc::clone(creds))
        };
        (file(read, flags), file(write, flags | OpenFlags::WRONLY))
    }

    /// The file of a new socket. `flags`: `O_NONBLOCK`.
    pub fn socket(&self, ops: Box<dyn FileOps>, flags: OpenFlags, creds: &Arc<Credentials>) -> Arc<File> {
        let sb = self.sockets.sb();
        let mut attr = Attr::new(sb.next_ino(), S_IFSOCK | 0o777, creds.fsuid, creds.fsgid);
        let never = Timestamp::default();
        (attr.atime, attr.mtime, attr.ctime, attr.btime) = (never, never, never, None);
        let protocol = ops.as_any().downcast_ref::<Socket>().map(|socket| socket.ops().protocol_name());
        let node = InternalInode { attr: Mutex::new(attr), change: Change::Allowed, protocol };
        let name = format!("socket:[{}]", attr.ino);
        let dentry = Dentry::new_unnamed(Inode::new(sb, &attr, Box::new(node)), None, name.as_bytes());
        let path = Path::new(Arc::clone(&self.sockets), dentry);
        File::new(ops, path, flags | OpenFlags::RDWR, Arc::clone(creds))
    }

    /// Any other file without a name: eventfd, epoll, timerfd … It shows as [`FileOps::anonymous_name`].
    pub fn anonymous(&self, ops: Box<dyn FileOps>, flags: OpenFlags, creds: &Arc<Credentials>) -> Arc<File> {
        let name = ops.anonymous_name();
        let dentry = Dentry::new_unnamed(Arc::clone(&self.anonymous_inode), None, name.as_bytes());
        let path = Path::new(Arc::clone(&self.anonymous), dentry);
        File::new(ops, path, flags, Arc::clone(creds))
    }

    /// Whether `inode` is that of a pipe without a name.
    pub fn is_pipe(&self, inode: &Inode) -> bool {
        Arc::ptr_eq(&inode.sb, self.pipes.sb())
    }
}

impl Default for InternalFs {
    fn default() -> Self {
        InternalFs::new()
    }
}

struct Internal {
    kind: &'static str,
    magic: i64,
}

impl SuperBlockOps for Internal {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs::uncounted(self.magic))
    }
}

fn mount(kind: &'static str, magic: i64) -> Arc<Mount> {
    let sb = SuperBlock::new(Box::new(Internal { kind, magic }));
    let root = inode(&sb, Attr::new(sb.next_ino(), S_IFDIR | 0o555, 0, 0), Change::Forbidden);
    Mount::new(Dentry::new_root(root), b"none", MountFlags::empty())
}

/// What is below the root of a mount namespace: an empty directory that nobody sees.
pub(super) fn rootfs() -> Arc<Mount> {
    mount("rootfs", abi::stat::RAMFS_MAGIC)
}

/// Whether attributes may be changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Allowed,
    Forbidden,
}

fn inode(sb: &Arc<SuperBlock>, attr: Attr, change: Change) -> Arc<Inode> {
    Inode::new(sb, &attr, Box::new(InternalInode { attr: Mutex::new(attr), change, protocol: None }))
}

struct InternalInode {
    attr: Mutex<Attr, sync::levels::Inode>,
    change: Change,
    /// Of a socket: the one attribute that it has (XATTR_NAME_SOCKPROTONAME).
    protocol: Option<&'static str>,
}

/// `system.sockprotoname`, which can be read and listed, not changed.
const PROTOCOL_NAME: &[u8] = b"system.sockprotoname";

impl InodeOps for InternalInode {
    fn attr(&self, _inode: &Inode) -> Result<Attr> {
        Ok(*self.attr.lock())
    }

    fn attributes_change(&self) -> Result<()> {
        if self.change == Change::Forbidden { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        self.attributes_change()?;
        let mut attr = self.attr.lock();
        attr.apply(change);
        inode.set_owner(attr.mode, attr.uid, attr.gid);
        Ok(())
    }

    fn get_xattr(&self, _inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
        match self.protocol {
            Some(protocol) if name == PROTOCOL_NAME => Ok([protocol.as_bytes(), b"\0"].concat()),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn list_xattr(&self, _inode: &Inode) -> Result<Vec<Vec<u8>>> {
        Ok(self.protocol.map(|_| PROTOCOL_NAME.to_vec()).into_iter().collect())
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        // Pipes go to the kernel's FIFOs; the rest can't be opened through /proc/PID/fd.
        Err(Errno::ENXIO)
    }
}
