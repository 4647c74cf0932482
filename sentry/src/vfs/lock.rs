//! File locks: flock(2), and the POSIX and open-file-description locks of fcntl(2).
//!
//! [`FileLocks`] hangs on the inode. A POSIX lock belongs to a descriptor table (and goes when that closes any
//! descriptor of the file), the other two to an open file description. Nothing here waits: a conflict is answered with
//! its owner, the caller waits on [`FileLocks::wait_queue`] and tries again.
//!
//! POSIX locks are watched for deadlocks: who waits for whom is kept for the whole sandbox ([`Waiting`]).
//!
//! Lock level: `FileLock`.

use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;
use abi::poll::PollEvents;
use sync::Mutex;

use crate::Result;
use crate::wait::WaitQueue;

/// Locks in the whole sandbox; more are ENOLCK.
const MAX_LOCKS: usize = 1 << 20;

static LOCKS: AtomicUsize = AtomicUsize::new(0);

/// Who has a lock of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockOwner {
    /// A descriptor table: POSIX locks.
    Table(u64),
    /// An open file description.
    Description(u64),
}

/// What kind of lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Several may have it.
    Shared,
    /// Only one has it.
    Exclusive,
}

/// Bytes `start..=last`; a `last` of `i64::MAX` is to the end, however far it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRange {
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub last: u64,
}

/// The last byte of a range that has no end.
pub const TO_END: u64 = i64::MAX as u64;

impl LockRange {
    fn overlaps(&self, other: &LockRange) -> bool {
        self.start <= other.last && other.start <= self.last
    }
}

/// A lock of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLock {
    /// Whose.
    pub owner: LockOwner,
    /// What kind.
    pub kind: LockKind,
    /// Of which bytes.
    pub range: LockRange,
    /// The process, for F_GETLK; -1 for a description.
    pub pid: i32,
}

impl RangeLock {
    fn conflicts(&self, other: &RangeLock) -> bool {
        self.owner != other.owner
            && self.range.overlaps(&other.range)
            && (self.kind == LockKind::Exclusive || other.kind == LockKind::Exclusive)
    }
}

#[derive(Default)]
struct State {
    /// By owner in no order, by start within an owner; those of one owner do not overlap.
    ranges: Vec<RangeLock>,
    /// By open file description, with the process that has set it.
    whole: Vec<(u64, LockKind, i32)>,
    leases: Vec<super::lease::Lease>,
}

/// A lock or lease as /proc/locks shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which kind of lock.
    pub what: HeldKind,
    /// What others may have; `None` for a lease that is to go.
    pub kind: Option<LockKind>,
    /// The process that has set it, as it knew itself; -1 where a description has it.
    pub pid: i32,
}

/// Kinds of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldKind {
    /// Of a process.
    Posix(LockRange),
    /// Of an open file description.
    Description(LockRange),
    /// Of flock(2).
    Flock,
    /// A lease.
    Lease {
        /// Whether somebody is waiting for its end.
        breaking: bool,
    },
}

/// Locks of one file.
#[derive(Default)]
pub struct FileLocks {
    state: Mutex<State, sync::levels::FileLock>,
    queue: WaitQueue,
}

impl FileLocks {
    /// Notified when a lock goes or gets weaker.
    pub fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// Sets a lock of a range, over what its owner has there. A conflict with another owner is `Ok(Err(that lock))`.
    pub fn set(&self, lock: RangeLock) -> Result<std::result::Result<(), RangeLock>> {
        let weaker = {
            let mut state = self.state.lock();
            if let Some(other) = state.ranges.iter().find(|other| lock.conflicts(other)) {
                return Ok(Err(*other));
            }
            let before = state.ranges.len();
            if LOCKS.load(Ordering::Relaxed) + 2 > MAX_LOCKS {
                return Err(Errno::ENOLCK);
            }
            let weaker = state.cut(lock.owner, lock.range, Some(lock.kind));
            state.insert_merged(lock);
            count(before, state.ranges.len());
            weaker
        };
        if weaker {
            self.wake();
        }
        Ok(Ok(()))
    }

    /// Takes away what `owner` has locked in `range`.
    pub fn unlock(&self, owner: LockOwner, range: LockRange) {
        let any = {
            let mut state = self.state.lock();
            let before = state.ranges.len();
            let any = state.cut(owner, range, None);
            count(before, state.ranges.len());
            any
        };
        if any {
            self.wake();
        }
    }

    /// The first lock that would keep `lock` from being set (F_GETLK).
    pub fn first_conflict(&self, lock: &RangeLock) -> Option<RangeLock> {
        let state = self.state.lock();
        state
            .ranges
            .iter()
            .filter(|other| lock.conflicts(other))
            .min_by_key(|other| other.range.start)
            .copied()
    }

