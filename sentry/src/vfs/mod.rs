//! The virtual file system: open file descriptions, path resolution, mounts, dentries, inodes.

pub mod file;
pub mod io;
pub mod path;
mod stub;
pub use stub::{FdTable, FsContext, MountNamespace};

pub use file::{AccessMode, Blocking, File, FileOps, SeekFrom};
pub use io::{BufSink, BufSource, IoSink, IoSource};
