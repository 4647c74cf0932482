//! Process ids and PID namespaces (pid_namespaces(7)).
//!
//! A [`Pid`] is one identity with a number in each namespace from the one it was made in up to the first. A task, a
//! process group and a session can share one; it keeps its numbers until the last of them is gone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::poll::PollEvents;
use smallvec::SmallVec;
use sync::Mutex;

use super::{ProcessGroup, Session, Task, ThreadGroup, UserNamespace};
use crate::wait::WaitQueue;

/// Highest id plus one (`/proc/sys/kernel/pid_max` of 64-bit Linux).
pub const PID_MAX: i32 = 4_194_304;
/// Where ids start again after they wrapped.
const RESERVED_PIDS: i32 = 300;
/// How deep PID namespaces nest.
const MAX_PID_NS_LEVEL: u32 = 32;

/// A PID namespace.
pub struct PidNamespace {
    /// Unique; what /proc/PID/ns/pid shows.
    pub id: u64,
    /// 0 for the first.
    pub level: u32,
    parent: Option<Arc<PidNamespace>>,
    /// The user namespace that owns it.
    pub user_ns: Arc<UserNamespace>,
    table: Mutex<PidTable, sync::levels::Leaf>,
}

struct PidTable {
    last: i32,
    /// Set when the init process has gone: no more processes.
    closed: bool,
    pids: HashMap<i32, Weak<Pid>>,
}

impl PidNamespace {
    /// The first one.
    pub fn initial(user_ns: Arc<UserNamespace>) -> Arc<PidNamespace> {
        let table = Mutex::new(PidTable { last: 0, closed: false, pids: HashMap::new() });
        Arc::new(PidNamespace { id: 0xefff_fffc, level: 0, parent: None, user_ns, table })
    }

    /// One below `parent`. ENOSPC when nested too deep.
    pub fn new(id: u64, parent: &Arc<PidNamespace>, user_ns: Arc<UserNamespace>) -> Result<Arc<Self>, Errno> {
        let level = parent.level + 1;
        if level > MAX_PID_NS_LEVEL {
            return Err(Errno::ENOSPC);
        }
        let table = Mutex::new(PidTable { last: 0, closed: false, pids: HashMap::new() });
        Ok(Arc::new(PidNamespace { id, level, parent: Some(Arc::clone(parent)), user_ns, table }))
    }

    /// The namespace it was made in.
    pub fn parent(&self) -> Option<&Arc<PidNamespace>> {
        self.parent.as_ref()
    }

    /// The identity with this number.
    pub fn find(&self, number: i32) -> Option<Arc<Pid>> {
        self.table.lock().pids.get(&number)?.upgrade()
    }

    /// The task with this thread id.
    pub fn task(&self, tid: i32) -> Option<Arc<Task>> {
        self.find(tid)?.task()
    }

    /// The process with this process id.
    pub fn thread_group(&self, pid: i32) -> Option<Arc<ThreadGroup>> {
        self.find(pid)?.thread_group()
    }

    /// All numbers in use, in order, that are tasks.
    pub fn numbers(&self) -> Vec<i32> {
        let mut numbers: Vec<i32> = self.table.lock().pids.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// The last number given out (ns_last_pid, loadavg).
    pub fn last(&self) -> i32 {
        self.table.lock().last
    }

    /// No more processes: the init process is exiting. New ones get ENOMEM.
    pub fn close(&self) {
        self.table.lock().closed = true;
    }

    fn allocate(&self, wanted: Option<i32>) -> Result<i32, Errno> {
        let mut table = self.table.lock();
        if table.closed {
            return Err(Errno::ENOMEM);
        }
        if let Some(wanted) = wanted {
            if table.pids.contains_key(&wanted) {
                return Err(Errno::EEXIST);
            }
            table.pids.insert(wanted, Weak::new());
            return Ok(wanted);
        }
        let mut next = table.last;
        for _ in 0..PID_MAX {
            next += 1;
            if next >= PID_MAX {
                next = RESERVED_PIDS;
            }
            if !table.pids.contains_key(&next) {
                table.last = next;
                table.pids.insert(next, Weak::new());
                return Ok(next);
            }
        }
        Err(Errno::EAGAIN)
    }
}

static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(1);

/// One identity; see the module.
pub struct Pid {
    /// Unique for ever, unlike the numbers.
    pub identity: u64,
    /// Outermost namespace first.
    numbers: SmallVec<[(Arc<PidNamespace>, i32); 1]>,
    uses: Mutex<Uses, sync::levels::Leaf>,
    /// Its process or thread has exited.
    ended: AtomicBool,
    /// Told (`IN`) when the process has exited: pidfds wait here.
    pub exited: WaitQueue,
}

#[derive(Default)]
struct Uses {
    task: Weak<Task>,
    group: Weak<ThreadGroup>,
    process_group: Weak<ProcessGroup>,
    session: Weak<Session>,
}

/// Who somebody was: does not keep the numbers from being used again.
#[derive(Clone)]
pub struct PidTrace {
    /// That of the [`Pid`].
    pub identity: u64,
    /// Numbers by the ids of their namespaces.
    numbers: SmallVec<[(u64, i32); 1]>,
    pid: Weak<Pid>,
}

impl PidTrace {
    /// The number that it had in `ns`; 0 where it was not visible.
    pub fn number_in(&self, ns: &PidNamespace) -> i32 {
        self.numbers.iter().find(|(id, _)| *id == ns.id).map_or(0, |(_, number)| *number)
    }

