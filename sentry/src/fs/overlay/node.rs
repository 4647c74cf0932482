//! Inodes of an overlay.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::open::{O_ACCMODE, O_RDONLY, OpenFlags, RenameFlags};
use once_cell::race::OnceBox;
use smallvec::SmallVec;
use sync::{Mutex, SleepMutex};

use super::layer::Home;
use super::{Key, Overlay, overlay_of};
use crate::Result;
use crate::vfs::{
    Acl, AclChange, AclKind, Attr, Caller, FileOps, Inode, InodeOps, Link, LookupRun, NewNode, Peeked,
    RenameEnd, SetAttr, SuperBlock, XattrSet,
};

/// Lower inodes, each with its layer: of a directory all that are merged, of another file the one it is; the uppermost first.
pub(super) type Lowers = SmallVec<[(u16, Arc<Inode>); 1]>;

/// An inode of an overlay: what the layers have under one name.
pub(super) struct OverlayNode {
    /// Set when it is in the upper layer, or has been copied there.
    pub upper: OnceLock<Arc<Inode>>,
    below: OnceBox<Below>,
    /// A name of it, and where; changes with rename(2), and is lost with unlink(2).
    pub home: Mutex<Option<Home>, sync::levels::Leaf>,
    /// Held while it is copied up.
    pub copying: SleepMutex<()>,
    /// Names that only a lower layer has, beside those of the upper inode; or, before it is copied up, minus those that
    /// were taken away.
    pub other_names: AtomicI32,
    /// A directory that was taken away.
    pub dead: AtomicBool,
    /// The layer that has it under the name of its [`home`](Self::home), as long as it has not been needed: nothing is in
    /// `below` then. Its directory there knows its attributes. [`MADE`] when it was not found like that.
    listed_in: u16,
}

/// What the lower layers have.
struct Below {
    lowers: Lowers,
    /// Of a directory: the path of its lower directories, where that is not the one of its name.
    redirect: Mutex<Option<Redirect>, sync::levels::Leaf>,
}

/// In place of a layer: there are no more than 500.
const MADE: u16 = u16::MAX;

/// A name, for who needs it without the lock that it is under.
type NameBytes = SmallVec<[u8; 64]>;

