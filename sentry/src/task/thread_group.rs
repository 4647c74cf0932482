//! Processes: what the threads of one share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::resource::RLimit;
use abi::signal::{SigSet, Signal};
use sync::Mutex;

use super::usage::Usage;
use super::{Container, ControllingTty, Limits, Pid, RunState, Task};
use crate::Kernel;
use crate::fs::cgroupfs::Cgroup;
use crate::signal::{GroupSignals, SignalActions};
use crate::wait::WaitQueue;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A process (thread group of Linux). What is in the tree about it is in [`Tree`](super::Tree).
pub struct ThreadGroup {
    id: u64,
    /// Identity: the process id.
    pub pid: Arc<Pid>,
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// What the runtime outside counts it to.
    pub container: Arc<Container>,
    /// Threads, pending signals, stop and exit state.
    pub signals: Mutex<GroupSignals, sync::levels::Signal>,
    /// Signal dispositions; shared with another process after clone(CLONE_SIGHAND) without CLONE_THREAD.
    actions: Mutex<Arc<SignalActions>, sync::levels::Leaf>,
    /// Told when a signal becomes pending (`IN`): sigtimedwait and signalfd.
    pub signal_wait: WaitQueue,
    /// Told when a child changes state (`IN`): wait4.
    pub child_wait: WaitQueue,
    /// Resource limits.
    pub limits: Mutex<Limits, sync::levels::Leaf>,
    /// Usage of threads that are gone.
    pub dead_threads: Mutex<Usage, sync::levels::Leaf>,
    /// What the host had counted when CPU times were last reckoned.
    pub(super) reading: Mutex<super::cpu_time::Reading, sync::levels::Leaf>,
    /// /proc/PID/oom_score_adj.
    pub oom_score_adj: std::sync::atomic::AtomicI32,
    /// What that may be lowered to without a privilege: what somebody with CAP_SYS_RESOURCE has last set.
    pub oom_score_adj_min: std::sync::atomic::AtomicI32,
    /// Timers of the process: alarm, setitimer, timer_create.
    pub timers: crate::time::ProcessTimers,
    /// Its cgroups, of those hierarchies where it is not in the root; one for each.
    cgroups: Mutex<Vec<Arc<Cgroup>>, sync::levels::Leaf>,
    exiting: AtomicBool,
    /// It has given up the session's terminal (TIOCNOTTY), and so did those it was forked from.
    gave_up_tty: AtomicBool,
    /// The leader, from its end until the process is reaped: what /proc shows of a zombie.
    dead_leader: Mutex<Option<Arc<Task>>, sync::levels::Leaf>,
    /// Real user id of its last thread, for SIGCHLD once that is gone.
    last_uid: std::sync::atomic::AtomicU32,
}

impl ThreadGroup {
    /// A process without threads.
    pub fn new(
        kernel: &Arc<Kernel>,
        container: &Arc<Container>,
        pid: Arc<Pid>,
        actions: Arc<SignalActions>,
        limits: Limits,
    ) -> Arc<ThreadGroup> {
        let group = Arc::new(ThreadGroup {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            pid,
            kernel: Arc::clone(kernel),
            container: Arc::clone(container),
            signals: Mutex::default(),
            actions: Mutex::new(actions),
            signal_wait: WaitQueue::new(),
            child_wait: WaitQueue::new(),
            limits: Mutex::new(limits),
            dead_threads: Mutex::default(),
            reading: Mutex::default(),
            oom_score_adj: std::sync::atomic::AtomicI32::new(0),
            oom_score_adj_min: std::sync::atomic::AtomicI32::new(0),
            timers: crate::time::ProcessTimers::default(),
            cgroups: Mutex::default(),
            exiting: AtomicBool::new(false),
            gave_up_tty: AtomicBool::new(false),
            dead_leader: Mutex::default(),
            last_uid: std::sync::atomic::AtomicU32::new(0),
        });
        group.pid.set_thread_group(Arc::downgrade(&group));
        group
    }

