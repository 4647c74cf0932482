//! Dentries: names of a tree, with their inodes, as far as somebody uses them or they were used lately.
//!
//! A dentry has an inode for all its life. What is *not* there is remembered in the parent's table, without a dentry.
//! Parents are held by their children, children by whoever uses them and by themselves as long as they are kept for later
//! lookups ([`SuperBlock::keep`](super::SuperBlock), which has the list of those); the parent's table holds them weakly,
//! and the last reference takes the entry out.
//!
//! Entries of a directory are of one state of it ([`Inode::changes`]). A lookup that asked the file system stores the
//! answer only if the directory has not changed since; changes hold [`Inode::lock`] of the directory.
//!
//! Lock level: `Dentry`; the table of a parent before that of its child, else by address.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use smallvec::SmallVec;
use sync::{Mutex, RwLock, SleepMutexGuard};

use super::caller::Caller;
use super::inode::Inode;
use super::name::{Name, NameHash};
use crate::Result;

/// A name in a tree.
pub struct Dentry {
    /// What it names.
    pub inode: Arc<Inode>,
    place: RwLock<Place, sync::levels::Leaf>,
    children: RwLock<Option<Box<Children>>, sync::levels::Dentry>,
    state: AtomicU32,
    /// A reference on itself, while it is kept for later lookups.
    kept: Mutex<Option<Arc<Dentry>>, sync::levels::Leaf>,
    /// How many mounts, in all namespaces, have this dentry as their mount point.
    mounts: AtomicU32,
}

struct Place {
    /// `None` for the root of a file system and for what never had a name.
    parent: Option<Arc<Dentry>>,
    name: Name,
}

/// Kept for later lookups.
const CACHED: u32 = 1;
/// Used since the list last looked.
const REFERENCED: u32 = 2;
/// Its name is gone (or it never had one).
const UNLINKED: u32 = 4;

#[derive(Default)]
struct Children {
    entries: HashMap<Name, Child, NameHash>,
    /// The state of the directory that the entries are of.
    valid_for: u64,
    negatives: u32,
}

enum Child {
    /// There.
    Positive(Weak<Dentry>),
    /// Was there when the directory was last known.
    Stale(Weak<Dentry>),
    /// Not there.
    Negative,
}

/// Names known not to be there, in all directories together.
static NEGATIVES: AtomicU32 = AtomicU32::new(0);
const NEGATIVES_MAX: u32 = 256 * 1024;

/// Counts moves; odd while one is going on. Whoever follows parents without a lock looks at it before and after.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// See [`MOVES`]: the number of moves done, or being done, so far.
pub fn moves() -> u64 {
    MOVES.load(Ordering::Acquire)
}

/// Dentries of successive names of a path.
pub type Run = SmallVec<[Arc<Dentry>; 8]>;

/// What is known of a name without asking the file system.
pub enum Cached {
    /// It is this.
    Hit(Arc<Dentry>),
    /// It is not there.
    Negative,
    /// Nobody knows.
    Unknown,
}

impl Dentry {
    fn new(inode: Arc<Inode>, parent: Option<Arc<Dentry>>, name: Name, state: u32) -> Arc<Dentry> {
        Arc::new(Dentry {
            inode,
            place: RwLock::new(Place { parent, name }),
            children: RwLock::new(None),
            state: AtomicU32::new(state),
            kept: Mutex::new(None),
            mounts: AtomicU32::new(0),
        })
    }

    /// The root of a file system.
    pub fn new_root(inode: Arc<Inode>) -> Arc<Dentry> {
        Self::new(inode, None, Name::new(b"/"), 0)
    }

    /// A file without a name: pipes and the like (`name` is what /proc/PID/fd shows, such as `pipe:[7]`), and, with
    /// a `parent`, what `O_TMPFILE` makes there.
    pub fn new_unnamed(inode: Arc<Inode>, parent: Option<Arc<Dentry>>, name: &[u8]) -> Arc<Dentry> {
        Self::new(inode, parent, Name::new(name), UNLINKED)
    }

