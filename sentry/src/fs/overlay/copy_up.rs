//! Copying up: before something of a lower layer changes, the upper layer gets a copy of it, made in the work directory
//! and then moved to its place, so that nobody sees half of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::open::{OpenFlags, RenameFlags};
use abi::stat::S_IALLUGO;

use super::layer::Home;
use super::node::node;
use super::{Key, Overlay, overlay_of};
use crate::Result;
use crate::vfs::attr::FileType;
use crate::vfs::{
    AclChange, AclKind, Attr, BufSink, BufSource, Inode, NewKind, NewNode, RenameEnd, SeekFrom, SetAttr,
    XattrSet,
};

/// Bytes that are copied at once.
const CHUNK: usize = 256 * 1024;

/// The upper inode of `inode`; if it has none, it and the directories above it are copied up first. Of a regular file
/// at most `size` bytes are copied: the rest is about to be cut off.
pub fn copy_up(inode: &Arc<Inode>, size: u64) -> Result<Arc<Inode>> {
    if let Some(upper) = node(inode)?.upper.get() {
        return Ok(Arc::clone(upper));
    }
    overlay_of(&inode.sb)?.upper_layer()?;
    // From the top down, so that each finds its directory there.
    let mut missing = vec![Arc::clone(inode)];
    while let Some(last) = missing.last() {
        let home = node(last)?.home.lock().clone();
        match home {
            Some(home) if node(&home.dir)?.upper.get().is_none() => missing.push(home.dir),
            _ => break,
        }
    }
    while let Some(next) = missing.pop() {
        let size = if missing.is_empty() { size } else { u64::MAX };
        copy_one(&next, size)?;
    }
    node(inode)?.upper.get().cloned().ok_or(Errno::EIO)
}

fn copy_one(inode: &Arc<Inode>, size: u64) -> Result<()> {
    let this = node(inode)?;
    let _copying = this.copying.lock();
    if this.upper.get().is_some() {
        return Ok(());
    }
    let overlay = overlay_of(&inode.sb)?;
    let (layer, lower) = this.lower()?;
    let attr = lower.attr()?;
    let work = overlay.work.as_ref().ok_or(Errno::EROFS)?;
    let name = format!("#{:x}", overlay.next_work.fetch_add(1, Ordering::Relaxed)).into_bytes();
    let copy = make(overlay, work, &name, lower, &attr)?;
    let filled = fill(overlay, (*layer, lower), &copy, &attr, size);
    if let Err(errno) = filled {
        discard(work, &name, &copy);
        return Err(errno);
    }
    if !inode.is_dir() {
        // Whoever finds the copy from now on finds this inode, with the number it has.
        overlay.shown.lock().insert(copy.ino, inode.ino);
        overlay.register(Key::Upper(copy.ino), inode);
    }
    let mut home = this.home.lock().clone();
    let placed = loop {
        let placed = match &home {
            Some(home) => place(overlay, work, &name, &copy, home),
            // It has no name any more: it is open, and the copy lives as long.
            None => {
                discard(work, &name, &copy);
                Ok(())
            }
        };
        // Another thread may take the name away or move it meanwhile.
        let now = this.home.lock().clone();
        if placed != Err(Errno::ESTALE) || now == home {
            break placed;
        }
        home = now;
    };
    if let Err(errno) = placed {
        discard(work, &name, &copy);
        overlay.shown.lock().remove(&copy.ino);
        return Err(errno);
    }
    let removed = this.other_names.load(Ordering::Relaxed);
    let links = i32::try_from(attr.nlink).unwrap_or(i32::MAX);
    let others = links.saturating_add(removed).saturating_sub(i32::from(home.is_some()));
    if !inode.is_dir() {
        this.other_names.store(others, Ordering::Relaxed);
        if others > 0 {
            overlay.linked.lock().insert(Key::Lower(*layer, lower.ino), Arc::clone(inode));
        }
    }
    // Only one thread comes here for an inode.
    let _ = this.upper.set(copy);
    Ok(())
}

/// Makes an empty copy of `lower` in the work directory.
fn make(
    overlay: &Overlay,
    work: &Arc<Inode>,
    name: &[u8],
    lower: &Arc<Inode>,
    attr: &Attr,
) -> Result<Arc<Inode>> {
    let target;
    let kind = match lower.kind {
        FileType::Regular => NewKind::Regular,
        FileType::Directory => NewKind::Directory,
        FileType::Symlink => {
            target = lower.ops().read_link(lower, &overlay.caller())?;
            NewKind::Symlink(&target)
        }
        FileType::Fifo => NewKind::Fifo,
        FileType::Socket => NewKind::Socket,
        FileType::CharDevice => NewKind::CharDevice(lower.rdev()),
        FileType::BlockDevice => NewKind::BlockDevice(lower.rdev()),
    };
    let node = NewNode { kind, permissions: attr.mode & S_IALLUGO, umask: 0, uid: attr.uid, gid: attr.gid };
    let _lock = work.lock();
    let made = work.ops().create(work, name, &node)?;
    work.entries_changed();
    Ok(made)
}

