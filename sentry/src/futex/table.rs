//! The table of waiters: buckets of queues, found by the hash of a futex's key.
//!
//! A bucket counts its waiters outside its lock, so that a wake that finds nobody (most do) takes no lock. Waking
//! takes waiters out under the lock and unparks them after it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

use abi::Errno;
use abi::poll::PollEvents;
use smallvec::SmallVec;
use sync::{Mutex, MutexGuard};

use super::pi::PiWaiter;
use crate::mm::FutexKey;
use crate::wait::Wake;

/// Buckets; a power of two.
const BUCKETS: usize = 256;

/// Waiters on their way to being unparked.
pub(super) type Woken = SmallVec<[Arc<Waiter>; 8]>;

/// All futexes of the sandbox that somebody waits for.
pub struct FutexTable {
    buckets: Box<[Bucket]>,
    /// Which PI futexes tasks own that others wait for.
    pub(super) owned: super::owned::Owned,
}

#[derive(Default)]
struct Bucket {
    /// Waiters in the queue, or about to be.
    waiting: AtomicU32,
    queue: Mutex<Queue, sync::levels::Futex>,
}

/// The waiters of one bucket, first come first.
pub(super) type Queue = VecDeque<Entry>;
/// A bucket's lock.
pub(super) type QueueGuard<'a> = MutexGuard<'a, Queue, sync::levels::Futex>;

/// A waiter in a queue.
pub(super) struct Entry {
    pub key: FutexKey,
    pub bitset: u32,
    pub waiter: Arc<Waiter>,
    /// Waits for a lock, or is to be moved to one.
    pub pi: Option<PiWaiter>,
}

/// One wait of one thread for one futex.
pub struct Waiter {
    wake: Arc<dyn Wake>,
    state: AtomicU32,
    /// The bucket it is in; changes under the locks of both.
    bucket: AtomicUsize,
}

const WAITING: u32 = 0;
/// Taken out of the queue.
const WOKEN: u32 = 1;
/// What it is given belonged to a task that has died.
const OWNER_DIED: u32 = 2;

impl Waiter {
    pub(super) fn new(wake: Arc<dyn Wake>) -> Arc<Waiter> {
        Arc::new(Waiter { wake, state: AtomicU32::new(WAITING), bucket: AtomicUsize::new(0) })
    }

    /// Whether it was taken out of its queue to be woken.
    pub fn is_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) & WOKEN != 0
    }

    fn set_woken(&self) {
        self.state.fetch_or(WOKEN, Ordering::Release);
    }

    /// Whether the lock it was given belonged to a task that has died.
    pub(super) fn owner_died(&self) -> bool {
        self.state.load(Ordering::Acquire) & OWNER_DIED != 0
    }

    /// To be said before it is woken.
    pub(super) fn set_owner_died(&self) {
        self.state.fetch_or(OWNER_DIED, Ordering::Release);
    }
}

/// Unparks waiters that were taken out. No lock is held.
pub(super) fn unpark(woken: &Woken) {
    for waiter in woken {
        waiter.wake.wake(PollEvents::IN);
    }
}

impl Default for FutexTable {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| Bucket::default()).collect();
        FutexTable { buckets, owned: Default::default() }
    }
}

fn bucket_of(key: &FutexKey) -> usize {
    let (a, b) = match *key {
        FutexKey::Private { space, addr } => (space, addr),
        FutexKey::Local { space, addr } => (space ^ (1 << 40), addr),
        FutexKey::Shared { object, offset } => (object ^ (1 << 41), offset),
    };
    let mixed = (a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (b >> 2)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 56) as usize % BUCKETS
}

