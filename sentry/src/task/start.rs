//! The first process of the sandbox, and those that the runtime adds (exec).

use std::sync::Arc;

use abi::Errno;
use abi::elf::Personality;
use abi::signal::SigSet;

use super::{
    ControllingTty, Credentials, Limits, Namespaces, Pid, ProcessGroup, Resources, Session, ThreadGroup,
    new_task,
};
use crate::Kernel;
use crate::loader::{LoadError, LoadRequest, OpenExec};
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
}

impl Kernel {
    /// Starts the sandbox's main process.
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
        let pid = Pid::new(&spec.namespaces.pid_for_children, &[])?;
        let actions = SignalActions::new();
        actions.ignore(spec.ignored);
        let group = ThreadGroup::new(self, Arc::clone(&pid), Arc::new(actions), spec.limits);
        group.note_uid(image.creds.uid);
        // A job of an outer shell is not its session's leader.
        let leader = self.own_init.clone().unwrap_or_else(|| Arc::clone(&pid));
        let session = Session::new(leader);
        let process_group = ProcessGroup::new(Arc::clone(&pid), Arc::clone(&session));
        if let Some(tty) = spec.tty {
            tty.session_begins(&session, &process_group);
            session.set_tty(Some(tty));
        }
        let signals =
            TaskSignals { mask: spec.mask.difference(SigSet::UNBLOCKABLE), ..TaskSignals::default() };
        let task = new_task(self, &group, pid, Arc::new(image.creds), signals, &image.comm);
        let resources =
            Resources { mm: image.mm, files: spec.files, fs: spec.fs, namespaces: Arc::new(spec.namespaces) };
        self.set_main_process(&group);
        if self.own_init.is_some() {
            self.tree.lock().job = Some(group.id());
        }
        self.start_first_task(task, resources, image.regs, process_group, None).map_err(|error| {
            tracing::error!(%error, "no host thread for the first process");
            Errno::EAGAIN
        })?;
        Ok(group)
    }
}
