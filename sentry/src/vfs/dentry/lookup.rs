//! Finding a name: in the cache, else in the file system.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use smallvec::SmallVec;
use sync::SleepMutexGuard;

use super::children::{Known, Looked};
use super::{Dentry, UNLINKED};
use crate::Result;
use crate::vfs::attr::Attr;
use crate::vfs::caller::Caller;
use crate::vfs::inode::{Inode, Peeked};
use crate::vfs::name::Name;

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
    /// What is known of `name` here.
    pub fn cached_child(&self, name: &[u8]) -> Cached {
        let Some(more) = self.more.get() else { return Cached::Unknown };
        let hit = {
            let mut looked = Looked::new();
            let children = more.children.read();
            if children.valid_for != self.inode.changes() {
                return Cached::Unknown;
            }
            let known = children.look_up(name, &mut looked);
            drop(children);
            match known {
                Known::There(child, current) => current.then_some(child),
                Known::Missing => return Cached::Negative,
                Known::Nothing => None,
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

    /// The attributes of `name`, of which nothing is cached, where the file system has them at hand and nobody has a dentry
    /// of it; see [`InodeOps::peek`](crate::vfs::InodeOps::peek).
    pub fn peek(&self, name: &[u8]) -> Option<Attr> {
        // With a dentry comes what is mounted there.
        if let Some(more) = self.more.get() {
            let mut looked = Looked::new();
            let children = more.children.read();
            let used = children.get(name, &mut looked);
            drop(children);
            if used.is_some() {
                return None;
            }
        }
        match self.inode.ops().peek(&self.inode, name) {
            Peeked::There(attr) => Some(attr),
            // That nothing is there is kept by a lookup.
            Peeked::Missing | Peeked::Unknown => None,
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
        let mut looked = Looked::new();
        let (child, replaced, current) = {
            let mut children = self.children().write();
            let current = self.inode.changes() == seen;
            children.refresh(self.inode.changes());
            match children.get(name, &mut looked).map(|(known, _)| known) {
                Some(known) if Arc::ptr_eq(&known.inode, &inode) => {
                    if current {
                        children.insert(name, &known, &mut looked);
                    }
                    (known, None, current)
                }
                known => {
                    let fresh = Dentry::new(inode, Some(Arc::clone(self)), Name::new(name), 0);
                    if current {
                        children.insert(name, &fresh, &mut looked);
                        (fresh, known, true)
                    } else {
                        drop(children);
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
        let mut looked = Looked::new();
        let mut children = self.children().write();
        let current = self.inode.changes();
        children.refresh(current);
        if current == seen {
            children.insert_negative(name, &mut looked);
        }
        drop(children);
        current == seen
    }
}