impl FutexTable {
    /// Puts `waiter` into the queue of `key` if `check` says so under the lock. `check` must not wait.
    pub(super) fn enqueue<E>(
        &self,
        key: FutexKey,
        bitset: u32,
        waiter: &Arc<Waiter>,
        pi: Option<PiWaiter>,
        check: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        let at = bucket_of(&key);
        let bucket = &self.buckets[at];
        // Before the word is looked at: a waker changes the word, then looks at the count.
        bucket.waiting.fetch_add(1, Ordering::SeqCst);
        let result = {
            let mut queue = bucket.queue.lock();
            let result = check();
            if let Ok(true) = result {
                waiter.bucket.store(at, Ordering::Relaxed);
                queue.push_back(Entry { key, bitset, waiter: Arc::clone(waiter), pi });
            }
            result
        };
        if !matches!(result, Ok(true)) {
            bucket.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        result
    }

    /// Takes a waiter out that has not been woken; its entry, or `None` when it was.
    pub(super) fn dequeue(&self, waiter: &Arc<Waiter>) -> Option<Entry> {
        loop {
            if waiter.is_woken() {
                return None;
            }
            let at = waiter.bucket.load(Ordering::Acquire);
            let bucket = &self.buckets[at];
            let mut queue = bucket.queue.lock();
            if waiter.bucket.load(Ordering::Acquire) != at {
                continue;
            }
            let found = queue.iter().position(|entry| Arc::ptr_eq(&entry.waiter, waiter))?;
            bucket.waiting.fetch_sub(1, Ordering::Relaxed);
            return queue.remove(found);
        }
    }

    /// Wakes up to `count` waiters of `key` that share a bit with `bitset`; EINVAL at one that waits for a lock.
    pub fn wake(&self, key: FutexKey, count: u32, bitset: u32) -> Result<usize, Errno> {
        let at = bucket_of(&key);
        let bucket = &self.buckets[at];
        // The guest's store to the word comes before the look at the count.
        fence(Ordering::SeqCst);
        if bucket.waiting.load(Ordering::SeqCst) == 0 {
            return Ok(0);
        }
        let mut woken = Woken::new();
        let result = {
            let mut queue = bucket.queue.lock();
            self.take(&mut queue, at, key, count, bitset, &mut woken)
        };
        unpark(&woken);
        result.map(|()| woken.len())
    }

    fn take(
        &self,
        queue: &mut Queue,
        bucket: usize,
        key: FutexKey,
        count: u32,
        bitset: u32,
        woken: &mut Woken,
    ) -> Result<(), Errno> {
        let before = woken.len();
        let mut at = 0;
        while woken.len() - before < count as usize {
            let Some(entry) = queue.get(at) else { break };
            if entry.key != key || entry.bitset & bitset == 0 {
                at += 1;
                continue;
            }
            if entry.pi.is_some() {
                return Err(Errno::EINVAL);
            }
            if let Some(entry) = queue.remove(at) {
                self.set_woken(bucket, &entry.waiter);
                woken.push(entry.waiter);
            }
        }
        Ok(())
    }

    fn set_woken(&self, bucket: usize, waiter: &Waiter) {
        self.buckets[bucket].waiting.fetch_sub(1, Ordering::Relaxed);
        waiter.set_woken();
    }

    /// The locked queues of one or two keys.
    pub(super) fn lock(&self, first: FutexKey, second: FutexKey) -> Pair<'_> {
        // Waiters of the second are counted by whoever moves them there.
        let (a, b) = (bucket_of(&first), bucket_of(&second));
        let low = self.buckets[a.min(b)].queue.lock();
        // Ascending by place in the table.
        let high = (a != b).then(|| self.buckets[a.max(b)].queue.lock_nested());
        Pair { table: self, a, b, low, high }
    }
}

/// Two queues under their locks, which may be the same one.
pub(super) struct Pair<'a> {
    table: &'a FutexTable,
    a: usize,
    b: usize,
    low: QueueGuard<'a>,
    high: Option<QueueGuard<'a>>,
}

impl Pair<'_> {
    /// The queue of the first key.
    pub fn first(&mut self) -> &mut Queue {
        match &mut self.high {
            Some(high) if self.a > self.b => high,
            _ => &mut self.low,
        }
    }

    /// The queue of the second key.
    pub fn second(&mut self) -> &mut Queue {
        match &mut self.high {
            Some(high) if self.b > self.a => high,
            _ => &mut self.low,
        }
    }

    /// Takes waiters of the first key out, as [`FutexTable::wake`] does.
    pub fn wake_first(
        &mut self,
        key: FutexKey,
        count: u32,
        bitset: u32,
        woken: &mut Woken,
    ) -> Result<(), Errno> {
        let (table, at) = (self.table, self.a);
        table.take(self.first(), at, key, count, bitset, woken)
    }

    /// Takes waiters of the second key out.
    pub fn wake_second(
        &mut self,
        key: FutexKey,
        count: u32,
        bitset: u32,
        woken: &mut Woken,
    ) -> Result<(), Errno> {
        let (table, at) = (self.table, self.b);
        table.take(self.second(), at, key, count, bitset, woken)
    }

    /// Takes out entry `at` of the first queue, to be unparked later.
    pub fn take_first(&mut self, at: usize, woken: &mut Woken) {
        if let Some(entry) = self.first().remove(at) {
            self.table.set_woken(self.a, &entry.waiter);
            woken.push(entry.waiter);
        }
    }

    /// Moves entry `at` of the first queue to the end of the second, under `key`.
    pub fn move_first(&mut self, at: usize, key: FutexKey) {
        let Some(mut entry) = self.first().remove(at) else { return };
        entry.key = key;
        if self.a != self.b {
            self.table.buckets[self.a].waiting.fetch_sub(1, Ordering::SeqCst);
            self.table.buckets[self.b].waiting.fetch_add(1, Ordering::SeqCst);
            entry.waiter.bucket.store(self.b, Ordering::Release);
        }
        self.second().push_back(entry);
    }
}
