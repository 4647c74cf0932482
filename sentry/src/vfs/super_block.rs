//! Super blocks: mounted file systems, each with its inodes, dentries and device number.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use abi::stat::makedev;
use smallvec::SmallVec;
use sync::{Mutex, SleepMutex};

use super::attr::StatFs;
use super::dentry::Dentry;
use super::fanotify::Marks;
use crate::Result;
use crate::task::{Credentials, UserNamespace};

/// What a file system as a whole does.
pub trait SuperBlockOps: Send + Sync + Any {
    /// Its name in /proc/filesystems and mountinfo.
    fn kind(&self) -> &'static str;

    /// What is behind a dot in the name of its kind: `sshfs` of `fuse.sshfs`.
    fn subtype(&self) -> Option<&str> {
        None
    }

    /// Space and magic number.
    fn statfs(&self) -> Result<StatFs>;

    /// Writes out what is not on its medium yet (syncfs(2)).
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// Super block options as mountinfo shows them, without `rw` and `ro`: `size=1024k,mode=700`.
    fn options(&self) -> String {
        String::new()
    }

    /// mount(2) with `MS_REMOUNT`: new options.
    fn reconfigure(&self, _options: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Directories change without the VFS knowing (see [`InodeOps::revalidate`](super::InodeOps::revalidate)).
    fn revalidate(&self) -> bool {
        false
    }

    /// Whether dentries and inodes that nobody uses may be kept for later lookups. Not where that would hold the room of
    /// files that others remove.
    fn keeps_unused(&self) -> bool {
        true
    }

    /// The last mount is gone and nothing keeps it busy. Cached dentries are gone already.
    fn shutdown(&self) {}
}

/// All file systems, some of which may be gone.
static ALL: Mutex<Vec<Weak<SuperBlock>>, sync::levels::Leaf> = Mutex::new(Vec::new());

/// Lets go of all dentries, of all file systems, that are kept only for speed.
pub fn drop_all_cached() {
    let all: Vec<Arc<SuperBlock>> = ALL.lock().iter().filter_map(Weak::upgrade).collect();
    all.iter().for_each(|sb| sb.drop_cached());
}

/// A mounted file system.
pub struct SuperBlock {
    /// `st_dev` of all its files.
    pub dev: u64,
    ops: Box<dyn SuperBlockOps>,
    read_only: AtomicBool,
    /// The user namespace whose capabilities count for it; nobody's means the first one's.
    owner: OnceLock<Arc<UserNamespace>>,
    /// Files open for writing.
    writers: AtomicUsize,
    revalidate: bool,
    keeps_unused: bool,
    next_ino: AtomicU64,
    /// Mounts that show it.
    active: AtomicUsize,
    cached: Mutex<CachedList, sync::levels::Leaf>,
    /// Held while directories move from one parent to another.
    pub(super) rename: SleepMutex<()>,
    /// File systems whose inodes hold inodes of this one.
    above: Mutex<Vec<Weak<SuperBlock>>, sync::levels::Leaf>,
    /// Marks of fanotify(7), made when the first comes.
    marks: OnceLock<Box<Marks>>,
}

/// Dentries that are kept for later lookups. New ones take the places of those that went, which are looked at in turn: what
/// comes is looked at last.
#[derive(Default)]
struct CachedList {
    slots: Vec<Option<Arc<Dentry>>>,
    free: Vec<u32>,
    /// The next to be looked at.
    hand: usize,
}

/// Dentries kept only for speed, in all file systems together.
static CACHED: AtomicUsize = AtomicUsize::new(0);

/// Bound of [`CACHED`]. One cached dentry is some 500 bytes with its inode.
const CACHED_MAX: usize = 256 * 1024;

/// What each file system may keep however many others there are.
const CACHED_MIN: usize = 64;

static NEXT_DEV: AtomicU64 = AtomicU64::new(16);

impl SuperBlock {
    /// A file system with the next free anonymous device number.
    pub fn new(ops: Box<dyn SuperBlockOps>) -> Arc<SuperBlock> {
        let minor = NEXT_DEV.fetch_add(1, Ordering::Relaxed) as u32;
        Self::with_dev(ops, makedev(0, minor))
    }

