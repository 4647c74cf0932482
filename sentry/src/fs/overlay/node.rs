//! Inodes of an overlay.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::open::{O_ACCMODE, O_RDONLY, OpenFlags, RenameFlags};
use smallvec::SmallVec;
use sync::{Mutex, SleepMutex};

use super::layer::Home;
use super::{Key, Overlay, overlay_of};
use crate::Result;
use crate::vfs::{
    Acl, AclChange, AclKind, Attr, Caller, FileOps, Inode, InodeOps, Link, LookupRun, NewNode, Peeked,
    RenameEnd, SetAttr, SuperBlock, XattrSet,
};

/// Lower inodes, each with its layer.
pub(super) type Lowers = SmallVec<[(u16, Arc<Inode>); 1]>;

/// An inode of an overlay: what the layers have under one name.
pub(super) struct OverlayNode {
    /// Set when it is in the upper layer, or has been copied there.
    pub upper: OnceLock<Arc<Inode>>,
    /// Of a directory all that are merged, of another file the one it is; the uppermost first.
    pub lowers: Lowers,
    /// A name of it, and where; changes with rename(2), and is lost with unlink(2).
    pub home: Mutex<Option<Home>, sync::levels::Leaf>,
    /// Of a directory: the path of its lower directories, where that is not the one of its name.
    pub redirect: Mutex<Option<Box<Redirect>>, sync::levels::Leaf>,
    /// Held while it is copied up.
    pub copying: SleepMutex<()>,
    /// Names that only a lower layer has, beside those of the upper inode; or, before it is copied up, minus those that
    /// were taken away.
    pub other_names: AtomicI64,
    /// A directory that was taken away.
    pub dead: AtomicBool,
}

/// The path of lower directories. Few inodes have one, so it is kept apart with its length.
pub(super) type Redirect = Arc<[u8]>;

impl OverlayNode {
    /// The inode of the overlay for these inodes of the layers; the one that is known already, if it is.
    pub fn inode(
        sb: &Arc<SuperBlock>,
        overlay: &Overlay,
        upper: Option<Arc<Inode>>,
        lowers: Lowers,
        home: Option<Home>,
        redirect: Option<Redirect>,
    ) -> Result<Arc<Inode>> {
        let upper_key = upper.as_ref().map(|inode| Key::Upper(inode.ino));
        // A directory that is merged is the same before and after its copying up.
        let key = lower_key(&lowers).or(upper_key).ok_or(Errno::ENOENT)?;
        let real = upper.as_ref().or(lowers.first().map(|(_, inode)| inode)).ok_or(Errno::ENOENT)?;
        // Where names are kept, a file that has one is hardly known already; if it is, that is found at the end, too.
        let hardly_known = !sb.revalidate() && upper.is_none() && !real.is_dir();
        if !hardly_known && let Some(known) = overlay.known(key) {
            if let (Some(upper), Ok(node)) = (upper, node(&known)) {
                // No news, but where it has just been copied up.
                let _ = node.upper.set(upper);
            }
            return Ok(known);
        }
        let mut attr = real.attr()?;
        if hardly_known
            && attr.nlink > 1
            && let Some(known) = overlay.known(key)
        {
            return Ok(known);
        }
        attr.ino = overlay.number(key);
        attr.rdev = real.rdev();
        let slot = OnceLock::new();
        if let Some(upper) = upper {
            // A new lock is empty.
            let _ = slot.set(upper);
        }
        let node = OverlayNode {
            upper: slot,
            lowers,
            home: Mutex::new(home),
            redirect: Mutex::new(redirect.map(Box::new)),
            copying: SleepMutex::new(()),
            other_names: AtomicI64::new(0),
            dead: AtomicBool::new(false),
        };
        let inode = Inode::new(sb, &attr, Box::new(node));
        Ok(overlay.register(key, &inode))
    }

    /// What is shown: the upper inode, or the uppermost lower one.
    pub fn real(&self) -> Result<&Arc<Inode>> {
        self.upper.get().or(self.lowers.first().map(|(_, inode)| inode)).ok_or(Errno::ESTALE)
    }

    /// Whether a directory is merged of several.
    pub fn is_merged(&self) -> bool {
        self.lowers.len() + usize::from(self.upper.get().is_some()) > 1
    }

    fn upper_now(&self, inode: &Arc<Inode>) -> Result<Arc<Inode>> {
        super::copy_up::copy_up(inode, u64::MAX)
    }
}

/// What an inode goes by that has one in a lower layer.
fn lower_key(lowers: &Lowers) -> Option<Key> {
    lowers.first().map(|(layer, inode)| Key::Lower(*layer, inode.ino))
}

/// The overlay part of an inode.
pub(super) fn node(inode: &Inode) -> Result<&OverlayNode> {
    inode.downcast::<OverlayNode>().ok_or(Errno::EXDEV)
}

