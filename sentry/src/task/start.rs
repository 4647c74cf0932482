//! The first process of the sandbox, and those that the runtime adds (exec).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::elf::Personality;
use abi::signal::SigSet;

use super::{
    Container, ControllingTty, Credentials, Limits, Namespaces, Pid, ProcessGroup, Resources, Session,
    ThreadGroup, new_task,
};
use crate::Kernel;
use crate::fs::cgroupfs::Cgroup;
use crate::kernel::Watcher;
use crate::loader::{LoadError, LoadRequest, OpenExec};
use crate::seccomp::Program;
use crate::signal::{SignalActions, TaskSignals};
use crate::vfs::{FdTable, File, FsContext};

/// A process that the runtime starts.
pub struct ProcessSpec<'a> {
    /// The program, opened for execution.
    pub file: Arc<File>,
    /// Opens interpreters.
    pub open: &'a OpenExec<'a>,
    /// Name of the program as the user gave it.
    pub name: Vec<u8>,
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: Vec<Vec<u8>>,
    /// Who it runs as.
    pub creds: Credentials,
    /// Resource limits.
    pub limits: Limits,
    /// Blocked signals (`runsc do` passes on its own).
    pub mask: SigSet,
    /// Ignored signals.
    pub ignored: SigSet,
    /// Open files: 0, 1, 2.
    pub files: Arc<FdTable>,
    /// Root, working directory, umask.
    pub fs: Arc<FsContext>,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Terminal of its session.
    pub tty: Option<Arc<dyn ControllingTty>>,
    /// Its identity, if that was made before it.
    pub pid: Option<Arc<Pid>>,
    /// What it belongs to.
    pub container: Arc<Container>,
    /// Its cgroups, of those hierarchies where it is not to be in the root.
    pub cgroups: Vec<Arc<Cgroup>>,
    /// /proc/PID/oom_score_adj.
    pub oom_score_adj: i32,
    /// Nice value, -20 to 19.
    pub nice: i32,
    /// A filter on its calls, put on before the program runs.
    pub seccomp: Option<Program>,
    /// Its place among the processes of the sandbox.
    pub place: Place,
    /// Is told of stops and the end.
    pub watcher: Watcher,
}

/// What a process that the runtime starts is to the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The main process: signals from outside that name none go to it.
    Main,
    /// One of a further container, or one more in a container that runs.
    Beside,
}

impl Kernel {
    /// Starts a process.
    pub fn start_process(self: &Arc<Self>, spec: ProcessSpec<'_>) -> Result<Arc<ThreadGroup>, LoadError> {
        let image = crate::loader::load(LoadRequest {
            kernel: self,
            creds: &spec.creds,
            personality: Personality::empty(),
            open: spec.open,
            limits: &spec.limits,
            file: spec.file,
            name: spec.name,
            name_is_closed: false,
            argv: spec.argv,
            envp: spec.envp,
        })?;
        let pid = match spec.pid {
            Some(pid) => pid,
            None => Pid::new(&spec.namespaces.pid_for_children, &[])?,
        };
        let actions = SignalActions::new();
        actions.ignore(spec.ignored);
        let group = ThreadGroup::new(self, &spec.container, Arc::clone(&pid), Arc::new(actions), spec.limits);
        // One that is taken away before the process runs is left as it is, like one that its last process leaves.
        spec.cgroups.iter().try_for_each(|cgroup| self.cgroups.enter(&group, cgroup))?;
        group.oom_score_adj.store(spec.oom_score_adj, Ordering::Relaxed);
        group.oom_score_adj_min.store(spec.oom_score_adj, Ordering::Relaxed);
        group.note_uid(image.creds.uid);
        // A job of an outer shell is not its session's leader.
        let outer = self.own_init.clone().filter(|_| spec.place == Place::Main);
        let is_job = outer.is_some();
        let leader = outer.unwrap_or_else(|| Arc::clone(&pid));
        let session = Session::new(leader);
        let process_group = ProcessGroup::new(Arc::clone(&pid), Arc::clone(&session));
        if let Some(tty) = spec.tty {
            tty.session_begins(&session, &process_group);
            session.set_tty(Some(tty));
        }
        let signals = TaskSignals { mask: spec.mask.into(), ..TaskSignals::default() };
        let task = new_task(self, &group, pid, Arc::new(image.creds), signals, &image.comm);
        let resources =
            Resources { mm: image.mm, files: spec.files, fs: spec.fs, namespaces: Arc::new(spec.namespaces) };
        task.sched.lock().nice = spec.nice.clamp(-20, 19);
        if let Some(program) = spec.seccomp {
            task.seccomp.begin_with(program);
        }
        self.watch(&group, spec.watcher);
        if spec.place == Place::Main {
            self.set_main_process(&group);
        }
        if is_job {
            self.tree.lock().job = Some(group.id());
        }
        self.start_first_task(Arc::clone(&task), resources, image.regs, process_group, None).map_err(
            |error| {
                tracing::error!(%error, "no host thread for a process");
                self.unwatch(&group);
                super::exit::abandon(self, &group, &task);
                Errno::EAGAIN
            },
        )?;
        Ok(group)
    }
}
