//! Marks: what a group listens to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::fanotify::{FanInit, FanMark, FanMask};
use smallvec::SmallVec;
use sync::Mutex;

use super::{Change, Group, MAX_USER_MARKS};
use crate::Result;
use crate::vfs::inode::Inode;
use crate::vfs::mount::Mount;
use crate::vfs::notify::{listener_comes, listener_goes};
use crate::vfs::super_block::SuperBlock;

/// Flags of a mark that stay once they are set.
const LASTING: FanMark = FanMark::IGNORED_SURV_MODIFY.union(FanMark::EVICTABLE).union(FanMark::IGNORE);

/// Bits of a mask that are no events.
pub(super) const NO_EVENTS: FanMask = FanMask::ONDIR.union(FanMask::EVENT_ON_CHILD);

/// What a mark is on. Inodes are held, mounts and file systems end with their last user as without a mark.
pub enum Object {
    /// A file.
    Inode(Arc<Inode>),
    /// What is done through a mount.
    Mount(Weak<Mount>),
    /// A whole file system.
    FileSystem(Weak<SuperBlock>),
}

/// Kinds of [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file.
    Inode,
    /// A mount.
    Mount,
    /// A file system.
    FileSystem,
}

type Key = (Kind, usize);

impl Object {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Object::Inode(_) => Kind::Inode,
            Object::Mount(_) => Kind::Mount,
            Object::FileSystem(_) => Kind::FileSystem,
        }
    }

    /// Unique while there is a reference of either kind.
    fn key(&self) -> Key {
        let address = match self {
            Object::Inode(inode) => Arc::as_ptr(inode) as usize,
            Object::Mount(mount) => mount.as_ptr() as usize,
            Object::FileSystem(sb) => sb.as_ptr() as usize,
        };
        (self.kind(), address)
    }

    /// Looks at the marks of the object, if it still is there.
    fn with_marks<R>(&self, look: impl FnOnce(&Marks) -> R) -> Option<R> {
        match self {
            Object::Inode(inode) => Some(look(inode.marks())),
            Object::Mount(mount) => mount.upgrade().map(|mount| look(mount.marks())),
            Object::FileSystem(sb) => sb.upgrade().map(|sb| look(sb.marks())),
        }
    }
}

/// One mark of one group.
pub struct Mark {
    pub(super) object: Object,
    pub(super) group: Weak<Group>,
    /// Marks of a group are counted in the order in which they were made.
    number: u64,
    mask: AtomicU32,
    ignored: AtomicU32,
    flags: AtomicU32,
    detached: AtomicBool,
}

/// What a mark says at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub mask: FanMask,
    pub ignored: FanMask,
    pub flags: FanMark,
}

impl State {
    /// What is to be ignored, and to what that applies.
    pub fn ignores(&self) -> FanMask {
        if self.flags.contains(FanMark::IGNORE) {
            return self.ignored;
        }
        // As it was before FAN_MARK_IGNORE: directories always, children as the mark watches them.
        (self.ignored - FanMask::EVENT_ON_CHILD) | FanMask::ONDIR | (self.mask & FanMask::EVENT_ON_CHILD)
    }

    /// What its object has to look out for.
    fn wanted(&self) -> FanMask {
        if self.ignored.difference(NO_EVENTS).is_empty() {
            return self.mask;
        }
        // A change may end the ignoring.
        let forgets = !self.flags.contains(FanMark::IGNORED_SURV_MODIFY);
        let modify = if forgets { FanMask::MODIFY } else { FanMask::empty() };
        self.mask | self.ignores() | modify
    }
}

fn mask_of(bits: &AtomicU32) -> FanMask {
    FanMask::from_bits_retain(u64::from(bits.load(Ordering::Relaxed)))
}

impl Mark {
    pub(super) fn state(&self) -> State {
        State {
            mask: mask_of(&self.mask),
            ignored: mask_of(&self.ignored),
            flags: FanMark::from_bits_retain(self.flags.load(Ordering::Relaxed)),
        }
    }

    /// The file has changed: what it was ignored for counts no more, unless that was to survive.
    pub(super) fn changed(&self) {
        if !self.state().flags.contains(FanMark::IGNORED_SURV_MODIFY) {
            self.ignored.store(0, Ordering::Relaxed);
        }
    }

    fn slot(&self, flags: FanMark) -> &AtomicU32 {
        if flags.intersects(FanMark::IGNORED_MASK | FanMark::IGNORE) { &self.ignored } else { &self.mask }
    }

    /// FAN_MARK_ADD to a mark that is there: EEXIST for a way of ignoring that it can't go back to.
    fn may_add(&self, flags: FanMark) -> Result<()> {
        let has = self.state().flags;
        let to_evictable = flags.contains(FanMark::EVICTABLE) && !has.contains(FanMark::EVICTABLE);
        let to_old_ignoring = flags.contains(FanMark::IGNORED_MASK) && has.contains(FanMark::IGNORE);
        let to_forget = flags.contains(FanMark::IGNORE)
            && !flags.contains(FanMark::IGNORED_SURV_MODIFY)
            && has.contains(FanMark::IGNORED_SURV_MODIFY);
        if to_evictable || to_old_ignoring || to_forget { Err(Errno::EEXIST) } else { Ok(()) }
    }

