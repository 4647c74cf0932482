//! Inodes of an image.

use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::open::OpenFlags;

use super::dir::{ErofsDirFile, find};
use super::file::{ErofsFile, Pages};
use super::image::{CORRUPT, Node};
use super::{erofs_of, xattr};
use crate::Result;
use crate::vfs::{Acl, AclKind, Attr, Caller, FileOps, Inode, InodeOps, SuperBlock};

/// The longest target of a link.
const LINK_MAX: u64 = 4095;

/// An inode.
pub struct ErofsNode {
    pub node: Node,
    /// What is mapped, made with the first mapping.
    pub pages: OnceLock<Arc<Pages>>,
    sb: std::sync::Weak<SuperBlock>,
}

/// The erofs part of an inode.
pub fn node(inode: &Inode) -> Result<&ErofsNode> {
    inode.downcast::<ErofsNode>().ok_or(Errno::EXDEV)
}

/// The inode of node `nid`: the one that is known already, if it is.
pub fn inode(sb: &Arc<SuperBlock>, nid: u64) -> Result<Arc<Inode>> {
    let erofs = erofs_of(sb)?;
    if let Some(known) = erofs.inodes.lock().get(&nid).and_then(std::sync::Weak::upgrade) {
        return Ok(known);
    }
    let node = erofs.image.node(nid)?;
    let ops = ErofsNode { node, pages: OnceLock::new(), sb: Arc::downgrade(sb) };
    let made = Inode::new(sb, &node.attr, Box::new(ops));
    let mut inodes = erofs.inodes.lock();
    // Somebody else may have been faster: theirs is the one then.
    let known = inodes.get(&nid).and_then(std::sync::Weak::upgrade);
    if known.is_none() {
        inodes.insert(nid, Arc::downgrade(&made));
    }
    drop(inodes);
    Ok(known.unwrap_or(made))
}

impl InodeOps for ErofsNode {
    fn attr(&self, _inode: &Inode) -> Result<Attr> {
        Ok(self.node.attr)
    }

    fn lookup(&self, dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        if name.len() > abi::NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let image = &erofs_of(&dir.sb)?.image;
        let Some(nid) = find(image, &self.node, name)? else { return Ok(None) };
        let found = inode(&dir.sb, nid)?;
        // One that is elsewhere, or above: an image with loops.
        if found.is_dir() && find(image, &node(&found)?.node, b"..")? != Some(self.node.nid)
            || nid == self.node.nid
        {
            return Err(CORRUPT);
        }
        Ok(Some(found))
    }

    fn read_link(&self, _inode: &Inode, _caller: &Caller<'_>) -> Result<Arc<[u8]>> {
        let size = self.node.attr.size;
        if size == 0 || size > LINK_MAX {
            return Err(CORRUPT);
        }
        let sb = self.sb.upgrade().ok_or(Errno::EIO)?;
        let mut target = vec![0; size as usize];
        erofs_of(&sb)?.image.read_data(&self.node, 0, &mut target)?;
        if target.contains(&0) { Err(CORRUPT) } else { Ok(target.into()) }
    }

    fn open(&self, inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        if inode.is_dir() {
            Ok(Box::new(ErofsDirFile(Arc::clone(inode))))
        } else if inode.is_regular() {
            Ok(Box::new(ErofsFile(Arc::clone(inode))))
        } else {
            Err(Errno::ENXIO)
        }
    }

    fn keeps_acls(&self) -> bool {
        true
    }

    fn get_acl(&self, inode: &Inode, kind: AclKind) -> Result<Option<Arc<Acl>>> {
        match self.get_xattr(inode, kind.name()) {
            Ok(value) => Ok(Acl::from_storage(&value)?.map(Arc::new)),
            Err(Errno::ENODATA) => {
                inode.has_no_acl(kind);
                Ok(None)
            }
            Err(errno) => Err(errno),
        }
    }

    fn get_xattr(&self, inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
        let mut found = None;
        xattr::each(&erofs_of(&inode.sb)?.image, &self.node, |own, value| {
            if found.is_none() && own == name {
                found = Some(value());
            }
        })?;
        found.unwrap_or(Err(Errno::ENODATA))
    }

    fn list_xattr(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        xattr::each(&erofs_of(&inode.sb)?.image, &self.node, |name, _| names.push(name.to_vec()))?;
        Ok(names)
    }

    fn evict(&self, _inode: &Inode) {
        let Some(sb) = self.sb.upgrade() else { return };
        let Ok(erofs) = erofs_of(&sb) else { return };
        let mut inodes = erofs.inodes.lock();
        if inodes.get(&self.node.nid).is_some_and(|known| known.strong_count() == 0) {
            inodes.remove(&self.node.nid);
        }
    }
}
