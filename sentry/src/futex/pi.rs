//! Words that are locks with an owner (FUTEX_LOCK_PI and its family).
//!
//! The word holds the owner's thread id, and FUTEX_WAITERS once somebody waits in the kernel. Unlocking hands the lock
//! to the first waiter: its id is in the word before it wakes up. When an owner dies, the first waiter is given the
//! lock by the exit, and puts its id and FUTEX_OWNER_DIED into the word itself: the exit does not know the address.
//!
//! Priorities are not inherited: waiters get the lock in the order in which they came.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use abi::Errno;
use abi::futex::{FUTEX_BITSET_MATCH_ANY, FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};

use super::requeue::{Look, Word};
use super::table::{Entry, FutexTable, Queue, Waiter, Woken, unpark};
use crate::mm::{FutexKey, MemoryManager, UserAddr};
use crate::task::{CurrentTask, WaitEnd};

/// What a waiter for a lock is.
#[derive(Clone, Copy, Debug)]
pub(super) struct PiWaiter {
    /// Its thread id, as goes into the word.
    pub tid: u32,
    /// [`Task::id`](crate::task::Task::id).
    pub task: u64,
    /// FUTEX_WAIT_REQUEUE_PI: waits on an ordinary word to be moved to this lock.
    pub moves_to: Option<FutexKey>,
}

/// How an attempt to take a lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Yes,
    /// It has an owner, who is known to the table now; FUTEX_WAITERS is set.
    No,
}

/// What a wait that ended early was for.
enum Waited {
    /// An ordinary word (FUTEX_WAIT_REQUEUE_PI).
    ToBeMoved,
    ForLock,
}

impl CurrentTask {
    fn pi_waiter(&self, moves_to: Option<FutexKey>) -> PiWaiter {
        PiWaiter { tid: self.tid() as u32, task: self.id, moves_to }
    }

    /// Takes the lock for `waiter`, or makes it ready to be waited for. Under the bucket's lock.
    fn take_pi(
        &self,
        addr: UserAddr,
        key: FutexKey,
        waiter: &PiWaiter,
        waiters: bool,
    ) -> Result<Taken, Look> {
        let mm = self.mm();
        let owned = &self.kernel().futexes.owned;
        for _ in 0..64 {
            let seen = mm.try_load_u32(addr)?;
            if seen & FUTEX_TID_MASK == waiter.tid {
                return Err(Errno::EDEADLK.into());
            }
            if let Some(owner) = owned.owner(&key) {
                if owned.closes_circle(owner, waiter.task) {
                    return Err(Errno::EDEADLK.into());
                }
                return Ok(Taken::No);
            }
            if seen & FUTEX_TID_MASK == 0 {
                let flag = if waiters { FUTEX_WAITERS } else { 0 };
                let new = waiter.tid | flag | seen & FUTEX_OWNER_DIED;
                if mm.try_compare_exchange_u32(addr, seen, new)?.is_ok() {
                    return Ok(Taken::Yes);
                }
                continue;
            }
            if seen & FUTEX_WAITERS == 0
                && mm.try_compare_exchange_u32(addr, seen, seen | FUTEX_WAITERS)?.is_err()
            {
                continue;
            }
            let pid = self.pid();
            let owner = pid.namespace().task((seen & FUTEX_TID_MASK) as i32);
            let owner = owner.filter(|task| task.resources().is_some()).ok_or(Errno::ESRCH)?;
            if owned.closes_circle(owner.id, waiter.task) {
                return Err(Errno::EDEADLK.into());
            }
            owned.set_owner(key, Some(owner.id));
            if owner.futexes_released.load(Ordering::SeqCst) {
                // It is exiting and may not have seen that it owns this one: again, until it is gone.
                owned.set_owner(key, None);
                return Err(Look::NotThere);
            }
            return Ok(Taken::No);
        }
        Err(Look::NotThere)
    }

    /// FUTEX_LOCK_PI. The inner result says how a wait ended.
    pub fn futex_lock_pi(
        &mut self,
        word: Word,
        deadline: Option<Instant>,
    ) -> Result<Result<(), WaitEnd>, Errno> {
        let kernel = Arc::clone(self.kernel());
        let me = self.pi_waiter(None);
        let waiter = Waiter::new(self.waker());
        loop {
            let key = self.mm().futex_key(word.addr, word.private)?;
            let check = || {
                let must_wait = self.take_pi(word.addr, key, &me, false)? == Taken::No;
                // Under the bucket's lock, as whoever gives it the lock takes this back.
                kernel.futexes.owned.set_waits(me.task, must_wait.then_some(key));
                Ok(must_wait)
            };
            match kernel.futexes.enqueue(key, FUTEX_BITSET_MATCH_ANY, &waiter, Some(me), check) {
                Ok(true) => break,
                Ok(false) => return Ok(Ok(())),
                Err(Look::NotThere) => self.touch(word.addr)?,
                Err(Look::Errno(errno)) => return Err(errno),
            }
        }
        let result = self.park_on_pi(&waiter, word.addr, deadline);
        kernel.futexes.owned.set_waits(me.task, None);
        Ok(result.map_err(|(end, _)| end))
    }

