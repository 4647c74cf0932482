//! Making tasks: fork(2), vfork(2), clone(2), clone3(2).

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use abi::clone::CloneFlags;
use abi::resource::RLIMIT_NPROC;
use abi::signal::Signal;
use platform::{Registers, XState};
use sync::Mutex;

use super::cpu_time::Reading;
use super::{
    Credentials, CurrentTask, Namespaces, Node, Pid, PidNamespace, ProcessGroup, Resources, RunState, Task,
    ThreadGroup,
};
use crate::Kernel;
use crate::error::SysResult;
use crate::mm::{Threads, UserAddr, UserRef};
use crate::signal::{AltStack, TaskSignals};
use crate::vfs::FsContext;
use crate::vfs::namespace::MountMap;
use crate::wait::Parker;

/// What clone3(2) is asked for; the others are forms of it. Checked by [`CurrentTask::clone_task`].
#[derive(Clone, Debug, Default)]
pub struct CloneArgs {
    /// Flags, without the exit signal.
    pub flags: CloneFlags,
    /// Where a pidfd goes.
    pub pidfd: UserRef<i32>,
    /// Where the child's id goes in the child.
    pub child_tid: UserAddr,
    /// Where the child's id goes in the parent.
    pub parent_tid: UserRef<i32>,
    /// 0 is none.
    pub exit_signal: u64,
    /// Stack pointer of the child; 0 keeps the parent's.
    pub stack_pointer: u64,
    /// New fs base.
    pub tls: u64,
    /// Ids wanted, innermost namespace first.
    pub set_tid: Vec<i32>,
}

static NEXT_TASK: AtomicU64 = AtomicU64::new(1);

/// A vfork parent waits until the child has its own memory or is gone.
pub(crate) struct VforkDone {
    done: AtomicBool,
    parker: Arc<Parker>,
}

impl VforkDone {
    fn signal(&self) {
        self.done.store(true, Ordering::Release);
        self.parker.unpark();
    }
}

/// How a new task stands to those that its maker made before.
enum Company {
    /// It is a thread of the same process.
    Thread,
    /// Its maker had children, and has waited for all of them: it is likely to wait for this one.
    NextChild,
    /// Nothing of the kind is known.
    Other,
}

/// What a new host thread needs to become the child.
struct Start {
    task: Arc<Task>,
    resources: Resources,
    creds: Arc<Credentials>,
    regs: Registers,
    fpu: Option<Vec<u8>>,
    set_child_tid: u64,
    rseq: super::rseq::Rseq,
    vfork: Option<Arc<VforkDone>>,
}

