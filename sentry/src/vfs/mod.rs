//! The virtual file system: open file descriptions, path resolution, mounts, dentries, inodes.
//!
//! - [`File`], [`FileOps`]: open file descriptions; how to wait for them is the business of `task::io`.
//! - [`Path`] = [`Mount`] + [`Dentry`]; a [`Dentry`] names an [`Inode`]; [`InodeOps`] and [`SuperBlockOps`] are what
//!   file systems do.
//! - [`Caller`]: on whose behalf. [`FsContext`]: root, working directory, umask.

pub mod acl;
pub mod attr;
mod caller;
mod create;
pub mod dentry;
pub mod dnotify;
pub mod epoll;
pub mod eventfd;
pub mod fanotify;
mod fd_table;
pub mod file;
mod fs_context;
pub mod handle;
pub mod inode;
pub mod inotify;
mod internal;
pub mod io;
pub mod lease;
pub mod lock;
pub mod mount;
pub mod mount_context;
mod name;
pub mod namespace;
pub mod notify;
pub mod open;
mod open_exec;
mod path;
pub mod permission;
pub mod pipe;
pub mod poll;
pub mod propagation;
mod registry;
mod remove;
mod rename;
pub mod resolve;
pub mod set_attr;
pub mod super_block;
#[cfg(test)]
pub mod testkit;
#[cfg(test)]
mod tests;
pub mod timerfd;
mod xattr;

pub use acl::{Acl, AclChange, AclKind};
pub use attr::{Attr, NewKind, NewNode, SetAttr, StatFs, Timestamp};
pub use caller::Caller;
pub use dentry::Dentry;
pub use fd_table::{FdTable, OnExec, ReservedFd};
pub use file::{AccessMode, Blocking, File, FileOps, SeekFrom};
pub use fs_context::{FsContext, Roots};
pub use inode::{Created, Inode, InodeOps, Link, LookupRun, Peeked, RenameEnd, XattrSet};
pub use internal::InternalFs;
pub use io::{BufSink, BufSource, IoSink, IoSource};
pub use mount::{Mount, MountFlags};
pub use name::{Name, NameHash};
pub use namespace::MountNamespace;
pub use open_exec::open_exec;
pub use path::{Path, PathText};
pub use permission::Want;
pub use registry::{Driver, FileSystemType, MountRequest, OpenedOps, PendingOpen, Vfs};
pub use super_block::{SuperBlock, SuperBlockOps, drop_all_cached};
