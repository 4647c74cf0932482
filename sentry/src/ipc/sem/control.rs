//! semctl(2).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::ipc::{IpcPerm, SemInfo, SemidDs};

use super::{HIGHEST, Inner, SemSet, Woken};
use crate::Result;
use crate::ipc::IpcNamespace;
use crate::ipc::permission::{Anybody, Asker, now};

/// What semctl(2) tells of one semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// GETVAL
    Value,
    /// GETPID
    Process,
    /// GETNCNT: tasks that wait for a higher value.
    WaitForMore,
    /// GETZCNT: tasks that wait for zero.
    WaitForZero,
}

/// A size that Linux tells and does not use: of a record of what to undo (SEMUSZ).
const UNDO_SIZE: i32 = 20;

impl Inner {
    fn describe(&self, asker: &Asker<'_>) -> SemidDs {
        SemidDs {
            sem_perm: asker.shown(&self.perm),
            sem_otime: self.operated_at,
            unused1: 0,
            sem_ctime: self.changed_at,
            unused2: 0,
            sem_nsems: self.sems.len() as u64,
            unused3: 0,
            unused4: 0,
        }
    }

    /// Tasks that wait for a semaphore; for zero, or for a higher value.
    fn waiting(&self, number: usize, for_zero: bool) -> i32 {
        let waits = self.waiters.iter().filter_map(|waiter| waiter.ops.get(waiter.blocked_by));
        waits.filter(|op| usize::from(op.sem_num) == number && (op.sem_op == 0) == for_zero).count() as i32
    }
}

impl IpcNamespace {
    /// IPC_INFO: the limits; SEM_INFO, where `usage`: what is in use. With it the highest place.
    pub fn sem_info(&self, usage: bool) -> (i32, SemInfo) {
        let limit = |limit: &std::sync::atomic::AtomicU32| limit.load(Ordering::Relaxed) as i32;
        let all = if usage { self.sem.sets.all() } else { Vec::new() };
        let semaphores: usize = all.iter().map(|(_, set)| set.count).sum();
        let (semusz, semaem) =
            if usage { (all.len() as i32, semaphores as i32) } else { (UNDO_SIZE, HIGHEST) };
        // What Linux derives from its defaults, whatever is set.
        let defaults = crate::ipc::Limits::default();
        let info = SemInfo {
            semmap: limit(&defaults.semmns),
            semmni: limit(&self.limits.semmni),
            semmns: limit(&self.limits.semmns),
            semmnu: limit(&defaults.semmns),
            semmsl: limit(&self.limits.semmsl),
            semopm: limit(&self.limits.semopm),
            semume: limit(&defaults.semopm),
            semusz,
            semvmx: HIGHEST,
            semaem,
        };
        (self.sem.sets.highest(), info)
    }

    fn sem_set(&self, id: i32) -> Result<Arc<SemSet>> {
        self.sem.sets.find(id)
    }

    /// IPC_STAT.
    pub fn sem_stat(&self, id: i32, asker: Asker<'_>) -> Result<SemidDs> {
        let set = self.sem_set(id)?;
        let inner = set.inner.lock();
        asker.may(&inner.perm, 0o444)?;
        inner.check()?;
        Ok(inner.describe(&asker))
    }

    /// SEM_STAT and SEM_STAT_ANY: the set in a place, with its id.
    pub fn sem_stat_place(&self, place: i32, anybody: Anybody, asker: Asker<'_>) -> Result<(i32, SemidDs)> {
        let (id, set) = self.sem.sets.find_place(place)?;
        let inner = set.inner.lock();
        if anybody == Anybody::No {
            asker.may(&inner.perm, 0o444)?;
        }
        inner.check()?;
        Ok((id, inner.describe(&asker)))
    }

    /// IPC_SET: owner and mode.
    pub fn sem_set_owner(&self, id: i32, new: &IpcPerm, asker: Asker<'_>) -> Result<()> {
        let set = self.sem_set(id)?;
        let wish = asker.wish(new);
        let mut inner = set.inner.lock();
        asker.may_control(&inner.perm)?;
        inner.check()?;
        wish.fulfil(&mut inner.perm)?;
        inner.changed_at = now();
        Ok(())
    }