    fn add(&self, change: &Change) {
        self.slot(change.flags).fetch_or(change.mask.bits() as u32, Ordering::Relaxed);
        let mut lasting = change.flags & LASTING;
        if !change.flags.intersects(FanMark::IGNORED_MASK | FanMark::IGNORE) {
            lasting -= FanMark::IGNORED_SURV_MODIFY;
        }
        self.flags.fetch_or(lasting.bits(), Ordering::Relaxed);
        if !change.flags.contains(FanMark::EVICTABLE) {
            self.flags.fetch_and(!FanMark::EVICTABLE.bits(), Ordering::Relaxed);
        }
    }

    /// Takes it off its object.
    fn detach(&self) {
        if !self.detached.swap(true, Ordering::AcqRel) {
            listener_goes();
            self.object.with_marks(|marks| marks.remove(self));
        }
    }
}

/// The marks of one object.
#[derive(Default)]
pub struct Marks {
    /// All that any of them looks out for, to skip the lock.
    wanted: AtomicU32,
    list: Mutex<Vec<Arc<Mark>>, sync::levels::Leaf>,
}

/// The marks of an object at one moment.
pub(super) type Snapshot = SmallVec<[Arc<Mark>; 4]>;

impl Marks {
    /// Whether any of them may be for one of `events`.
    pub(super) fn wants(&self, events: FanMask) -> bool {
        mask_of(&self.wanted).intersects(events)
    }

    /// Whether any of them may be for one of `events` that happens to a file in the directory.
    pub(super) fn wants_of_children(&self, events: FanMask) -> bool {
        self.wants(FanMask::EVENT_ON_CHILD) && self.wants(events)
    }

    pub(super) fn all(&self) -> Snapshot {
        self.list.lock().iter().cloned().collect()
    }

    fn add(&self, mark: &Arc<Mark>) {
        self.list.lock().push(Arc::clone(mark));
        self.update();
    }

    fn update(&self) {
        let list = self.list.lock();
        let wanted = list.iter().fold(FanMask::empty(), |all, mark| all | mark.state().wanted());
        self.wanted.store(wanted.bits() as u32, Ordering::Relaxed);
    }

    fn remove(&self, mark: &Mark) {
        let removed = {
            let mut list = self.list.lock();
            let at = list.iter().position(|other| std::ptr::eq(Arc::as_ptr(other), mark));
            at.map(|at| list.remove(at))
        };
        self.update();
        // The caller has another reference.
        drop(removed);
    }

    /// The object goes: so do its marks.
    pub(in crate::vfs) fn end_all(&self) {
        let all = std::mem::take(&mut *self.list.lock());
        for mark in all {
            if let Some(group) = mark.group.upgrade() {
                group.forget(&mark);
            }
        }
    }
}

/// The marks of a group.
#[derive(Default)]
pub(super) struct Table {
    marks: HashMap<Key, Arc<Mark>>,
    next: u64,
}

impl Group {
    pub(super) fn add(self: &Arc<Self>, object: Object, change: &Change) -> Result<()> {
        let mut table = self.marks.lock();
        let key = object.key();
        let mark = match table.marks.get(&key).cloned() {
            Some(mark) => {
                mark.may_add(change.flags)?;
                mark.add(change);
                mark
            }
            None => {
                if self.flags.contains(FanInit::UNLIMITED_MARKS) && table.marks.len() >= MAX_USER_MARKS {
                    return Err(Errno::ENOSPC);
                }
                self.count_mark()?;
                listener_comes();
                let mark = Arc::new(Mark {
                    object,
                    group: Arc::downgrade(self),
                    number: table.next,
                    mask: AtomicU32::new(0),
                    ignored: AtomicU32::new(0),
                    flags: AtomicU32::new((change.flags & FanMark::EVICTABLE).bits()),
                    detached: AtomicBool::new(false),
                });
                table.next += 1;
                mark.add(change);
                mark.object.with_marks(|marks| marks.add(&mark));
                table.marks.insert(key, Arc::clone(&mark));
                mark
            }
        };
        drop(table);
        mark.object.with_marks(Marks::update);
        Ok(())
    }

    pub(super) fn remove_from(&self, object: &Object, change: &Change) -> Result<()> {
        let mark = self.marks.lock().marks.get(&object.key()).cloned().ok_or(Errno::ENOENT)?;
        let taken = (change.mask - change.fixed).bits() as u32;
        mark.slot(change.flags).fetch_and(!taken, Ordering::Relaxed);
        let state = mark.state();
        if ((state.mask | state.ignored) - change.fixed).is_empty() {
            self.forget(&mark);
        } else {
            mark.object.with_marks(Marks::update);
        }
        Ok(())
    }

    /// Ends a mark.
    fn forget(&self, mark: &Arc<Mark>) {
        let removed = self.marks.lock().marks.remove(&mark.object.key());
        if removed.is_some() {
            self.count_off_marks(1);
        }
        mark.detach();
        drop(removed);
    }

    /// Ends all marks on objects of which `which` says so.
    pub(super) fn flush(&self, which: impl Fn(&Object) -> bool) {
        let ended: Vec<Arc<Mark>> = {
            let mut table = self.marks.lock();
            table.marks.extract_if(|_, mark| which(&mark.object)).map(|(_, mark)| mark).collect()
        };
        self.count_off_marks(ended.len());
        ended.iter().for_each(|mark| mark.detach());
    }

    pub(super) fn marks_newest_first(&self) -> Vec<Arc<Mark>> {
        let mut marks: Vec<Arc<Mark>> = self.marks.lock().marks.values().cloned().collect();
        marks.sort_by_key(|mark| std::cmp::Reverse(mark.number));
        marks
    }
}
