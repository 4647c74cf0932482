//! File systems whose files are made up by the kernel: directories, texts, links. procfs and sysfs are built of these.

mod dir;
mod link;
mod text;

pub use dir::{Children, Entry, PseudoDir, StaticDir};
pub use link::PseudoLink;
pub use text::{Text, TextFile};

use crate::Result;
use crate::vfs::{Attr, StatFs, SuperBlockOps};

/// The super block of such a file system.
pub struct PseudoSuper {
    /// Name of the kind.
    pub kind: &'static str,
    /// What statfs says.
    pub magic: i64,
    /// Names come and go without anybody telling.
    pub revalidate: bool,
}

impl SuperBlockOps for PseudoSuper {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs::uncounted(self.magic))
    }

    fn revalidate(&self) -> bool {
        self.revalidate
    }
}

/// Attributes of a file that is as old as the question: block size as procfs has it, no birth.
pub fn attr(ino: u64, mode: u32, nlink: u32, uid: u32, gid: u32) -> Attr {
    Attr { nlink, block_size: 1024, btime: None, ..Attr::new(ino, mode, uid, gid) }
}
