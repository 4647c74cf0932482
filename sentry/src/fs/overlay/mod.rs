//! overlayfs: a writable upper tree over read-only lower ones (the format is that of Linux's overlayfs).
//!
//! - [`Overlay`] is one overlay; its inodes are in `node`, which layer has what is found in `lookup`.
//! - What is changed is copied up first (`copy_up`), with owner, mode, times and extended attributes. Names that are
//!   taken away leave a whiteout (a character device 0:0) where a lower layer has them; a directory that hides lower ones
//!   has the extended attribute `trusted.overlay.opaque`, one that was moved `trusted.overlay.redirect` (`marks`; with
//!   `userxattr` they are `user.overlay.*`). A guest's own attributes of such names are escaped.
//! - A file that is only read is the layer's own: reads, mappings and its page cache are shared with other users of it.
//!   A file opened for reading before it was copied up shows the copy from then on (`file`), but maps the old contents.
//!
//! What only a lower layer has, and was only listed there, has no inode of that layer before more than its attributes is needed
//! (`OverlayNode::lower`).
//!
//! Layers are used through their inodes, without dentries of their own; directories of the upper layer are told of
//! changes ([`Inode::entries_changed`]), in case somebody else sees them.
//!
//! Locks: `Inode::lock` of an overlay's directory before that of its upper one; `Leaf` for the tables of inodes.

mod change;
mod copy_up;
mod dir;
mod file;
mod layer;
mod lookup;
mod marks;
mod node;
mod options;
mod rename;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use abi::stat::OVERLAYFS_SUPER_MAGIC;
use platform::MemoryFile;
use sync::Mutex;

use crate::Result;
use crate::task::Credentials;
use crate::vfs::resolve::{LookupFlags, lookup};
use crate::vfs::{
    Caller, Dentry, FileSystemType, Inode, MountRequest, NewKind, NewNode, Path, Roots, StatFs, SuperBlock,
    SuperBlockOps, Vfs,
};
use layer::{Inodes, Layer};
use marks::Marks;
use node::OverlayNode;
use options::Options;
pub use options::Redirects;

/// Which file of which layer an inode of the overlay stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Inode number in the upper layer.
    Upper(u64),
    /// Layer, counted from the top, and the inode number in it.
    Lower(u16, u64),
}

impl Key {
    /// The number in the layer.
    fn ino(self) -> u64 {
        let (Key::Upper(ino) | Key::Lower(_, ino)) = self;
        ino
    }
}

/// The layers of an overlay to be made.
pub struct Layers {
    /// Where changes go: the directory that is shown, and one beside it (in the same file system) for work in progress.
    /// `None`: nothing can be changed.
    pub upper: Option<(Arc<Dentry>, Arc<Dentry>)>,
    /// Read-only trees, the uppermost first.
    pub lowers: Vec<Arc<Dentry>>,
    /// What becomes of directories of lower layers that are moved.
    pub redirects: Redirects,
    /// Marks are `user.overlay.*`, also where the layers can keep the others.
    pub user_marks: bool,
    /// What mountinfo shows.
    pub options: String,
}

/// One overlay.
struct Overlay {
    upper: Option<Layer>,
    /// Directory of the upper layer for what is not in its place yet.
    work: Option<Arc<Inode>>,
    lowers: Vec<Layer>,
    /// Who makes the changes in the layers.
    creds: Arc<Credentials>,
    vfs: Arc<Vfs>,
    roots: Roots,
    /// Files that have been copied up (by upper number): the number they show, which is that of the lower file.
    shown: Mutex<HashMap<u64, u64>, sync::levels::Leaf>,
    /// Lower files with several names that were changed: kept, because the layers alone no longer tell that the other
    /// names mean the copy.
    linked: Mutex<HashMap<Key, Arc<Inode>>, sync::levels::Leaf>,
    next_work: std::sync::atomic::AtomicU64,
    marks: Marks,
    redirects: Redirects,
    options: String,
    root: OnceLock<Weak<Inode>>,
}