impl InodeOps for OverlayNode {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        let real = self.real()?;
        let mut attr = real.attr()?;
        attr.ino = inode.ino;
        if inode.is_dir() {
            // As overlayfs does: nobody counts the subdirectories of all layers.
            attr.nlink = if self.dead.load(Ordering::Relaxed) {
                0
            } else if self.is_merged() {
                1
            } else {
                attr.nlink
            };
        } else {
            let links = i64::from(attr.nlink) + self.other_names.load(Ordering::Relaxed);
            attr.nlink = links.clamp(0, i64::from(u32::MAX)) as u32;
        }
        inode.set_owner(attr.mode, attr.uid, attr.gid);
        Ok(attr)
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        let upper = super::copy_up::copy_up(inode, change.size.unwrap_or(u64::MAX))?;
        upper.ops().set_attr(&upper, change)?;
        let (mode, uid, gid) = upper.owner();
        inode.set_owner(mode, uid, gid);
        Ok(())
    }

    fn lookup(&self, dir: &Arc<Inode>, name: &[u8], caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        Ok(self.lookup_run(dir, &[name], caller)?.found.into_iter().next())
    }

    fn lookup_run(&self, dir: &Arc<Inode>, names: &[&[u8]], _caller: &Caller<'_>) -> Result<LookupRun> {
        super::lookup::lookup_run(dir, names)
    }

    fn peek(&self, dir: &Arc<Inode>, name: &[u8]) -> Peeked {
        super::lookup::peek(dir, name)
    }

    fn create(&self, dir: &Arc<Inode>, name: &[u8], node: &NewNode<'_>) -> Result<Arc<Inode>> {
        super::change::create(dir, name, node)
    }

    fn create_unnamed(&self, dir: &Arc<Inode>, node: &NewNode<'_>, linkable: bool) -> Result<Arc<Inode>> {
        super::change::create_unnamed(dir, node, linkable)
    }

    fn link(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        super::change::link(dir, name, target)
    }

    fn unlink(&self, dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
        super::change::unlink(dir, name, victim)
    }

    fn rmdir(&self, dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
        super::change::rmdir(dir, name, victim)
    }

    fn rename(&self, from: RenameEnd<'_>, to: RenameEnd<'_>, flags: RenameFlags) -> Result<()> {
        super::rename::rename(from, to, flags)
    }

    fn read_link(&self, _inode: &Inode, caller: &Caller<'_>) -> Result<Arc<[u8]>> {
        let real = self.real()?;
        real.ops().read_link(real, caller)
    }

    fn follow(&self, _inode: &Inode, caller: &Caller<'_>) -> Result<Link> {
        let real = self.real()?;
        real.ops().follow(real, caller)
    }

    fn open(&self, inode: &Arc<Inode>, flags: OpenFlags, caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        if inode.is_dir() {
            return Ok(Box::new(super::dir::OverlayDirFile::new(Arc::clone(inode))));
        }
        if flags.bits() & O_ACCMODE == O_RDONLY && !flags.contains(OpenFlags::TRUNC) {
            let real = self.real()?;
            let opened = real.ops().open(real, flags, caller)?;
            if self.upper.get().is_some() || !inode.is_regular() || inode.sb.is_read_only() {
                return Ok(opened);
            }
            return Ok(Box::new(super::file::OverlayFile::new(Arc::clone(inode), flags, opened)));
        }
        // What is about to be cut off is not copied.
        let size = if flags.contains(OpenFlags::TRUNC) { 0 } else { u64::MAX };
        let upper = super::copy_up::copy_up(inode, size)?;
        upper.ops().open(&upper, flags, caller)
    }

    fn is_special(&self, _inode: &Inode) -> bool {
        self.real().is_ok_and(|real| real.ops().is_special(real))
    }

    fn keeps_acls(&self) -> bool {
        self.real().is_ok_and(|real| real.ops().keeps_acls())
    }

    fn get_acl(&self, _inode: &Inode, kind: AclKind) -> Result<Option<Arc<Acl>>> {
        self.real()?.acl(kind)
    }

    fn set_acl(&self, inode: &Arc<Inode>, change: &AclChange) -> Result<()> {
        // What is not there is not copied for.
        if change.acl.is_none() && self.real()?.acl(change.kind)?.is_none() {
            return Ok(());
        }
        let upper = self.upper_now(inode)?;
        upper.ops().set_acl(&upper, change)?;
        let (mode, uid, gid) = upper.owner();
        inode.set_owner(mode, uid, gid);
        Ok(())
    }

    fn get_xattr(&self, inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
        let real = self.real()?;
        real.ops().get_xattr(real, &overlay_of(&inode.sb)?.marks.in_layer(name))
    }

    fn set_xattr(&self, inode: &Arc<Inode>, name: &[u8], value: &[u8], mode: XattrSet) -> Result<()> {
        let name = overlay_of(&inode.sb)?.marks.in_layer(name);
        let upper = self.upper_now(inode)?;
        upper.ops().set_xattr(&upper, &name, value, mode)
    }

    fn remove_xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        let name = &overlay_of(&inode.sb)?.marks.in_layer(name);
        // What is not there is not copied for.
        let real = self.real()?;
        real.ops().get_xattr(real, name)?;
        let upper = self.upper_now(inode)?;
        upper.ops().remove_xattr(&upper, name)
    }

    fn list_xattr(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        let real = self.real()?;
        let marks = overlay_of(&inode.sb)?.marks;
        Ok(real.ops().list_xattr(real)?.into_iter().filter_map(|name| marks.in_guest(name)).collect())
    }

    fn evict(&self, inode: &Inode) {
        let Ok(overlay) = overlay_of(&inode.sb) else { return };
        if let Some(key) = lower_key(&self.lowers) {
            overlay.unregister(key);
        }
        if let Some(upper) = self.upper.get() {
            overlay.unregister(Key::Upper(upper.ino));
        }
    }
}

impl Drop for OverlayNode {
    fn drop(&mut self) {
        // A loop, not a recursion: trees may be deeper than any stack.
        let mut above = self.home.get_mut().take().map(|home| home.dir);
        while let Some(dir) = above.and_then(Arc::into_inner) {
            above = match node(&dir) {
                Ok(node) => {
                    let home = node.home.lock().take();
                    home.map(|home| home.dir)
                }
                Err(_) => None,
            };
        }
    }
}
