//! tmpfs(5): files in memory, kept in the sandbox's memory file, or in one on a disk of the host (`data`).
//!
//! - [`Tmpfs`]: the kind of file system, with its options `size`, `nr_blocks`, `nr_inodes`, `mode`, `uid`, `gid`.
//! - `node`: inodes; `dir`: entries of directories; `data`: contents of files; `file`: what is open.
//! - [`memfd`]: files without a name, and seals.
//!
//! Lock levels: `Inode` for attributes, `InodeData` for entries and page maps, never both at once.

mod budget;
mod data;
mod dir;
mod file;
pub mod memfd;
mod node;
mod options;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use abi::Errno;
use abi::stat::TMPFS_MAGIC;
use platform::{MemoryFile, PAGE_SIZE};
use sync::Mutex;

use crate::Result;
use crate::vfs::{
    Caller, Dentry, FileSystemType, MountRequest, NewKind, NewNode, StatFs, SuperBlock, SuperBlockOps,
};
use budget::Budget;
pub use data::FileData;
pub use file::TmpfsFile;
use node::TmpfsNode;
pub use options::Options;

/// What all inodes of one tmpfs share.
struct Shared {
    memory: Arc<MemoryFile>,
    budget: Arc<Budget>,
}

/// The kind of file system.
pub struct Tmpfs {
    name: &'static str,
}

impl Tmpfs {
    /// `tmpfs`, or another name for it (`ramfs`, which has no limits).
    pub fn new(name: &'static str) -> Arc<Tmpfs> {
        Arc::new(Tmpfs { name })
    }
}

impl FileSystemType for Tmpfs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn allowed_in_user_ns(&self) -> bool {
        self.name == "tmpfs"
    }

    fn check_option(&self, option: &[u8]) -> Result<()> {
        Options::default().parse(option)
    }

    fn mount(&self, request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        let owned = Options { uid: caller.creds.fsuid, gid: caller.creds.fsgid, ..Options::default() };
        let mut options = owned.clone();
        if self.name == "ramfs" {
            options = Options { kind: "ramfs", max_bytes: None, max_inodes: None, mode: 0o755, ..owned };
            // It knows one option, and takes no notice of others.
            for option in request.options.split(|b| *b == b',').filter(|o| o.starts_with(b"mode=")) {
                options.parse(option)?;
            }
        } else {
            options.parse(request.options)?;
        }
        new_root(caller.vfs.memory(), &options)
    }
}

/// A new, empty tmpfs.
pub fn new_root(memory: &Arc<MemoryFile>, options: &Options) -> Result<Arc<Dentry>> {
    let max_pages = options.max_bytes.map_or(u64::MAX, |bytes| bytes.div_ceil(PAGE_SIZE));
    let budget = Arc::new(Budget::new(max_pages, options.max_inodes.unwrap_or(u64::MAX)));
    let shared = Arc::new(Shared { memory: Arc::clone(memory), budget });
    let ops =
        TmpfsSuper { shared: Arc::clone(&shared), kind: options.kind, options: Mutex::new(options.clone()) };
    let sb = SuperBlock::new(Box::new(ops));
    let node = NewNode {
        kind: NewKind::Directory,
        permissions: options.mode,
        umask: 0,
        uid: options.uid,
        gid: options.gid,
    };
    let root = TmpfsNode::new_inode(&sb, &shared, &node, memfd::UNSEALABLE)?;
    node::set_root_links(&root);
    Ok(Dentry::new_root(root))
}

fn super_block(shared: &Arc<Shared>, mode: u32, dev: u64) -> Arc<SuperBlock> {
    let options = Options { mode, max_bytes: None, max_inodes: None, ..Options::default() };
    SuperBlock::with_dev(
        Box::new(TmpfsSuper { shared: Arc::clone(shared), kind: options.kind, options: Mutex::new(options) }),
        dev,
    )
}

/// What statfs says of a ramfs.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

struct TmpfsSuper {
    shared: Arc<Shared>,
    kind: &'static str,
    options: Mutex<Options, sync::levels::Leaf>,
}

impl SuperBlockOps for TmpfsSuper {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn statfs(&self) -> Result<StatFs> {
        let budget = &self.shared.budget;
        let limited =
            |max: u64, used: u64| if max == u64::MAX { (0, 0) } else { (max, max.saturating_sub(used)) };
        let (mut blocks, mut blocks_free) = limited(budget.max_pages(), budget.pages());
        if let Some(room) = self.shared.memory.disk_room() {
            let (total, free) = (room.total / PAGE_SIZE, room.free / PAGE_SIZE);
            (blocks, blocks_free) = match blocks {
                0 => (total, free),
                limit => (limit, blocks_free.min(free)),
            };
        }
        let (files, files_free) = limited(budget.max_inodes(), budget.inodes());
        Ok(StatFs {
            magic: if self.kind == "ramfs" { RAMFS_MAGIC } else { TMPFS_MAGIC },
            block_size: PAGE_SIZE,
            fragment_size: None,
            blocks,
            blocks_free,
            blocks_available: blocks_free,
            files,
            files_free,
            name_max: abi::NAME_MAX as u64,
        })
    }

    fn options(&self) -> String {
        self.options.lock().to_string()
    }

    fn reconfigure(&self, options: &[u8]) -> Result<()> {
        let mut new = self.options.lock().clone();
        new.parse(options)?;
        let max_pages = new.max_bytes.map_or(u64::MAX, |bytes| bytes.div_ceil(PAGE_SIZE));
        if !self.shared.budget.set_limits(max_pages, new.max_inodes.unwrap_or(u64::MAX)) {
            return Err(Errno::EINVAL);
        }
        *self.options.lock() = new;
        Ok(())
    }
}