    /// A file system with this device number.
    pub fn with_dev(ops: Box<dyn SuperBlockOps>, dev: u64) -> Arc<SuperBlock> {
        let sb = Arc::new(SuperBlock {
            dev,
            revalidate: ops.revalidate(),
            keeps_unused: ops.keeps_unused(),
            ops,
            read_only: AtomicBool::new(false),
            owner: OnceLock::new(),
            writers: AtomicUsize::new(0),
            next_ino: AtomicU64::new(1),
            active: AtomicUsize::new(0),
            cached: Mutex::default(),
            rename: SleepMutex::new(()),
            above: Mutex::default(),
            marks: OnceLock::new(),
        });
        let mut all = ALL.lock();
        if all.len() == all.capacity() {
            all.retain(|sb| sb.strong_count() > 0);
        }
        all.push(Arc::downgrade(&sb));
        drop(all);
        sb
    }

    /// What the file system does.
    pub fn ops(&self) -> &dyn SuperBlockOps {
        &*self.ops
    }

    /// The operations as those of one file system, if they are that.
    pub fn downcast<T: SuperBlockOps>(&self) -> Option<&T> {
        let ops: &dyn Any = &*self.ops;
        ops.downcast_ref()
    }

    /// What statfs(2) and events of fanotify(7) call it.
    pub fn fsid(&self) -> [i32; 2] {
        [self.dev as i32, (self.dev >> 32) as i32]
    }

    /// Name of the kind of file system.
    pub fn kind(&self) -> &'static str {
        self.ops.kind()
    }

    /// Name of the kind, with what is behind the dot: as the tables of mounts show it.
    pub fn full_kind(&self) -> String {
        match self.ops.subtype() {
            Some(subtype) => format!("{}.{subtype}", self.kind()),
            None => self.kind().to_owned(),
        }
    }

