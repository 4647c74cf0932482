//! semop(2) and semtimedop(2).

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::ipc::{IpcFlags, SEM_UNDO, SemBuf};

use super::{HIGHEST, Inner, SemSet, Semaphore, Slot, Undo, UndoList, Waiter, Woken};
use crate::Result;
use crate::error::SysResult;
use crate::ipc::permission::{Asker, now};
use crate::task::{CurrentTask, PidTrace, WaitEnd};

/// What became of operations.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    /// All are done.
    Done,
    /// None is: this one has to wait.
    Blocked(usize),
    /// None is, and never will be.
    Failed(Errno),
}

fn flag(op: &SemBuf, flag: u16) -> bool {
    op.sem_flg & flag != 0
}

/// Does all of `ops`, or none. Their numbers are those of semaphores that there are; `adjust` is there where one is to be undone.
fn attempt(
    sems: &mut [Semaphore],
    mut adjust: Option<&mut [i16]>,
    ops: &[SemBuf],
    process: &Arc<PidTrace>,
) -> Attempt {
    let mut failed = None;
    for (index, op) in ops.iter().enumerate() {
        let number = usize::from(op.sem_num);
        let Some(sem) = sems.get_mut(number) else {
            failed = Some((index, Attempt::Failed(Errno::EFBIG)));
            break;
        };
        let value = i32::from(sem.value) + i32::from(op.sem_op);
        if op.sem_op == 0 && sem.value != 0 || value < 0 {
            let nowait = flag(op, IpcFlags::NOWAIT.bits() as u16);
            let why = if nowait { Attempt::Failed(Errno::EAGAIN) } else { Attempt::Blocked(index) };
            failed = Some((index, why));
            break;
        }
        let mut too_far = value > HIGHEST;
        if flag(op, SEM_UNDO)
            && let Some(adjust) = adjust.as_mut().and_then(|adjust| adjust.get_mut(number))
        {
            let new = i32::from(*adjust) - i32::from(op.sem_op);
            too_far |= !(-HIGHEST - 1..=HIGHEST).contains(&new);
            if !too_far {
                *adjust = new as i16;
            }
        }
        if too_far {
            failed = Some((index, Attempt::Failed(Errno::ERANGE)));
            break;
        }
        sem.value = value as u16;
    }
    let Some((done, outcome)) = failed else {
        for op in ops {
            if let Some(sem) = sems.get_mut(usize::from(op.sem_num)) {
                sem.process = Some(Arc::clone(process));
            }
        }
        return Attempt::Done;
    };
    for op in ops[..done].iter().rev() {
        let number = usize::from(op.sem_num);
        if let Some(sem) = sems.get_mut(number) {
            sem.value = (i32::from(sem.value) - i32::from(op.sem_op)) as u16;
        }
        if flag(op, SEM_UNDO)
            && let Some(adjust) = adjust.as_mut().and_then(|adjust| adjust.get_mut(number))
        {
            *adjust = (i32::from(*adjust) + i32::from(op.sem_op)) as i16;
        }
    }
    outcome
}

impl Inner {
    fn attempt(&mut self, list: Option<u64>, ops: &[SemBuf], process: &Arc<PidTrace>) -> Attempt {
        let adjust = list.and_then(|list| self.undo.get_mut(&list)).map(|undo| &mut *undo.adjust);
        attempt(&mut self.sems, adjust, ops, process)
    }

