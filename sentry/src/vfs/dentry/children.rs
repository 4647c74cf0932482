//! The table of a directory's entries, as far as they are known: what is there, and what is not.

use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Dentry;
use crate::vfs::name::{Name, NameHash};

#[derive(Default)]
pub(super) struct Children {
    pub(super) entries: HashMap<Name, Child, NameHash>,
    /// The state of the directory that the entries are of.
    pub(super) valid_for: u64,
    negatives: u32,
}

pub(super) enum Child {
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

impl Children {
    /// Brings the table to `current`: what it knows of another state is only a hint.
    pub(super) fn refresh(&mut self, current: u64) {
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

    /// Whether somebody has a dentry of this name, be it of an earlier state.
    pub(super) fn is_used(&self, name: &[u8]) -> bool {
        match self.entries.get(name) {
            Some(Child::Positive(child) | Child::Stale(child)) => child.strong_count() > 0,
            Some(Child::Negative) | None => false,
        }
    }

    pub(super) fn insert(&mut self, name: &[u8], child: Child) {
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

    pub(super) fn insert_negative(&mut self, name: &[u8]) {
        if NEGATIVES.load(Ordering::Relaxed) >= NEGATIVES_MAX {
            self.drop_negatives();
        }
        if NEGATIVES.load(Ordering::Relaxed) < NEGATIVES_MAX {
            self.insert(name, Child::Negative);
        } else {
            self.forget(name);
        }
    }

    pub(super) fn forget(&mut self, name: &[u8]) {
        let old = self.entries.remove(name);
        self.count_out(old);
    }

    pub(super) fn count_out(&mut self, old: Option<Child>) {
        if matches!(old, Some(Child::Negative)) {
            self.negatives -= 1;
            NEGATIVES.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn drop_negatives(&mut self) {
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