impl CurrentTask {
    /// clone3(2): gives the child's id as the parent sees it.
    pub fn clone_task(&mut self, args: &CloneArgs) -> SysResult<i32> {
        use CloneFlags as C;
        let flags = args.flags;
        check_flags(flags)?;
        let kernel = Arc::clone(self.kernel());
        let is_thread = flags.contains(C::THREAD);
        // A process is in one PID namespace, whatever its children are to be in.
        if is_thread && !Arc::ptr_eq(&self.namespaces().pid_for_children, self.pid().namespace()) {
            return Err(Errno::EINVAL.into());
        }
        self.check_process_limit(&kernel)?;

        let mut creds = Arc::clone(&self.creds);
        if flags.contains(C::NEWUSER) {
            creds = Arc::new(self.creds_in_new_user_namespace()?);
        }
        let (namespaces, mounts) = self.namespaces_for_child(flags, &creds)?;
        let pid_ns = Arc::clone(&namespaces.pid_for_children);
        let pid = Pid::new(&pid_ns, &args.set_tid)?;

        let mm = if flags.contains(C::VM) {
            // While this thread can: it may wait for the child as soon as that exists (vfork).
            self.space.prepare_thread().map_err(|_| Errno::EAGAIN)?;
            Arc::clone(self.mm())
        } else {
            // Its own reference, and that of its task.
            let alone = Arc::strong_count(self.mm()) <= 2;
            self.mm().fork(if alone { Threads::One } else { Threads::Several })?
        };
        let files = if flags.contains(C::FILES) { Arc::clone(self.files()) } else { self.files().fork() };
        let fs = if flags.contains(C::FS) { Arc::clone(self.fs()) } else { FsContext::fork(self.fs()) };
        if let Some(mounts) = mounts {
            fs.translate(&mounts);
        }
        let resources = Resources { mm, files, fs, namespaces };

        let group = if is_thread {
            Arc::clone(self.thread_group())
        } else {
            self.new_thread_group(&kernel, flags, Arc::clone(&pid))
        };
        let alt_stack = if flags.contains(C::VM) && !flags.contains(C::VFORK) {
            AltStack::RESET
        } else {
            self.task().signals.lock().alt_stack
        };
        let signals = TaskSignals { mask: self.mask().into(), alt_stack, ..TaskSignals::default() };
        let task = new_task(&kernel, &group, Arc::clone(&pid), Arc::clone(&creds), signals, &self.comm());
        let sched = self.sched.lock().for_child();
        *task.sched.lock() = sched;
        task.timer_slack_ns.store(self.timer_slack_ns.load(Ordering::Relaxed), Ordering::Relaxed);
        task.prctl_flags.store(self.prctl_flags.load(Ordering::Relaxed), Ordering::Relaxed);
        task.personality.store(self.personality.load(Ordering::Relaxed), Ordering::Relaxed);
        task.memory_policy.store(self.memory_policy.load(Ordering::Relaxed), Ordering::Relaxed);
        task.seccomp.inherit(&self.seccomp);
        if flags.contains(C::SYSVSEM) {
            *task.sem_undo.lock() = Some(self.undo_list_for_child());
        }
        if flags.contains(C::CHILD_CLEARTID) {
            task.clear_child_tid.store(args.child_tid.0, Ordering::Relaxed);
        }
        let fpu = self.fpu()?.to_vec();
        let mut regs = self.regs;
        regs.rax = 0;
        if args.stack_pointer != 0 {
            regs.rsp = args.stack_pointer;
        }
        if flags.contains(C::SETTLS) {
            regs.fs_base = args.tls;
        }
        let child_tid = pid.number_in(self.pid().namespace());
        if flags.contains(C::PARENT_SETTID) {
            // Linux ignores the error (put_user without a check).
            let _ = self.write_obj(args.parent_tid, &child_tid);
        }
        let pidfd = flags.contains(C::PIDFD).then(|| self.install_pidfd(&pid, args.pidfd)).transpose()?;
        let vfork = flags
            .contains(C::VFORK)
            .then(|| Arc::new(VforkDone { done: AtomicBool::new(false), parker: Arc::clone(&self.parker) }));

        // From here on it exists, or is undone.
        task.set_resources(Some(resources.clone()));
        match self.enter_tree(&kernel, &task, args, is_thread) {
            Ok(Company::Thread) => {}
            // The parent of a vfork waits at once, and its calls before are dense or are not.
            Ok(Company::NextChild) if vfork.is_some() => {}
            Ok(Company::NextChild) => self.context.expect_wait(true),
            Ok(Company::Other) => self.context.expect_wait(false),
            Err(errno) => {
                task.set_resources(None);
                task.leave_undo_list();
                if let Some(fd) = pidfd {
                    drop(self.files().remove(fd));
                }
                return Err(errno.into());
            }
        }
        let rseq = if flags.contains(C::VM) {
            super::rseq::Rseq::default()
        } else {
            self.rseq.for_fork(|| resources.mm.cpu_slots(kernel.cpus))
        };
        let start = Start {
            task: Arc::clone(&task),
            resources,
            creds,
            regs,
            fpu: Some(fpu),
            set_child_tid: if flags.contains(C::CHILD_SETTID) { args.child_tid.0 } else { 0 },
            rseq,
            vfork: vfork.clone(),
        };
        if spawn(&kernel, start).is_err() {
            // The host has no more threads: undo as if the child had exited before it ran.
            super::exit::abandon(&kernel, &group, &task);
            if let Some(fd) = pidfd {
                drop(self.files().remove(fd));
            }
            return Err(Errno::EAGAIN.into());
        }
        if let Some(vfork) = vfork {
            while !vfork.done.load(Ordering::Acquire) {
                // A killed parent does not wait for its child.
                if self.park_killable().is_err() {
                    break;
                }
            }
        }
        Ok(child_tid)
    }

