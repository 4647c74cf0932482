//! Finding files.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use gofer_protocol::reply::Look;
use gofer_protocol::{
    Attr, Errno, FileType, Handle, Leaf, List, Looked, Name, Node as NodeReply, Place, Reply, Target,
};
use rustix::buffer::spare_capacity;
use rustix::fs::{OFlags, readlinkat_raw};

use super::{Answer, Gift, Scratch};
use crate::server::Server;
use crate::table::Node;
use crate::tree::hold_at;

/// Bytes that a [`Looked`] takes in a reply, at most.
const LOOKED: usize = 160;

/// The root of a tree. Host calls: statx.
pub fn attach<'s>(server: &Server, tree: u16) -> Result<Answer<'s>, Errno> {
    let tree = server.trees.get(usize::from(tree)).ok_or(Errno::INVAL)?;
    let attr = server.ids.attr_of(&tree.root.fd)?;
    let handle = server.table.insert(Arc::clone(&tree.root))?;
    Ok(Reply::Attached { node: NodeReply { handle, attr } }.into())
}

/// Follows names. Host calls: openat2 and statx for each name; for the last, where only attributes are wanted and it
/// is no directory, statx alone; readlinkat for a link.
pub fn walk<'s>(
    server: &Server,
    scratch: &'s mut Scratch,
    dir: Handle,
    leaf: Leaf,
    names: List<'_, Name<'_>>,
) -> Result<Answer<'s>, Errno> {
    let mut dir = server.table.get(dir)?;
    let Scratch { packer, bytes, .. } = scratch;
    packer.clear(usize::MAX);
    let (mut error, mut has_target, mut opened) = (None, false, None);
    for (i, name) in names.iter().enumerate() {
        if packer.room() < LOOKED {
            break;
        }
        let leaf = if i + 1 == names.len() { Some(leaf) } else { None };
        let (attr, fd) = match find(server, &dir, name, leaf) {
            Ok(found) => found,
            Err(errno) => {
                error = Some(errno);
                break;
            }
        };
        if let (FileType::Symlink, Some(link)) = (attr.kind, &fd) {
            match read_target(link, bytes) {
                Ok(()) => has_target = true,
                Err(errno) => error = Some(errno),
            }
        }
        let keep = leaf != Some(Leaf::Attr) || attr.kind == FileType::Directory;
        let node = fd.filter(|_| keep).map(|fd| Arc::new(Node::new(fd, attr.kind, dir.options)));
        let handle = match &node {
            Some(node) => match server.table.insert(Arc::clone(node)) {
                Ok(handle) => Some(handle),
                Err(errno) => {
                    error = Some(errno);
                    has_target = false;
                    break;
                }
            },
            None => None,
        };
        // There was room.
        let _ = packer.push(&Looked { handle, attr });
        match node {
            Some(node) if attr.kind == FileType::Directory => dir = node,
            Some(node) if leaf == Some(Leaf::Open) && attr.kind == FileType::Regular => {
                opened = server.self_fds.reopen(&node.fd, OFlags::RDONLY).ok();
                break;
            }
            _ => break,
        }
    }
    let target = if has_target { Target::new(bytes).ok() } else { None };
    let reply = Reply::Walked { found: packer.list(), error, target, opened: opened.is_some() };
    Ok(Answer { reply, gift: opened.map_or(Gift::None, Gift::File) })
}

/// Attributes of `name`, and a hold on it unless only attributes are wanted of what is no directory and no link.
pub(super) fn find(
    server: &Server,
    dir: &Node,
    name: Name<'_>,
    leaf: Option<Leaf>,
) -> Result<(Attr, Option<OwnedFd>), Errno> {
    if leaf == Some(Leaf::Attr) {
        let attr = server.ids.attr_at(&dir.fd, name)?;
        if !matches!(attr.kind, FileType::Directory | FileType::Symlink) {
            return Ok((attr, None));
        }
    }
    // Held first and asked then: whatever the name is now, these are the attributes of what is held.
    let fd = hold_at(&dir.fd, name)?;
    let attr = server.ids.attr_of(&fd)?;
    Ok((attr, Some(fd)))
}

/// Attributes at many places. Host calls: statx for each.
pub fn look<'s>(
    server: &Server,
    scratch: &'s mut Scratch,
    places: List<'_, Place<'_>>,
) -> Result<Answer<'s>, Errno> {
    scratch.packer.clear(usize::MAX);
    let mut last: Option<(Handle, Arc<Node>)> = None;
    for Place { dir, name } in places {
        let node = match &last {
            Some((handle, node)) if *handle == dir => Ok(Arc::clone(node)),
            _ => server.table.get(dir),
        };
        let look = node.and_then(|node| {
            let attr = server.ids.attr_at(&node.fd, name);
            last = Some((dir, node));
            attr
        });
        if !scratch.packer.push(&Look(look)) {
            return Err(Errno::TOOBIG);
        }
    }
    Ok(Reply::Looks { looks: scratch.packer.list() }.into())
}

/// What a link points to. Host calls: readlinkat.
pub fn readlink<'s>(server: &Server, scratch: &'s mut Scratch, handle: Handle) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    if node.kind != FileType::Symlink {
        return Err(Errno::INVAL);
    }
    read_target(&node.fd, &mut scratch.bytes)?;
    Ok(Reply::Target { target: Target::new(&scratch.bytes)? }.into())
}

/// Reads a link that is held into `bytes`; no error means that it is a legal target.
fn read_target(link: impl AsFd, bytes: &mut Vec<u8>) -> Result<(), Errno> {
    bytes.clear();
    readlinkat_raw(link, c"", spare_capacity(bytes))?;
    Target::new(bytes).map(drop)
}