/// The path of lower directories.
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
            below: OnceBox::new(),
            home: Mutex::new(home),
            copying: SleepMutex::new(()),
            other_names: AtomicI32::new(0),
            dead: AtomicBool::new(false),
            listed_in: MADE,
        };
        if !lowers.is_empty() || redirect.is_some() {
            // A new one is empty.
            let _ = node.below.set(Box::new(Below { lowers, redirect: Mutex::new(redirect) }));
        }
        let inode = Inode::new(sb, &attr, Box::new(node));
        Ok(overlay.register(key, &inode))
    }

    /// The inode of the overlay for what only `layer` has under the name that `home` says, with these attributes there. That
    /// layer's own inode is not made before it is needed.
    pub fn listed(
        sb: &Arc<SuperBlock>,
        overlay: &Overlay,
        layer: u16,
        attr: &Attr,
        home: Home,
    ) -> Arc<Inode> {
        let key = Key::Lower(layer, attr.ino);
        let node = OverlayNode {
            upper: OnceLock::new(),
            below: OnceBox::new(),
            home: Mutex::new(Some(home)),
            copying: SleepMutex::new(()),
            other_names: AtomicI32::new(0),
            dead: AtomicBool::new(false),
            listed_in: layer,
        };
        let attr = Attr { ino: overlay.number(key), ..*attr };
        overlay.register(key, &Inode::new(sb, &attr, Box::new(node)))
    }

    /// What the lower layers have, as far as it was needed so far; of a directory all.
    pub fn lowers(&self) -> &[(u16, Arc<Inode>)] {
        self.below.get().map_or(&[], |below| &below.lowers)
    }

    /// See [`Redirect`].
    pub fn redirect(&self) -> Option<Redirect> {
        self.below.get()?.redirect.lock().clone()
    }

    /// Sets [`redirect`](Self::redirect) of a directory that has lower ones.
    pub fn set_redirect(&self, path: Redirect) {
        if let Some(below) = self.below.get() {
            let old = below.redirect.lock().replace(path);
            drop(old);
        }
    }

    /// The uppermost of the lower layers that have it, and its inode there.
    pub fn lower(&self) -> Result<&(u16, Arc<Inode>)> {
        if self.lowers().is_empty() && self.listed_in != MADE {
            self.find_lower()?;
        }
        self.lowers().first().ok_or(Errno::ESTALE)
    }

    /// Has the layer make the inode of what was only listed.
    fn find_lower(&self) -> Result<()> {
        let (home, name) = self.home_now().ok_or(Errno::ESTALE)?;
        let overlay = overlay_of(&home.sb)?;
        let dir = node(&home)?.lower_of(self.listed_in)?;
        let found = dir.ops().lookup(dir, &name, &overlay.caller())?.ok_or(Errno::ESTALE)?;
        // Nobody but this node stands for it.
        let known = overlay.known(Key::Lower(self.listed_in, found.ino)).ok_or(Errno::ESTALE)?;
        if !node(&known).is_ok_and(|known| std::ptr::eq(known, self)) {
            return Err(Errno::ESTALE);
        }
        let lowers = Lowers::from_buf([(self.listed_in, found)]);
        // Another thread that was faster has found the same.
        let _ = self.below.set(Box::new(Below { lowers, redirect: Mutex::new(None) }));
        Ok(())
    }

    /// Its home, and its name there.
    fn home_now(&self) -> Option<(Arc<Inode>, NameBytes)> {
        let home = self.home.lock();
        let home = home.as_ref()?;
        Some((Arc::clone(&home.dir), NameBytes::from_slice(home.name.as_bytes())))
    }

    /// What `layer` has of this directory.
    fn lower_of(&self, layer: u16) -> Result<&Arc<Inode>> {
        let lower = self.lowers().iter().find(|(of, _)| *of == layer);
        lower.map(|(_, inode)| inode).ok_or(Errno::ESTALE)
    }

    /// The attributes of what is shown.
    fn real_attr(&self) -> Result<Attr> {
        if self.listed_in != MADE
            && self.lowers().is_empty()
            && let Some((home, name)) = self.home_now()
        {
            let dir = node(&home)?.lower_of(self.listed_in)?;
            if let Peeked::There(attr) = dir.ops().peek(dir, &name) {
                return Ok(attr);
            }
        }
        self.real()?.attr()
    }

    /// What is shown: the upper inode, or the uppermost lower one.
    pub fn real(&self) -> Result<&Arc<Inode>> {
        match self.upper.get() {
            Some(upper) => Ok(upper),
            None => Ok(&self.lower()?.1),
        }
    }

    /// Whether a directory is merged of several.
    pub fn is_merged(&self) -> bool {
        self.lowers().len() + usize::from(self.upper.get().is_some()) > 1
    }

    fn upper_now(&self, inode: &Arc<Inode>) -> Result<Arc<Inode>> {
        super::copy_up::copy_up(inode, u64::MAX)
    }
}

/// What an inode goes by that has one in a lower layer.
fn lower_key(lowers: &[(u16, Arc<Inode>)]) -> Option<Key> {
    lowers.first().map(|(layer, inode)| Key::Lower(*layer, inode.ino))
}

/// The overlay part of an inode.
pub(super) fn node(inode: &Inode) -> Result<&OverlayNode> {
    inode.downcast::<OverlayNode>().ok_or(Errno::EXDEV)
}

impl InodeOps for OverlayNode {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        let mut attr = self.real_attr()?;
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
            let links = i64::from(attr.nlink) + i64::from(self.other_names.load(Ordering::Relaxed));
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
        let listed = || (self.listed_in != MADE).then(|| overlay.listed_key(self.listed_in, inode.ino));
        if let Some(key) = lower_key(self.lowers()).or_else(listed) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_small() {
        // With what malloc adds it takes 80 bytes.
        assert_eq!(size_of::<OverlayNode>(), 72);
    }
}
