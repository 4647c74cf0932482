//! The ready list of an epoll set.
//!
//! Items live in slots; those that may be ready are linked through their slots, so that marking one allocates nothing
//! and costs the same whatever else is watched. Everything about an item that a wake-up needs is here, under one leaf
//! lock: wake-ups come from anywhere.
//!
//! Whether an item really is ready is only known by polling its file, which happens without the lock. A waiter that
//! collects events *claims* the item meanwhile, so that one edge is reported once; a mere poll of the set does not.

use std::sync::{Arc, Weak};

use abi::poll::{EpollEvents, PollEvents};
use sync::Mutex;

use crate::vfs::file::File;
use crate::wait::WaitQueue;

const NONE: usize = usize::MAX;
/// Bits of an item's events that are modes, not events.
pub const MODES: EpollEvents =
    EpollEvents::EXCLUSIVE.union(EpollEvents::WAKEUP).union(EpollEvents::ONESHOT).union(EpollEvents::ET);

/// An item, for ever: a slot is used again, its serial number is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemId {
    slot: usize,
    serial: u64,
}

/// An item to be polled.
pub struct Candidate {
    /// Which.
    pub id: ItemId,
    /// Its file.
    pub file: Weak<File>,
    /// What is watched for, with modes.
    pub events: EpollEvents,
    /// The guest's own.
    pub data: u64,
    marks: u64,
}

/// What polling a claimed item gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    NotReady,
    /// It was reported.
    Reported,
    /// It is ready, but could not be reported.
    PutBack,
}

/// Ready list and waiters of a set.
#[derive(Default)]
pub struct Ready {
    list: Mutex<List, sync::levels::Leaf>,
    /// Who waits for the list to fill: epoll_wait, polls of the set, outer sets.
    pub queue: WaitQueue,
}

struct List {
    slots: Vec<Slot>,
    free: Vec<usize>,
    next_serial: u64,
    next_pass: u64,
    first: usize,
    last: usize,
    len: usize,
}

struct Slot {
    /// 0: free.
    serial: u64,
    file: Weak<File>,
    events: EpollEvents,
    data: u64,
    linked: bool,
    claimed: bool,
    /// How often it was marked.
    marks: u64,
    /// The collection that has reported it last.
    pass: u64,
    before: usize,
    after: usize,
}

impl Default for List {
    fn default() -> Self {
        List {
            slots: Vec::new(),
            free: Vec::new(),
            next_serial: 1,
            next_pass: 1,
            first: NONE,
            last: NONE,
            len: 0,
        }
    }
}

impl List {
    fn get(&mut self, id: ItemId) -> Option<&mut Slot> {
        self.slots.get_mut(id.slot).filter(|slot| slot.serial == id.serial)
    }

    fn link_last(&mut self, at: usize) {
        let last = self.last;
        let slot = &mut self.slots[at];
        (slot.linked, slot.before, slot.after) = (true, last, NONE);
        match last {
            NONE => self.first = at,
            last => self.slots[last].after = at,
        }
        self.last = at;
        self.len += 1;
    }

    fn unlink(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if !std::mem::replace(&mut slot.linked, false) {
            return;
        }
        let (before, after) = (slot.before, slot.after);
        match before {
            NONE => self.first = after,
            before => self.slots[before].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.slots[after].before = before,
        }
        self.len -= 1;
    }

    fn candidate(&self, at: usize) -> Candidate {
        let slot = &self.slots[at];
        let id = ItemId { slot: at, serial: slot.serial };
        Candidate { id, file: slot.file.clone(), events: slot.events, data: slot.data, marks: slot.marks }
    }
}

impl Ready {
    /// Adds an item, not ready.
    pub fn insert(&self, file: &Arc<File>, events: EpollEvents, data: u64) -> ItemId {
        let mut list = self.list.lock();
        let serial = list.next_serial;
        list.next_serial += 1;
        let slot = Slot {
            serial,
            file: Arc::downgrade(file),
            events,
            data,
            linked: false,
            claimed: false,
            marks: 0,
            pass: 0,
            before: NONE,
            after: NONE,
        };
        match list.free.pop() {
            Some(at) => {
                list.slots[at] = slot;
                ItemId { slot: at, serial }
            }
            None => {
                list.slots.push(slot);
                ItemId { slot: list.slots.len() - 1, serial }
            }
        }
    }

    /// Takes an item out. (A weak reference to a file is all it held.)
    pub fn remove(&self, id: ItemId) {
        let mut list = self.list.lock();
        if list.get(id).is_none() {
            return;
        }
        list.unlink(id.slot);
        let slot = &mut list.slots[id.slot];
        slot.serial = 0;
        slot.file = Weak::new();
        list.free.push(id.slot);
    }

