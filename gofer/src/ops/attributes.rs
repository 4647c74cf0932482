//! Attributes of files and file systems.

use gofer_protocol::{Changes, Errno, FileType, Handle, NewTime, Reply, StatfsReply};
use rustix::fs::{
    AtFlags, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstatfs, ftruncate, utimensat,
};

use super::create::{chmod, chown};
use super::{Answer, check_writable};
use crate::server::Server;

/// Attributes. Host calls: statx.
pub fn stat<'s>(server: &Server, handle: Handle) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    Ok(Reply::Attr { attr: server.ids.attr_of(&node.fd)? }.into())
}

/// Changes attributes. Host calls: openat and ftruncate for the size, fchownat, fchmodat, utimensat, as far as they are
/// changed; statx.
pub fn set<'s>(server: &Server, handle: Handle, changes: Changes) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    check_writable(&node)?;
    let Changes { size, uid, gid, perm, atime, mtime } = changes;
    if let Some(size) = size {
        match node.kind {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        }
        ftruncate(server.self_fds.reopen(&node.fd, OFlags::WRONLY)?, size)?;
    }
    if uid.is_some() || gid.is_some() {
        chown(&node.fd, uid, gid)?;
    }
    if let Some(perm) = perm {
        chmod(server, &node.fd, perm)?;
    }
    if atime.is_some() || mtime.is_some() {
        let times = Timestamps { last_access: host_time(atime), last_modification: host_time(mtime) };
        utimensat(&node.fd, c"", &times, AtFlags::EMPTY_PATH)?;
    }
    Ok(Reply::Attr { attr: server.ids.attr_of(&node.fd)? }.into())
}

fn host_time(time: Option<NewTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(NewTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(NewTime::At(time)) => Timespec { tv_sec: time.seconds(), tv_nsec: time.nanoseconds().into() },
    }
}

/// Figures of a file system. Host calls: fstatfs.
pub fn statfs<'s>(server: &Server, handle: Handle) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    let host = fstatfs(&node.fd)?;
    let statfs = StatfsReply {
        fs_type: host.f_type as u64,
        bsize: host.f_bsize as u64,
        blocks: host.f_blocks,
        bfree: host.f_bfree,
        bavail: host.f_bavail,
        files: host.f_files,
        ffree: host.f_ffree,
        namelen: host.f_namelen as u64,
        frsize: host.f_frsize as u64,
        flags: host.f_flags as u64,
    };
    Ok(Reply::Statfs { statfs }.into())
}