    /// Key in the tree; unique for ever.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The threads that have not exited.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        self.signals.lock().threads.clone()
    }

    /// Any thread, the leader if it lives: whose memory and files /proc/PID shows.
    pub fn any_thread(&self) -> Option<Arc<Task>> {
        let signals = self.signals.lock();
        let leader = signals.threads.iter().find(|t| t.is_leader());
        leader.or(signals.threads.first()).cloned()
    }

    /// Its cgroup in the hierarchy that has this root.
    pub fn cgroup(&self, root: &Arc<Cgroup>) -> Arc<Cgroup> {
        self.cgroup_in(root.hierarchy()).unwrap_or_else(|| Arc::clone(root))
    }

    /// Its cgroup in a hierarchy; `None` is the root.
    pub fn cgroup_in(&self, hierarchy: u32) -> Option<Arc<Cgroup>> {
        self.cgroups.lock().iter().find(|own| own.hierarchy() == hierarchy).cloned()
    }

    /// All its cgroups that are no roots.
    pub fn cgroups(&self) -> Vec<Arc<Cgroup>> {
        self.cgroups.lock().clone()
    }

    /// A new process is where its parent is.
    pub fn inherit_cgroups(&self, parent: &ThreadGroup) {
        let cgroups = parent.cgroups();
        if !cgroups.is_empty() {
            *self.cgroups.lock() = cgroups;
        }
    }

    /// Puts it into a cgroup of one hierarchy.
    pub fn enter_cgroup(&self, cgroup: &Arc<Cgroup>) {
        let mut own = self.cgroups.lock();
        let old: Vec<Arc<Cgroup>> =
            own.extract_if(.., |known| known.hierarchy() == cgroup.hierarchy()).collect();
        if !cgroup.is_root() {
            own.push(Arc::clone(cgroup));
        }
        drop(own);
        drop(old);
    }

    /// Signal dispositions.
    pub fn actions(&self) -> Arc<SignalActions> {
        Arc::clone(&self.actions.lock())
    }

    /// Gives the process dispositions of its own (exec).
    pub fn unshare_actions(&self) {
        let own = Arc::new(self.actions().copy());
        let old = std::mem::replace(&mut *self.actions.lock(), own);
        drop(old);
    }

    /// One limit.
    pub fn limit(&self, resource: u32) -> RLimit {
        self.limits.lock().get(resource)
    }

    /// Drops pending entries of a signal that is ignored now.
    pub fn discard_pending(&self, signal: Signal) {
        let which = SigSet::of(&[signal]);
        let mut signals = self.signals.lock();
        signals.pending.discard(which);
        for thread in &signals.threads {
            thread.signals.lock().pending.discard(which);
        }
    }

    /// Whether it is the init of its PID namespace.
    pub fn is_namespace_init(&self) -> bool {
        self.pid.number() == 1
    }

    /// Usage of the whole process so far.
    pub fn usage(&self) -> Usage {
        self.settle();
        self.settled_usage()
    }

    /// The same, CPU times as of the last time that somebody asked: for those that hold the tree.
    pub fn settled_usage(&self) -> Usage {
        let mut usage = *self.dead_threads.lock();
        for thread in self.threads() {
            usage.add(&thread.settled_usage());
        }
        usage
    }

    /// Whether the process as a whole is ending.
    pub fn is_exiting(&self) -> bool {
        self.exiting.load(Ordering::Relaxed)
    }

    pub(crate) fn mark_exiting(&self) {
        self.exiting.store(true, Ordering::Relaxed);
    }

    /// Keeps the leader for as long as the process can be seen (it refers to the process, so it must be let go). So long
    /// it counts against its user's limit.
    pub(crate) fn keep_dead_leader(&self, leader: Option<Arc<Task>>) {
        let old = std::mem::replace(&mut *self.dead_leader.lock(), leader);
        if let Some(old) = old {
            old.set_state(RunState::Dead);
            self.kernel.count_task(old.creds().uid, -1);
        }
    }

    /// Whether it has no terminal though its session may have one.
    pub fn gave_up_tty(&self) -> bool {
        self.gave_up_tty.load(Ordering::Relaxed)
    }

    /// See [`gave_up_tty`](Self::gave_up_tty).
    pub fn set_gave_up_tty(&self, gave_up: bool) {
        self.gave_up_tty.store(gave_up, Ordering::Relaxed);
    }

    /// Its controlling terminal.
    pub fn tty(&self) -> Option<Arc<dyn ControllingTty>> {
        if self.gave_up_tty() {
            return None;
        }
        let session = self.kernel.tree.lock().session(self.id);
        session.and_then(|s| s.tty())
    }

    /// Real user id, also when no thread is left.
    pub fn last_uid(&self) -> u32 {
        self.last_uid.load(Ordering::Relaxed)
    }

    pub(crate) fn note_uid(&self, uid: u32) {
        self.last_uid.store(uid, Ordering::Relaxed);
    }
}
