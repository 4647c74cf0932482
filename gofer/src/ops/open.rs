//! Opening files that exist, and syncing those that are not open.

use gofer_protocol::{Errno, FileType, Handle, OpenFlags, Reply, SyncKind};
use rustix::fs::{OFlags, fdatasync, fsync, syncfs};

use super::{Answer, Gift, check_writable};
use crate::server::Server;
use crate::table::Node;
use crate::tree::open_dir;

/// The host's flags.
pub(super) fn host_flags(flags: OpenFlags) -> OFlags {
    let mut host = match (flags.contains(OpenFlags::READ), flags.contains(OpenFlags::WRITE)) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        _ => OFlags::RDONLY,
    };
    host.set(OFlags::TRUNC, flags.contains(OpenFlags::TRUNCATE));
    host.set(OFlags::APPEND, flags.contains(OpenFlags::APPEND));
    host.set(OFlags::DIRECT, flags.contains(OpenFlags::DIRECT));
    host.set(OFlags::NOATIME, flags.contains(OpenFlags::NOATIME));
    if flags.contains(OpenFlags::SYNC) {
        host |= OFlags::SYNC;
    }
    if flags.contains(OpenFlags::DSYNC) {
        // rustix gives the name to O_SYNC.
        host |= OFlags::from_bits_retain(libc::O_DSYNC as u32);
    }
    host
}

/// Opens a file by its handle. Host calls: openat, statx.
///
/// A device is never opened: its driver would run, with whatever that does. A FIFO only where the tree allows it, and
/// then without waiting for the other side.
pub fn open<'s>(server: &Server, handle: Handle, flags: OpenFlags) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    let mut host = host_flags(flags);
    match node.kind {
        FileType::Regular => {}
        FileType::Fifo if node.options.host_fifos => host |= OFlags::NONBLOCK,
        FileType::Fifo | FileType::Socket => return Err(Errno::NXIO),
        FileType::CharDevice | FileType::BlockDevice => return Err(Errno::ACCESS),
        FileType::Directory => return Err(Errno::ISDIR),
        FileType::Symlink => return Err(Errno::LOOP),
    }
    if flags.contains(OpenFlags::WRITE) {
        check_writable(&node)?;
    }
    let fd = server.self_fds.reopen(&node.fd, host)?;
    let attr = server.ids.attr_of(&fd)?;
    Ok(Answer { reply: Reply::Attr { attr }, gift: Gift::File(fd) })
}

/// Makes changes safe. Host calls: openat, and one of fsync, fdatasync, syncfs.
pub fn sync<'s>(server: &Server, handle: Handle, kind: SyncKind) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    let fd = open_to_read(server, &node)?;
    match kind {
        SyncKind::All => fsync(&fd)?,
        SyncKind::Data => fdatasync(&fd)?,
        SyncKind::FileSystem => syncfs(&fd)?,
    }
    Ok(Reply::Done {}.into())
}

/// Opens a regular file or directory for reading.
fn open_to_read(server: &Server, node: &Node) -> Result<std::os::fd::OwnedFd, Errno> {
    match node.kind {
        FileType::Directory => open_dir(&node.fd),
        FileType::Regular => server.self_fds.reopen(&node.fd, OFlags::RDONLY),
        _ => Err(Errno::INVAL),
    }
}
