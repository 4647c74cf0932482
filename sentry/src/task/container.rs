//! Containers: which processes the runtime outside counts as one.
//!
//! A child belongs to its parent's container, whatever namespaces it makes. The runtime names a container when it starts a
//! process in it; it can be frozen as a whole, and has a limit on its threads (the pids controller of cgroups(7)).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::signal::{SI_USER, SigInfo, Signal};
use sync::Mutex;

use super::{CurrentTask, RunState, ThreadGroup, Usage, work};
use crate::Kernel;
use crate::signal::send_to_group;

/// What the host's control groups grant a container, as far as the runtime was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Microseconds of processor time in a period.
    pub cpu_quota_us: Option<u64>,
    /// Length of a period.
    pub cpu_period_us: Option<u64>,
    /// Part of the processors when others want them, 2 to 262144.
    pub cpu_shares: Option<u64>,
}

/// A container.
#[derive(Debug)]
pub struct Container {
    /// What the runtime calls it.
    pub name: String,
    frozen: AtomicBool,
    threads: AtomicU64,
    max_threads: AtomicU64,
    grants: Mutex<Grants, sync::levels::Leaf>,
    ended_user_ns: AtomicU64,
    ended_system_ns: AtomicU64,
}

impl Container {
    /// One without processes, which may have as many as the kernel allows.
    pub fn new(name: &str) -> Arc<Container> {
        Arc::new(Container {
            name: name.to_owned(),
            frozen: AtomicBool::new(false),
            threads: AtomicU64::new(0),
            max_threads: AtomicU64::new(u64::MAX),
            grants: Mutex::default(),
            ended_user_ns: AtomicU64::new(0),
            ended_system_ns: AtomicU64::new(0),
        })
    }

    /// Threads at most.
    pub fn set_max_threads(&self, max: u64) {
        self.max_threads.store(max, Ordering::Relaxed);
    }

    /// What it is granted.
    pub fn grants(&self) -> Grants {
        *self.grants.lock()
    }

    /// It is granted something else.
    pub fn set_grants(&self, grants: Grants) {
        *self.grants.lock() = grants;
    }

    /// Threads now.
    pub fn threads(&self) -> u64 {
        self.threads.load(Ordering::Relaxed)
    }

    /// Threads at most.
    pub fn max_threads(&self) -> u64 {
        self.max_threads.load(Ordering::Relaxed)
    }

    /// Whether one thread more would be too many.
    pub(super) fn is_full(&self) -> bool {
        self.threads() >= self.max_threads()
    }

    pub(crate) fn count(&self, by: i64) {
        self.threads.fetch_add(by as u64, Ordering::Relaxed);
    }

    pub(super) fn thread_ended(&self, usage: &Usage) {
        self.count(-1);
        self.ended_user_ns.fetch_add(usage.user_ns, Ordering::Relaxed);
        self.ended_system_ns.fetch_add(usage.system_ns, Ordering::Relaxed);
    }

    /// Processor time of threads that have ended, nanoseconds: in programs, in the kernel.
    pub fn time_of_ended(&self) -> (u64, u64) {
        (self.ended_user_ns.load(Ordering::Relaxed), self.ended_system_ns.load(Ordering::Relaxed))
    }

    /// Whether its threads are not to run.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst)
    }
}

impl CurrentTask {
    /// Stands still while its container is frozen. Only a kill ends that early.
    pub(super) fn stand_still(&mut self) {
        let container = Arc::clone(&self.thread_group().container);
        self.clear_work(work::FREEZE);
        while container.is_frozen() && !self.killed() {
            // No deadline: only time-outs end this with an error.
            let _ = self.park_in(RunState::DiskSleep, None);
        }
    }
}

impl Kernel {
    /// The processes of a container, oldest first, zombies included.
    pub fn processes_of(&self, container: &Arc<Container>) -> Vec<Arc<ThreadGroup>> {
        let tree = self.tree.lock();
        let own = tree.iter().filter(|node| Arc::ptr_eq(&node.group.container, container));
        let mut groups: Vec<Arc<ThreadGroup>> = own.map(|node| Arc::clone(&node.group)).collect();
        drop(tree);
        groups.sort_by_key(|group| group.id());
        groups
    }

    /// Processor time of a container's threads, nanoseconds: in programs, in the kernel.
    pub fn time_of(&self, container: &Arc<Container>) -> (u64, u64) {
        let (mut user, mut system) = container.time_of_ended();
        for thread in self.processes_of(container).into_iter().flat_map(|group| group.threads()) {
            let usage = thread.usage();
            user += usage.user_ns;
            system += usage.system_ns;
        }
        (user, system)
    }

    /// Stops all threads of a container where they are, as the freezer of cgroups does: nobody in it sees that.
    pub fn freeze(&self, container: &Arc<Container>) {
        container.frozen.store(true, Ordering::SeqCst);
        // A thread that is made meanwhile looks at the container before it runs.
        for thread in self.processes_of(container).iter().flat_map(|group| group.threads()) {
            thread.kick(work::FREEZE);
        }
    }

    /// Lets them go on.
    pub fn thaw(&self, container: &Arc<Container>) {
        container.frozen.store(false, Ordering::SeqCst);
        for thread in self.processes_of(container).iter().flat_map(|group| group.threads()) {
            thread.unpark();
        }
    }

    /// Sends a signal from outside to every process of a container.
    pub fn signal_container(&self, container: &Arc<Container>, signal: Signal) {
        for group in self.processes_of(container) {
            // A full queue of one does not keep it from the others.
            let _ = send_to_group(&group, signal, SigInfo::kill(signal, SI_USER, 0, 0));
        }
    }
}