    /// IPC_RMID.
    pub fn sem_remove(&self, id: i32, asker: Asker<'_>) -> Result<()> {
        let (set, woken) = self.sem.sets.remove(id, |set| {
            let mut inner = set.inner.lock();
            asker.may_control(&inner.perm)?;
            let mut woken = Woken::default();
            inner.end(&mut woken);
            Ok(woken)
        })?;
        woken.wake();
        drop(set);
        Ok(())
    }

    /// GETVAL and what is like it.
    pub fn sem_usage(&self, id: i32, number: i32, what: Usage, asker: Asker<'_>) -> Result<i32> {
        let set = self.sem_set(id)?;
        let inner = set.inner.lock();
        asker.may(&inner.perm, 0o444)?;
        let number = usize::try_from(number).map_err(|_| Errno::EINVAL)?;
        let sem = inner.sems.get(number).ok_or(Errno::EINVAL)?;
        inner.check()?;
        Ok(match what {
            Usage::Value => i32::from(sem.value),
            Usage::Process => asker.number(&sem.process),
            Usage::WaitForMore => inner.waiting(number, false),
            Usage::WaitForZero => inner.waiting(number, true),
        })
    }

    /// GETALL: all values.
    pub fn sem_values(&self, id: i32, asker: Asker<'_>) -> Result<Vec<u16>> {
        let set = self.sem_set(id)?;
        let inner = set.inner.lock();
        asker.may(&inner.perm, 0o444)?;
        inner.check()?;
        Ok(inner.sems.iter().map(|sem| sem.value).collect())
    }

    /// How many values SETALL takes, if it may.
    pub fn sem_count_to_set(&self, id: i32, asker: Asker<'_>) -> Result<usize> {
        let set = self.sem_set(id)?;
        let inner = set.inner.lock();
        asker.may(&inner.perm, 0o222)?;
        inner.check()?;
        Ok(set.count)
    }

    /// SETALL: as many values as [`sem_count_to_set`](Self::sem_count_to_set) says. ERANGE for one that is too high.
    pub fn sem_set_values(&self, id: i32, values: &[u16], asker: Asker<'_>) -> Result<()> {
        let set = self.sem_set(id)?;
        if values.iter().any(|value| i32::from(*value) > HIGHEST) {
            return Err(Errno::ERANGE);
        }
        let mut woken = Woken::default();
        {
            let mut inner = set.inner.lock();
            inner.check()?;
            let process = asker.trace();
            for (sem, value) in inner.sems.iter_mut().zip(values) {
                sem.value = *value;
                sem.process = Some(Arc::clone(&process));
            }
            for undo in inner.undo.values_mut() {
                undo.adjust.fill(0);
            }
            inner.changed_at = now();
            inner.serve(&mut woken);
        }
        woken.wake();
        Ok(())
    }

    /// SETVAL.
    pub fn sem_set_value(&self, id: i32, number: i32, value: i32, asker: Asker<'_>) -> Result<()> {
        if !(0..=HIGHEST).contains(&value) {
            return Err(Errno::ERANGE);
        }
        let set = self.sem_set(id)?;
        let number = usize::try_from(number).ok().filter(|n| *n < set.count).ok_or(Errno::EINVAL)?;
        let mut woken = Woken::default();
        {
            let mut inner = set.inner.lock();
            asker.may(&inner.perm, 0o222)?;
            inner.check()?;
            if let Some(sem) = inner.sems.get_mut(number) {
                sem.value = value as u16;
                sem.process = Some(asker.trace());
            }
            for undo in inner.undo.values_mut() {
                if let Some(adjust) = undo.adjust.get_mut(number) {
                    *adjust = 0;
                }
            }
            inner.changed_at = now();
            inner.serve(&mut woken);
        }
        woken.wake();
        Ok(())
    }
}
