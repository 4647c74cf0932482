//! Epoll sets (epoll(7)).
//!
//! A set holds *items*, each a file under a descriptor number with the events it is watched for. An item registers a
//! waker with the file; the waker puts the item on the set's ready list and tells who waits for the set. Collecting
//! events polls the items of that list only.
//!
//! An item belongs to an open file description, not to a descriptor: it goes when the last reference to the
//! description does. So a [`File`] has a list of the items that watch it ([`Watchers`]).
//!
//! Locks: the items of a set are level `FileState` and held while a waker is registered, never while a file is polled.
//! Adding a set to a set holds `EpollTree` as well: loops and deep nests are refused (ELOOP).

mod ready;
#[cfg(test)]
mod tests;
mod tree;
mod wait;
mod watchers;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::ioctl::{EPIOCGPARAMS, EPIOCSPARAMS};
use abi::poll::{EpollEvent, EpollEvents, PollEvents};
use sync::Mutex;

use self::ready::{Candidate, ItemId, MODES, Outcome, Ready};
use super::file::{Blocking, File, FileOps};
use crate::SysResult;
use crate::task::CurrentTask;
use crate::wait::{WaitQueue, Wake};

pub use self::watchers::Watchers;

/// Items in all sets together (/proc/sys/fs/epoll/max_user_watches): each costs memory of the Sentry.
pub const MAX_WATCHES: usize = 1 << 19;

static WATCHES: AtomicUsize = AtomicUsize::new(0);

/// What epoll_ctl(2) does with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// EPOLL_CTL_ADD
    Add {
        /// Events and modes.
        events: EpollEvents,
        /// The guest's own.
        data: u64,
    },
    /// EPOLL_CTL_MOD
    Modify {
        /// Events and modes.
        events: EpollEvents,
        /// The guest's own.
        data: u64,
    },
    /// EPOLL_CTL_DEL
    Delete,
    /// Anything else: EINVAL, but other errors come first.
    Unknown,
}

/// An epoll set as an open file.
pub struct Epoll {
    set: Arc<Set>,
}

/// What the wakers of the items hold on to, too.
struct Set {
    items: Mutex<BTreeMap<Key, ItemId>, sync::levels::FileState>,
    ready: Arc<Ready>,
    /// Sets that watch this one.
    parents: Mutex<Vec<Weak<Set>>, sync::levels::Leaf>,
}

/// An item's name: file id and descriptor.
type Key = (u64, i32);

/// What an item registers with its file.
struct ItemWaker {
    ready: Arc<Ready>,
    id: ItemId,
}

impl Wake for ItemWaker {
    fn wake(&self, events: PollEvents) -> bool {
        self.ready.mark(self.id, events)
    }
}

/// What EPOLLEXCLUSIVE may be combined with.
const EXCLUSIVE_OK: EpollEvents = EpollEvents::IN
    .union(EpollEvents::OUT)
    .union(EpollEvents::ERR)
    .union(EpollEvents::HUP)
    .union(EpollEvents::WAKEUP)
    .union(EpollEvents::ET)
    .union(EpollEvents::EXCLUSIVE);

impl Epoll {
    /// An empty set.
    pub fn new() -> Epoll {
        let set = Set { items: Mutex::default(), ready: Arc::default(), parents: Mutex::default() };
        Epoll { set: Arc::new(set) }
    }

    /// epoll_ctl(2): changes the item of the set `own` for `file` under descriptor `fd`. Errors in Linux's order.
    pub fn control(own: &Arc<File>, fd: i32, file: &Arc<File>, control: Control) -> Result<(), Errno> {
        if !file.ops().pollable() {
            return Err(Errno::EPERM);
        }
        if Arc::ptr_eq(own, file) {
            return Err(Errno::EINVAL);
        }
        own.downcast::<Epoll>().ok_or(Errno::EINVAL)?.change(fd, file, control)
    }

