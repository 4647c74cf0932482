//! Wire protocol between Sentry and Gofer.
//!
//! The two talk over a few `SOCK_SEQPACKET` pairs, the *channels*: one message a request, one message a reply, and at
//! most one request under way on a channel. Opened files come along as fds (SCM_RIGHTS).
//!
//! Every format has two levels: bytes, read through a length-checked [`Reader`], and a value that can only hold what is
//! legal ([`Request`], [`Reply`] and what they are made of). Both sides take the other's bytes for lies until they
//! have been decoded; decoding never panics, and no message is longer than [`MAX_MESSAGE`].
//!
//! Errors are the host's [`Errno`].

#![forbid(unsafe_code)]

pub mod attr;
pub mod change;
pub mod client;
pub mod flags;
pub mod handle;
pub mod list;
mod message;
pub mod name;
pub mod node;
pub mod reply;
pub mod request;
pub mod socket;
pub mod time;
pub mod wire;

pub use attr::{Attr, FileId, FileType, Owner, Perm, Time};
pub use change::{Changes, NewTime};
pub use client::Client;
pub use flags::{
    Leaf, NodeKind, OpenFlags, ReaddirFlags, RenameFlags, SetMode, SocketKind, SyncKind, TreeFlags,
    UnlinkKind,
};
pub use handle::Handle;
pub use list::{List, Packer};
pub use name::{Bytes, Name, Target, XattrName};
pub use node::{Below, Entry, Looked, Node, Place, StatfsReply};
pub use reply::{Reply, ReplyKind};
pub use request::{Head, Op, Request};
pub use rustix::io::Errno;
pub use wire::{Bad, Reader, Writer};

/// The version both sides must speak. They are built together; a difference means that a wrong binary was started.
pub const VERSION: u32 = 3;

/// Bytes in the longest message: the longest xattr value (64 KiB) and a page for what goes with it.
pub const MAX_MESSAGE: usize = 64 * 1024 + 4096;

/// Channels of one connection, at most; also the most fds that one message carries.
pub const MAX_CHANNELS: usize = 16;

/// Bytes in a name, at most (NAME_MAX).
pub const NAME_MAX: usize = 255;