    /// Its name. `/` for a root.
    pub fn name(&self) -> Name {
        self.place.read().name.clone()
    }

    /// The directory it is in; `None` for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.read().parent.clone()
    }

    /// Calls `look` with the parent and the name, both of one moment. `look` takes no lock.
    pub fn with_place<R>(&self, look: impl FnOnce(Option<&Arc<Dentry>>, &[u8]) -> R) -> R {
        let place = self.place.read();
        look(place.parent.as_ref(), place.name.as_bytes())
    }

    /// Whether its name is gone.
    pub fn is_unlinked(&self) -> bool {
        self.state.load(Ordering::Acquire) & UNLINKED != 0
    }

    /// Whether something is mounted here in some namespace.
    pub fn is_mount_point(&self) -> bool {
        self.mounts.load(Ordering::Acquire) != 0
    }

    /// A mount comes or goes here.
    pub(super) fn add_mount(&self) {
        self.mounts.fetch_add(1, Ordering::AcqRel);
    }

    /// See [`add_mount`](Self::add_mount).
    pub(super) fn remove_mount(&self) {
        self.mounts.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether `self` is `other` or above it, in the same file system.
    pub fn is_ancestor_of(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = Arc::clone(other);
        loop {
            if Arc::ptr_eq(self, &at) {
                return true;
            }
            let Some(parent) = at.parent() else { return false };
            at = parent;
        }
    }

    /// Keeps it for later lookups; false when it is kept already, or when it has no name to be found by.
    pub(super) fn keep(self: &Arc<Self>) -> bool {
        if self.state.fetch_or(CACHED | REFERENCED, Ordering::AcqRel) & (CACHED | UNLINKED) != 0 {
            return false;
        }
        let mut kept = self.kept.lock_nested();
        *kept = Some(Arc::clone(self));
        if self.is_unlinked() {
            // The name has gone just now. This is not the last reference: the caller has one.
            *kept = None;
            return false;
        }
        true
    }

    /// Whether it keeps itself.
    pub(super) fn is_kept(&self) -> bool {
        self.state.load(Ordering::Acquire) & CACHED != 0
    }

    /// Keeps it no longer; the reference it had on itself is dropped by the caller, without locks.
    pub(super) fn let_go(&self) -> Option<Arc<Dentry>> {
        let kept = self.kept.lock().take();
        self.state.fetch_and(!CACHED, Ordering::AcqRel);
        kept
    }

    /// Whether it was used since this was last asked.
    pub(super) fn take_referenced(&self) -> bool {
        self.state.fetch_and(!REFERENCED, Ordering::AcqRel) & REFERENCED != 0
    }

    /// A lookup has found it: keeps it in the cache.
    fn used(self: &Arc<Self>) {
        let state = self.state.load(Ordering::Relaxed);
        if state & (CACHED | REFERENCED) == CACHED | REFERENCED || state & UNLINKED != 0 {
            return;
        }
        if state & CACHED != 0 {
            self.state.fetch_or(REFERENCED, Ordering::Relaxed);
        } else {
            self.inode.sb.keep(self);
        }
    }

    /// What is known of `name` here.
    pub fn cached_child(&self, name: &[u8]) -> Cached {
        let hit = {
            let children = self.children.read();
            let Some(children) = &*children else { return Cached::Unknown };
            if children.valid_for != self.inode.changes() {
                return Cached::Unknown;
            }
            match children.entries.get(name) {
                Some(Child::Positive(child)) => child.upgrade(),
                Some(Child::Negative) => return Cached::Negative,
                Some(Child::Stale(_)) | None => None,
            }
        };
        match hit {
            Some(child) => {
                child.used();
                Cached::Hit(child)
            }
            None => Cached::Unknown,
        }
    }

    /// Finds `name` in this directory, from the cache or the file system; `None` when it is not there. The caller has
    /// checked permission to search.
    pub fn lookup(self: &Arc<Self>, name: &[u8], caller: &Caller<'_>) -> Result<Option<Arc<Dentry>>> {
        if !self.inode.ops().revalidate(&self.inode) {
            match self.cached_child(name) {
                Cached::Hit(child) => return Ok(Some(child)),
                Cached::Negative => return Ok(None),
                Cached::Unknown => {}
            }
        }
        Ok(self.ask(&[name], caller)?.into_iter().next())
    }

    /// As [`lookup`](Self::lookup), by who holds the lock of this directory.
    pub fn lookup_locked(
        self: &Arc<Self>,
        name: &[u8],
        caller: &Caller<'_>,
        _lock: &SleepMutexGuard<'_, ()>,
    ) -> Result<Option<Arc<Dentry>>> {
        if !self.inode.ops().revalidate(&self.inode)
            && let Cached::Hit(child) = self.cached_child(name)
        {
            return Ok(Some(child));
        }
        // Only a change behind the VFS's back can come between: its author sees to it that one answer is as good as
        // the other.
        let (found, _) = self.ask_once(&[name], caller)?;
        Ok(found.into_iter().next())
    }

    /// Asks the file system for `names`, each in the one before. Answers dentries for those that are there, at least
    /// for the first if that is.
    pub fn ask(self: &Arc<Self>, names: &[&[u8]], caller: &Caller<'_>) -> Result<Run> {
        for _ in 0..4 {
            let (found, current) = self.ask_once(names, caller)?;
            if current {
                return Ok(found);
            }
        }
        // Somebody changes the directory all the time.
        let _lock = self.inode.lock();
        Ok(self.ask_once(names, caller)?.0)
    }

    /// See [`ask`](Self::ask); false when the directory has changed since it was asked.
    fn ask_once(self: &Arc<Self>, names: &[&[u8]], caller: &Caller<'_>) -> Result<(Run, bool)> {
        if names.first().is_some_and(|name| name.len() > abi::NAME_MAX) {
            return Err(Errno::ENAMETOOLONG);
        }
        let revalidate = self.inode.ops().revalidate(&self.inode);
        let mut seen = self.inode.changes();
        let run = self.inode.ops().lookup_run(&self.inode, names, caller)?;
        let mut found = Run::new();
        let mut above = Arc::clone(self);
        let mut rest = names.iter();
        for (inode, name) in run.found.into_iter().zip(&mut rest) {
            let below = inode.changes();
            let (child, current) = above.store(name, inode, seen);
            if !current && found.is_empty() {
                found.push(child);
                return Ok((found, false));
            }
            if !current {
                return Ok((found, true));
            }
            above = Arc::clone(&child);
            found.push(child);
            // In which state of the lower directory the next name was found, nobody knows. Where each lookup asks
            // again that does no harm; else it is only taken from directories that have never changed.
            seen = if revalidate { below } else { 0 };
        }
        if run.missing
            && !revalidate
            && let Some(name) = rest.next()
            && !above.store_negative(name, seen)
        {
            return Ok((found, !Arc::ptr_eq(&above, self)));
        }
        Ok((found, true))
    }

    /// The dentry for `name`, which a lookup that began in state `seen` has found to be `inode`. Goes into the table
    /// unless the directory has changed meanwhile; then answers false.
    fn store(self: &Arc<Self>, name: &[u8], inode: Arc<Inode>, seen: u64) -> (Arc<Dentry>, bool) {
        let (child, replaced, current) = {
            let mut table = self.children.write();
            let current = self.inode.changes() == seen;
            let children = table.get_or_insert_with(Box::default);
            children.refresh(self.inode.changes());
            let known = match children.entries.get(name) {
                Some(Child::Positive(known) | Child::Stale(known)) => known.upgrade(),
                _ => None,
            };
            match known {
                Some(known) if Arc::ptr_eq(&known.inode, &inode) => {
                    if current {
                        children.insert(name, Child::Positive(Arc::downgrade(&known)));
                    }
                    (known, None, current)
                }
                known => {
                    let fresh = Dentry::new(inode, Some(Arc::clone(self)), Name::new(name), 0);
                    if current {
                        children.insert(name, Child::Positive(Arc::downgrade(&fresh)));
                        (fresh, known, true)
                    } else {
                        drop(table);
                        drop(known);
                        (fresh, None, false)
                    }
                }
            }
        };
        if let Some(replaced) = replaced {
            replaced.state.fetch_or(UNLINKED, Ordering::AcqRel);
            replaced.inode.sb.forget(&replaced);
        }
        if current {
            child.used();
        }
        (child, current)
    }

    /// Notes that `name` was not there in state `seen`; false when the directory has changed since.
    fn store_negative(&self, name: &[u8], seen: u64) -> bool {
        let mut table = self.children.write();
        let current = self.inode.changes();
        let children = table.get_or_insert_with(Box::default);
        children.refresh(current);
        if current == seen {
            children.insert_negative(name);
        }
        current == seen
    }

    /// `name` has been made here, the caller holds [`Inode::lock`] of the directory. Answers its dentry.
    pub(super) fn added(self: &Arc<Self>, name: &[u8], inode: Arc<Inode>) -> Arc<Dentry> {
        let child = Dentry::new(inode, Some(Arc::clone(self)), Name::new(name), 0);
        self.change(|children| children.insert(name, Child::Positive(Arc::downgrade(&child))));
        child.used();
        child
    }

    /// The name of `child` has been taken away, the caller holds [`Inode::lock`] of the directory.
    pub(super) fn removed(&self, child: &Arc<Dentry>) {
        child.state.fetch_or(UNLINKED, Ordering::AcqRel);
        let name = child.name();
        let known = !self.inode.ops().revalidate(&self.inode);
        self.change(|children| match known {
            true => children.insert_negative(name.as_bytes()),
            false => children.forget(name.as_bytes()),
        });
        child.inode.sb.forget(child);
    }

    /// Makes a change to the table that goes with one of the directory.
    fn change(&self, update: impl FnOnce(&mut Children)) {
        let mut table = self.children.write();
        let children = table.get_or_insert_with(Box::default);
        // Nobody else counts up meanwhile but a change behind the VFS's back, which then has the last word.
        children.refresh(self.inode.changes());
        update(children);
        let now = self.inode.entries_changed();
        if children.valid_for + 1 == now {
            children.valid_for = now;
        }
    }

    /// `child` has been moved from `from` to `name` in `to`; `replaced` had that name. The caller holds the locks of
    /// both directories, and the rename lock when they differ.
    pub(super) fn moved(
        from: &Arc<Dentry>,
        child: &Arc<Dentry>,
        to: &Arc<Dentry>,
        name: &[u8],
        replaced: Option<&Arc<Dentry>>,
    ) {
        MOVES.fetch_add(1, Ordering::AcqRel);
        let old_name = child.name();
        from.change(|children| children.forget(old_name.as_bytes()));
        if let Some(replaced) = replaced {
            replaced.state.fetch_or(UNLINKED, Ordering::AcqRel);
        }
        let old_parent = child.set_place(to, name);
        to.change(|children| children.insert(name, Child::Positive(Arc::downgrade(child))));
        MOVES.fetch_add(1, Ordering::AcqRel);
        drop(old_parent);
        if let Some(replaced) = replaced {
            replaced.inode.sb.forget(replaced);
        }
    }

    /// `a` and `b` have changed places; locks as for [`moved`](Self::moved).
    pub(super) fn exchanged(a_dir: &Arc<Dentry>, a: &Arc<Dentry>, b_dir: &Arc<Dentry>, b: &Arc<Dentry>) {
        MOVES.fetch_add(1, Ordering::AcqRel);
        let (a_name, b_name) = (a.name(), b.name());
        let old = (a.set_place(b_dir, b_name.as_bytes()), b.set_place(a_dir, a_name.as_bytes()));
        a_dir.change(|children| children.insert(a_name.as_bytes(), Child::Positive(Arc::downgrade(b))));
        b_dir.change(|children| children.insert(b_name.as_bytes(), Child::Positive(Arc::downgrade(a))));
        MOVES.fetch_add(1, Ordering::AcqRel);
        drop(old);
    }

    fn set_place(&self, parent: &Arc<Dentry>, name: &[u8]) -> Option<Arc<Dentry>> {
        let mut place = self.place.write();
        place.name = Name::new(name);
        place.parent.replace(Arc::clone(parent))
    }

    /// Takes the entry of a child that is going away out of the table.
    fn forget_dead(&self, name: &[u8]) {
        let mut table = self.children.write();
        if let Some(children) = &mut *table {
            if let Some(Child::Positive(child) | Child::Stale(child)) = children.entries.get(name)
                && child.strong_count() == 0
            {
                children.entries.remove(name);
            }
            if children.entries.is_empty() {
                *table = None;
            }
        }
    }
}

