//! Tasks: guest threads and what they belong to.
//!
//! - [`Task`]: a guest thread as others see it. [`CurrentTask`]: the same thread as its own host thread sees it, with
//!   registers and context; it is neither `Send` nor shared.
//! - [`ThreadGroup`]: a process. [`Tree`]: all processes, their parents, groups and sessions.
//! - The life of a thread is [`run`](CurrentTask::run): guest code, traps, calls, signals, exit.
//!
//! Lock order: `TaskSet` (the tree) → `Signal` (a process) → `SignalTask` (a thread) → `Leaf`.

pub mod access;
mod block;
mod clone;
mod container;
mod cpu_number;
pub(crate) mod cpu_slots;
mod cpu_time;
mod cpu_width;
mod creds;
mod current;
mod exec;
mod exit;
pub mod file_lock;
mod files;
mod host_threads;
pub mod io;
mod limits;
mod local;
mod namespaces;
mod pid;
mod pidfd;
mod prctl_flags;
mod process_group;
mod rseq;
mod run;
mod run_clock;
mod set_ids;
mod setns;
pub(crate) mod sigio;
pub mod splice;
mod start;
mod thread_group;
mod times;
mod tree;
mod usage;
mod user_namespace;
mod wait;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use platform::Interrupter;
use sync::Mutex;

pub use access::Access;
pub use block::{RestartBlock, WaitEnd};
pub use clone::CloneArgs;
pub(crate) use clone::{new_task, reserve_pid};
pub use container::{Container, Grants};
pub use creds::Credentials;
pub use current::CurrentTask;
pub use exec::ExecArgs;
pub(crate) use host_threads::HostThreads;
pub use limits::Limits;
pub use local::{Until, acting_process, acting_thread, current_task, wait_here};
pub use pid::{PID_MAX, Pid, PidNamespace, PidTrace};
pub use pidfd::PidFd;
pub use prctl_flags::PrctlFlags;
pub use process_group::{ControllingTty, ProcessGroup, Session};
pub use start::{Place, ProcessSpec};
pub use thread_group::ThreadGroup;
pub use times::Times;
pub use tree::{Node, Tree};
pub use usage::Usage;
pub use user_namespace::{IdExtent, OVERFLOW_ID, UserNamespace};
pub use wait::{WaitFor, WaitResult};

use run_clock::RunClock;

use crate::Kernel;
use crate::mm::MemoryManager;
use crate::signal::TaskSignals;
use crate::vfs::{FdTable, FsContext, MountNamespace};
use crate::wait::Parker;

/// Reasons why a task must not go on in guest code or in a wait, as bits of [`Task::work`].
pub mod work {
    /// An unblocked signal is pending.
    pub const SIGNAL: u32 = 1;
    /// The thread has to stop with its process.
    pub const STOP: u32 = 2;
    /// The thread has to exit (exit_group, fatal signal, exec of another thread).
    pub const EXIT: u32 = 4;
    /// Something else wants to be looked at before guest code runs again (rseq, timers of CPU time).
    pub const NOTIFY: u32 = 8;
    /// The thread has to stand still with its container.
    pub const FREEZE: u32 = 16;
    /// What the platform answers by itself has to be told anew.
    pub const ANSWERS: u32 = 32;
    /// The thread's signal mask was taken back from the guest: see [`BlockedSignals`](crate::signal::BlockedSignals).
    pub const RECALLED: u32 = 64;
    /// Those that end a wait.
    pub const INTERRUPTS: u32 = SIGNAL | STOP | EXIT | FREEZE;
}

/// What a task is doing, for /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RunState {
    /// In guest code or in a call.
    Running = 0,
    /// Waiting, interruptible.
    Sleeping = 1,
    /// Waiting for something that signals do not end (vfork, exec).
    DiskSleep = 2,
    /// Stopped by a signal.
    Stopped = 3,
    /// Stopped by a tracer.
    TracingStop = 4,
    /// Exited, not yet waited for.
    Zombie = 5,
    /// Gone.
    Dead = 6,
}

impl RunState {
    /// The letter of /proc/PID/stat.
    pub fn letter(self) -> char {
        match self {
            RunState::Running => 'R',
            RunState::Sleeping => 'S',
            RunState::DiskSleep => 'D',
            RunState::Stopped => 'T',
            RunState::TracingStop => 't',
            RunState::Zombie => 'Z',
            RunState::Dead => 'X',
        }
    }

