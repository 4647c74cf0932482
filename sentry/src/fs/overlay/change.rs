//! Names that come and go in an overlay. The VFS holds the lock of the overlay's directory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;

use super::copy_up::copy_up;
use super::layer::{Home, WHITEOUT, is_whiteout};
use super::lookup::is_below;
use super::node::{Lowers, OverlayNode, node};
use super::{Overlay, overlay_of};
use crate::Result;
use crate::vfs::{Inode, Name, NewKind, NewNode};

/// The upper directory of `dir`, for a change of its entries.
fn upper_dir(dir: &Arc<Inode>) -> Result<Arc<Inode>> {
    if node(dir)?.dead.load(Ordering::Acquire) {
        return Err(Errno::ENOENT);
    }
    copy_up(dir, u64::MAX)
}

/// Takes a whiteout under `name` away, for something that is to be made there; says whether there was one.
pub(super) fn remove_whiteout(overlay: &Overlay, upper: &Arc<Inode>, name: &[u8]) -> Result<bool> {
    match upper.ops().lookup(upper, name, &overlay.caller())? {
        Some(there) if is_whiteout(&there) => {
            upper.ops().unlink(upper, name, &there)?;
            upper.entries_changed();
            Ok(true)
        }
        Some(_) => Err(Errno::EEXIST),
        None => Ok(false),
    }
}

/// Puts a whiteout under `name`.
pub(super) fn make_whiteout(upper: &Arc<Inode>, name: &[u8]) -> Result<()> {
    upper.ops().create(upper, name, &WHITEOUT)?;
    upper.entries_changed();
    Ok(())
}

pub fn create(dir: &Arc<Inode>, name: &[u8], new: &NewNode<'_>) -> Result<Arc<Inode>> {
    let overlay = overlay_of(&dir.sb)?;
    if new.kind == NewKind::CharDevice(0) {
        // It would read as a whiteout.
        return Err(Errno::EPERM);
    }
    let upper = upper_dir(dir)?;
    let made = {
        let _lock = upper.lock();
        let hidden = remove_whiteout(overlay, &upper, name)?;
        let made = upper.ops().create(&upper, name, new).and_then(|made| {
            // What was taken away there before must not shine through.
            if hidden
                && made.is_dir()
                && let Err(errno) = overlay.marks.set_opaque(&made)
            {
                upper.ops().rmdir(&upper, name, &made)?;
                return Err(errno);
            }
            Ok(made)
        });
        upper.entries_changed();
        match made {
            Ok(made) => made,
            Err(errno) => {
                if hidden {
                    make_whiteout(&upper, name)?;
                }
                return Err(errno);
            }
        }
    };
    let home = Home { dir: Arc::clone(dir), name: Name::new(name) };
    OverlayNode::inode(&dir.sb, overlay, Some(made), Lowers::new(), Some(home), None)
}

pub fn create_unnamed(dir: &Arc<Inode>, new: &NewNode<'_>, linkable: bool) -> Result<Arc<Inode>> {
    let overlay = overlay_of(&dir.sb)?;
    let upper = upper_dir(dir)?;
    let made = upper.ops().create_unnamed(&upper, new, linkable)?;
    OverlayNode::inode(&dir.sb, overlay, Some(made), Lowers::new(), None, None)
}

pub fn link(dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
    let overlay = overlay_of(&dir.sb)?;
    let target_upper = copy_up(target, u64::MAX)?;
    let upper = upper_dir(dir)?;
    let _lock = upper.lock();
    let hidden = remove_whiteout(overlay, &upper, name)?;
    let linked = upper.ops().link(&upper, name, &target_upper);
    upper.entries_changed();
    if linked.is_err() && hidden {
        make_whiteout(&upper, name)?;
    }
    if linked.is_ok() {
        let target_node = node(target)?;
        let mut home = target_node.home.lock();
        if home.is_none() {
            *home = Some(Home { dir: Arc::clone(dir), name: Name::new(name) });
        }
    }
    linked
}