impl Children {
    /// Brings the table to `current`: what it knows of another state is only a hint.
    fn refresh(&mut self, current: u64) {
        if self.valid_for != current {
            self.drop_negatives();
            for child in self.entries.values_mut() {
                if let Child::Positive(dentry) = child {
                    *child = Child::Stale(std::mem::take(dentry));
                }
            }
            self.valid_for = current;
        }
    }

    fn insert(&mut self, name: &[u8], child: Child) {
        let negative = matches!(child, Child::Negative);
        let old = match self.entries.get_mut(name) {
            Some(slot) => Some(std::mem::replace(slot, child)),
            None => self.entries.insert(Name::new(name), child),
        };
        if negative {
            self.negatives += 1;
            NEGATIVES.fetch_add(1, Ordering::Relaxed);
        }
        self.count_out(old);
    }

    fn insert_negative(&mut self, name: &[u8]) {
        if NEGATIVES.load(Ordering::Relaxed) >= NEGATIVES_MAX {
            self.drop_negatives();
        }
        if NEGATIVES.load(Ordering::Relaxed) < NEGATIVES_MAX {
            self.insert(name, Child::Negative);
        } else {
            self.forget(name);
        }
    }

    fn forget(&mut self, name: &[u8]) {
        let old = self.entries.remove(name);
        self.count_out(old);
    }