    /// FUTEX_TRYLOCK_PI: EAGAIN when somebody has it.
    pub fn futex_trylock_pi(&mut self, word: Word) -> Result<(), Errno> {
        let me = self.pi_waiter(None);
        loop {
            let key = self.mm().futex_key(word.addr, word.private)?;
            let taken = {
                let pair = self.kernel().futexes.lock(key, key);
                let taken = self.take_pi(word.addr, key, &me, false);
                self.kernel().futexes.forget_unwaited(pair, key);
                taken
            };
            match taken {
                Ok(Taken::Yes) => return Ok(()),
                Ok(Taken::No) => return Err(Errno::EAGAIN),
                Err(Look::NotThere) => self.touch(word.addr)?,
                Err(Look::Errno(errno)) => return Err(errno),
            }
        }
    }

    /// FUTEX_UNLOCK_PI: EPERM unless the caller owns it.
    pub fn futex_unlock_pi(&mut self, word: Word) -> Result<(), Errno> {
        let kernel = Arc::clone(self.kernel());
        loop {
            let mm = self.mm();
            let seen = mm.load_u32(word.addr)?;
            if seen & FUTEX_TID_MASK != self.tid() as u32 {
                return Err(Errno::EPERM);
            }
            let key = mm.futex_key(word.addr, word.private)?;
            let mut woken = Woken::new();
            let done = {
                let mut pair = kernel.futexes.lock(key, key);
                let next = first_waiter(pair.first(), key);
                // Only who is in the word after this has the lock.
                let new = next.map_or(0, |(_, waiter)| waiter.tid | FUTEX_WAITERS);
                let done = mm.try_compare_exchange_u32(word.addr, seen, new).is_ok_and(|swap| swap.is_ok());
                if done && let Some((at, waiter)) = next {
                    pair.take_first(at, &mut woken);
                    kernel.futexes.owned.give(key, waiter.task);
                    kernel.futexes.forget_unwaited(pair, key);
                }
                done
            };
            unpark(&woken);
            if done {
                return Ok(());
            }
            self.touch(word.addr)?;
        }
    }

    /// FUTEX_WAIT_REQUEUE_PI: waits on `word` until it is moved to the lock `lock` and gets that.
    pub fn futex_wait_requeue_pi(
        &mut self,
        word: Word,
        value: u32,
        bitset: u32,
        lock: Word,
        deadline: Option<Instant>,
    ) -> Result<Result<(), WaitEnd>, Errno> {
        if word.addr == lock.addr || bitset == 0 {
            return Err(Errno::EINVAL);
        }
        let kernel = Arc::clone(self.kernel());
        let waiter = Waiter::new(self.waker());
        loop {
            let mm = self.mm();
            let target = mm.futex_key(lock.addr, lock.private)?;
            let key = mm.futex_key(word.addr, word.private)?;
            if key == target {
                return Err(Errno::EINVAL);
            }
            let me = self.pi_waiter(Some(target));
            let check = || mm.try_load_u32(word.addr).map(|seen| seen == value);
            match kernel.futexes.enqueue(key, bitset, &waiter, Some(me), check) {
                Ok(true) => break,
                Ok(false) => return Err(Errno::EAGAIN),
                Err(_) => mm.load_u32(word.addr)?,
            };
        }
        let result = self.park_on_pi(&waiter, lock.addr, deadline);
        kernel.futexes.owned.set_waits(self.id, None);
        match result {
            // It waits for the lock already: to wait again would be for the wrong thing.
            Err((WaitEnd::Interrupted, Waited::ForLock)) => Err(Errno::EAGAIN),
            other => Ok(other.map_err(|(end, _)| end)),
        }
    }

    /// FUTEX_CMP_REQUEUE_PI: gives the lock `to` to the first waiter of `from` if it is free, and moves up to
    /// `requeue` others to it. Answers how many got it or were moved.
    pub fn futex_requeue_pi(
        &mut self,
        from: Word,
        to: Word,
        requeue: u32,
        expected: u32,
    ) -> Result<usize, Errno> {
        if from.addr == to.addr {
            return Err(Errno::EINVAL);
        }
        loop {
            let mm = self.mm();
            let (a, b) = (mm.futex_key(from.addr, from.private)?, mm.futex_key(to.addr, to.private)?);
            if a == b {
                return Err(Errno::EINVAL);
            }
            let mut woken = Woken::new();
            let result = self.move_to_lock((from.addr, a), (to.addr, b), requeue, expected, &mut woken);
            unpark(&woken);
            match result {
                Ok(count) => return Ok(count),
                Err(Look::NotThere) => {
                    mm.load_u32(from.addr)?;
                    self.touch(to.addr)?;
                }
                Err(Look::Errno(errno)) => return Err(errno),
            }
        }
    }

