//! Attributes from the host, as the protocol has them.

use std::os::fd::AsFd;

use gofer_protocol::{Attr, Errno, FileId, FileType, Name, Owner, Perm, Time};
use rustix::fs::{AtFlags, Statx, StatxFlags, StatxTimestamp, statx};

use crate::config::Overflow;
use crate::owners::Owners;

/// What the host shows where an id has no name in the user namespace (/proc/sys/kernel/overflowuid, unless changed).
const OVERFLOW_ID: u32 = 65534;

/// How ids are turned around.
#[derive(Debug)]
pub(crate) struct IdRule {
    overflow_is_root: bool,
    /// Who knows the true ones.
    owners: Option<Owners>,
}

impl IdRule {
    pub fn new(overflow: Overflow, owners: Option<Owners>) -> IdRule {
        IdRule { overflow_is_root: overflow == Overflow::Root, owners }
    }

    /// Owner and group to show for what the host shows.
    fn shown(&self, attr: &Attr, fd: impl AsFd, name: &[u8]) -> Result<(u32, u32), Errno> {
        if attr.uid != OVERFLOW_ID && attr.gid != OVERFLOW_ID {
            return Ok((attr.uid, attr.gid));
        }
        if let Some(owners) = &self.owners {
            // Another file has the name already: whose it was does not matter any more.
            return Ok(owners.of(fd, name, attr.id)?.unwrap_or((attr.uid, attr.gid)));
        }
        let shown = |id| if self.overflow_is_root && id == OVERFLOW_ID { 0 } else { id };
        Ok((shown(attr.uid), shown(attr.gid)))
    }

    /// Whom a new file is given to: `None` where the id is one that stands for all without a name, and it stays with
    /// the Gofer's own user.
    pub fn wanted(&self, owner: Owner) -> (Option<u32>, Option<u32>) {
        let wanted = |id| if self.overflow_is_root && id == 0 { None } else { Some(id) };
        (wanted(owner.uid()), wanted(owner.gid()))
    }

    /// Attributes of an open file.
    pub fn attr_of(&self, fd: impl AsFd) -> Result<Attr, Errno> {
        self.read(fd, b"", AtFlags::EMPTY_PATH)
    }

    /// Attributes of what `name` is in a directory; a symbolic link's own.
    pub fn attr_at(&self, dir: impl AsFd, name: Name<'_>) -> Result<Attr, Errno> {
        self.read(dir, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn read(&self, fd: impl AsFd, name: &[u8], flags: AtFlags) -> Result<Attr, Errno> {
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let statx = statx(&fd, name, flags | AtFlags::NO_AUTOMOUNT, mask)?;
        let attr = convert(&statx).ok_or(Errno::IO)?;
        let (uid, gid) = self.shown(&attr, fd, name)?;
        Ok(Attr { uid, gid, ..attr })
    }
}

/// `None` for what can't be: a type that Linux does not have, a time with too many nanoseconds.
fn convert(statx: &Statx) -> Option<Attr> {
    let time = |time: StatxTimestamp| Time::new(time.tv_sec, time.tv_nsec);
    let has_btime = statx.stx_mask & StatxFlags::BTIME.bits() != 0;
    Some(Attr {
        id: FileId {
            dev: u64::from(statx.stx_dev_major) << 32 | u64::from(statx.stx_dev_minor),
            ino: statx.stx_ino,
        },
        kind: FileType::from_number((statx.stx_mode >> 12) as u8)?,
        perm: Perm::of_mode(statx.stx_mode.into()),
        nlink: statx.stx_nlink,
        uid: statx.stx_uid,
        gid: statx.stx_gid,
        rdev: (statx.stx_rdev_major, statx.stx_rdev_minor),
        size: statx.stx_size.min(i64::MAX as u64),
        blocks: statx.stx_blocks,
        blksize: statx.stx_blksize,
        attributes: statx.stx_attributes.bits(),
        attributes_mask: statx.stx_attributes_mask.bits(),
        atime: time(statx.stx_atime)?,
        mtime: time(statx.stx_mtime)?,
        ctime: time(statx.stx_ctime)?,
        btime: if has_btime { Some(time(statx.stx_btime)?) } else { None },
    })
}