    fn from_u32(value: u32) -> RunState {
        match value {
            0 => RunState::Running,
            1 => RunState::Sleeping,
            2 => RunState::DiskSleep,
            3 => RunState::Stopped,
            4 => RunState::TracingStop,
            5 => RunState::Zombie,
            _ => RunState::Dead,
        }
    }
}

/// The namespaces of a task other than those in its pid, credentials and files (namespaces(7)).
#[derive(Clone)]
pub struct Namespaces {
    /// Mounts.
    pub mount: Arc<MountNamespace>,
    /// Host and domain name.
    pub uts: Arc<crate::uts::UtsNamespace>,
    /// System V objects and POSIX message queues.
    pub ipc: Arc<crate::ipc::IpcNamespace>,
    /// Roots of control groups.
    pub cgroup: Arc<crate::fs::cgroupfs::CgroupNamespace>,
    /// Sockets.
    pub net: Arc<crate::net::NetNamespace>,
    /// Where its children's ids are made.
    pub pid_for_children: Arc<PidNamespace>,
}

/// What a task may share with others, for those that look at it from outside. `None` once it has exited.
#[derive(Clone)]
pub struct Resources {
    /// Address space.
    pub mm: Arc<MemoryManager>,
    /// Open files.
    pub files: Arc<FdTable>,
    /// Root, working directory, umask.
    pub fs: Arc<FsContext>,
    /// Namespaces.
    pub namespaces: Arc<Namespaces>,
}

/// A guest thread as others see it.
pub struct Task {
    /// Unique for ever.
    pub id: u64,
    group: Arc<ThreadGroup>,
    /// Changes when a thread that is not the leader calls exec and becomes the leader.
    pid: Mutex<Arc<Pid>, sync::levels::Leaf>,
    creds: Mutex<Arc<Credentials>, sync::levels::Leaf>,
    resources: Mutex<Option<Resources>, sync::levels::Leaf>,
    /// Mask and private pending signals.
    pub signals: Mutex<TaskSignals, sync::levels::SignalTask>,
    /// Bits of [`work`].
    work: AtomicU32,
    state: AtomicU32,
    parker: OnceLock<Arc<Parker>>,
    interrupter: OnceLock<Arc<dyn Interrupter>>,
    comm: Mutex<[u8; 16], sync::levels::Leaf>,
    /// When it was made, nanoseconds of the sandbox's boot clock.
    pub start_ns: u64,
    /// Wall time in guest code.
    in_guest: RunClock,
    /// Wall time in system calls, waits left out.
    system_ns: AtomicU64,
    /// The part of it that faults took.
    fault_ns: AtomicU64,
    cpu_time: cpu_time::CpuTime,
    voluntary_switches: AtomicU64,
    involuntary_switches: AtomicU64,
    minor_faults: AtomicU64,
    io: usage::IoTally,
    /// It is exiting and has given up its PI futexes.
    pub(crate) futexes_released: AtomicBool,
    /// set_robust_list(2).
    pub robust_list: crate::futex::RobustListPlace,
    /// set_tid_address(2), CLONE_CHILD_CLEARTID.
    pub clear_child_tid: AtomicU64,
    /// PR_SET_PDEATHSIG.
    pub parent_death_signal: AtomicU32,
    /// sched_setscheduler(2), nice(2) and so on: kept and answered, the host schedules.
    pub sched: Mutex<crate::sched::SchedParams, sync::levels::Leaf>,
    /// PR_SET_TIMERSLACK, nanoseconds.
    pub timer_slack_ns: AtomicU64,
    /// Flags of prctl(2) that are a bit each: [`PrctlFlags`].
    pub prctl_flags: AtomicU32,
    /// personality(2).
    pub personality: AtomicU32,
    /// set_mempolicy(2): a packed [`Policy`](crate::mm::Policy).
    pub memory_policy: AtomicU64,
    /// Filters on its calls.
    pub seccomp: crate::seccomp::Seccomp,
    /// What SEM_UNDO undoes when it ends; made on first use.
    pub(crate) sem_undo: Mutex<Option<Arc<crate::ipc::sem::UndoList>>, sync::levels::Leaf>,
    /// Exit status, once it has exited by itself.
    exit_code: AtomicI32,
}

impl Task {
    /// The process.
    pub fn thread_group(&self) -> &Arc<ThreadGroup> {
        &self.group
    }