/// Makes an overlay of `layers`: its root. `creds` make the changes in the layers.
pub fn new_root(layers: Layers, vfs: &Arc<Vfs>, creds: &Arc<Credentials>) -> Result<Arc<Dentry>> {
    if layers.lowers.is_empty() || layers.lowers.len() > 500 {
        return Err(Errno::EINVAL);
    }
    let below: Vec<Arc<SuperBlock>> = layers.lowers.iter().map(|lower| Arc::clone(&lower.inode.sb)).collect();
    let work = layers.upper.as_ref().map(|(_, work)| Arc::clone(&work.inode));
    let upper = layers.upper.map(|(upper, _)| Layer::new(upper));
    let lowers: Vec<Layer> = layers.lowers.into_iter().map(Layer::new).collect();
    let top = upper.as_ref().unwrap_or(&lowers[0]);
    let roots = Roots { root: top.root_path(), cwd: top.root_path() };
    let read_only = upper.is_none();
    let marks = match &work {
        Some(work) if !layers.user_marks => Marks::kept_by(work),
        _ if layers.user_marks => marks::USER,
        _ => marks::TRUSTED,
    };
    let mut options = layers.options;
    if marks == marks::USER && !layers.user_marks {
        options.push_str(",userxattr");
    }
    let overlay = Overlay {
        upper,
        work,
        lowers,
        creds: Arc::clone(creds),
        vfs: Arc::clone(vfs),
        roots,
        shown: Mutex::default(),
        linked: Mutex::default(),
        next_work: std::sync::atomic::AtomicU64::new(1),
        marks,
        redirects: layers.redirects,
        options,
        root: OnceLock::new(),
    };
    let sb = SuperBlock::new(Box::new(overlay));
    sb.set_read_only(read_only);
    below.iter().for_each(|lower| lower.lies_below(&sb));
    let root = overlay_of(&sb)?.root_inode(&sb)?;
    Ok(Dentry::new_root(root))
}

/// Where a tmpfs for changes has its contents.
#[derive(Clone)]
pub struct Store {
    /// What its files' pages are given out of.
    pub contents: Arc<MemoryFile>,
    /// Bytes that it holds at most; without a number as much as a tmpfs holds, or on a disk what that has room for.
    pub max_bytes: Option<u64>,
}

/// [`over_store`], with the changes in memory.
pub fn over_memory(
    lowers: Vec<Arc<Dentry>>,
    vfs: &Arc<Vfs>,
    creds: &Arc<Credentials>,
) -> Result<Arc<Dentry>> {
    over_store(lowers, &Store { contents: Arc::clone(vfs.memory()), max_bytes: None }, vfs, creds)
}

/// An overlay whose changes live in a new tmpfs with the attributes of the top lower root: what a container's root is.
pub fn over_store(
    lowers: Vec<Arc<Dentry>>,
    store: &Store,
    vfs: &Arc<Vfs>,
    creds: &Arc<Credentials>,
) -> Result<Arc<Dentry>> {
    let lower = lowers.first().ok_or(Errno::EINVAL)?;
    let attr = lower.inode.attr()?;
    let mut options = super::tmpfs::Options { mode: 0o700, ..super::tmpfs::Options::default() };
    if store.max_bytes.is_some() || store.contents.mapped_as().is_some() {
        options.max_bytes = store.max_bytes;
    }
    let tmpfs = super::tmpfs::new_root(&store.contents, &options)?;
    let make = |name: &[u8], mode: u32, uid: u32, gid: u32| {
        let node = NewNode { kind: NewKind::Directory, permissions: mode & 0o7777, umask: 0, uid, gid };
        tmpfs.inode.ops().create(&tmpfs.inode, name, &node).map(Dentry::new_root)
    };
    let upper = make(b"upper", attr.mode, attr.uid, attr.gid)?;
    let work = make(b"work", 0o700, 0, 0)?;
    let layers = Layers {
        upper: Some((upper, work)),
        lowers,
        redirects: Redirects::Made,
        user_marks: false,
        options: String::new(),
    };
    new_root(layers, vfs, creds)
}

/// The overlay that a super block is of.
fn overlay_of(sb: &SuperBlock) -> Result<&Overlay> {
    sb.downcast::<Overlay>().ok_or(Errno::EXDEV)
}