    fn check_process_limit(&self, kernel: &Arc<Kernel>) -> Result<(), Errno> {
        use abi::capability::{CAP_SYS_ADMIN, CAP_SYS_RESOURCE};
        let limit = self.thread_group().limit(RLIMIT_NPROC).rlim_cur;
        let privileged =
            self.creds.uid == 0 || self.creds.has_cap(CAP_SYS_ADMIN) || self.creds.has_cap(CAP_SYS_RESOURCE);
        if !privileged && kernel.tasks_of_user(self.creds.uid) >= limit {
            return Err(Errno::EAGAIN);
        }
        if kernel.task_count() >= kernel.max_tasks || self.thread_group().container.is_full() {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    fn namespaces_for_child(
        &self,
        flags: CloneFlags,
        creds: &Credentials,
    ) -> Result<(Arc<Namespaces>, Option<MountMap>), Errno> {
        use CloneFlags as C;
        let new = C::NEWNS | C::NEWUTS | C::NEWPID | C::NEWIPC | C::NEWNET | C::NEWCGROUP;
        if !flags.intersects(new) {
            return Ok((Arc::clone(self.namespaces()), None));
        }
        let (namespaces, mounts) = self.unshared_namespaces(flags, &creds.user_ns)?;
        Ok((Arc::new(namespaces), mounts))
    }

    fn new_thread_group(&self, kernel: &Arc<Kernel>, flags: CloneFlags, pid: Arc<Pid>) -> Arc<ThreadGroup> {
        use CloneFlags as C;
        let parent = self.thread_group();
        let actions = if flags.contains(C::SIGHAND) {
            parent.actions()
        } else {
            let copy = parent.actions().copy();
            if flags.contains(C::CLEAR_SIGHAND) {
                copy.clear_handlers();
            }
            Arc::new(copy)
        };
        let limits = parent.limits.lock().clone();
        let group = ThreadGroup::new(kernel, &parent.container, pid, actions, limits);
        group.inherit_cgroups(parent);
        group.oom_score_adj.store(parent.oom_score_adj.load(Ordering::Relaxed), Ordering::Relaxed);
        group.oom_score_adj_min.store(parent.oom_score_adj_min.load(Ordering::Relaxed), Ordering::Relaxed);
        group.note_uid(self.creds.uid);
        if flags.contains(C::VM) {
            let now = Reading::from_now(&self.resources);
            *group.reading.lock() = now;
        }
        group.set_gave_up_tty(parent.gave_up_tty());
        group.timers.update_cpu_limit(&group);
        group
    }

    /// Makes the new task visible: from here on it can be signalled and waited for.
    fn enter_tree(
        &self,
        kernel: &Arc<Kernel>,
        task: &Arc<Task>,
        args: &CloneArgs,
        is_thread: bool,
    ) -> Result<Company, Errno> {
        let own = self.thread_group();
        let mut tree = kernel.tree.lock();
        crate::fs::cgroupfs::pids::may_have_one_more(&tree, own)?;
        if is_thread {
            let mut state = own.signals.lock();
            if state.group_exit.is_some() || state.exec_by.is_some() {
                return Err(Errno::EAGAIN);
            }
            state.threads.push(Arc::clone(task));
            drop(state);
            task.pid().set_task(Arc::downgrade(task));
            kernel.count_task(task.creds().uid, 1);
            own.container.count(1);
            return Ok(Company::Thread);
        }
        let sibling = args.flags.contains(CloneFlags::PARENT);
        let (parent, exit_signal) = if sibling {
            let node = tree.get(own.id());
            (node.and_then(|n| n.parent), node.and_then(|n| n.exit_signal))
        } else {
            (Some(own.id()), Signal::new(args.exit_signal as u32))
        };
        let process_group = tree.process_group(own.id()).ok_or(Errno::ESRCH)?;
        let group = Arc::clone(task.thread_group());
        group.signals.lock().threads.push(Arc::clone(task));
        task.pid().set_task(Arc::downgrade(task));
        kernel.count_task(task.creds().uid, 1);
        own.container.count(1);
        let is_next = tree.get_mut(own.id()).is_some_and(|node| {
            let has_forked = std::mem::replace(&mut node.has_forked, true);
            has_forked && node.children.is_empty()
        });
        let company = if is_next { Company::NextChild } else { Company::Other };
        tree.insert(Node {
            group,
            parent,
            parent_thread: self.id,
            children: Vec::new(),
            process_group,
            exit_signal,
            zombie: None,
            subreaper: false,
            children_usage: super::Usage::default(),
            has_forked: false,
            did_exec: false,
        });
        Ok(company)
    }

    /// The child of a vfork lets its parent go on: it has memory of its own now, or is gone.
    pub(super) fn signal_vfork_done(&mut self) {
        if let Some(vfork) = self.vfork_done.take() {
            vfork.signal();
        }
    }
}

fn check_flags(flags: CloneFlags) -> Result<(), Errno> {
    use CloneFlags as C;
    let bad = flags.contains(C::NEWNS | C::FS)
        || flags.contains(C::NEWUSER | C::FS)
        || flags.contains(C::THREAD) && !flags.contains(C::SIGHAND)
        || flags.contains(C::SIGHAND) && !flags.contains(C::VM)
        || flags.contains(C::SIGHAND | C::CLEAR_SIGHAND)
        || flags.contains(C::THREAD) && flags.intersects(C::NEWUSER | C::NEWPID)
        || flags.contains(C::NEWIPC | C::SYSVSEM)
        || flags.contains(C::PIDFD | C::DETACHED);
    if bad { Err(Errno::EINVAL) } else { Ok(()) }
}

/// A task in no tree yet.
pub(crate) fn new_task(
    kernel: &Arc<Kernel>,
    group: &Arc<ThreadGroup>,
    pid: Arc<Pid>,
    creds: Arc<Credentials>,
    signals: TaskSignals,
    comm: &[u8],
) -> Arc<Task> {
    let task = Arc::new(Task {
        id: NEXT_TASK.fetch_add(1, Ordering::Relaxed),
        group: Arc::clone(group),
        pid: Mutex::new(pid),
        creds: Mutex::new(creds),
        resources: Mutex::new(None),
        signals: Mutex::new(signals),
        work: AtomicU32::new(super::work::ANSWERS),
        state: AtomicU32::new(RunState::Running as u32),
        parker: OnceLock::new(),
        interrupter: OnceLock::new(),
        comm: Mutex::new([0; 16]),
        start_ns: kernel.boot_ns(),
        in_guest: Default::default(),
        system_ns: AtomicU64::new(0),
        fault_ns: AtomicU64::new(0),
        cpu_time: Default::default(),
        voluntary_switches: AtomicU64::new(0),
        involuntary_switches: AtomicU64::new(0),
        minor_faults: AtomicU64::new(0),
        io: Default::default(),
        futexes_released: AtomicBool::new(false),
        robust_list: Default::default(),
        clear_child_tid: AtomicU64::new(0),
        parent_death_signal: AtomicU32::new(0),
        sched: Mutex::default(),
        timer_slack_ns: AtomicU64::new(50_000),
        prctl_flags: AtomicU32::new(0),
        personality: AtomicU32::new(0),
        memory_policy: AtomicU64::new(0),
        seccomp: crate::seccomp::Seccomp::default(),
        sem_undo: Mutex::default(),
        exit_code: AtomicI32::new(0),
    });
    task.set_comm(comm);
    task
}

/// Starts the host thread that becomes the task.
fn spawn(kernel: &Arc<Kernel>, start: Start) -> std::io::Result<()> {
    let threads = Arc::clone(&kernel.host_threads);
    let kernel = Arc::clone(kernel);
    let name = format!("task-{}", start.task.id);
    threads.run(name, move || become_task(&kernel, start))
}

fn become_task(kernel: &Arc<Kernel>, start: Start) {
    let Start { task, resources, creds, regs, fpu, set_child_tid, rseq, vfork } = start;
    let mut context = match kernel.platform.new_context() {
        Ok(context) => context,
        Err(error) => {
            tracing::warn!(%error, "no context for a new guest thread");
            if let Some(vfork) = vfork {
                vfork.signal();
            }
            let group = Arc::clone(task.thread_group());
            super::exit::abandon(kernel, &group, &task);
            return;
        }
    };
    if let Some(fpu) = fpu {
        // The area comes from this machine's own CPU state: it is always valid.
        let _ = context.set_fpu(&fpu);
    }
    let parker = Parker::for_current_thread();
    let _ = task.parker.set(Arc::clone(&parker));
    let _ = task.interrupter.set(context.interrupter());
    task.signals.lock().mask.keep_in(context.signal_mask());
    task.robust_list.keep_in(context.robust_list());
    let space = Arc::clone(resources.mm.space());
    let current = CurrentTask {
        task,
        regs,
        context,
        space,
        resources,
        creds,
        parker,
        restart: None,
        restart_block: None,
        saved_mask: None,
        last_fault: super::current::LastFault::default(),
        rseq,
        published: None,
        waited: std::time::Duration::ZERO,
        vfork_done: vfork,
        ended: None,
        not_send: PhantomData,
    };
    if set_child_tid != 0 {
        let tid = current.tid();
        // Linux ignores the error here as well.
        let _ = current.copy_out(UserAddr(set_child_tid), &tid.to_ne_bytes());
    }
    current.run();
}

impl Kernel {
    /// Starts the first process of a container or of `runsc do`.
    pub(crate) fn start_first_task(
        self: &Arc<Self>,
        task: Arc<Task>,
        resources: Resources,
        regs: Registers,
        process_group: Arc<ProcessGroup>,
        parent: Option<u64>,
    ) -> std::io::Result<()> {
        let group = Arc::clone(task.thread_group());
        task.set_resources(Some(resources.clone()));
        task.pid().set_task(Arc::downgrade(&task));
        {
            let mut tree = self.tree.lock();
            group.signals.lock().threads.push(Arc::clone(&task));
            self.count_task(task.creds().uid, 1);
            group.container.count(1);
            tree.insert(Node {
                group,
                parent,
                parent_thread: 0,
                children: Vec::new(),
                process_group,
                exit_signal: Some(Signal::SIGCHLD),
                zombie: None,
                subreaper: false,
                children_usage: super::Usage::default(),
                has_forked: false,
                did_exec: true,
            });
        }
        let creds = task.creds();
        let start = Start {
            task,
            resources,
            creds,
            regs,
            fpu: None,
            set_child_tid: 0,
            rseq: Default::default(),
            vfork: None,
        };
        spawn(self, start)
    }

    /// Shape of the extended CPU state, for the loader's auxiliary vector.
    pub fn xstate(&self) -> XState {
        self.platform.xstate()
    }
}

/// For unit tests and the loader: an identity that is in no table of tasks.
pub(crate) fn reserve_pid(ns: &Arc<PidNamespace>) -> Result<Arc<Pid>, Errno> {
    let pid = Pid::new(ns, &[])?;
    pid.set_task(Weak::new());
    Ok(pid)
}
