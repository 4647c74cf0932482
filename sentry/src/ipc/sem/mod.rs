//! System V semaphores (semget(2), semop(2), semctl(2)).
//!
//! - [`SemTable`]: the sets of a namespace. [`SemSet`]: one, with its values and who waits for them.
//! - `operate`: doing operations, at once or later. `control`: semctl(2). `undo`: what SEM_UNDO takes back when a process ends.
//!
//! A task that must wait leaves its operations with the set; whoever changes a value does those that have become possible,
//! and wakes the tasks whose they were.

mod control;
mod operate;
mod undo;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;
use abi::ipc::{IpcPerm, SemBuf};
use sync::Mutex;

pub use self::control::Usage;
pub use self::undo::UndoList;
use super::IpcNamespace;
use super::budget::{Budget, Charge};
use super::permission::{Asker, now};
use super::registry::{Asked, Object, Registry};
use super::woken::{Slot, Woken};
use crate::Result;
use crate::task::PidTrace;
use crate::wait::Wake;

/// The highest value (SEMVMX), and the most that is undone (SEMAEM).
pub const HIGHEST: i32 = 32_767;
/// Bytes that a semaphore is charged for: itself, and the process that it remembers.
const SEMAPHORE_BYTES: u64 = 96;
/// Bytes that a set, or a record of what to undo, is charged for besides.
const RECORD_BYTES: u64 = 256;

/// The sets of a namespace.
#[derive(Default)]
pub struct SemTable {
    pub(super) sets: Registry<SemSet>,
}

/// A set.
pub struct SemSet {
    /// Unique for ever.
    identity: u64,
    count: usize,
    inner: Mutex<Inner, sync::levels::FileStateInner>,
}

struct Inner {
    perm: IpcPerm,
    changed_at: i64,
    operated_at: i64,
    sems: Box<[Semaphore]>,
    /// By [`UndoList::id`].
    undo: HashMap<u64, Undo>,
    /// In the order of coming.
    waiters: VecDeque<Waiter>,
    next_key: u64,
    removed: bool,
    _charge: Charge,
}

#[derive(Clone, Default)]
struct Semaphore {
    value: u16,
    /// The process that changed it last.
    process: Option<Arc<PidTrace>>,
}

/// What is to be undone for one list.
struct Undo {
    adjust: Box<[i16]>,
    _charge: Charge,
}

/// A task that waits.
struct Waiter {
    key: u64,
    ops: Arc<[SemBuf]>,
    list: Option<u64>,
    process: Arc<PidTrace>,
    /// Which of its operations is not possible yet.
    blocked_by: usize,
    slot: Arc<Slot<Result<()>>>,
    waker: Arc<dyn Wake>,
}

static NEXT_SET: AtomicU64 = AtomicU64::new(1);

impl Object for SemSet {
    fn perm(&self) -> IpcPerm {
        self.inner.lock().perm
    }

    fn set_sequence(&self, sequence: u16) {
        self.inner.lock().perm.seq = sequence;
    }
}

impl SemSet {
    fn new(perm: IpcPerm, count: usize, budget: &Arc<Budget>) -> Result<SemSet> {
        let charge = budget.charge(count as u64 * SEMAPHORE_BYTES + RECORD_BYTES)?;
        let inner = Inner {
            perm,
            changed_at: now(),
            operated_at: 0,
            sems: vec![Semaphore::default(); count].into(),
            undo: HashMap::new(),
            waiters: VecDeque::new(),
            next_key: 0,
            removed: false,
            _charge: charge,
        };
        let identity = NEXT_SET.fetch_add(1, Ordering::Relaxed);
        Ok(SemSet { identity, count, inner: Mutex::new(inner) })
    }
}

impl Inner {
    /// EIDRM once it has been removed.
    fn check(&self) -> Result<()> {
        if self.removed { Err(Errno::EIDRM) } else { Ok(()) }
    }
}

impl IpcNamespace {
    /// semget(2): the id of the set with a key, which has at least `count` semaphores.
    pub fn sem_get(&self, key: i32, count: i32, flags: u32, asker: Asker<'_>) -> Result<i32> {
        let get = |limit: &std::sync::atomic::AtomicU32| limit.load(Ordering::Relaxed);
        let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        if count > get(&self.limits.semmsl) as usize {
            return Err(Errno::EINVAL);
        }
        let asked = Asked { key, flags, most: get(&self.limits.semmni) };
        let large_enough = |set: &SemSet| if count > set.count { Err(Errno::EINVAL) } else { Ok(()) };
        self.sem.sets.get(asked, &asker, large_enough, |others| {
            if count == 0 {
                return Err(Errno::EINVAL);
            }
            let used: usize = others.map(|set| set.count).sum();
            if used + count > get(&self.limits.semmns) as usize {
                return Err(Errno::ENOSPC);
            }
            SemSet::new(asker.new_perm(key, flags), count, &self.budget)
        })
    }
}