impl Overlay {
    /// On whose behalf layers are asked.
    fn caller(&self) -> Caller<'_> {
        Caller { creds: &self.creds, vfs: &self.vfs, roots: &self.roots, umask: 0, task: None }
    }

    fn upper_layer(&self) -> Result<&Layer> {
        self.upper.as_ref().ok_or(Errno::EROFS)
    }

    fn root_inode(&self, sb: &Arc<SuperBlock>) -> Result<Arc<Inode>> {
        let upper = self.upper.as_ref().map(|layer| Arc::clone(&layer.root.inode));
        let lowers = self.lowers.iter().enumerate();
        let lowers = lowers.map(|(index, layer)| (index as u16, Arc::clone(&layer.root.inode))).collect();
        let root = OverlayNode::inode(sb, self, upper, lowers, None, None)?;
        // Set once: a super block has one root.
        let _ = self.root.set(Arc::downgrade(&root));
        Ok(root)
    }

    /// The number that an inode shows: that of the file it stands for, with the layer in bits that no file system uses.
    fn number(&self, key: Key) -> u64 {
        match key {
            Key::Lower(layer, ino) => ino ^ (u64::from(layer) << 54),
            Key::Upper(ino) => match self.shown.lock().get(&ino) {
                Some(shown) => *shown,
                None => ino ^ (0x1ff << 54),
            },
        }
    }

    /// The key of what has this number, is in this lower layer and not in the upper one.
    fn listed_key(&self, layer: u16, number: u64) -> Key {
        Key::Lower(layer, number ^ (u64::from(layer) << 54))
    }

    /// The inode for `key`, if somebody uses it.
    fn known(&self, key: Key) -> Option<Arc<Inode>> {
        self.inodes(key)?.lock().get(&key.ino()).and_then(Weak::upgrade)
    }

    /// The table of the layer that `key` is of.
    fn inodes(&self, key: Key) -> Option<&Inodes> {
        match key {
            Key::Upper(_) => self.upper.as_ref(),
            Key::Lower(layer, _) => self.lowers.get(usize::from(layer)),
        }
        .map(|layer| &layer.inodes)
    }

    /// Makes `inode` the one for `key`, unless there is one already: answers that.
    fn register(&self, key: Key, inode: &Arc<Inode>) -> Arc<Inode> {
        let (known, dead) = {
            let Some(inodes) = self.inodes(key) else { return Arc::clone(inode) };
            let mut inodes = inodes.lock();
            match inodes.entry(key.ino()) {
                Entry::Vacant(place) => {
                    place.insert(Arc::downgrade(inode));
                    (Arc::clone(inode), None)
                }
                Entry::Occupied(mut place) => match place.get().upgrade() {
                    Some(known) => (known, None),
                    None => (Arc::clone(inode), Some(place.insert(Arc::downgrade(inode)))),
                },
            }
        };
        drop(dead);
        known
    }

    /// The inode for `key` has gone.
    fn unregister(&self, key: Key) {
        let Some(mut inodes) = self.inodes(key).map(Mutex::lock) else { return };
        if inodes.get(&key.ino()).is_some_and(|known| known.strong_count() == 0) {
            inodes.remove(&key.ino());
        }
    }
}

impl SuperBlockOps for Overlay {
    fn kind(&self) -> &'static str {
        "overlay"
    }

    fn statfs(&self) -> Result<StatFs> {
        let top = self.upper.as_ref().unwrap_or(&self.lowers[0]);
        Ok(StatFs { magic: OVERLAYFS_SUPER_MAGIC, ..top.root.inode.sb.ops().statfs()? })
    }

    fn sync(&self) -> Result<()> {
        match &self.upper {
            Some(upper) => upper.root.inode.sb.ops().sync(),
            None => Ok(()),
        }
    }

    fn options(&self) -> String {
        self.options.clone()
    }

    fn revalidate(&self) -> bool {
        self.lowers.iter().any(|layer| layer.root.inode.sb.revalidate())
            || self.upper.as_ref().is_some_and(|layer| layer.root.inode.sb.revalidate())
    }

    fn shutdown(&self) {
        let linked = std::mem::take(&mut *self.linked.lock());
        drop(linked);
    }
}

/// The kind of file system.
pub struct OverlayFs {
    vfs: Weak<Vfs>,
}

impl OverlayFs {
    /// For mount(2) in the sandbox of `vfs`.
    pub fn new(vfs: &Arc<Vfs>) -> Arc<OverlayFs> {
        Arc::new(OverlayFs { vfs: Arc::downgrade(vfs) })
    }
}

impl FileSystemType for OverlayFs {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn allowed_in_user_ns(&self) -> bool {
        true
    }

    fn mount(&self, request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        let vfs = self.vfs.upgrade().ok_or(Errno::ENODEV)?;
        let options = Options::parse(request.options)?;
        let directory = |path: &[u8]| -> Result<Path> {
            lookup(caller, &caller.roots.cwd, path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)
        };
        let upper = match (&options.upper, &options.work) {
            (None, _) => None,
            (Some(_), None) => return Err(Errno::EINVAL),
            (Some(upper), Some(work)) => {
                let (upper, work) = (directory(upper)?, directory(work)?);
                let apart =
                    !work.dentry.is_ancestor_of(&upper.dentry) && !upper.dentry.is_ancestor_of(&work.dentry);
                // An overlay can't keep the whiteouts of another one.
                let nested = upper.mount.sb().downcast::<Overlay>().is_some();
                if !Arc::ptr_eq(&upper.mount, &work.mount) || !apart || nested || upper.mount.is_read_only() {
                    return Err(Errno::EINVAL);
                }
                Some((upper.dentry, layer::work_directory(&work, caller)?))
            }
        };
        let lowers =
            options.lowers.iter().map(|path| Ok(directory(path)?.dentry)).collect::<Result<Vec<_>>>()?;
        if upper.is_none() && lowers.len() < 2 {
            return Err(Errno::EINVAL);
        }
        let layers = Layers {
            upper,
            lowers,
            redirects: options.redirects,
            user_marks: options.user_marks,
            options: options.shown(),
        };
        new_root(layers, &vfs, caller.creds)
    }
}