    /// The first lock that `owner` has in a range.
    pub fn first_of(&self, owner: LockOwner, range: LockRange) -> Option<RangeLock> {
        let state = self.state.lock();
        let own = state.ranges.iter().filter(|lock| lock.owner == owner && lock.range.overlaps(&range));
        own.min_by_key(|lock| lock.range.start).copied()
    }

    /// flock(2) for the description `file`, by process `pid`: false when another one is in the way. What it had is lost then, if it was
    /// of another kind, as on Linux.
    pub fn flock(&self, file: u64, kind: LockKind, pid: i32) -> bool {
        let (done, changed) = {
            let mut state = self.state.lock();
            let had = state.whole.iter().position(|(owner, ..)| *owner == file);
            if had.is_some_and(|at| state.whole[at].1 == kind) {
                return true;
            }
            if let Some(at) = had {
                state.whole.swap_remove(at);
            }
            let conflict = state
                .whole
                .iter()
                .any(|(_, other, _)| kind == LockKind::Exclusive || *other == LockKind::Exclusive);
            if !conflict {
                state.whole.push((file, kind, pid));
            }
            (!conflict, had.is_some())
        };
        if changed {
            self.wake();
        }
        done
    }

    /// Takes a lock of flock(2) away.
    pub fn funlock(&self, file: u64) {
        let before_after = {
            let mut state = self.state.lock();
            let before = state.whole.len();
            state.whole.retain(|(owner, ..)| *owner != file);
            (before, state.whole.len())
        };
        if before_after.0 != before_after.1 {
            self.wake();
        }
    }

    /// A descriptor table closes the file: its POSIX locks go.
    pub fn release_posix(&self, table: u64) {
        self.unlock(LockOwner::Table(table), LockRange { start: 0, last: TO_END });
    }

    /// A description goes away: all its locks do.
    pub fn release_file(&self, file: u64) {
        self.unlock(LockOwner::Description(file), LockRange { start: 0, last: TO_END });
        self.funlock(file);
        // Most have none.
        let _ = self.end_lease(file);
    }

    /// Looks at the leases.
    pub(super) fn with_leases<T>(&self, look: impl FnOnce(&[super::lease::Lease]) -> T) -> T {
        look(&self.state.lock().leases)
    }

    /// Changes the leases; who waits is told of a success.
    pub(super) fn change_leases(
        &self,
        change: impl FnOnce(&mut Vec<super::lease::Lease>) -> Result<()>,
    ) -> Result<()> {
        let done = change(&mut self.state.lock().leases);
        if done.is_ok() {
            self.wake();
        }
        done
    }

    /// All of them, for /proc/locks.
    pub fn held(&self) -> Vec<Held> {
        let state = self.state.lock();
        let ranges = state.ranges.iter().map(|lock| {
            let what = match lock.owner {
                LockOwner::Table(_) => HeldKind::Posix(lock.range),
                LockOwner::Description(_) => HeldKind::Description(lock.range),
            };
            Held { what, kind: Some(lock.kind), pid: lock.pid }
        });
        let whole =
            state.whole.iter().map(|&(_, kind, pid)| Held { what: HeldKind::Flock, kind: Some(kind), pid });
        let leases = state.leases.iter().map(super::lease::Lease::held);
        ranges.chain(whole).chain(leases).collect()
    }

    fn wake(&self) {
        self.queue.notify(PollEvents::IN);
    }
}

fn count(before: usize, after: usize) {
    if after >= before {
        LOCKS.fetch_add(after - before, Ordering::Relaxed);
    } else {
        LOCKS.fetch_sub(before - after, Ordering::Relaxed);
    }
}

impl State {
    /// Cuts `range` out of what `owner` has; answers whether that made anything free for others: always without a new
    /// kind, else where an exclusive lock becomes a shared one.
    fn cut(&mut self, owner: LockOwner, range: LockRange, new: Option<LockKind>) -> bool {
        let mut weaker = false;
        let mut rest = Vec::new();
        self.ranges.retain_mut(|lock| {
            if lock.owner != owner || !lock.range.overlaps(&range) {
                return true;
            }
            weaker |= new.is_none_or(|new| lock.kind == LockKind::Exclusive && new == LockKind::Shared);
            let old = *lock;
            let before = old.range.start < range.start;
            let after = old.range.last > range.last;
            if after {
                rest.push(RangeLock {
                    range: LockRange { start: range.last + 1, last: old.range.last },
                    ..old
                });
            }
            if before {
                lock.range.last = range.start - 1;
            }
            before
        });
        self.ranges.append(&mut rest);
        weaker
    }

