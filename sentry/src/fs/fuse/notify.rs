//! What a server tells on its own account: what the kernel keeps in mind is no longer so.

use std::sync::{Arc, Weak};

use abi::Errno;
use abi::fuse::{
    FUSE_NAME_MAX, FUSE_NOTIFY_DELETE, FUSE_NOTIFY_INVAL_ENTRY, FUSE_NOTIFY_INVAL_INODE, FuseNotifyDelete,
    FuseNotifyInvalEntry, FuseNotifyInvalInode,
};
use zerocopy::FromBytes;

use super::connection::Connection;
use super::node::node;
use super::shared_of;
use crate::Result;
use crate::vfs::Inode;

/// A notification has come.
pub(super) fn received(connection: &Connection, code: i32, body: &[u8]) -> Result<()> {
    let find = |nodeid: u64| -> Result<Arc<Inode>> {
        let sb = connection.super_block().ok_or(Errno::ENOENT)?;
        let known = shared_of(&sb)?.inodes.lock().get(&nodeid).and_then(Weak::upgrade);
        known.ok_or(Errno::ENOENT)
    };
    match code as u32 {
        FUSE_NOTIFY_INVAL_INODE => {
            let what = FuseNotifyInvalInode::read_from_bytes(body).map_err(|_| Errno::EINVAL)?;
            let inode = find(what.ino)?;
            let node = node(&inode)?;
            node.expire();
            if let (Ok(offset), Some(pages)) = (u64::try_from(what.off), node.pages_if_any()) {
                let len = u64::try_from(what.len).ok().filter(|len| *len > 0).unwrap_or(i64::MAX as u64);
                pages.invalidate(offset, len, node.size());
            }
            Ok(())
        }
        FUSE_NOTIFY_INVAL_ENTRY => {
            let (what, name) = FuseNotifyInvalEntry::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
            forget(&find(what.parent)?, name_of(name, what.namelen)?)
        }
        FUSE_NOTIFY_DELETE => {
            let (what, name) = FuseNotifyDelete::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
            let name = name_of(name, what.namelen)?;
            if let Ok(child) = find(what.child) {
                node(&child)?.expire();
            }
            forget(&find(what.parent)?, name)
        }
        // Nobody asks for POLL, and nothing is kept that the server could store into or ask back.
        _ => Err(Errno::EINVAL),
    }
}

fn name_of(bytes: &[u8], len: u32) -> Result<&[u8]> {
    if len as usize > FUSE_NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    match bytes.split_last() {
        Some((_, name)) if name.len() == len as usize => Ok(name),
        _ => Err(Errno::EINVAL),
    }
}

fn forget(dir: &Arc<Inode>, name: &[u8]) -> Result<()> {
    if !dir.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let dir = node(dir)?;
    dir.expire();
    if dir.forget_name(name) { Ok(()) } else { Err(Errno::ENOENT) }
}