    /// Changes what an item watches for.
    pub fn set(&self, id: ItemId, events: EpollEvents, data: u64) {
        if let Some(slot) = self.list.lock().get(id) {
            (slot.events, slot.data) = (events, data);
        }
    }

    /// What an item watches for, and its data.
    pub fn get(&self, id: ItemId) -> Option<(EpollEvents, u64)> {
        self.list.lock().get(id).map(|slot| (slot.events, slot.data))
    }

    /// The file of an item.
    pub fn file(&self, id: ItemId) -> Option<Weak<File>> {
        self.list.lock().get(id).map(|slot| slot.file.clone())
    }

    /// Something has happened to an item's file; empty `events`: nobody knows what. Answers whether that wakes
    /// somebody who takes only one wake-up (see [`WaitQueue::register_exclusive`]).
    pub fn mark(&self, id: ItemId, events: PollEvents) -> bool {
        let exclusive = {
            let mut list = self.list.lock();
            let Some(slot) = list.get(id) else { return false };
            // After EPOLLONESHOT has gone off only the modes are left.
            let watched = slot.events.difference(MODES);
            let hit = events.is_empty() || watched.bits() & events.bits() != 0;
            if watched.is_empty() || !hit {
                return false;
            }
            slot.marks += 1;
            let exclusive = slot.events.contains(EpollEvents::EXCLUSIVE);
            if !slot.linked {
                list.link_last(id.slot);
            }
            exclusive
        };
        let used = !exclusive || !self.queue.is_empty();
        self.queue.notify(PollEvents::IN | PollEvents::RDNORM);
        used
    }

    /// Whether anything may be ready.
    pub fn is_empty(&self) -> bool {
        self.list.lock().len == 0
    }

    /// Starts a collection: a number for [`claim`](Self::claim).
    pub fn start_pass(&self) -> u64 {
        let mut list = self.list.lock();
        list.next_pass += 1;
        list.next_pass
    }

    /// The next item that this collection has not seen and nobody else is looking at.
    pub fn claim(&self, pass: u64) -> Option<Candidate> {
        let mut list = self.list.lock();
        let mut at = list.first;
        while at != NONE {
            let slot = &mut list.slots[at];
            if slot.pass == pass {
                return None;
            }
            if !slot.claimed {
                slot.claimed = true;
                return Some(list.candidate(at));
            }
            at = slot.after;
        }
        None
    }

    /// Ends the claim of `pass` on an item. Level-triggered items that were reported go to the end of the list.
    pub fn finish(&self, pass: u64, item: &Candidate, outcome: Outcome) {
        let mut list = self.list.lock();
        let at = item.id.slot;
        let Some(slot) = list.get(item.id) else { return };
        slot.claimed = false;
        let marked_since = slot.marks != item.marks;
        let modes = slot.events;
        let stays = match outcome {
            Outcome::NotReady => marked_since,
            Outcome::PutBack => return,
            Outcome::Reported if modes.contains(EpollEvents::ONESHOT) => {
                // Unless epoll_ctl has just armed it again.
                if modes == item.events {
                    slot.events = modes & MODES;
                }
                modes != item.events
            }
            Outcome::Reported if modes.contains(EpollEvents::ET) => marked_since,
            Outcome::Reported => true,
        };
        slot.pass = pass;
        list.unlink(at);
        if stays {
            list.link_last(at);
        }
    }

    /// How many items may be ready.
    pub fn len(&self) -> usize {
        self.list.lock().len
    }

    /// The first item, for a poll of the set.
    pub fn first(&self) -> Option<Candidate> {
        let list = self.list.lock();
        (list.first != NONE).then(|| list.candidate(list.first))
    }

    /// An item has been found not to be ready: takes it off the list, unless it was marked since or somebody else
    /// looks at it. Answers the item behind it.
    pub fn skip(&self, item: &Candidate) -> Option<Candidate> {
        let mut list = self.list.lock();
        let slot = list.get(item.id).filter(|slot| slot.linked)?;
        let after = slot.after;
        if slot.marks == item.marks && !slot.claimed {
            list.unlink(item.id.slot);
        }
        (after != NONE).then(|| list.candidate(after))
    }

    /// A waiter leaves, with or without events: somebody else is told if there are more.
    pub fn pass_on(&self) {
        if !self.queue.is_empty() && !self.is_empty() {
            self.queue.notify(PollEvents::IN | PollEvents::RDNORM);
        }
    }
}