    fn move_to_lock(
        &self,
        (from_addr, from): (UserAddr, FutexKey),
        (to_addr, to): (UserAddr, FutexKey),
        requeue: u32,
        expected: u32,
        woken: &mut Woken,
    ) -> Result<usize, Look> {
        let table = &self.kernel().futexes;
        let mut pair = table.lock(from, to);
        if self.mm().try_load_u32(from_addr)? != expected {
            return Err(Errno::EAGAIN.into());
        }
        let mut count = 0;
        let mut at = 0;
        // As on Linux: one, whether it gets the lock or not, and `requeue` others.
        let limit = (requeue as usize).saturating_add(1);
        while count < limit {
            let Some(entry) = pair.first().get(at) else { break };
            if entry.key != from {
                at += 1;
                continue;
            }
            let Some(waiter) = entry.pi.filter(|pi| pi.moves_to == Some(to)) else {
                return Err(Errno::EINVAL.into());
            };
            if count == 0 && self.take_pi(to_addr, to, &waiter, requeue > 0)? == Taken::Yes {
                pair.take_first(at, woken);
                // For those that are moved behind it; forgotten below if there are none.
                table.owned.give(to, waiter.task);
                count += 1;
                continue;
            }
            if let Some(entry) = pair.first().get_mut(at) {
                entry.pi = Some(PiWaiter { moves_to: None, ..waiter });
            }
            table.owned.set_waits(waiter.task, Some(to));
            pair.move_first(at, to);
            count += 1;
        }
        table.forget_unwaited_second(pair, to);
        Ok(count)
    }

    /// Brings a word in, to be written; EFAULT when that is not possible.
    fn touch(&self, addr: UserAddr) -> Result<(), Errno> {
        let seen = self.mm().load_u32(addr)?;
        // Changes nothing, but has to be able to.
        let _ = self.mm().compare_exchange_u32(addr, seen, seen)?;
        Ok(())
    }

    /// Parks until the lock at `addr` has been given to this task.
    fn park_on_pi(
        &mut self,
        waiter: &Arc<Waiter>,
        addr: UserAddr,
        deadline: Option<Instant>,
    ) -> Result<(), (WaitEnd, Waited)> {
        let kernel = Arc::clone(self.kernel());
        while !waiter.is_woken() {
            let Err(end) = self.park(deadline) else { continue };
            let Some(entry) = kernel.futexes.dequeue(waiter) else { break };
            if entry.pi.is_some_and(|pi| pi.moves_to.is_some()) {
                return Err((end, Waited::ToBeMoved));
            }
            let pair = kernel.futexes.lock(entry.key, entry.key);
            kernel.futexes.forget_unwaited(pair, entry.key);
            return Err((end, Waited::ForLock));
        }
        if waiter.owner_died() {
            // As Linux, nothing can be done about a word that has gone.
            let _ = inherit(self.mm(), addr, self.tid() as u32);
        }
        Ok(())
    }

    /// Gives the locks that this exiting task owns to their first waiters.
    pub(super) fn release_pi_futexes(&mut self) {
        self.futexes_released.store(true, Ordering::SeqCst);
        let table = &self.kernel().futexes;
        for key in table.owned.of_task(self.id) {
            let mut woken = Woken::new();
            {
                let mut pair = table.lock(key, key);
                if let Some((at, waiter)) = first_waiter(pair.first(), key) {
                    pair.first()[at].waiter.set_owner_died();
                    pair.take_first(at, &mut woken);
                    table.owned.give(key, waiter.task);
                }
                table.forget_unwaited(pair, key);
            }
            unpark(&woken);
        }
    }
}

/// Puts the new owner of a dead one's lock into the word.
fn inherit(mm: &MemoryManager, addr: UserAddr, tid: u32) -> Result<(), Errno> {
    let mut seen = mm.load_u32(addr)?;
    for _ in 0..1024 {
        let new = tid | FUTEX_WAITERS | FUTEX_OWNER_DIED;
        match mm.compare_exchange_u32(addr, seen, new)? {
            Ok(_) => return Ok(()),
            Err(now) => seen = now,
        }
    }
    Ok(())
}

/// The first that waits for the lock `key`.
fn first_waiter(queue: &Queue, key: FutexKey) -> Option<(usize, PiWaiter)> {
    let waits = |entry: &Entry| entry.pi.filter(|pi| entry.key == key && pi.moves_to.is_none());
    queue.iter().enumerate().find_map(|(at, entry)| Some((at, waits(entry)?)))
}

impl FutexTable {
    /// Forgets the owner of a lock that nobody waits for any more: the word says it all.
    fn forget_unwaited(&self, mut pair: super::table::Pair<'_>, key: FutexKey) {
        if first_waiter(pair.first(), key).is_none() {
            self.owned.set_owner(key, None);
        }
    }

    fn forget_unwaited_second(&self, mut pair: super::table::Pair<'_>, key: FutexKey) {
        if first_waiter(pair.second(), key).is_none() {
            self.owned.set_owner(key, None);
        }
    }
}
