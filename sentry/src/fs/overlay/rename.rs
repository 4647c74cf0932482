//! rename(2) in an overlay. The VFS holds the locks of both directories of the overlay.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::open::RenameFlags;

use super::change::{check_empty, clear_whiteouts, ensure_named, make_whiteout, remove_whiteout};
use super::copy_up::copy_up;
use super::layer::Home;
use super::lookup::{is_below, lower_path};
use super::node::node;
use super::options::Redirects;
use super::{Overlay, overlay_of};
use crate::Result;
use crate::vfs::{Inode, Name, RenameEnd};

pub fn rename(from: RenameEnd<'_>, to: RenameEnd<'_>, flags: RenameFlags) -> Result<()> {
    let overlay = overlay_of(&from.dir.sb)?;
    let source = from.inode.ok_or(Errno::ENOENT)?;
    if flags.contains(RenameFlags::WHITEOUT) {
        return Err(Errno::EINVAL);
    }
    let exchange = flags.contains(RenameFlags::EXCHANGE);
    may_move(overlay, source)?;
    if exchange && let Some(target) = to.inode {
        may_move(overlay, target)?;
    }
    if let Some(target) = to.inode
        && !exchange
    {
        match target.is_dir() {
            true => check_empty(target)?,
            // Once the name is gone, nothing leads to what a layer has.
            false => drop(node(target)?.real()?),
        }
    }
    let source_upper = copy_up(source, u64::MAX)?;
    let from_hides = is_below(overlay, node(from.dir)?, from.name)?;
    let to_hides = is_below(overlay, node(to.dir)?, to.name)?;
    let from_dir = copy_up(from.dir, u64::MAX)?;
    let to_dir = copy_up(to.dir, u64::MAX)?;
    ensure_named(overlay, &from_dir, from.name, source, &source_upper)?;
    prepare_directory(overlay, source, &source_upper, to_hides)?;
    if exchange {
        let target = to.inode.ok_or(Errno::ENOENT)?;
        let target_upper = copy_up(target, u64::MAX)?;
        ensure_named(overlay, &to_dir, to.name, target, &target_upper)?;
        prepare_directory(overlay, target, &target_upper, from_hides)?;
        move_upper((&from_dir, from.name, &source_upper), (&to_dir, to.name, Some(&target_upper)), flags)?;
        set_home(target, from.dir, from.name)?;
        return set_home(source, to.dir, to.name);
    }
    let target_upper = match to.inode {
        None => {
            let _lock = to_dir.lock();
            remove_whiteout(overlay, &to_dir, to.name)?;
            None
        }
        Some(target) => make_way(overlay, target, &to_dir, to.name)?,
    };
    let moved = move_upper(
        (&from_dir, from.name, &source_upper),
        (&to_dir, to.name, target_upper.as_ref()),
        RenameFlags::empty(),
    );
    if let Err(errno) = moved {
        if to.inode.is_none() && to_hides {
            let _lock = to_dir.lock();
            make_whiteout(&to_dir, to.name)?;
        }
        return Err(errno);
    }
    if let Some(target) = to.inode {
        let target_node = node(target)?;
        if target.is_dir() {
            target_node.dead.store(true, Ordering::Release);
        } else {
            if target_upper.is_none() {
                target_node.other_names.fetch_sub(1, Ordering::Relaxed);
            }
            let old = target_node.home.lock().take();
            drop(old);
        }
    }
    set_home(source, to.dir, to.name)?;
    if from_hides {
        let _lock = from_dir.lock();
        make_whiteout(&from_dir, from.name)?;
    }
    Ok(())
}

/// EXDEV for a directory that a lower layer has, where moving that is not wanted: programs copy it then.
fn may_move(overlay: &Overlay, inode: &Arc<Inode>) -> Result<()> {
    let has_lower = inode.is_dir() && !node(inode)?.lowers().is_empty();
    if has_lower && overlay.redirects != Redirects::Made { Err(Errno::EXDEV) } else { Ok(()) }
}

/// A directory keeps its lower ones when it is moved, and does not get those of its new place.
fn prepare_directory(overlay: &Overlay, dir: &Arc<Inode>, upper: &Arc<Inode>, hides: bool) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    let this = node(dir)?;
    if this.lowers().is_empty() {
        return if hides { overlay.marks.set_opaque(upper) } else { Ok(()) };
    }
    if this.redirect().is_none() {
        let path = lower_path(dir)?;
        overlay.marks.set_redirect(upper, &path)?;
        this.set_redirect(path.into());
    }
    Ok(())
}

/// Makes the upper layer ready for something to replace `target`: what of it is in the way there.
fn make_way(
    overlay: &Overlay,
    target: &Arc<Inode>,
    to_dir: &Arc<Inode>,
    name: &[u8],
) -> Result<Option<Arc<Inode>>> {
    let there = to_dir.ops().lookup(to_dir, name, &overlay.caller())?;
    if let Some(upper) = &there
        && target.is_dir()
    {
        clear_whiteouts(overlay, upper)?;
    }
    Ok(there)
}

fn move_upper(
    (from_dir, from_name, source): (&Arc<Inode>, &[u8], &Arc<Inode>),
    (to_dir, to_name, target): (&Arc<Inode>, &[u8], Option<&Arc<Inode>>),
    flags: RenameFlags,
) -> Result<()> {
    // In the order of numbers: nobody else locks two upper directories but the copying up, which begins with the work
    // directory and never waits for a rename.
    let (first, second) = if from_dir.ino <= to_dir.ino { (from_dir, to_dir) } else { (to_dir, from_dir) };
    let _first = first.lock();
    let _second = if Arc::ptr_eq(first, second) { None } else { Some(second.lock()) };
    let from = RenameEnd { dir: from_dir, name: from_name, inode: Some(source) };
    let to = RenameEnd { dir: to_dir, name: to_name, inode: target };
    from_dir.ops().rename(from, to, flags)?;
    from_dir.entries_changed();
    to_dir.entries_changed();
    Ok(())
}

fn set_home(inode: &Arc<Inode>, dir: &Arc<Inode>, name: &[u8]) -> Result<()> {
    let home = Home { dir: Arc::clone(dir), name: Name::new(name) };
    let old = node(inode)?.home.lock().replace(home);
    drop(old);
    Ok(())
}
