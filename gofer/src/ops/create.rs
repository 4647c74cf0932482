//! Making files.
//!
//! A new file belongs to the Gofer's user at first; permission bits that let others act as its owner (set-user-ID and
//! set-group-ID) are left out until it has the owner that was asked for. If one of these steps fails, the file is
//! removed again.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use gofer_protocol::{
    Attr, Errno, FileType, Handle, Name, Node as NodeReply, NodeKind, OpenFlags, Owner, Perm, Reply, Target,
};
use rustix::fs::{
    AtFlags, FileType as HostType, Gid, Mode, OFlags, Uid, chmodat, chownat, mkdirat, mknodat, openat2,
    symlinkat, unlinkat,
};

use super::open::host_flags;
use super::{Answer, Gift, check_writable};
use crate::server::Server;
use crate::table::Node;
use crate::tree::{Number, hold_at, open_at};

/// What a new file is to be like.
#[derive(Clone, Copy, Debug)]
pub struct New {
    pub perm: Perm,
    pub owner: Owner,
}

impl New {
    /// Permission bits to make it with.
    fn first_mode(self) -> Mode {
        Mode::from_raw_mode(u32::from(self.perm.bits()) & 0o1777)
    }
}

/// A regular file, opened. Host calls: openat2, statx, openat, statx; for another owner or set-ID bits fchownat or
/// fchmodat and statx.
pub fn file<'s>(
    server: &Server,
    dir: Handle,
    name: Name<'_>,
    new: New,
    flags: OpenFlags,
) -> Result<Answer<'s>, Errno> {
    let dir = parent(server, dir)?;
    // The file is empty, so there is nothing to truncate.
    let flags = host_flags(flags).difference(OFlags::TRUNC) | OFlags::CREATE | OFlags::EXCL;
    let fd = open_at(&dir.fd, name, flags, new.first_mode())?;
    let made = finish(server, &fd, Some(new.perm), new.owner)
        .and_then(|attr| Ok((keep_held(server, &dir, &fd, attr)?, server.ids.attr_of(&dir.fd)?)));
    let (node, parent) = made.inspect_err(|_| undo(&dir, name, AtFlags::empty()))?;
    Ok(Answer { reply: Reply::Made { node, parent }, gift: Gift::File(fd) })
}

/// A regular file without a name. Host calls: as for one with a name.
pub fn unnamed<'s>(server: &Server, dir: Handle, new: New) -> Result<Answer<'s>, Errno> {
    let dir = parent(server, dir)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::BENEATH;
    let fd = openat2(&dir.fd, c".", flags, new.first_mode(), resolve)?;
    let attr = finish(server, &fd, Some(new.perm), new.owner)?;
    let node = keep_held(server, &dir, &fd, attr)?;
    Ok(Answer { reply: Reply::Found { node }, gift: Gift::File(fd) })
}

/// A directory. Host calls: mkdirat, openat2, statx, statx; more for another owner or set-ID bits.
pub fn directory<'s>(server: &Server, dir: Handle, name: Name<'_>, new: New) -> Result<Answer<'s>, Errno> {
    let dir = parent(server, dir)?;
    mkdirat(&dir.fd, name.as_bytes(), new.first_mode())?;
    finish_named(server, &dir, name, FileType::Directory, Some(new.perm), new.owner)
        .inspect_err(|_| undo(&dir, name, AtFlags::REMOVEDIR))
}

/// A FIFO, a socket's node, an empty file or a whiteout. Host calls: mknodat, openat2, statx, statx; more for another
/// owner or set-ID bits.
pub fn node<'s>(
    server: &Server,
    dir: Handle,
    name: Name<'_>,
    kind: NodeKind,
    new: New,
) -> Result<Answer<'s>, Errno> {
    let dir = parent(server, dir)?;
    let (host, kind) = match kind {
        NodeKind::Regular => (HostType::RegularFile, FileType::Regular),
        NodeKind::Fifo => (HostType::Fifo, FileType::Fifo),
        NodeKind::Socket => (HostType::Socket, FileType::Socket),
        // Device 0:0, which needs no privilege and opens nothing.
        NodeKind::Whiteout => (HostType::CharacterDevice, FileType::CharDevice),
    };
    mknodat(&dir.fd, name.as_bytes(), host, new.first_mode(), 0)?;
    finish_named(server, &dir, name, kind, Some(new.perm), new.owner)
        .inspect_err(|_| undo(&dir, name, AtFlags::empty()))
}

