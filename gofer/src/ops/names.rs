//! Names of files: more of them, fewer, others.

use gofer_protocol::{Errno, FileType, Handle, Name, RenameFlags, Reply, UnlinkKind};
use rustix::fs::{AtFlags, RenameFlags as HostFlags, linkat, renameat_with, unlinkat};

use super::{Answer, check_writable};
use crate::server::Server;
use crate::tree::Number;

/// One more name for a file. Host calls: linkat, statx, statx.
pub fn link<'s>(server: &Server, handle: Handle, dir: Handle, name: Name<'_>) -> Result<Answer<'s>, Errno> {
    let (node, dir) = (server.table.get(handle)?, server.table.get(dir)?);
    check_writable(&dir)?;
    check_writable(&node)?;
    if node.kind == FileType::Directory {
        return Err(Errno::PERM);
    }
    // By the descriptor's name: AT_EMPTY_PATH would need a capability that opens every door (CAP_DAC_READ_SEARCH).
    let number = Number::new(&node.fd);
    linkat(server.self_fds.dir(), number.as_bytes(), &dir.fd, name.as_bytes(), AtFlags::SYMLINK_FOLLOW)?;
    let (attr, parent) = (server.ids.attr_of(&node.fd)?, server.ids.attr_of(&dir.fd)?);
    Ok(Reply::Linked { attr, parent }.into())
}

/// One name less. Host calls: unlinkat, statx.
pub fn unlink<'s>(
    server: &Server,
    dir: Handle,
    name: Name<'_>,
    kind: UnlinkKind,
) -> Result<Answer<'s>, Errno> {
    let dir = server.table.get(dir)?;
    check_writable(&dir)?;
    let flags = match kind {
        UnlinkKind::File => AtFlags::empty(),
        UnlinkKind::Directory => AtFlags::REMOVEDIR,
    };
    unlinkat(&dir.fd, name.as_bytes(), flags)?;
    Ok(Reply::Unlinked { parent: server.ids.attr_of(&dir.fd)? }.into())
}

/// Another name. Host calls: renameat2, statx, statx.
pub fn rename<'s>(
    server: &Server,
    (old_dir, old_name): (Handle, Name<'_>),
    (new_dir, new_name): (Handle, Name<'_>),
    flags: RenameFlags,
) -> Result<Answer<'s>, Errno> {
    let (old_dir, new_dir) = (server.table.get(old_dir)?, server.table.get(new_dir)?);
    check_writable(&old_dir)?;
    check_writable(&new_dir)?;
    let mut host = HostFlags::empty();
    host.set(HostFlags::NOREPLACE, flags.contains(RenameFlags::NOREPLACE));
    host.set(HostFlags::EXCHANGE, flags.contains(RenameFlags::EXCHANGE));
    host.set(HostFlags::WHITEOUT, flags.contains(RenameFlags::WHITEOUT));
    renameat_with(&old_dir.fd, old_name.as_bytes(), &new_dir.fd, new_name.as_bytes(), host)?;
    let old_parent = server.ids.attr_of(&old_dir.fd)?;
    let new_parent = server.ids.attr_of(&new_dir.fd)?;
    Ok(Reply::Renamed { old_parent, new_parent }.into())
}