    fn count_out(&mut self, old: Option<Child>) {
        if matches!(old, Some(Child::Negative)) {
            self.negatives -= 1;
            NEGATIVES.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn drop_negatives(&mut self) {
        if self.negatives > 0 {
            self.entries.retain(|_, child| !matches!(child, Child::Negative));
            NEGATIVES.fetch_sub(self.negatives, Ordering::Relaxed);
            self.negatives = 0;
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        NEGATIVES.fetch_sub(self.negatives, Ordering::Relaxed);
    }
}

impl Drop for Dentry {
    fn drop(&mut self) {
        // A loop, not a recursion: a guest can make chains of directories that are deeper than any stack.
        let mut orphan = self.leave();
        while let Some(parent) = orphan.and_then(Arc::into_inner) {
            orphan = parent.leave();
        }
    }
}

impl Dentry {
    /// Leaves the parent's table; answers the parent.
    fn leave(&self) -> Option<Arc<Dentry>> {
        let (parent, name) = {
            let mut place = self.place.write();
            (place.parent.take()?, std::mem::replace(&mut place.name, Name::new(b"")))
        };
        parent.forget_dead(name.as_bytes());
        Some(parent)
    }
}

impl fmt::Debug for Dentry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_place(|_, name| write!(f, "{}", name.escape_ascii()))
    }
}