/// Gives a file that has been copied up under another of its names the name `name` in the upper layer too.
pub(super) fn ensure_named(
    overlay: &Overlay,
    upper_dir: &Arc<Inode>,
    name: &[u8],
    inode: &Arc<Inode>,
    upper: &Arc<Inode>,
) -> Result<()> {
    let _lock = upper_dir.lock();
    if upper_dir.ops().lookup(upper_dir, name, &overlay.caller())?.is_none() {
        upper_dir.ops().link(upper_dir, name, upper)?;
        upper_dir.entries_changed();
        node(inode)?.other_names.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Takes what the upper layer has under `name` away, and hides what a lower one has.
fn take_away(overlay: &Overlay, dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
    let hides = is_below(overlay, node(dir)?, name)?;
    let upper = upper_dir(dir)?;
    let _lock = upper.lock();
    match upper.ops().lookup(&upper, name, &overlay.caller())? {
        Some(there) if is_whiteout(&there) => return Err(Errno::ENOENT),
        Some(there) if there.is_dir() => {
            clear_whiteouts(overlay, &there)?;
            upper.ops().rmdir(&upper, name, &there)?;
        }
        Some(there) => upper.ops().unlink(&upper, name, &there)?,
        None => {
            // A name that only the lower layer has.
            node(victim)?.other_names.fetch_sub(1, Ordering::Relaxed);
        }
    }
    upper.entries_changed();
    if hides { make_whiteout(&upper, name) } else { Ok(()) }
}

pub fn unlink(dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
    let overlay = overlay_of(&dir.sb)?;
    let victim_node = node(victim)?;
    // Once the name is gone, nothing leads to what a layer has.
    victim_node.real()?;
    // First of all: who copies it up from now on finds no place for it. Under its other names, if it has any, it is
    // found again by lookup.
    let gone = Home { dir: Arc::clone(dir), name: Name::new(name) };
    let was_home = {
        let mut home = victim_node.home.lock();
        let was_home = home.as_ref() == Some(&gone);
        let old = if was_home { home.take() } else { None };
        drop(home);
        drop(old);
        was_home
    };
    if let Err(errno) = take_away(overlay, dir, name, victim) {
        if was_home {
            let replaced = victim_node.home.lock().replace(gone);
            drop(replaced);
        }
        return Err(errno);
    }
    if let Some((layer, lower)) = victim_node.lowers().first() {
        let key = super::Key::Lower(*layer, lower.ino);
        let others = i64::from(victim_node.other_names.load(Ordering::Relaxed));
        let copied = victim_node.upper.get().is_some();
        let left = if copied { others > 0 } else { i64::from(lower.attr()?.nlink) + others > 0 };
        // Its other names must go on meaning this inode, which knows that a name is gone.
        let dropped = if left {
            overlay.linked.lock().insert(key, Arc::clone(victim))
        } else {
            overlay.linked.lock().remove(&key)
        };
        drop(dropped);
    }
    if let Some(upper) = victim_node.upper.get()
        && upper.attr().is_ok_and(|attr| attr.nlink == 0)
    {
        overlay.shown.lock().remove(&upper.ino);
    }
    Ok(())
}

pub fn rmdir(dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
    let overlay = overlay_of(&dir.sb)?;
    check_empty(victim)?;
    take_away(overlay, dir, name, victim)?;
    let victim_node = node(victim)?;
    victim_node.dead.store(true, Ordering::Release);
    Ok(())
}

/// ENOTEMPTY when a directory has anything that the guest can see.
pub(super) fn check_empty(dir: &Arc<Inode>) -> Result<()> {
    if super::dir::list(dir)?.is_empty() { Ok(()) } else { Err(Errno::ENOTEMPTY) }
}

/// Takes the whiteouts out of an upper directory that nothing else is in.
pub(super) fn clear_whiteouts(overlay: &Overlay, upper: &Arc<Inode>) -> Result<()> {
    let layer = overlay.upper_layer()?;
    let entries = super::dir::list_layer(overlay, layer, upper)?;
    let _lock = upper.lock();
    for (name, _, _) in entries {
        if let Some(there) = upper.ops().lookup(upper, name.as_bytes(), &overlay.caller())? {
            if !is_whiteout(&there) {
                return Err(Errno::ENOTEMPTY);
            }
            upper.ops().unlink(upper, name.as_bytes(), &there)?;
        }
    }
    upper.entries_changed();
    Ok(())
}