    /// Adds a lock where its owner has none, joined with neighbours of the same kind.
    fn insert_merged(&mut self, mut lock: RangeLock) {
        self.ranges.retain(|other| {
            let same = other.owner == lock.owner && other.kind == lock.kind;
            let below = other.range.last.checked_add(1) == Some(lock.range.start);
            let above = lock.range.last.checked_add(1) == Some(other.range.start);
            if same && (below || above) {
                lock.range.start = lock.range.start.min(other.range.start);
                lock.range.last = lock.range.last.max(other.range.last);
                return false;
            }
            true
        });
        self.ranges.push(lock);
    }
}

impl Drop for FileLocks {
    fn drop(&mut self) {
        LOCKS.fetch_sub(self.state.get_mut().ranges.len(), Ordering::Relaxed);
    }
}

/// Who waits for whose POSIX lock, in the whole sandbox.
static WAITING: Mutex<Vec<(LockOwner, LockOwner)>, sync::levels::Leaf> = Mutex::new(Vec::new());

/// A wait of one owner for another, as long as it is kept.
pub struct Waiting {
    edge: (LockOwner, LockOwner),
}

impl Waiting {
    /// `waiter` is about to wait for `holder`: EDEADLK when that one waits, over others perhaps, for `waiter`.
    pub fn begin(waiter: LockOwner, holder: LockOwner) -> Result<Waiting> {
        let mut waiting = WAITING.lock();
        // Ten steps, as on Linux: longer cycles are not found.
        let mut reached = vec![holder];
        for _ in 0..10 {
            if reached.contains(&waiter) {
                return Err(Errno::EDEADLK);
            }
            let next: Vec<LockOwner> =
                waiting.iter().filter(|(from, _)| reached.contains(from)).map(|(_, to)| *to).collect();
            if next.is_empty() {
                break;
            }
            reached = next;
        }
        waiting.push((waiter, holder));
        Ok(Waiting { edge: (waiter, holder) })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = WAITING.lock();
        if let Some(at) = waiting.iter().position(|edge| *edge == self.edge) {
            waiting.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LockOwner = LockOwner::Table(1);
    const B: LockOwner = LockOwner::Table(2);

    fn lock(owner: LockOwner, kind: LockKind, start: u64, last: u64) -> RangeLock {
        RangeLock { owner, kind, range: LockRange { start, last }, pid: 1 }
    }

    #[test]
    fn ranges_are_split_and_joined() {
        let locks = FileLocks::default();
        use LockKind::{Exclusive as E, Shared as S};
        assert_eq!(locks.set(lock(A, E, 0, 99)), Ok(Ok(())));
        assert_eq!(locks.set(lock(B, S, 50, 60)), Ok(Err(lock(A, E, 0, 99))));
        locks.unlock(A, LockRange { start: 40, last: 59 });
        assert_eq!(locks.set(lock(B, S, 40, 59)), Ok(Ok(())));
        assert_eq!(locks.set(lock(B, S, 40, 60)), Ok(Err(lock(A, E, 60, 99))));
        assert_eq!(locks.set(lock(A, S, 60, TO_END)), Ok(Ok(())));
        assert_eq!(locks.set(lock(B, S, 40, 60)), Ok(Ok(())));
        let ranges = || locks.state.lock().ranges.clone();
        let mut own: Vec<_> = ranges().into_iter().filter(|l| l.owner == A).collect();
        own.sort_by_key(|l| l.range.start);
        assert_eq!(own, [lock(A, E, 0, 39), lock(A, S, 60, TO_END)]);
        assert_eq!(locks.set(lock(A, S, 0, 39)), Ok(Ok(())));
        locks.release_posix(2);
        assert_eq!(locks.set(lock(A, S, 40, 59)), Ok(Ok(())));
        assert_eq!(ranges(), [lock(A, S, 0, TO_END)]);
        assert_eq!(locks.first_conflict(&lock(B, E, 5, 5)), Some(lock(A, S, 0, TO_END)));
        assert_eq!(locks.first_conflict(&lock(B, S, 5, 5)), None);
    }

    #[test]
    fn cycles_of_waiting_are_found() {
        let c = LockOwner::Table(3);
        let first = Waiting::begin(A, B).ok();
        let second = Waiting::begin(B, c).ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(Waiting::begin(c, A).err(), Some(Errno::EDEADLK));
        drop(second);
        assert!(Waiting::begin(c, A).is_ok());
    }

    #[test]
    fn flock_belongs_to_descriptions() {
        let locks = FileLocks::default();
        assert!(locks.flock(1, LockKind::Shared, 10));
        assert!(locks.flock(2, LockKind::Shared, 20));
        assert!(!locks.flock(1, LockKind::Exclusive, 10));
        // The attempt has cost it what it had.
        assert!(locks.flock(2, LockKind::Exclusive, 20));
        let held = Held { what: HeldKind::Flock, kind: Some(LockKind::Exclusive), pid: 20 };
        assert_eq!(locks.held(), [held]);
        locks.release_file(2);
        assert!(locks.flock(1, LockKind::Exclusive, 10));
    }
}