    /// A number that no inode of it had before; for file systems that have no numbers of their own.
    pub fn next_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether nothing in it may change.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// Makes it read-only or writable.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::Relaxed);
    }

    /// Whoever has CAP_SYS_ADMIN in `owner` may change its options. Told once.
    pub fn set_owner(&self, owner: &Arc<UserNamespace>) {
        if owner.parent().is_some() {
            let _ = self.owner.set(Arc::clone(owner));
        }
    }

    /// Whether `creds` has the capability `cap` over the file system as a whole.
    pub fn capable(&self, creds: &Credentials, cap: u32) -> bool {
        match self.owner.get() {
            Some(owner) => creds.has_cap_in(cap, owner),
            None => creds.has_cap(cap) && creds.user_ns.parent().is_none(),
        }
    }

    /// New options, and whether it is read-only: EBUSY while files are open for writing.
    pub fn reconfigure(&self, options: &[u8], read_only: bool) -> Result<()> {
        if read_only && !self.is_read_only() && self.writers.load(Ordering::Acquire) != 0 {
            return Err(Errno::EBUSY);
        }
        self.ops.reconfigure(options)?;
        self.set_read_only(read_only);
        Ok(())
    }

    /// A file is opened for writing.
    pub(super) fn writer_comes(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// It is closed.
    pub(super) fn writer_goes(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Its marks of fanotify(7); made on first use.
    pub(super) fn marks(&self) -> &Marks {
        self.marks.get_or_init(Box::default)
    }

    /// Its marks of fanotify(7), if ever there were any.
    pub(super) fn marks_if_any(&self) -> Option<&Marks> {
        self.marks.get().map(|marks| &**marks)
    }

    /// See [`SuperBlockOps::revalidate`].
    pub fn revalidate(&self) -> bool {
        self.revalidate
    }

    /// One more mount shows it.
    pub(super) fn activate(&self) {
        self.active.fetch_add(1, Ordering::AcqRel);
    }

    /// One mount less; the last one empties the cache and shuts it down.
    pub(super) fn deactivate(&self) {
        if self.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.drop_cached();
            if let Some(marks) = self.marks.get() {
                marks.end_all();
            }
            self.ops.shutdown();
        }
    }

    /// Notes that inodes of `other` hold inodes of this one.
    pub fn lies_below(&self, other: &Arc<SuperBlock>) {
        let mut above = self.above.lock();
        above.retain(|sb| sb.strong_count() > 0);
        above.push(Arc::downgrade(other));
    }

    /// Lets go of all dentries that are kept only for speed, those of file systems above too.
    pub fn drop_cached(&self) {
        let above: Vec<Arc<SuperBlock>> = self.above.lock().iter().filter_map(Weak::upgrade).collect();
        above.iter().for_each(|sb| sb.drop_cached());
        let list = std::mem::take(&mut *self.cached.lock());
        // Dropping a dentry locks its parent's table: not under the lock of the list.
        for dentry in list.slots.into_iter().flatten() {
            dentry.let_go();
            CACHED.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Keeps `dentry` for later lookups. Over the bound, others go that were not used since the last round.
    pub(super) fn keep(&self, dentry: &Arc<Dentry>) {
        if !self.keeps_unused {
            return;
        }
        // Any of these may be the last reference: dropped after the lock of the list.
        let mut evicted = Evicted::new();
        let mut list = self.cached.lock();
        if self.active.load(Ordering::Acquire) == 0 || !list.push(dentry) {
            return;
        }
        let total = CACHED.fetch_add(1, Ordering::Relaxed) + 1;
        if total > CACHED_MAX && list.slots.len() - list.free.len() > CACHED_MIN {
            list.evict(&mut evicted);
        }
        drop(list);
    }

    /// The name of `dentry` has gone: nobody looks it up again.
    pub(super) fn forget(&self, dentry: &Arc<Dentry>) {
        let kept = self.cached.lock().remove(dentry);
        drop(kept);
    }
}

/// Dentries that an eviction has let go of.
type Evicted = SmallVec<[Arc<Dentry>; 2]>;

impl CachedList {
    /// Takes `dentry` in; false when it is in already, or has no name.
    fn push(&mut self, dentry: &Arc<Dentry>) -> bool {
        let slot = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        if !dentry.keep(slot) {
            return false;
        }
        match self.free.pop().and_then(|slot| self.slots.get_mut(slot as usize)) {
            Some(free) => *free = Some(Arc::clone(dentry)),
            None => self.slots.push(Some(Arc::clone(dentry))),
        }
        true
    }

    /// Takes `dentry` out, if it is in.
    fn remove(&mut self, dentry: &Arc<Dentry>) -> Option<Arc<Dentry>> {
        let slot = dentry.slot();
        let kept = self.slots.get_mut(slot)?.take_if(|kept| Arc::ptr_eq(kept, dentry))?;
        self.freed(slot);
        kept.let_go();
        Some(kept)
    }

    /// Nothing is in this slot any more.
    fn freed(&mut self, slot: usize) {
        self.free.push(slot as u32);
        CACHED.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets go of two: two out for one in, so that a bound that was overrun (by many file systems) is reached again. A second
    /// chance for those that were used, to a bounded number of them.
    fn evict(&mut self, evicted: &mut Evicted) {
        for chance in (0..8).rev() {
            let slot = if self.hand < self.slots.len() { self.hand } else { 0 };
            self.hand = slot + 1;
            let may_go = |dentry: &mut Arc<Dentry>| chance == 0 || !dentry.take_referenced();
            let Some(oldest) = self.slots.get_mut(slot).and_then(|kept| kept.take_if(may_go)) else {
                continue;
            };
            self.freed(slot);
            oldest.let_go();
            evicted.push(oldest);
            if evicted.len() == 2 {
                return;
            }
        }
    }
}
