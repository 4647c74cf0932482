//! The epoll items that watch an open file: what a [`File`] knows of epoll.

use std::sync::{Arc, Weak};

use sync::Mutex;

use super::Set;
use super::ready::ItemId;
use crate::vfs::file::File;
use crate::wait::WaitKey;

/// The items that watch one file, with the wakers that they registered.
#[derive(Default)]
pub struct Watchers {
    list: Mutex<Vec<Watcher>, sync::levels::Leaf>,
}

struct Watcher {
    set: Weak<Set>,
    fd: i32,
    id: ItemId,
    key: Option<WaitKey>,
}

impl Watchers {
    pub(super) fn add(&self, set: &Arc<Set>, fd: i32, id: ItemId, key: Option<WaitKey>) {
        self.list.lock().push(Watcher { set: Arc::downgrade(set), fd, id, key });
    }

    /// Takes the waker of one item back.
    pub(super) fn unregister(&self, file: &File, id: ItemId, set: &Arc<Set>) {
        let watcher = {
            let mut list = self.list.lock();
            let of = |w: &Watcher| w.id == id && std::ptr::eq(w.set.as_ptr(), Arc::as_ptr(set));
            let at = list.iter().position(of);
            at.map(|at| list.swap_remove(at))
        };
        if let Some(key) = watcher.and_then(|w| w.key) {
            file.ops().unregister(file, key);
        }
    }

    /// The last reference to `file` is gone: its wakers are taken back and its items leave their sets.
    pub(crate) fn close(self, file: &File) {
        for watcher in self.list.into_inner() {
            if let Some(key) = watcher.key {
                file.ops().unregister(file, key);
            }
            let Some(set) = watcher.set.upgrade() else { continue };
            let found = {
                let mut items = set.items.lock();
                let found = items.get(&(file.id, watcher.fd)) == Some(&watcher.id);
                if found {
                    items.remove(&(file.id, watcher.fd));
                }
                found
            };
            // Otherwise the set was faster: it is being closed as well.
            if found {
                set.removed(watcher.id);
            }
        }
    }
}