    fn change(&self, fd: i32, file: &Arc<File>, control: Control) -> Result<(), Errno> {
        let inner = file.downcast::<Epoll>();
        match control {
            Control::Modify { events, .. } if events.contains(EpollEvents::EXCLUSIVE) => {
                return Err(Errno::EINVAL);
            }
            Control::Add { events, .. }
                if events.contains(EpollEvents::EXCLUSIVE)
                    && (inner.is_some() || !EXCLUSIVE_OK.contains(events)) =>
            {
                return Err(Errno::EINVAL);
            }
            _ => {}
        }
        let key = (file.id, fd);
        match control {
            Control::Add { events, data } => {
                let _tree = match inner {
                    Some(inner) => Some(tree::check(&self.set, &inner.set)?),
                    None => None,
                };
                self.add(key, file, events, data)?;
                if let Some(inner) = inner {
                    inner.set.parents.lock().push(Arc::downgrade(&self.set));
                }
            }
            Control::Modify { events, data } => self.modify(key, file, events, data)?,
            Control::Unknown => return Err(Errno::EINVAL),
            Control::Delete => {
                let id = self.set.items.lock().remove(&key).ok_or(Errno::ENOENT)?;
                self.set.removed(id);
                file.watchers.unregister(file, id, &self.set);
                if let Some(inner) = inner {
                    inner.set.forget_parent(&self.set);
                }
            }
        }
        Ok(())
    }

    fn add(&self, key: Key, file: &Arc<File>, events: EpollEvents, data: u64) -> Result<(), Errno> {
        let events = events | EpollEvents::ERR | EpollEvents::HUP;
        let id = {
            let mut items = self.set.items.lock();
            if items.contains_key(&key) {
                return Err(Errno::EEXIST);
            }
            if WATCHES.fetch_add(1, Ordering::Relaxed) >= MAX_WATCHES {
                WATCHES.fetch_sub(1, Ordering::Relaxed);
                return Err(Errno::ENOSPC);
            }
            let id = self.set.ready.insert(file, events, data);
            items.insert(key, id);
            self.register(key.1, file, id, events);
            id
        };
        self.mark_if_ready(file, id, events);
        Ok(())
    }

    fn modify(&self, key: Key, file: &Arc<File>, events: EpollEvents, data: u64) -> Result<(), Errno> {
        let events = events | EpollEvents::ERR | EpollEvents::HUP;
        let id = {
            let items = self.set.items.lock();
            let id = *items.get(&key).ok_or(Errno::ENOENT)?;
            let (before, _) = self.set.ready.get(id).ok_or(Errno::ENOENT)?;
            if before.contains(EpollEvents::EXCLUSIVE) {
                return Err(Errno::EINVAL);
            }
            self.set.ready.set(id, events, data);
            file.watchers.unregister(file, id, &self.set);
            self.register(key.1, file, id, events);
            id
        };
        self.mark_if_ready(file, id, events);
        Ok(())
    }

    fn register(&self, fd: i32, file: &Arc<File>, id: ItemId, events: EpollEvents) {
        let waker = Arc::new(ItemWaker { ready: Arc::clone(&self.set.ready), id });
        let interest = interest(events);
        let key = if events.contains(EpollEvents::EXCLUSIVE) {
            file.ops().register_exclusive(file, interest, waker)
        } else {
            file.ops().register(file, interest, waker)
        };
        file.watchers.add(&self.set, fd, id, key);
    }

    fn mark_if_ready(&self, file: &Arc<File>, id: ItemId, events: EpollEvents) {
        let now = file.poll() & interest(events);
        if !now.is_empty() {
            self.set.ready.mark(id, now);
        }
    }

