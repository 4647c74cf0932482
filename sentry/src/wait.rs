//! Waiting: queues that objects notify, and the parking place of a thread.
//!
//! An object that things wait for (pipe, socket, tty, process) embeds a [`WaitQueue`] and notifies it with the
//! events that have become true. Whoever waits registers a [`Wake`]: a task's [`Parker`], an epoll item, a poll
//! table. The order that loses no wake-up is: register, test, park, test …
//!
//! Lock levels: `WaitQueue`, then (in the waker) `Parker` or an epoll's own; a waker must not take a lock of a lower
//! level than `WaitQueue` — so [`WaitQueue::notify`] calls wakers after it has let its own lock go.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use abi::poll::PollEvents;
use sync::Mutex;

/// Something that can be told that events have come.
pub trait Wake: Send + Sync {
    /// Called without any lock of the queue; must not wait. Returns whether it used the wake-up (for queues with
    /// exclusive waiters: false passes it on to the next).
    fn wake(&self, events: PollEvents) -> bool;
}

struct Entry {
    key: u64,
    interest: PollEvents,
    exclusive: bool,
    waker: Arc<dyn Wake>,
}

/// Name of a registration in one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitKey(u64);

/// Who waits for events of one object.
#[derive(Default)]
pub struct WaitQueue {
    /// How many are registered, to skip the lock when there are none.
    len: AtomicU64,
    entries: Mutex<Entries, sync::levels::WaitQueue>,
}

#[derive(Default)]
struct Entries {
    next_key: u64,
    list: Vec<Entry>,
}

impl WaitQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `waker`; it is told of events in `interest`, and of errors and hang-ups always.
    pub fn register(&self, interest: PollEvents, waker: Arc<dyn Wake>) -> WaitKey {
        self.add(interest, waker, false)
    }

    /// Adds an exclusive waker: one notification wakes only the first that uses it (EPOLLEXCLUSIVE, accept).
    pub fn register_exclusive(&self, interest: PollEvents, waker: Arc<dyn Wake>) -> WaitKey {
        self.add(interest, waker, true)
    }

    fn add(&self, interest: PollEvents, waker: Arc<dyn Wake>, exclusive: bool) -> WaitKey {
        let mut entries = self.entries.lock();
        let key = entries.next_key;
        entries.next_key += 1;
        let interest = interest | PollEvents::ERR | PollEvents::HUP;
        entries.list.push(Entry { key, interest, exclusive, waker });
        self.len.store(entries.list.len() as u64, Ordering::SeqCst);
        WaitKey(key)
    }

    /// Takes a registration back. Unknown keys are fine (the queue may have been cleared).
    pub fn unregister(&self, key: WaitKey) {
        let removed = {
            let mut entries = self.entries.lock();
            let at = entries.list.iter().position(|e| e.key == key.0);
            let removed = at.map(|at| entries.list.remove(at));
            self.len.store(entries.list.len() as u64, Ordering::SeqCst);
            removed
        };
        // The waker may be the last reference to something with locks of its own.
        drop(removed);
    }

    /// Tells everyone who is interested in any of `events`, and at most one exclusive waiter.
    pub fn notify(&self, events: PollEvents) {
        if self.len.load(Ordering::SeqCst) == 0 {
            return;
        }
        let hit: smallvec::SmallVec<[(bool, Arc<dyn Wake>); 8]> = {
            let entries = self.entries.lock();
            let interested = entries.list.iter().filter(|e| e.interest.intersects(events));
            interested.map(|e| (e.exclusive, Arc::clone(&e.waker))).collect()
        };
        let mut exclusive_done = false;
        for (exclusive, waker) in hit {
            if exclusive && exclusive_done {
                continue;
            }
            let used = waker.wake(events);
            exclusive_done |= exclusive && used;
        }
    }

    /// How many are registered.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst) as usize
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::SeqCst) == 0
    }
}

thread_local! {
    /// Threads that this one wakes when it has let a lock go; `None`: at once.
    static HELD: RefCell<Option<Vec<Thread>>> = const { RefCell::new(None) };
}

/// While it lives, parked threads that the calling thread [unparks](Parker::unpark) sleep on; they are woken at its end. Made before a
/// lock is taken that whoever is woken takes first: on the same processor it would run at once, and wait for that lock. Nobody may be
/// waited for meanwhile.
pub(crate) struct HeldWakes {
    /// Of the thread that made it.
    not_send: PhantomData<*const ()>,
    /// Another one that lives longer does it.
    inner: bool,
}

impl HeldWakes {
    pub(crate) fn new() -> HeldWakes {
        let inner = HELD.with_borrow_mut(|held| match held {
            Some(_) => true,
            None => {
                *held = Some(Vec::new());
                false
            }
        });
        HeldWakes { not_send: PhantomData, inner }
    }
}

impl Drop for HeldWakes {
    fn drop(&mut self) {
        if !self.inner {
            let threads = HELD.with_borrow_mut(Option::take);
            threads.into_iter().flatten().for_each(|thread| thread.unpark());
        }
    }
}

/// Where one thread waits. Made by the thread itself; anyone may [`unpark`](Parker::unpark) it.
pub struct Parker {
    thread: Thread,
    notified: AtomicBool,
}

impl Parker {
    /// For the calling thread.
    pub fn for_current_thread() -> Arc<Parker> {
        Arc::new(Parker { thread: std::thread::current(), notified: AtomicBool::new(false) })
    }

    /// Ends the current or the next [`park`](Parker::park).
    pub fn unpark(&self) {
        if self.notified.swap(true, Ordering::SeqCst) {
            return;
        }
        let hold = |held: &RefCell<Option<Vec<Thread>>>| match &mut *held.borrow_mut() {
            Some(threads) => {
                threads.push(self.thread.clone());
                true
            }
            None => false,
        };
        // A thread that is taken apart holds nothing.
        if !HELD.try_with(hold).unwrap_or(false) {
            self.thread.unpark();
        }
    }

    /// Waits until [`unpark`](Parker::unpark), or until `timeout` has passed. Only for the thread it was made by.
    pub fn park(&self, timeout: Option<Duration>) {
        sync::assert_no_locks_held("wait");
        let until = timeout.map(|t| std::time::Instant::now().checked_add(t));
        while !self.notified.swap(false, Ordering::SeqCst) {
            match until {
                None | Some(None) => std::thread::park(),
                Some(Some(until)) => {
                    let left = until.saturating_duration_since(std::time::Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    std::thread::park_timeout(left);
                }
            }
        }
    }
}

impl Wake for Parker {
    fn wake(&self, _events: PollEvents) -> bool {
        self.unpark();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::{HeldWakes, Parker};

    #[test]
    fn wakes_are_held_until_the_outermost_ends() {
        let (parkers, parked) = channel();
        let (said, told) = channel();
        let thread = std::thread::spawn(move || {
            let parker = Parker::for_current_thread();
            parkers.send(std::sync::Arc::clone(&parker)).expect("send");
            for _ in 0..2 {
                parker.park(None);
                said.send(()).expect("send");
            }
        });
        let parker = parked.recv().expect("a parker");
        // Long enough for it to sleep: it would be woken at once otherwise.
        std::thread::sleep(Duration::from_millis(50));
        let outer = HeldWakes::new();
        {
            let _inner = HeldWakes::new();
            parker.unpark();
            parker.unpark();
        }
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
        drop(outer);
        told.recv().expect("it was woken");
        parker.unpark();
        told.recv().expect("it was woken at once");
        thread.join().expect("join");
    }
}
