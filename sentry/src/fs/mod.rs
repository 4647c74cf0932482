//! File systems, one folder each.

pub mod gofer;
pub mod host;
pub mod procfs;
pub mod pseudo;
pub mod tmpfs;

use crate::vfs::Vfs;

/// Makes the kinds of file systems that guests and the runtime mount by name known.
pub fn register(vfs: &Vfs) {
    for name in ["tmpfs", "ramfs"] {
        vfs.register_type(tmpfs::Tmpfs::new(name));
    }
}