    /// Gives up to `max` events to `emit`, which says whether it could take the event: one that it could not take
    /// stays. Answers how many it took.
    pub fn collect(&self, max: usize, emit: &mut dyn FnMut(EpollEvent) -> bool) -> usize {
        let ready = &self.set.ready;
        if ready.is_empty() {
            return 0;
        }
        let pass = ready.start_pass();
        let mut taken = 0;
        while taken < max {
            let Some(item) = ready.claim(pass) else { break };
            let now = poll_item(&item);
            let outcome = if now.is_empty() {
                Outcome::NotReady
            } else if emit(EpollEvent { events: now.bits(), data: item.data }) {
                taken += 1;
                Outcome::Reported
            } else {
                Outcome::PutBack
            };
            ready.finish(pass, &item, outcome);
            if outcome == Outcome::PutBack {
                break;
            }
        }
        taken
    }

    /// Whether a collection may find something.
    pub fn may_be_ready(&self) -> bool {
        !self.set.ready.is_empty()
    }

    /// Where epoll_wait(2) waits: exclusively, one waiter an event.
    pub fn waiters(&self) -> &WaitQueue {
        &self.set.ready.queue
    }

    /// To be called by a waiter that has left [`waiters`](Self::waiters): another is told if there is more.
    pub fn pass_on(&self) {
        self.set.ready.pass_on();
    }
}

impl Default for Epoll {
    fn default() -> Self {
        Epoll::new()
    }
}

impl Set {
    fn removed(&self, id: ItemId) {
        self.ready.remove(id);
        WATCHES.fetch_sub(1, Ordering::Relaxed);
    }

    fn forget_parent(&self, parent: &Arc<Set>) {
        let mut parents = self.parents.lock();
        if let Some(at) = parents.iter().position(|p| std::ptr::eq(p.as_ptr(), Arc::as_ptr(parent))) {
            parents.swap_remove(at);
        }
    }
}

/// The events of an item as a poll answers them.
fn interest(events: EpollEvents) -> PollEvents {
    PollEvents::from_bits_truncate(events.difference(MODES).bits())
}

fn poll_item(item: &Candidate) -> PollEvents {
    // A file that is being closed has no events; it takes its item away itself.
    item.file.upgrade().map_or(PollEvents::empty(), |file| file.poll() & interest(item.events))
}

impl FileOps for Epoll {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn has_read(&self) -> bool {
        false
    }

    fn has_write(&self) -> bool {
        false
    }

    fn ioctl(&self, _file: &File, _task: &mut CurrentTask, request: u32, _arg: u64) -> SysResult<u64> {
        // Busy polling of network devices, which there are none of.
        Err(if [EPIOCSPARAMS, EPIOCGPARAMS].contains(&request) { Errno::EOPNOTSUPP } else { Errno::EINVAL }
            .into())
    }

    fn poll(&self, _file: &File) -> PollEvents {
        let ready = &self.set.ready;
        let mut next = ready.first();
        // Items that are marked over and over must not keep us here.
        for _ in 0..ready.len() {
            let Some(item) = next else { break };
            if !poll_item(&item).is_empty() {
                return PollEvents::IN | PollEvents::RDNORM;
            }
            next = ready.skip(&item);
        }
        PollEvents::empty()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.set.ready.queue)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "anon_inode:[eventpoll]".to_owned()
    }

    fn fdinfo(&self, _file: &File) -> String {
        let items: Vec<(Key, ItemId)> = self.set.items.lock().iter().map(|(key, id)| (*key, *id)).collect();
        let line = |((_, fd), id): (Key, ItemId)| {
            let (events, data) = self.set.ready.get(id)?;
            Some(format!("tfd: {fd:8} events: {:8x} data: {data:16x} \n", events.bits()))
        };
        items.into_iter().filter_map(line).collect()
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let items = std::mem::take(&mut *self.set.items.lock());
        for (_, id) in items {
            let file = self.set.ready.file(id).and_then(|file| file.upgrade());
            self.set.removed(id);
            // A file that is being closed at this moment takes its wakers back itself.
            if let Some(file) = file {
                file.watchers.unregister(&file, id, &self.set);
                if let Some(inner) = file.downcast::<Epoll>() {
                    inner.set.forget_parent(&self.set);
                }
            }
        }
    }
}
