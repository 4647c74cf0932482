//! Robust lists (set_robust_list(2)): locks of a thread that dies are marked, and one waiter of each is woken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::futex::{
    FUTEX_BITSET_MATCH_ANY, FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, ROBUST_LIST_LIMIT,
    RobustListHead,
};

use crate::mm::{UserAddr, UserRef};
use crate::task::CurrentTask;

/// How often a word that changes under our hands is tried.
const ATTEMPTS: usize = 1 << 16;

/// Whether an entry is on the list or was about to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Yes,
    /// `list_op_pending`
    Pending,
}

/// Where a thread's robust list begins (0: it has none). A platform may let guest code change that without a trap; it is the
/// guest's in any case.
#[derive(Default)]
pub struct RobustListPlace {
    own: AtomicU64,
    platform: OnceLock<Arc<dyn platform::RobustList>>,
}

impl RobustListPlace {
    /// Has the platform keep it, where it can; for a thread that has not begun to run.
    pub(crate) fn keep_in(&self, platform: Option<Arc<dyn platform::RobustList>>) {
        if let Some(platform) = platform {
            let _ = self.platform.set(platform);
        }
    }

    /// The address.
    pub fn get(&self) -> u64 {
        self.platform.get().map_or_else(|| self.own.load(Ordering::Relaxed), |platform| platform.head())
    }

    /// Changes it. By the thread itself.
    pub fn set(&self, address: u64) {
        match self.platform.get() {
            Some(platform) => platform.set_head(address),
            None => self.own.store(address, Ordering::Relaxed),
        }
    }
}

impl CurrentTask {
    /// Releases what the task holds: to be called when it exits or execs, while its memory is still there.
    pub(crate) fn release_robust_futexes(&mut self) {
        let head = self.robust_list.get();
        self.robust_list.set(0);
        if head != 0 {
            // The list is the guest's: a fault ends the walk.
            let _ = self.walk_robust_list(UserAddr(head));
        }
        self.release_pi_futexes();
    }

    /// As [`release_robust_futexes`](Self::release_robust_futexes), for a task that lives on (exec).
    pub(crate) fn release_futexes_for_exec(&mut self) {
        self.release_robust_futexes();
        self.futexes_released.store(false, Ordering::SeqCst);
    }

    fn walk_robust_list(&mut self, head: UserAddr) -> Result<(), Errno> {
        let list: RobustListHead = self.read_obj(UserRef::new(head))?;
        let futex_of = |entry: u64| UserAddr((entry & !1).wrapping_add_signed(list.futex_offset));
        let pending = list.list_op_pending;
        let mut entry = list.list;
        let mut walk = || -> Result<(), Errno> {
            for _ in 0..ROBUST_LIST_LIMIT {
                if entry & !1 == head.0 {
                    break;
                }
                // First the next one: a waiter may free this entry.
                let next = self.read_obj::<u64>(UserRef::new(UserAddr(entry & !1)));
                if entry & !1 != pending & !1 {
                    self.owner_died(futex_of(entry), entry & 1 != 0, Listed::Yes)?;
                }
                entry = next?;
            }
            Ok(())
        };
        walk()?;
        if pending & !1 != 0 {
            self.owner_died(futex_of(pending), pending & 1 != 0, Listed::Pending)?;
        }
        Ok(())
    }

    /// Marks the word if it says that this task owns it.
    fn owner_died(&self, addr: UserAddr, pi: bool, listed: Listed) -> Result<(), Errno> {
        if !addr.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let wake = || self.futex_wake(addr, false, 1, FUTEX_BITSET_MATCH_ANY);
        let mut seen = self.mm().load_u32(addr)?;
        // Others may change the word all the time, but not keep a dying thread here for ever.
        for _ in 0..ATTEMPTS {
            let owner = seen & FUTEX_TID_MASK;
            if listed == Listed::Pending && !pi && owner == 0 {
                // It died between giving the lock up and waking somebody.
                wake()?;
                return Ok(());
            }
            if owner != self.tid() as u32 {
                return Ok(());
            }
            match self.mm().compare_exchange_u32(addr, seen, seen & FUTEX_WAITERS | FUTEX_OWNER_DIED)? {
                Ok(_) => {
                    if !pi && seen & FUTEX_WAITERS != 0 {
                        wake()?;
                    }
                    return Ok(());
                }
                Err(now) => seen = now,
            }
        }
        Err(Errno::EAGAIN)
    }
}
