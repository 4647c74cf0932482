//! SEM_UNDO: what a process has done to semaphores is undone when it ends.
//!
//! Threads that were made with CLONE_SYSVSEM share a list, and the last of them undoes it. What is to be undone lies with the
//! sets, which know it by the number of the list: so a list has no locks to hold while it is asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use sync::Mutex;

use super::{HIGHEST, SemSet, Woken};
use crate::ipc::permission::now;
use crate::task::{CurrentTask, PidTrace, Task};

/// Which sets have something to undo for whom.
pub struct UndoList {
    pub(super) id: u64,
    sets: Mutex<HashMap<u64, Weak<SemSet>>, sync::levels::Leaf>,
}

static NEXT_LIST: AtomicU64 = AtomicU64::new(1);

impl UndoList {
    fn new() -> Arc<UndoList> {
        let id = NEXT_LIST.fetch_add(1, Ordering::Relaxed);
        Arc::new(UndoList { id, sets: Mutex::default() })
    }

    /// A set has something for it.
    pub(super) fn note(&self, set: &Arc<SemSet>) {
        let mut sets = self.sets.lock();
        if sets.len() == sets.capacity() {
            sets.retain(|_, known| known.strong_count() > 0);
        }
        sets.insert(set.identity, Arc::downgrade(set));
    }

    /// The last who had it has ended.
    fn undo(self, process: &Arc<PidTrace>) {
        let sets = self.sets.into_inner();
        for set in sets.into_values().filter_map(|set| set.upgrade()) {
            let mut woken = Woken::default();
            {
                let mut inner = set.inner.lock();
                let Some(undo) = inner.undo.remove(&self.id) else { continue };
                for (sem, adjust) in
                    inner.sems.iter_mut().zip(&undo.adjust).filter(|(_, adjust)| **adjust != 0)
                {
                    sem.value = (i32::from(sem.value) + i32::from(*adjust)).clamp(0, HIGHEST) as u16;
                    sem.process = Some(Arc::clone(process));
                }
                inner.operated_at = now();
                inner.serve(&mut woken);
            }
            woken.wake();
        }
    }
}

impl CurrentTask {
    /// Its list; made on first use.
    pub(super) fn undo_list(&self) -> Arc<UndoList> {
        Arc::clone(self.task().sem_undo.lock().get_or_insert_with(UndoList::new))
    }

    /// The list that a child with CLONE_SYSVSEM shares.
    pub(crate) fn undo_list_for_child(&self) -> Arc<UndoList> {
        self.undo_list()
    }
}

impl Task {
    /// It ends, or goes its own way (unshare(2) with CLONE_SYSVSEM): undoes what nobody shares.
    pub fn leave_undo_list(&self) {
        let list = self.sem_undo.lock().take();
        if let Some(last) = list.and_then(Arc::into_inner) {
            last.undo(&Arc::new(self.thread_group().pid.trace()));
        }
    }
}
