//! Attributes between the wire and the VFS.

use abi::Errno;
use abi::stat::{S_IFMT, makedev};
use gofer_protocol as wire;
use gofer_protocol::{Changes, NewTime, Perm, Time};

use crate::Result;
use crate::vfs::{Attr, SetAttr, Timestamp};

/// Attributes as they came, without number and type of the file.
pub(super) struct Seen {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// How often somebody has looked at them in a listing. Here, where it takes no more room.
    pub peeks: u8,
    pub rdev: u64,
    pub kept: Kept,
}

/// Attributes that the inode does not have itself.
pub(super) struct Kept {
    pub size: u64,
    pub blocks: u64,
    /// Seconds of access, change of contents, change of attributes, birth.
    pub seconds: [i64; 4],
    pub nanoseconds: [u32; 4],
    pub nlink: u32,
    pub block_size: u32,
}

/// In place of the nanoseconds of a time that is not known.
const NO_TIME: u32 = u32::MAX;

impl Seen {
    pub fn new(attr: &wire::Attr) -> Seen {
        let times = [Some(attr.atime), Some(attr.mtime), Some(attr.ctime), attr.btime];
        Seen {
            mode: (attr.kind as u32) << 12 | u32::from(attr.perm.bits()),
            uid: attr.uid,
            gid: attr.gid,
            peeks: 0,
            rdev: makedev(attr.rdev.0, attr.rdev.1),
            kept: Kept {
                size: attr.size,
                blocks: attr.blocks,
                seconds: times.map(|time| time.map_or(0, Time::seconds)),
                nanoseconds: times.map(|time| time.map_or(NO_TIME, Time::nanoseconds)),
                nlink: attr.nlink,
                block_size: attr.blksize,
            },
        }
    }

    /// The type's bits of the mode.
    pub fn kind(&self) -> u32 {
        self.mode & S_IFMT
    }

    /// As the VFS has them, of the file with number `ino`.
    pub fn attr(&self, ino: u64) -> Attr {
        self.kept.attr(ino, self.rdev, (self.mode, self.uid, self.gid))
    }
}

impl Kept {
    /// As the VFS has them; `owner` is mode, user and group.
    pub fn attr(&self, ino: u64, rdev: u64, (mode, uid, gid): (u32, u32, u32)) -> Attr {
        let time = |at: usize| Timestamp { secs: self.seconds[at], nanos: self.nanoseconds[at] };
        Attr {
            ino,
            mode,
            nlink: self.nlink,
            uid,
            gid,
            rdev,
            size: self.size,
            blocks: self.blocks,
            block_size: self.block_size,
            atime: time(0),
            mtime: time(1),
            ctime: time(2),
            btime: Some(time(3)).filter(|time| time.nanos != NO_TIME),
        }
    }
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