/// Copies contents, extended attributes, access control lists and times.
fn fill(
    overlay: &Overlay,
    (layer, lower): (u16, &Arc<Inode>),
    copy: &Arc<Inode>,
    attr: &Attr,
    size: u64,
) -> Result<()> {
    if lower.is_regular() {
        copy_contents(overlay, layer, lower, copy, attr.size.min(size))?;
    }
    for name in lower.ops().list_xattr(lower).unwrap_or_default() {
        if overlay.marks.is_own(&name) || AclKind::of_name(&name).is_some() {
            continue;
        }
        let value = match lower.ops().get_xattr(lower, &name) {
            Ok(value) => value,
            // Gone meanwhile, or not for us.
            Err(_) => continue,
        };
        match copy.ops().set_xattr(copy, &name, &value, XattrSet::Any) {
            // The upper layer can't keep it: then the copy is without.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EPERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    copy_acls(lower, copy)?;
    let change = SetAttr {
        permissions: (!lower.is_symlink()).then_some(attr.mode & S_IALLUGO),
        uid: Some(attr.uid),
        gid: Some(attr.gid),
        atime: Some(attr.atime),
        mtime: Some(attr.mtime),
        ..SetAttr::default()
    };
    copy.ops().set_attr(copy, &change)
}

fn copy_acls(lower: &Arc<Inode>, copy: &Arc<Inode>) -> Result<()> {
    for kind in AclKind::ALL {
        if kind == AclKind::Default && !lower.is_dir() {
            continue;
        }
        let Some(acl) = lower.acl(kind)? else { continue };
        match copy.ops().set_acl(copy, &AclChange { kind, acl: Some(acl), keeps_set_gid: true }) {
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EPERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn copy_contents(overlay: &Overlay, layer: u16, from: &Arc<Inode>, to: &Arc<Inode>, size: u64) -> Result<()> {
    if size == 0 {
        return Ok(());
    }
    let from = overlay.lowers.get(usize::from(layer)).ok_or(Errno::ESTALE)?.open(
        overlay,
        from,
        OpenFlags::empty(),
    )?;
    let to_file = overlay.upper_layer()?.open(overlay, to, OpenFlags::WRONLY)?;
    let mut buffer = vec![0; CHUNK.min(size as usize)];
    let mut at = 0;
    while at < size {
        // Holes stay holes, where the lower file system tells of them.
        let data = match from.ops().seek(&from, at, SeekFrom::Data(at as i64)) {
            Ok(data) => data.max(at),
            Err(Errno::ENXIO) => break,
            Err(_) => at,
        };
        if data >= size {
            break;
        }
        at = data;
        let len = buffer.len().min((size - at) as usize);
        let read = from.ops().read(&from, &mut BufSink::new(&mut buffer[..len]), at)?;
        if read == 0 {
            break;
        }
        let mut done = 0;
        while done < read {
            let mut offset = at + done as u64;
            match to_file.ops().write(&to_file, &mut BufSource::new(&buffer[done..read]), &mut offset)? {
                0 => return Err(Errno::ENOSPC),
                wrote => done += wrote,
            }
        }
        at += read as u64;
    }
    // A hole at the end.
    if to.attr()?.size < size {
        to.ops().set_attr(to, &SetAttr { size: Some(size), ..SetAttr::default() })?;
    }
    Ok(())
}

/// Moves the copy from the work directory to where `home` says.
fn place(overlay: &Overlay, work: &Arc<Inode>, name: &[u8], copy: &Arc<Inode>, home: &Home) -> Result<()> {
    let dir = node(&home.dir)?.upper.get().cloned().ok_or(Errno::EIO)?;
    let times = dir.attr()?;
    {
        let _work = work.lock();
        let _dir = dir.lock();
        let caller = overlay.caller();
        if dir.ops().lookup(&dir, home.name.as_bytes(), &caller)?.is_some() {
            // Somebody has taken the name meanwhile.
            return Err(Errno::ESTALE);
        }
        let from = RenameEnd { dir: work, name, inode: Some(copy) };
        let to = RenameEnd { dir: &dir, name: home.name.as_bytes(), inode: None };
        work.ops().rename(from, to, RenameFlags::empty())?;
        work.entries_changed();
        dir.entries_changed();
    }
    // Nobody has changed the directory as far as the guest can see.
    let change = SetAttr { atime: Some(times.atime), mtime: Some(times.mtime), ..SetAttr::default() };
    dir.ops().set_attr(&dir, &change)
}

/// Takes the name of a copy in the work directory away.
fn discard(work: &Arc<Inode>, name: &[u8], copy: &Arc<Inode>) {
    let _lock = work.lock();
    // What can't be removed is left to the end of the overlay.
    let _ =
        if copy.is_dir() { work.ops().rmdir(work, name, copy) } else { work.ops().unlink(work, name, copy) };
    work.entries_changed();
}
