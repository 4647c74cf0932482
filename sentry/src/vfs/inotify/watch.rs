//! Watches on inodes, and telling them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use abi::inotify::InotifyMask;
use smallvec::SmallVec;
use sync::Mutex;

use super::{Event, Instance};
use crate::vfs::dentry::Dentry;
use crate::vfs::inode::Inode;
use crate::vfs::notify::{listener_comes, listener_goes};

/// One watch of one instance.
pub struct Watch {
    pub wd: i32,
    mask: AtomicU32,
    inode: Arc<Inode>,
    instance: Weak<Instance>,
    /// It has been taken off its inode.
    detached: AtomicBool,
}

impl Watch {
    pub fn new(wd: i32, mask: InotifyMask, inode: &Arc<Inode>, instance: &Arc<Instance>) -> Arc<Watch> {
        listener_comes();
        Arc::new(Watch {
            wd,
            mask: AtomicU32::new(mask.bits()),
            inode: Arc::clone(inode),
            instance: Arc::downgrade(instance),
            detached: AtomicBool::new(false),
        })
    }

    pub fn mask(&self) -> InotifyMask {
        InotifyMask::from_bits_retain(self.mask.load(Ordering::Relaxed))
    }

    pub fn set_mask(&self, mask: InotifyMask) {
        self.mask.store(mask.bits(), Ordering::Relaxed);
    }

    pub fn inode(&self) -> &Arc<Inode> {
        &self.inode
    }

    /// Takes it off its inode.
    pub fn detach(&self) {
        if !self.detached.swap(true, Ordering::AcqRel) {
            listener_goes();
            self.inode.watches().remove(self);
        }
    }
}

/// The watches of one inode.
#[derive(Default)]
pub struct Watches {
    /// All that any of them wants, to skip the lock.
    wanted: AtomicU32,
    list: Mutex<Vec<Arc<Watch>>, sync::levels::Leaf>,
}

impl Watches {
    pub(super) fn of(&self, instance: &Arc<Instance>) -> Option<Arc<Watch>> {
        let list = self.list.lock();
        list.iter().find(|watch| std::ptr::eq(watch.instance.as_ptr(), Arc::as_ptr(instance))).cloned()
    }

    pub(super) fn add(&self, watch: &Arc<Watch>) {
        self.list.lock().push(Arc::clone(watch));
        self.update();
    }

    /// The mask of a watch has changed.
    pub(super) fn update(&self) {
        let list = self.list.lock();
        let wanted = list.iter().fold(0, |all, watch| all | watch.mask().bits());
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    fn remove(&self, watch: &Watch) {
        let removed = {
            let mut list = self.list.lock();
            let at = list.iter().position(|other| std::ptr::eq(Arc::as_ptr(other), watch));
            at.map(|at| list.swap_remove(at))
        };
        self.update();
        // The caller has another reference.
        drop(removed);
    }

    fn wants(&self, events: InotifyMask) -> bool {
        self.wanted.load(Ordering::Relaxed) & events.bits() != 0
    }
}

/// What happens to a file is told to those who watch the file and to those who watch the directory it is in.
pub fn notify(dentry: &Dentry, events: InotifyMask) {
    let is_dir = dentry.inode.is_dir();
    let unlinked = dentry.is_unlinked();
    let above = dentry.with_place(|parent, name| {
        let parent = parent?;
        let watched = parent.inode.watches_if_any()?.wants(events);
        watched.then(|| (Arc::clone(parent), Arc::<[u8]>::from(name)))
    });
    if let Some((parent, name)) = above {
        let excluded = if unlinked { InotifyMask::EXCL_UNLINK } else { InotifyMask::empty() };
        tell(&parent.inode, events, is_dir, 0, Some(&name), excluded);
    }
    tell(&dentry.inode, events, is_dir, 0, None, InotifyMask::empty());
}

/// Something that only those who watch the file itself are told.
pub fn notify_inode(inode: &Arc<Inode>, events: InotifyMask) {
    tell(inode, events, inode.is_dir(), 0, None, InotifyMask::empty());
}

/// A name in `dir` has come or gone; `is_dir`: it is that of a directory.
pub fn notify_entry(dir: &Arc<Inode>, name: &[u8], is_dir: bool, events: InotifyMask) {
    if dir.watches_if_any().is_some_and(|watches| watches.wants(events)) {
        tell(dir, events, is_dir, 0, Some(&name.into()), InotifyMask::empty());
    }
}

/// `inode` has been moved from one name to another; that it has moved is told by the caller.
pub fn notify_moved(from: (&Arc<Inode>, &[u8]), to: (&Arc<Inode>, &[u8]), inode: &Arc<Inode>) {
    static COOKIE: AtomicU32 = AtomicU32::new(1);
    let cookie = COOKIE.fetch_add(1, Ordering::Relaxed);
    let is_dir = inode.is_dir();
    let none = InotifyMask::empty();
    tell(from.0, InotifyMask::MOVED_FROM, is_dir, cookie, Some(&from.1.into()), none);
    tell(to.0, InotifyMask::MOVED_TO, is_dir, cookie, Some(&to.1.into()), none);
}

/// The last name of a file has gone, and nobody has it open: its watches end.
pub fn gone(inode: &Arc<Inode>) {
    if inode.watches_if_any().is_none() {
        return;
    }
    tell(inode, InotifyMask::DELETE_SELF, inode.is_dir(), 0, None, InotifyMask::empty());
    end_all(inode);
}

fn end_all(inode: &Arc<Inode>) {
    let Some(watches) = inode.watches_if_any() else { return };
    let all: Vec<Arc<Watch>> = watches.list.lock().clone();
    for watch in all {
        if let Some(instance) = watch.instance.upgrade() {
            instance.remove(&watch);
        }
    }
}

fn tell(
    inode: &Arc<Inode>,
    events: InotifyMask,
    is_dir: bool,
    cookie: u32,
    name: Option<&Arc<[u8]>>,
    excluded: InotifyMask,
) {
    let Some(watches) = inode.watches_if_any().filter(|watches| watches.wants(events)) else { return };
    let interested: SmallVec<[Arc<Watch>; 4]> = {
        let list = watches.list.lock();
        let wants =
            |watch: &&Arc<Watch>| watch.mask().intersects(events) && !watch.mask().intersects(excluded);
        list.iter().filter(wants).cloned().collect()
    };
    for watch in interested {
        let Some(instance) = watch.instance.upgrade() else { continue };
        let mut mask = events & watch.mask();
        // What happens to a watched directory itself is told without the mark, as on Linux, but for what ends it.
        let self_events = InotifyMask::DELETE_SELF | InotifyMask::MOVE_SELF;
        if is_dir && !events.intersects(self_events) {
            mask |= InotifyMask::ISDIR;
        }
        instance.tell(Event { wd: watch.wd, mask, cookie, name: name.cloned() });
        if watch.mask().contains(InotifyMask::ONESHOT) {
            instance.remove(&watch);
        }
    }
}
