//! The kernel of one sandbox: what all its tasks share, its start and its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use abi::Errno;
use abi::signal::{SigInfo, Signal};
use platform::{Answer, Platform};
use sync::Mutex;

use crate::aio::AioTotal;
use crate::error::SysResult;
use crate::fs::cgroupfs::{CgroupNamespace, Cgroups};
use crate::fs::nsfs::NsFs;
use crate::fs::tmpfs::memfd::MemfdFs;
use crate::futex::FutexTable;
use crate::ipc::IpcNamespace;
use crate::loader::Vdso;
use crate::net::{Loopback, NetNamespace};
use crate::task::{
    ControllingTty, CurrentTask, HostThreads, Pid, PidNamespace, Session, ThreadGroup, Tree, UserNamespace,
};
use crate::time::{Clocks, TimerService};
use crate::uts::UtsNamespace;
use crate::vfs::{InternalFs, Vfs};

/// The system call table, as the kernel sees it: handed in, so that the kernel knows no call numbers.
pub trait SyscallTable: Send + Sync {
    /// Answers one call. Unknown numbers give ENOSYS.
    fn dispatch(&self, task: &mut CurrentTask, number: u64, args: [u64; 6]) -> SysResult<u64>;
    /// Calls that only tell the task about itself, with what they answer from now on until
    /// [`Task::answers_changed`](crate::task::Task): the platform may answer them. Empty when every call has to be seen.
    fn answers(&self, _task: &mut CurrentTask) -> Vec<Answer> {
        Vec::new()
    }
    /// A signal is about to take effect (strace lines).
    fn signal_delivered(&self, task: &CurrentTask, signal: Signal, info: &SigInfo);
    /// A process has ended with this wait status (strace lines).
    fn process_ended(&self, pid: i32, status: i32);
}

/// What a kernel is made of.
pub struct KernelConfig {
    /// Runs the guests.
    pub platform: Arc<dyn Platform>,
    /// Answers the calls.
    pub table: &'static dyn SyscallTable,
    /// Name of the machine in the sandbox.
    pub hostname: String,
    /// Tasks at most.
    pub max_tasks: u64,
    /// CPUs that guests see.
    pub cpus: u32,
    /// Whether the first program is a job of an outer shell (`runsc do`) and not an init: then process 1 is the
    /// kernel's own, orphans are reaped by it, and Ctrl-Z stops the program.
    pub job: bool,
}

/// Told of what happens to a process that the runtime has started. Called on a guest's thread, which may hold nothing.
pub type Watcher = Box<dyn Fn(KernelEvent) + Send + Sync>;

/// What the runtime outside is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// The process has been stopped by this signal.
    Stopped(Signal),
    /// The process goes on.
    Continued,
    /// The process has ended, with this wait status.
    Exited(i32),
}

/// The kernel.
pub struct Kernel {
    /// Runs the guests.
    pub platform: Arc<dyn Platform>,
    /// Answers the calls.
    pub table: &'static dyn SyscallTable,
    /// All processes.
    pub tree: Mutex<Tree, sync::levels::TaskSet>,
    /// The first user namespace.
    pub user_ns: Arc<UserNamespace>,
    /// The first PID namespace.
    pub pid_ns: Arc<PidNamespace>,
    /// The first UTS namespace.
    pub uts_ns: Arc<UtsNamespace>,
    /// Tasks at most.
    pub max_tasks: u64,
    /// CPUs that guests see.
    pub cpus: u32,
    /// What /proc/sys/kernel/random/boot_id says, the same through every mount; made when first asked for.
    pub(crate) boot_id: OnceLock<String>,
    /// Process 1, when that is the kernel's own.
    pub own_init: Option<Arc<Pid>>,
    /// Where pipes, sockets and other files without a name live.
    pub internal: InternalFs,
    /// Kinds of file systems, drivers.
    pub vfs: Arc<Vfs>,
    /// The first network namespace.
    pub net: Arc<NetNamespace>,
    /// Who waits for which futex.
    pub futexes: FutexTable,
    /// What contexts of io_setup(2) were asked for.
    pub aio: AioTotal,
    /// Where memfds live.
    pub memfds: MemfdFs,
    /// Groups of processes.
    pub cgroups: Cgroups,
    /// The first cgroup namespace.
    pub cgroup_ns: Arc<CgroupNamespace>,
    /// Namespaces as files.
    pub namespaces: NsFs,
    /// The first IPC namespace.
    pub ipc: Arc<IpcNamespace>,
    /// Clocks of the sandbox.
    pub clocks: Clocks,
    /// The object with time functions that is mapped into every program.
    pub vdso: Vdso,
    /// What tells objects that a moment has come.
    pub timers: TimerService,
    pub(crate) host_threads: Arc<HostThreads>,
    tasks: AtomicU64,
    forks: AtomicU64,
    tasks_of: Mutex<HashMap<u32, u64>, sync::levels::Leaf>,
    next_namespace: AtomicU64,
    main: Mutex<Option<Arc<ThreadGroup>>, sync::levels::Leaf>,
    /// By [`ThreadGroup::id`].
    watchers: Mutex<HashMap<u64, Vec<Arc<Watcher>>>, sync::levels::Leaf>,
}