/// A symbolic link. Host calls: symlinkat, openat2, statx, statx; fchownat and statx for another owner.
pub fn symlink<'s>(
    server: &Server,
    dir: Handle,
    name: Name<'_>,
    owner: Owner,
    target: Target<'_>,
) -> Result<Answer<'s>, Errno> {
    let dir = parent(server, dir)?;
    symlinkat(target.as_bytes(), &dir.fd, name.as_bytes())?;
    finish_named(server, &dir, name, FileType::Symlink, None, owner)
        .inspect_err(|_| undo(&dir, name, AtFlags::empty()))
}

/// A directory in which something may be made.
pub(super) fn parent(server: &Server, dir: Handle) -> Result<Arc<Node>, Errno> {
    let dir = server.table.get(dir)?;
    if dir.kind != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    check_writable(&dir)?;
    Ok(dir)
}

/// Holds what was just made under `name`, and gives it owner and permissions.
pub(super) fn finish_named<'s>(
    server: &Server,
    dir: &Node,
    name: Name<'_>,
    kind: FileType,
    perm: Option<Perm>,
    owner: Owner,
) -> Result<Answer<'s>, Errno> {
    let fd = hold_at(&dir.fd, name)?;
    // Somebody else may have put another file there since. What is of another type, or not ours, was not made here.
    let attr = server.ids.attr_of(&fd)?;
    if attr.kind != kind {
        return Err(Errno::STALE);
    }
    let attr = finish_from(server, &fd, attr, perm, owner)?;
    let node = keep(server, dir, fd, attr)?;
    let parent = server.ids.attr_of(&dir.fd)?;
    Ok(Reply::Made { node, parent }.into())
}

fn finish(server: &Server, fd: &OwnedFd, perm: Option<Perm>, owner: Owner) -> Result<Attr, Errno> {
    let attr = server.ids.attr_of(fd)?;
    finish_from(server, fd, attr, perm, owner)
}

/// Gives a new file its owner and the bits that had to wait for that; what its attributes then are.
fn finish_from(
    server: &Server,
    fd: &OwnedFd,
    attr: Attr,
    perm: Option<Perm>,
    owner: Owner,
) -> Result<Attr, Errno> {
    let (uid, gid) = server.ids.wanted(owner);
    let (uid, gid) = (uid.filter(|&uid| uid != attr.uid), gid.filter(|&gid| gid != attr.gid));
    if uid.is_some() || gid.is_some() {
        chown(fd, uid, gid)?;
    }
    // The other bits are as the directory's default ACL left them.
    let special = |perm: Perm| perm.bits() & 0o7000;
    let bits = perm.filter(|&perm| special(perm) != special(attr.perm));
    if let Some(perm) = bits {
        chmod(server, fd, Perm::of_mode(u32::from(special(perm) | attr.perm.bits() & 0o777)))?;
    }
    if uid.is_some() || gid.is_some() || bits.is_some() { server.ids.attr_of(fd) } else { Ok(attr) }
}

/// fchownat(2). An id that has no name in the user namespace can't own a file: EPERM, as for one that may not.
pub(super) fn chown(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH).map_err(|errno| match errno {
        Errno::INVAL => Errno::PERM,
        errno => errno,
    })
}

/// fchmodat(2) on a file that is held.
pub(super) fn chmod(server: &Server, fd: impl AsFd, perm: Perm) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(perm.bits().into());
    chmodat(server.self_fds.dir(), Number::new(fd).as_bytes(), mode, AtFlags::empty())
}

fn keep(server: &Server, dir: &Node, fd: OwnedFd, attr: Attr) -> Result<NodeReply, Errno> {
    let handle = server.table.insert(Arc::new(Node::new(fd, attr.kind, dir.options)))?;
    Ok(NodeReply { handle, attr })
}

/// Keeps a hold on a file that is open otherwise: the open one is given away, and would count as a writer.
fn keep_held(server: &Server, dir: &Node, fd: &OwnedFd, attr: Attr) -> Result<NodeReply, Errno> {
    keep(server, dir, server.self_fds.reopen(fd, OFlags::PATH)?, attr)
}

pub(super) fn undo(dir: &Node, name: Name<'_>, flags: AtFlags) {
    // Nothing better is left than to leave it.
    let _ = unlinkat(&dir.fd, name.as_bytes(), flags);
}
