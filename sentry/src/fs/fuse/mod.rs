//! FUSE (fuse(4)): file systems that a program of the sandbox serves, through /dev/fuse.
//!
//! - [`FuseType`]: the kind of file system. A mount names an open device, whose `connection` holds the requests; `device`
//!   is what the server reads and writes; `terms` what the two have agreed on.
//! - `node`: inodes, with what the server said of them for as long as it said it holds; names too, so that the VFS asks
//!   here at each lookup and the server is asked only when that has run out.
//! - `file`, `dir`: what is open. Each write is the server's at once. `pages` keeps what was read, for read(2) and for mappings.
//! - `notify`: what the server says is no longer so.
//!
//! **The server is another guest task.** It may be slow, silent, or a liar. A wait for it holds no levelled lock and ends
//! when whoever waits is killed, also by a signal that it has no handler for; other signals are passed on to the server
//! (INTERRUPT), which decides. Answers are taken for what was asked and in the length that fits. What a server can make
//! grow, it can only by answering: inodes as many as it has answered, each forgotten when nobody uses it, forgets and
//! releases in the queue that it reads its requests from.
//!
//! Differences from Linux: what a shared mapping has written reaches the server when somebody asks for that, or the mapping
//! goes, not by and by; no writeback cache for write(2), no remote locks, ioctls and poll; who exits does not wait for its FLUSH.
//!
//! Lock levels: `Inode` for attributes, `InodeData` for names and pages, `FileState` for queues, `Leaf` for the table of
//! inodes; never two at once.

mod connection;
mod device;
mod dir;
mod file;
mod node;
mod notify;
mod options;
mod pages;
mod terms;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use abi::fuse::{FUSE_ROOT_ID, FUSE_STATFS, FuseKstatfs};
use platform::MemoryFile;
use sync::Mutex;
use zerocopy::FromBytes;

use crate::Result;
use crate::vfs::{
    Caller, Dentry, FileSystemType, Inode, MountRequest, StatFs, SuperBlock, SuperBlockOps, Vfs,
};
use connection::{Ask, Connection};
use device::{FuseDevice, FuseDriver};
use options::Options;

/// Major and minor number of /dev/fuse.
pub const DEVICE: (u32, u32) = (10, 229);

const MAGIC: i64 = 0x6573_5546;

/// Makes the kind of file system and the device known.
pub fn register(vfs: &Vfs) {
    vfs.register_type(Arc::new(FuseType { subtype: None }));
    vfs.register_char_devices(DEVICE.0, DEVICE.1..=DEVICE.1, Arc::new(FuseDriver));
}

/// What all inodes of one file system share.
struct Shared {
    connection: Arc<Connection>,
    options: Options,
    memory: Arc<MemoryFile>,
    /// The one inode of each node that is known.
    inodes: Mutex<HashMap<u64, Weak<Inode>>, sync::levels::Leaf>,
    /// What is mounted.
    root: OnceLock<Weak<Dentry>>,
    /// What is kept of files.
    cache: pages::Cache,
}

struct FuseSuper(Arc<Shared>);

fn shared_of(sb: &SuperBlock) -> Result<&Arc<Shared>> {
    sb.downcast::<FuseSuper>().map(|fs| &fs.0).ok_or(Errno::EXDEV)
}

impl SuperBlockOps for FuseSuper {
    fn kind(&self) -> &'static str {
        "fuse"
    }

    fn subtype(&self) -> Option<&str> {
        self.0.options.subtype.as_deref()
    }

    fn statfs(&self) -> Result<StatFs> {
        let unknown = StatFs { magic: MAGIC, ..StatFs::default() };
        if self.0.check_current().is_err() {
            return Ok(unknown);
        }
        let size = size_of::<FuseKstatfs>();
        let ask = Ask { opcode: FUSE_STATFS, node: FUSE_ROOT_ID, parts: &[], reply: size..=size };
        let reply = self.0.connection.call(&ask, None)?;
        let out = FuseKstatfs::read_from_bytes(&reply).map_err(|_| Errno::EIO)?;
        Ok(StatFs {
            block_size: u64::from(out.bsize),
            fragment_size: Some(u64::from(out.frsize)),
            blocks: out.blocks,
            blocks_free: out.bfree,
            blocks_available: out.bavail,
            files: out.files,
            files_free: out.ffree,
            name_max: u64::from(out.namelen),
            ..unknown
        })
    }

    fn options(&self) -> String {
        self.0.options.shown()
    }

    fn shutdown(&self) {
        self.0.connection.close();
    }
}

/// The kind of file system.
pub struct FuseType {
    /// What follows the dot in `fuse.sshfs`.
    subtype: Option<String>,
}

impl FileSystemType for FuseType {
    fn name(&self) -> &'static str {
        "fuse"
    }

    fn allowed_in_user_ns(&self) -> bool {
        true
    }

    fn with_subtype(&self, subtype: &[u8]) -> Option<Arc<dyn FileSystemType>> {
        let subtype = std::str::from_utf8(subtype).ok().filter(|name| !name.is_empty())?;
        Some(Arc::new(FuseType { subtype: Some(subtype.to_owned()) }))
    }

    fn check_option(&self, option: &[u8]) -> Result<()> {
        let option = std::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
        Options::default().set(option, &crate::task::UserNamespace::initial()).map(drop)
    }

    fn mount(&self, request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        let user_ns = &caller.creds.user_ns;
        let mut options = Options::parse(request.options, user_ns)?;
        options.subtype = options.subtype.or_else(|| self.subtype.clone());
        let files = caller.task.and_then(|task| task.resources()).ok_or(Errno::EINVAL)?.files;
        let file = files.get(options.fd).ok_or(Errno::EINVAL)?;
        let device = file.downcast::<FuseDevice>().ok_or(Errno::EINVAL)?;
        if !Arc::ptr_eq(&file.opener.user_ns, user_ns) {
            return Err(Errno::EINVAL);
        }
        let connection = Arc::clone(device.connection());
        if let Some(sb) = connection.super_block().filter(|_| connection.is_open()) {
            // The same file system once more.
            return shared_of(&sb)?.root.get().and_then(Weak::upgrade).ok_or(Errno::EINVAL);
        }
        connection.claim(user_ns)?;
        let root_mode = options.root_mode;
        let memory = Arc::clone(caller.vfs.memory());
        let shared = Arc::new(Shared {
            connection,
            options,
            memory,
            inodes: Mutex::default(),
            root: OnceLock::new(),
            cache: pages::Cache::default(),
        });
        let sb = SuperBlock::new(Box::new(FuseSuper(Arc::clone(&shared))));
        let root = Dentry::new_root(node::FuseNode::root(&shared, &sb, root_mode));
        let _ = shared.root.set(Arc::downgrade(&root));
        shared.connection.start(&sb);
        Ok(root)
    }
}
