//! A layer of an overlay, and the whiteouts that overlayfs leaves in it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::FileType;

use sync::Mutex;

use super::Overlay;
use crate::Result;
use crate::vfs::resolve::{LookupFlags, lookup};
use crate::vfs::{
    Attr, Caller, Dentry, File, Inode, Mount, MountFlags, Name, NameHash, NewKind, NewNode, Path,
};

/// A tree that an overlay is made of. It has a mount of its own, so that it stays.
pub struct Layer {
    pub root: Arc<Dentry>,
    mount: Arc<Mount>,
    /// Inodes of the overlay that stand for files of this layer, by the numbers of those.
    pub inodes: Inodes,
}

/// A table of inodes.
pub type Inodes = Mutex<HashMap<u64, Weak<Inode>, NameHash>, sync::levels::Leaf>;

impl Layer {
    pub fn new(root: Arc<Dentry>) -> Layer {
        let mount = Mount::new(Arc::clone(&root), b"none", MountFlags::NOATIME);
        Layer { root, mount, inodes: Mutex::default() }
    }

    pub fn root_path(&self) -> Path {
        Path::new(Arc::clone(&self.mount), Arc::clone(&self.root))
    }

    /// A file of the layer, opened for the overlay's own use.
    pub fn open(&self, overlay: &Overlay, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<File>> {
        let caller = overlay.caller();
        let ops = inode.ops().open(inode, flags, &caller)?;
        let dentry = Dentry::new_unnamed(Arc::clone(inode), None, b"layer");
        let path = Path::new(Arc::clone(&self.mount), dentry);
        Ok(File::new(ops, path, flags, Arc::clone(&overlay.creds)))
    }
}

/// Whether `inode` says that a name is not there.
pub fn is_whiteout(inode: &Inode) -> bool {
    inode.kind == FileType::CharDevice && inode.rdev() == 0
}

/// The same of what has these attributes.
pub fn is_whiteout_attr(attr: &Attr) -> bool {
    FileType::from_mode(attr.mode) == Some(FileType::CharDevice) && attr.rdev == 0
}

/// What a whiteout is made of.
pub const WHITEOUT: NewNode<'static> =
    NewNode { kind: NewKind::CharDevice(0), permissions: 0, umask: 0, uid: 0, gid: 0 };

/// What `path` (names with slashes between) leads to in a layer, without following links.
pub fn walk(root: &Arc<Inode>, path: &[u8], caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
    let mut at = Arc::clone(root);
    for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        if name == b"." || name == b".." || !at.is_dir() {
            return Ok(None);
        }
        match at.ops().lookup(&at, name, caller)? {
            Some(child) => at = child,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// The directory `work` in the one that `workdir=` names, made new.
pub fn work_directory(at: &Path, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
    match caller.mkdir(at, b"work", 0) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    Ok(lookup(caller, at, b"work", LookupFlags::DIRECTORY)?.dentry)
}

/// A name and the directory of the overlay it is in.
#[derive(Clone)]
pub struct Home {
    pub dir: Arc<Inode>,
    pub name: Name,
}

impl PartialEq for Home {
    fn eq(&self, other: &Home) -> bool {
        Arc::ptr_eq(&self.dir, &other.dir) && self.name == other.name
    }
}
