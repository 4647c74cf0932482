//! Moving waiters from one word to another (FUTEX_REQUEUE, FUTEX_CMP_REQUEUE).

use abi::Errno;
use abi::futex::FUTEX_BITSET_MATCH_ANY;

use super::table::{FutexTable, Woken, unpark};
use crate::mm::{FutexKey, UserAddr};
use crate::task::CurrentTask;

impl FutexTable {
    /// Wakes up to `wake` waiters of `from` and moves up to `requeue` more to `to`, if `check` says so under the locks.
    /// Answers how many of each; `None` when `check` says no.
    pub(super) fn requeue<E: From<Errno>>(
        &self,
        from: FutexKey,
        to: FutexKey,
        wake: u32,
        requeue: u32,
        check: impl FnOnce() -> Result<bool, E>,
    ) -> Result<Option<(usize, usize)>, E> {
        let mut woken = Woken::new();
        let result = {
            let mut pair = self.lock(from, to);
            match check() {
                Err(error) => Err(error),
                Ok(false) => Ok(None),
                Ok(true) => {
                    let woke = pair.wake_first(from, wake, FUTEX_BITSET_MATCH_ANY, &mut woken);
                    woke.and_then(|()| pair.requeue(from, to, requeue)).map(Some).map_err(E::from)
                }
            }
        };
        unpark(&woken);
        Ok(result?.map(|moved| (woken.len(), moved)))
    }
}

impl super::table::Pair<'_> {
    fn requeue(&mut self, from: FutexKey, to: FutexKey, count: u32) -> Result<usize, Errno> {
        let mut moved = 0;
        let mut at = 0;
        // What is moved to the end of the same queue is not met again: it has the other key.
        while moved < count as usize {
            let Some(entry) = self.first().get(at) else { break };
            if entry.key != from {
                at += 1;
                continue;
            }
            if entry.pi.is_some() {
                return Err(Errno::EINVAL);
            }
            if from == to {
                // Moving a waiter to where it is only counts.
                at += 1;
            } else {
                self.move_first(at, to);
            }
            moved += 1;
        }
        Ok(moved)
    }
}

/// Why a look at the word did not work out.
pub(super) enum Look {
    /// The page is not there.
    NotThere,
    /// An error for the guest.
    Errno(Errno),
}

impl From<Errno> for Look {
    fn from(errno: Errno) -> Self {
        Look::Errno(errno)
    }
}

impl From<crate::mm::NotThere> for Look {
    fn from(_: crate::mm::NotThere) -> Self {
        Look::NotThere
    }
}

/// One of the two words of a requeue.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Where it is.
    pub addr: UserAddr,
    /// FUTEX_PRIVATE_FLAG.
    pub private: bool,
}

impl CurrentTask {
    /// Wakes up to `wake` waiters of `from`, moves up to `requeue` to `to`. With `expected`, EAGAIN unless the first
    /// word is that. Answers how many were woken and moved.
    pub fn futex_requeue(
        &self,
        from: Word,
        to: Word,
        wake: u32,
        requeue: u32,
        expected: Option<u32>,
    ) -> Result<(usize, usize), Errno> {
        let mm = self.mm();
        loop {
            let (a, b) = (mm.futex_key(from.addr, from.private)?, mm.futex_key(to.addr, to.private)?);
            let check = || -> Result<bool, Look> {
                Ok(match expected {
                    Some(expected) => mm.try_load_u32(from.addr)? == expected,
                    None => true,
                })
            };
            match self.kernel().futexes.requeue(a, b, wake, requeue, check) {
                Ok(Some(counts)) => return Ok(counts),
                Ok(None) => return Err(Errno::EAGAIN),
                Err(Look::NotThere) => mm.load_u32(from.addr)?,
                Err(Look::Errno(errno)) => return Err(errno),
            };
        }
    }
}
