//! Dentries: names of a tree, with their inodes, as far as somebody uses them or they were used lately.
//!
//! A dentry has an inode for all its life. What is *not* there is remembered in the parent's table, without a dentry.
//! Parents are held by their children, children by whoever uses them and by the list of those that are kept for later
//! lookups ([`SuperBlock::keep`](super::SuperBlock)); the parent's table holds them weakly, and the last reference takes the entry
//! out.
//!
//! Entries of a directory are of one state of it ([`Inode::changes`]). A lookup that asked the file system stores the
//! answer only if the directory has not changed since; changes hold [`Inode::lock`] of the directory.
//!
//! Lock level: `Dentry`; two tables by address.

mod change;
mod children;
mod lookup;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use once_cell::race::OnceBox;
use sync::{Mutex, RwLock};

use self::children::Children;
pub use self::lookup::{Cached, Run};
use super::inode::Inode;
use super::name::Name;

/// A name in a tree.
pub struct Dentry {
    /// What it names.
    pub inode: Arc<Inode>,
    /// Its first name, and its only one unless it is [`RENAMED`].
    first_name: Name,
    /// `None` for the root of a file system and for what never had a name. The name changes with it.
    parent: RwLock<Option<Arc<Dentry>>, sync::levels::Leaf>,
    more: OnceBox<More>,
    state: AtomicU32,
    /// How many mounts, in all namespaces, have this dentry as their mount point.
    mounts: AtomicU32,
    /// While it is kept for later lookups: where the list has it.
    slot: AtomicU32,
}

/// What only directories have, and what was renamed.
#[derive(Default)]
struct More {
    children: RwLock<Children, sync::levels::Dentry>,
    name: Mutex<Option<Name>, sync::levels::Leaf>,
}

/// Kept for later lookups.
const CACHED: u32 = 1;
/// Used since the list last looked.
const REFERENCED: u32 = 2;
/// Its name is gone (or it never had one).
const UNLINKED: u32 = 4;
/// Its name is in [`More`].
const RENAMED: u32 = 8;

/// Counts moves; odd while one is going on. Whoever follows parents without a lock looks at it before and after.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// See [`MOVES`]: the number of moves done, or being done, so far.
pub fn moves() -> u64 {
    MOVES.load(Ordering::Acquire)
}

impl Dentry {
    fn new(inode: Arc<Inode>, parent: Option<Arc<Dentry>>, name: Name, state: u32) -> Arc<Dentry> {
        Arc::new(Dentry {
            inode,
            first_name: name,
            parent: RwLock::new(parent),
            more: OnceBox::new(),
            state: AtomicU32::new(state),
            mounts: AtomicU32::new(0),
            slot: AtomicU32::new(0),
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
        self.with_name(Name::new)
    }

    /// Calls `look`, which takes no lock, with its name. Also called with locks of level `Leaf`.
    fn with_name<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        if self.state.load(Ordering::Acquire) & RENAMED != 0
            && let Some(more) = self.more.get()
            && let Some(name) = &*more.name.lock_nested()
        {
            return look(name.as_bytes());
        }
        look(self.first_name.as_bytes())
    }

    fn is_called(&self, name: &[u8]) -> bool {
        self.with_name(|own| own == name)
    }

    fn children(&self) -> &RwLock<Children, sync::levels::Dentry> {
        &self.more.get_or_init(Box::default).children
    }

    /// The directory it is in; `None` for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.parent.read().clone()
    }

    /// Calls `look` with the parent and the name, both of one moment. `look` takes no lock.
    pub fn with_place<R>(&self, look: impl FnOnce(Option<&Arc<Dentry>>, &[u8]) -> R) -> R {
        let parent = self.parent.read();
        self.with_name(|name| look(parent.as_ref(), name))
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

    /// It is to be kept for later lookups, as number `slot` of the list, which is locked; false when it is kept already, or when
    /// it has no name to be found by.
    pub(super) fn keep(&self, slot: u32) -> bool {
        if self.state.fetch_or(CACHED | REFERENCED, Ordering::AcqRel) & (CACHED | UNLINKED) != 0 {
            return false;
        }
        self.slot.store(slot, Ordering::Relaxed);
        true
    }

    /// Where the list of kept ones has it, if it does.
    pub(super) fn slot(&self) -> usize {
        self.slot.load(Ordering::Relaxed) as usize
    }

    /// The list has it no longer.
    pub(super) fn let_go(&self) {
        self.state.fetch_and(!CACHED, Ordering::AcqRel);
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

    fn set_place(&self, parent: &Arc<Dentry>, name: &[u8]) -> Option<Arc<Dentry>> {
        let mut place = self.parent.write();
        let more = self.more.get_or_init(Box::default);
        *more.name.lock_nested() = Some(Name::new(name));
        self.state.fetch_or(RENAMED, Ordering::AcqRel);
        place.replace(Arc::clone(parent))
    }
}

impl Drop for Dentry {
    fn drop(&mut self) {
        // A loop, not a recursion: a guest can make chains of directories that are deeper than any stack.
        if self.is_unlinked() && self.inode.is_watched_and_gone() {
            super::notify::gone(&self.inode);
        }
        let mut orphan = self.leave();
        while let Some(parent) = orphan.and_then(Arc::into_inner) {
            orphan = parent.leave();
        }
    }
}

impl Dentry {
    /// Leaves the parent's table; answers the parent.
    fn leave(&self) -> Option<Arc<Dentry>> {
        let parent = self.parent.write().take()?;
        parent.forget_dead(self.name().as_bytes());
        Some(parent)
    }
}

impl fmt::Debug for Dentry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_place(|_, name| write!(f, "{}", name.escape_ascii()))
    }
}
