//! Attributes between the wire and the VFS.

use abi::Errno;
use abi::stat::makedev;
use gofer_protocol as wire;
use gofer_protocol::{Changes, NewTime, Perm, Time};

use crate::Result;
use crate::vfs::{Attr, SetAttr, Timestamp};

/// Attributes as the VFS knows them, with inode number `ino`.
pub(super) fn from_wire(attr: &wire::Attr, ino: u64) -> Result<Attr> {
    let time = |t: Time| Timestamp { secs: t.seconds(), nanos: t.nanoseconds() };
    Ok(Attr {
        ino,
        mode: (attr.kind as u32) << 12 | u32::from(attr.perm.bits()),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: makedev(attr.rdev.0, attr.rdev.1),
        size: attr.size,
        blocks: attr.blocks,
        block_size: attr.blksize,
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        btime: attr.btime.map(time),
    })
}

/// A change as the Gofer is asked for it.
pub(super) fn to_changes(change: &SetAttr) -> Result<Changes> {
    let time = |t: Option<Timestamp>| match t {
        None => Ok(None),
        Some(_) if change.times_are_now => Ok(Some(NewTime::Now)),
        Some(t) => Time::new(t.secs, t.nanos).map(NewTime::At).map(Some).ok_or(Errno::EINVAL),
    };
    Ok(Changes {
        size: change.size,
        uid: change.uid,
        gid: change.gid,
        perm: change.permissions.map(Perm::of_mode),
        atime: time(change.atime)?,
        mtime: time(change.mtime)?,
    })
}
