//! Telling those who watch files what happens to them: inotify(7), fanotify(7), fcntl(F_NOTIFY).
//!
//! The VFS calls these for each change, once it is made; while nobody watches anything that costs one look at a counter.
//! What is done through a file that was opened to show an event ([`File::is_silent`]) is told nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use abi::fanotify::FanMask as Events;
use abi::inotify::InotifyMask;

use super::dentry::Dentry;
use super::dnotify;
use super::fanotify::{self, Happening};
use super::file::File;
use super::inode::Inode;
use super::inotify;
use super::path::Path;
use crate::Result;

/// Watches and marks in the whole sandbox.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);

/// Somebody listens to something more.
pub(super) fn listener_comes() {
    LISTENERS.fetch_add(1, Ordering::Release);
}

/// Takes [`listener_comes`] back.
pub(super) fn listener_goes() {
    LISTENERS.fetch_sub(1, Ordering::Release);
}

fn is_quiet() -> bool {
    LISTENERS.load(Ordering::Relaxed) == 0
}

/// One side of a rename: a directory and a name in it.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub dir: &'a Arc<Dentry>,
    pub name: &'a [u8],
}

/// Something was done through an open file.
pub fn notify_file(file: &File, events: Events) {
    if !is_quiet() && !file.is_silent() {
        tell(&file.path.dentry, Some(&file.path), events);
    }
}

/// What is at `place` is opened.
pub(super) fn notify_path(place: &Path, events: Events) {
    if !is_quiet() {
        tell(&place.dentry, Some(place), events);
    }
}

/// A file has changed, by whatever name.
pub(super) fn notify(dentry: &Arc<Dentry>, events: Events) {
    if !is_quiet() {
        tell(dentry, None, events);
    }
}

#[cold]
fn tell(dentry: &Arc<Dentry>, path: Option<&Path>, events: Events) {
    inotify::notify(dentry, as_inotify(events));
    fanotify::tell_with_parent(dentry, path, events);
    if let Some(parent) = dentry.parent() {
        dnotify::notify(&parent.inode, events);
    }
    if dentry.inode.is_dir() {
        dnotify::notify(&dentry.inode, events);
    }
}

/// Something that only those who watch the file itself are told.
pub(super) fn notify_inode(inode: &Arc<Inode>, events: Events) {
    if is_quiet() {
        return;
    }
    inotify::notify_inode(inode, as_inotify(events));
    fanotify::tell(&Happening::of_inode(inode, events));
}

/// A name in `dir` has come or gone; it is, or was, that of `inode`.
pub(super) fn notify_entry(entry: Entry<'_>, inode: &Arc<Inode>, events: Events) {
    if is_quiet() {
        return;
    }
    inotify::notify_entry(&entry.dir.inode, entry.name, inode.is_dir(), as_inotify(events));
    fanotify::tell(&Happening::of_entry(entry, inode, events));
    dnotify::notify(&entry.dir.inode, events);
}

/// `inode` has been moved from one name to another. `replaced` had that before.
pub(super) fn notify_moved(
    from: Entry<'_>,
    to: Entry<'_>,
    inode: &Arc<Inode>,
    replaced: Option<&Arc<Inode>>,
) {
    if is_quiet() {
        return;
    }
    fanotify::tell(&Happening { moved_to: Some(to), ..Happening::of_entry(from, inode, Events::RENAME) });
    inotify::notify_moved((&from.dir.inode, from.name), (&to.dir.inode, to.name), inode);
    fanotify::tell(&Happening::of_entry(from, inode, Events::MOVED_FROM));
    fanotify::tell(&Happening::of_entry(to, inode, Events::MOVED_TO));
    if Arc::ptr_eq(&from.dir.inode, &to.dir.inode) {
        dnotify::notify(&from.dir.inode, Events::RENAME);
    }
    dnotify::notify(&from.dir.inode, Events::MOVED_FROM);
    dnotify::notify(&to.dir.inode, Events::MOVED_TO);
    if let Some(replaced) = replaced {
        notify_inode(replaced, Events::ATTRIB);
    }
    inotify::notify_inode(inode, InotifyMask::MOVE_SELF);
    fanotify::tell(&Happening::of_inode(inode, Events::MOVE_SELF));
}

/// The last name of a file has gone, and nobody has it open: who watches it is told, and stops.
pub(super) fn gone(inode: &Arc<Inode>) {
    if is_quiet() {
        return;
    }
    inotify::gone(inode);
    fanotify::gone(inode);
}

/// Whether somebody has to be told when the last name of `inode` has gone and nobody uses it.
pub(super) fn cares_for_the_end_of(inode: &Inode) -> bool {
    !is_quiet() && (inode.watches_if_any().is_some() || fanotify::cares_for_the_end_of(inode))
}

/// What is at `place` is about to be opened: those who are asked for permission may refuse (EPERM). `exec`: as a program.
/// May wait, so no levelled lock may be held.
pub(super) fn ask_to_open(place: &Path, exec: bool) -> Result<()> {
    if is_quiet() {
        return Ok(());
    }
    if exec {
        fanotify::ask(place, Events::OPEN_EXEC_PERM)?;
    }
    fanotify::ask(place, Events::OPEN_PERM)
}

/// An open file is about to be read; as [`ask_to_open`].
pub fn ask_to_read(file: &File) -> Result<()> {
    if is_quiet() || file.is_silent() {
        return Ok(());
    }
    fanotify::ask(&file.path, Events::ACCESS_PERM)
}

fn as_inotify(events: Events) -> InotifyMask {
    InotifyMask::from_bits_truncate(events.bits() as u32 & abi::inotify::IN_ALL_EVENTS)
}