    /// The identity, while somebody holds it.
    pub fn pid(&self) -> Option<Arc<Pid>> {
        self.pid.upgrade()
    }
}

impl Pid {
    /// What to remember of it.
    pub fn trace(self: &Arc<Self>) -> PidTrace {
        let numbers = self.numbers.iter().map(|(ns, number)| (ns.id, *number)).collect();
        PidTrace { identity: self.identity, numbers, pid: Arc::downgrade(self) }
    }

    /// A new identity in `ns` and its ancestors. `wanted` (clone3's set_tid): numbers, innermost first.
    pub fn new(ns: &Arc<PidNamespace>, wanted: &[i32]) -> Result<Arc<Pid>, Errno> {
        let mut numbers: SmallVec<[(Arc<PidNamespace>, i32); 1]> = SmallVec::new();
        let mut at = Some(ns);
        let mut wanted = wanted.iter();
        while let Some(ns) = at {
            match ns.allocate(wanted.next().copied()) {
                Ok(number) => numbers.push((Arc::clone(ns), number)),
                Err(errno) => {
                    release(&numbers);
                    return Err(errno);
                }
            }
            at = ns.parent();
        }
        numbers.reverse();
        let identity = NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed);
        let pid = Arc::new(Pid {
            identity,
            numbers,
            uses: Mutex::default(),
            ended: AtomicBool::new(false),
            exited: WaitQueue::new(),
        });
        for (ns, number) in &pid.numbers {
            ns.table.lock().pids.insert(*number, Arc::downgrade(&pid));
        }
        Ok(pid)
    }

    /// The number in `ns`; 0 where it is not visible.
    pub fn number_in(&self, ns: &PidNamespace) -> i32 {
        match self.numbers.get(ns.level as usize) {
            Some((own, number)) if own.id == ns.id => *number,
            _ => 0,
        }
    }

    /// The number in the namespace it was made in.
    pub fn number(&self) -> i32 {
        self.numbers.last().map_or(0, |n| n.1)
    }

    /// The number in the sandbox's first namespace.
    pub fn outer_number(&self) -> i32 {
        self.numbers.first().map_or(0, |n| n.1)
    }

    /// Numbers from the first namespace to the innermost (NSpid of /proc/PID/status).
    pub fn numbers(&self) -> impl Iterator<Item = i32> + '_ {
        self.numbers.iter().map(|n| n.1)
    }

    /// The namespace it was made in.
    pub fn namespace(&self) -> &Arc<PidNamespace> {
        // Not empty: `new` puts in at least the namespace it was given.
        &self.numbers[self.numbers.len() - 1].0
    }

    /// Whether its process (or thread, where it names no process) has exited.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Its process or thread has exited: pidfds are told.
    pub(super) fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.exited.notify(PollEvents::IN);
    }

    /// The task it names, unless that has been reaped.
    pub fn task(&self) -> Option<Arc<Task>> {
        self.uses.lock().task.upgrade()
    }

    /// The process whose leader it names, unless that has been reaped.
    pub fn thread_group(&self) -> Option<Arc<ThreadGroup>> {
        self.uses.lock().group.upgrade()
    }

    /// The process group it names.
    pub fn process_group(&self) -> Option<Arc<ProcessGroup>> {
        self.uses.lock().process_group.upgrade()
    }

    /// The session it names.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.uses.lock().session.upgrade()
    }

    pub(super) fn set_task(&self, task: Weak<Task>) {
        self.uses.lock().task = task;
    }

    pub(super) fn set_thread_group(&self, group: Weak<ThreadGroup>) {
        self.uses.lock().group = group;
    }

    pub(super) fn set_process_group(&self, group: Weak<ProcessGroup>) {
        self.uses.lock().process_group = group;
    }

    pub(super) fn set_session(&self, session: Weak<Session>) {
        self.uses.lock().session = session;
    }
}

impl Drop for Pid {
    fn drop(&mut self) {
        release(&self.numbers);
    }
}

fn release(numbers: &[(Arc<PidNamespace>, i32)]) {
    for (ns, number) in numbers {
        ns.table.lock().pids.remove(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_round() {
        let ns = PidNamespace::initial(UserNamespace::initial());
        let first = Pid::new(&ns, &[]).expect("a number");
        let held = Pid::new(&ns, &[RESERVED_PIDS + 5]).expect("this number");
        // More than there are, each given back: the 32,768th is had like the first.
        let mut last = 0;
        for round in 0..3 * PID_MAX {
            let pid = Pid::new(&ns, &[]).unwrap_or_else(|errno| panic!("number {round}: {errno:?}"));
            let number = pid.number();
            assert!(number != first.number() && number != held.number(), "{number} is in use");
            assert!(number > last || number == RESERVED_PIDS, "{number} after {last}");
            last = number;
        }
        // All at once.
        let mut all = Vec::new();
        let full = loop {
            match Pid::new(&ns, &[]) {
                Ok(pid) => all.push(pid),
                Err(errno) => break errno,
            }
        };
        assert_eq!(full, Errno::EAGAIN);
        assert!(all.len() > (PID_MAX - 2 * RESERVED_PIDS) as usize, "{}", all.len());
        all.truncate(10);
        assert!(Pid::new(&ns, &[]).is_ok());
    }
}