    /// The kernel.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.group.kernel
    }

    /// Identity: the thread id.
    pub fn pid(&self) -> Arc<Pid> {
        Arc::clone(&self.pid.lock())
    }

    /// Thread id in its own PID namespace.
    pub fn tid(&self) -> i32 {
        self.pid.lock().number()
    }

    /// Process id in its own PID namespace.
    pub fn tgid(&self) -> i32 {
        self.group.pid.number()
    }

    /// Whether it is the first thread of its process.
    pub fn is_leader(&self) -> bool {
        self.pid.lock().identity == self.group.pid.identity
    }

    pub(crate) fn set_pid(&self, pid: Arc<Pid>) -> Arc<Pid> {
        std::mem::replace(&mut *self.pid.lock(), pid)
    }

    /// Credentials.
    pub fn creds(&self) -> Arc<Credentials> {
        Arc::clone(&self.creds.lock())
    }

    fn store_creds(&self, creds: Arc<Credentials>) {
        let old = std::mem::replace(&mut *self.creds.lock(), creds);
        drop(old);
    }

    /// Memory, files, directories, namespaces; `None` once it has exited.
    pub fn resources(&self) -> Option<Resources> {
        self.resources.lock().clone()
    }

    pub(crate) fn set_resources(&self, resources: Option<Resources>) {
        if let Some(new) = &resources {
            new.files.join();
        }
        let old = std::mem::replace(&mut *self.resources.lock(), resources);
        // May close files and free memory: after the lock.
        if let Some(old) = old {
            old.files.leave();
        }
    }

    /// Name of the thread (PR_SET_NAME), up to 15 bytes.
    pub fn comm(&self) -> Vec<u8> {
        let comm = *self.comm.lock();
        comm.iter().copied().take_while(|b| *b != 0).collect()
    }

    /// Sets the name, cut to 15 bytes.
    pub fn set_comm(&self, name: &[u8]) {
        let mut comm = [0; 16];
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        let len = name.len().min(15);
        comm[..len].copy_from_slice(&name[..len]);
        *self.comm.lock() = comm;
    }

    /// What it is doing.
    pub fn state(&self) -> RunState {
        RunState::from_u32(self.state.load(Ordering::Relaxed))
    }

    pub(crate) fn set_state(&self, state: RunState) {
        self.state.store(state as u32, Ordering::Relaxed);
    }

    /// Bits of [`work`] that are set.
    pub fn work(&self) -> u32 {
        self.work.load(Ordering::Acquire)
    }

    /// Clears bits of [`work`].
    pub fn clear_work(&self, bits: u32) {
        self.work.fetch_and(!bits, Ordering::AcqRel);
    }

    /// Sets bits of [`work`] without kicking: for the task itself.
    pub fn set_work(&self, bits: u32) {
        self.work.fetch_or(bits, Ordering::AcqRel);
    }

    /// Sets bits of [`work`] and gets the task out of guest code or out of a wait, whichever it is in.
    pub fn kick(&self, bits: u32) {
        self.work.fetch_or(bits, Ordering::AcqRel);
        if let Some(parker) = self.parker.get() {
            parker.unpark();
        }
        if let Some(interrupter) = self.interrupter.get() {
            if bits & work::EXIT != 0 { interrupter.give_up() } else { interrupter.interrupt() }
        }
    }

    /// What the task is told about itself has changed, by itself or by another: the platform answers nothing any more that
    /// it is asked later, until it has been told what is true now.
    pub(crate) fn answers_changed(&self) {
        // First the bit: see `CurrentTask::tell_answers`.
        self.set_work(work::ANSWERS);
        if let Some(interrupter) = self.interrupter.get() {
            interrupter.silence();
        }
    }

    /// Ends its wait without any work to do (a condition it waits for has changed).
    pub fn unpark(&self) {
        if let Some(parker) = self.parker.get() {
            parker.unpark();
        }
    }

    /// What it has used so far, CPU times as of the last [`usage`](Self::usage) of the process or a thread of it.
    pub(super) fn settled_usage(&self) -> Usage {
        let (user_ns, system_ns) = self.settled_ns();
        Usage {
            user_ns,
            system_ns,
            max_rss_kib: self.resources().map_or(0, |r| r.mm.peak_rss_kib()),
            minor_faults: self.minor_faults.load(Ordering::Relaxed),
            voluntary_switches: self.voluntary_switches.load(Ordering::Relaxed),
            involuntary_switches: self.involuntary_switches.load(Ordering::Relaxed),
            io: self.io.sums(),
        }
    }
}