impl Kernel {
    /// A kernel without processes.
    pub fn new(config: KernelConfig) -> Result<Arc<Kernel>, Errno> {
        // What one allocation can be refused for, and half of which a tmpfs may take.
        crate::mm::set_total_memory(host::system::memory().total);
        let user_ns = UserNamespace::initial();
        let pid_ns = PidNamespace::initial(Arc::clone(&user_ns));
        let own_init = if config.job { Some(crate::task::reserve_pid(&pid_ns)?) } else { None };
        let vfs = Vfs::new(Arc::clone(config.platform.memory()));
        let vdso = Vdso::new(config.platform.memory())?;
        let kernel = Arc::new(Kernel {
            vdso,
            platform: Arc::clone(&config.platform),
            table: config.table,
            tree: Mutex::default(),
            uts_ns: UtsNamespace::new(0xefff_fffe, Arc::clone(&user_ns), config.hostname.as_bytes()),
            net: NetNamespace::new(0xefff_fff9, Arc::clone(&user_ns), Loopback::Up),
            cgroup_ns: CgroupNamespace::initial(Arc::clone(&user_ns)),
            ipc: IpcNamespace::initial(Arc::clone(&user_ns))?,
            user_ns,
            pid_ns,
            max_tasks: config.max_tasks,
            cpus: config.cpus,
            boot_id: OnceLock::new(),
            own_init,
            internal: InternalFs::new(),
            memfds: MemfdFs::new(config.platform.memory())?,
            cgroups: Cgroups::new(),
            namespaces: NsFs::new(),
            vfs,
            futexes: FutexTable::default(),
            aio: AioTotal::default(),
            clocks: Clocks::new(),
            timers: TimerService::new(),
            host_threads: Arc::default(),
            tasks: AtomicU64::new(0),
            forks: AtomicU64::new(0),
            tasks_of: Mutex::default(),
            next_namespace: AtomicU64::new(0xf000_0000),
            main: Mutex::default(),
            watchers: Mutex::default(),
        });
        crate::time::vdso_clock::start(&kernel);
        Ok(kernel)
    }

    /// Nanoseconds since the sandbox started (CLOCK_BOOTTIME of the sandbox).
    pub fn boot_ns(&self) -> u64 {
        self.clocks.monotonic_ns().max(0) as u64
    }

    /// When the sandbox started, on the host's monotonic clock.
    pub fn booted(&self) -> Instant {
        self.clocks.epoch()
    }

    /// A number for a new namespace, as /proc/PID/ns shows it.
    pub fn next_namespace_id(&self) -> u64 {
        self.next_namespace.fetch_add(1, Ordering::Relaxed)
    }

    /// Threads in the sandbox.
    pub fn task_count(&self) -> u64 {
        self.tasks.load(Ordering::Relaxed)
    }

    /// Threads ever made (`processes` of /proc/stat).
    pub fn fork_count(&self) -> u64 {
        self.forks.load(Ordering::Relaxed)
    }

    /// Threads of a user (RLIMIT_NPROC).
    pub fn tasks_of_user(&self, uid: u32) -> u64 {
        self.tasks_of.lock().get(&uid).copied().unwrap_or(0)
    }

    pub(crate) fn count_task(&self, uid: u32, by: i64) {
        self.tasks.fetch_add(by as u64, Ordering::Relaxed);
        if by > 0 {
            self.forks.fetch_add(1, Ordering::Relaxed);
        }
        let mut tasks_of = self.tasks_of.lock();
        let count = tasks_of.entry(uid).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            tasks_of.remove(&uid);
        }
    }

    /// The first process.
    pub fn main_process(&self) -> Option<Arc<ThreadGroup>> {
        self.main.lock().clone()
    }

    pub(crate) fn set_main_process(&self, group: &Arc<ThreadGroup>) {
        *self.main.lock() = Some(Arc::clone(group));
    }

    /// One more watcher of a process. It is told nothing when the process has ended before.
    pub fn watch(&self, group: &ThreadGroup, watcher: Watcher) {
        self.watchers.lock().entry(group.id()).or_default().push(Arc::new(watcher));
    }

    /// Its watchers are forgotten, since it ended before they came, or never ran.
    pub fn unwatch(&self, group: &ThreadGroup) {
        let gone = self.watchers.lock().remove(&group.id());
        drop(gone);
    }

    fn tell(&self, group: &ThreadGroup, event: KernelEvent) {
        let watchers = match event {
            KernelEvent::Exited(_) => self.watchers.lock().remove(&group.id()),
            _ => self.watchers.lock().get(&group.id()).cloned(),
        };
        // The first, that of the runtime, comes last: the sandbox may end with it.
        for watcher in watchers.unwrap_or_default().iter().rev() {
            watcher(event);
        }
    }

    pub(crate) fn stopped_or_continued(&self, group: &ThreadGroup, stopped_by: Option<Signal>) {
        self.tell(group, stopped_by.map_or(KernelEvent::Continued, KernelEvent::Stopped));
    }

    /// A thread is gone; with it, when `status` is given, its process.
    pub(crate) fn thread_ended(&self, group: &Arc<ThreadGroup>, status: Option<i32>) {
        let Some(status) = status else { return };
        self.table.process_ended(group.pid.outer_number(), status);
        self.tell(group, KernelEvent::Exited(status));
    }

    /// The session leader of `session` is gone: its terminal hangs up.
    pub(crate) fn hang_up_later(self: &Arc<Self>, tty: Arc<dyn ControllingTty>, session: Arc<Session>) {
        let kernel = Arc::clone(self);
        // Off this thread's path: it holds the tree, and hanging up sends signals to process groups.
        let hang_up = move || {
            if let Some(group) = tty.foreground() {
                for signal in [Signal::SIGHUP, Signal::SIGCONT] {
                    crate::signal::send_to_process_group(&kernel, &group, signal, SigInfo::kernel(signal));
                }
            }
            tty.session_gone(&session);
        };
        if std::thread::Builder::new().name("hang-up".into()).spawn(hang_up).is_err() {
            tracing::warn!("no thread to hang a terminal up");
        }
    }
}