    /// Values have changed: does what others wait for, as far as that is possible now.
    pub(super) fn serve(&mut self, woken: &mut Woken) {
        loop {
            let mut changed = false;
            let mut at = 0;
            while let Some(waiter) = self.waiters.get(at) {
                let (ops, process) = (Arc::clone(&waiter.ops), Arc::clone(&waiter.process));
                let outcome = match self.attempt(waiter.list, &ops, &process) {
                    Attempt::Blocked(by) => {
                        if let Some(waiter) = self.waiters.get_mut(at) {
                            waiter.blocked_by = by;
                        }
                        at += 1;
                        continue;
                    }
                    Attempt::Done => {
                        self.operated_at = now();
                        changed |= ops.iter().any(|op| op.sem_op != 0);
                        Ok(())
                    }
                    Attempt::Failed(errno) => Err(errno),
                };
                if let Some(waiter) = self.waiters.remove(at) {
                    woken.serve(&waiter.slot, waiter.waker, outcome);
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// It is removed: nobody waits any more, nothing is undone.
    pub(super) fn end(&mut self, woken: &mut Woken) {
        self.removed = true;
        self.undo.clear();
        for waiter in self.waiters.drain(..) {
            woken.serve(&waiter.slot, waiter.waker, Err(Errno::EIDRM));
        }
    }
}

impl SemSet {
    /// Makes room for what `list` is to undo here.
    fn prepare_undo(self: &Arc<Self>, list: &UndoList, task: &CurrentTask) -> Result<()> {
        let mut inner = self.inner.lock();
        inner.check()?;
        if inner.undo.contains_key(&list.id) {
            return Ok(());
        }
        let budget = &task.namespaces().ipc.budget;
        let charge = budget.charge(self.count as u64 * 2 + super::RECORD_BYTES)?;
        inner.undo.insert(list.id, Undo { adjust: vec![0; self.count].into(), _charge: charge });
        list.note(self);
        Ok(())
    }
}

impl CurrentTask {
    /// semop(2), semtimedop(2). `deadline` is when it gives up.
    pub fn sem_operate(&mut self, id: i32, ops: &[SemBuf], deadline: Option<Instant>) -> SysResult<()> {
        let namespace = Arc::clone(&self.namespaces().ipc);
        let set = namespace.sem.sets.find(id)?;
        let list = if ops.iter().any(|op| flag(op, SEM_UNDO)) {
            let list = self.undo_list();
            set.prepare_undo(&list, self)?;
            Some(list.id)
        } else {
            None
        };
        if ops.iter().any(|op| usize::from(op.sem_num) >= set.count) {
            return Err(Errno::EFBIG.into());
        }
        let alters = ops.iter().any(|op| op.sem_op != 0);
        let asker = Asker::of(self, &namespace);
        let process = asker.trace();
        let mut woken = Woken::default();
        let (slot, key) = {
            let mut inner = set.inner.lock();
            asker.may(&inner.perm, if alters { 0o222 } else { 0o444 })?;
            inner.check()?;
            match inner.attempt(list, ops, &process) {
                Attempt::Done => {
                    inner.operated_at = now();
                    if alters {
                        inner.serve(&mut woken);
                    }
                    drop(inner);
                    woken.wake();
                    return Ok(());
                }
                Attempt::Failed(errno) => return Err(errno.into()),
                Attempt::Blocked(blocked_by) => {
                    let slot = Slot::new();
                    let key = inner.next_key;
                    inner.next_key += 1;
                    let waiter = Waiter {
                        key,
                        ops: ops.into(),
                        list,
                        process,
                        blocked_by,
                        slot: Arc::clone(&slot),
                        waker: self.waker(),
                    };
                    inner.waiters.push_back(waiter);
                    (slot, key)
                }
            }
        };
        drop(namespace);
        let end = loop {
            let parked = self.park(deadline);
            if let Some(outcome) = slot.take() {
                return Ok(outcome?);
            }
            if let Err(end) = parked {
                break end;
            }
        };
        {
            let mut inner = set.inner.lock();
            let at = inner.waiters.iter().position(|waiter| waiter.key == key);
            drop(at.and_then(|at| inner.waiters.remove(at)));
        }
        // Somebody may have been faster than the signal.
        if let Some(outcome) = slot.take() {
            return Ok(outcome?);
        }
        Err(match end {
            WaitEnd::TimedOut => Errno::EAGAIN.into(),
            // Never done again by itself: signal(7).
            WaitEnd::Interrupted => Errno::EINTR.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Pid, PidNamespace, UserNamespace};

    fn op(sem_num: u16, sem_op: i16, sem_flg: u16) -> SemBuf {
        SemBuf { sem_num, sem_op, sem_flg }
    }

    #[test]
    fn all_or_nothing() {
        let ns = PidNamespace::initial(UserNamespace::initial());
        let process = Arc::new(Pid::new(&ns, &[]).expect("a number").trace());
        let mut sems = vec![Semaphore::default(); 3];
        let mut adjust = [0i16; 3];
        let mut run = |ops: &[SemBuf]| {
            let outcome = attempt(&mut sems, Some(&mut adjust), ops, &process);
            (outcome, [sems[0].value, sems[1].value, sems[2].value], adjust)
        };
        assert_eq!(run(&[op(0, 5, SEM_UNDO), op(1, 1, 0)]), (Attempt::Done, [5, 1, 0], [-5, 0, 0]));
        let undone = run(&[op(0, -5, SEM_UNDO), op(0, 0, 0), op(2, -1, 0)]);
        assert_eq!(undone, (Attempt::Blocked(2), [5, 1, 0], [-5, 0, 0]));
        let failed = run(&[op(1, -1, SEM_UNDO), op(2, -1, 0o4000)]);
        assert_eq!(failed, (Attempt::Failed(Errno::EAGAIN), [5, 1, 0], [-5, 0, 0]));
        let range = run(&[op(0, 1, 0), op(1, 32_767, 0)]);
        assert_eq!(range, (Attempt::Failed(Errno::ERANGE), [5, 1, 0], [-5, 0, 0]));
        assert_eq!(run(&[op(7, 0, 0)]).0, Attempt::Failed(Errno::EFBIG));
    }
}
