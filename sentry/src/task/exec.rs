//! execve(2): a new program in the same process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::elf::Personality;
use abi::signal::Signal;

use super::{Credentials, CurrentTask, Pid, PrctlFlags, Resources, work};
use crate::error::{Restart, SysError, SysResult};
use crate::loader::{Image, LoadError, LoadRequest, OpenExec};
use crate::signal::AltStack;
use crate::vfs::File;

/// What execve(2) is asked for, copied in.
pub struct ExecArgs<'a> {
    /// Opens interpreters.
    pub open: &'a OpenExec<'a>,
    /// The program, opened for execution.
    pub file: Arc<File>,
    /// As the guest named it: AT_EXECFN, and the script's name for its interpreter.
    pub name: Vec<u8>,
    /// The name can't be used by an interpreter: it refers to a descriptor that exec closes.
    pub name_is_closed: bool,
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: Vec<Vec<u8>>,
}

impl CurrentTask {
    /// Loads the program and, when that can be done, becomes it. On an error the old program goes on, unless it was
    /// killed meanwhile.
    pub fn exec(&mut self, args: ExecArgs<'_>) -> SysResult<()> {
        let kernel = Arc::clone(self.kernel());
        if !self.creds.no_new_privs && self.has_prctl(PrctlFlags::NO_NEW_PRIVS) {
            self.set_creds(Credentials { no_new_privs: true, ..Credentials::clone(&self.creds) });
        }
        let request = LoadRequest {
            kernel: &kernel,
            creds: &self.creds,
            personality: Personality::from_bits_retain(self.personality.load(Ordering::Relaxed)),
            open: args.open,
            limits: &self.thread_group().limits.lock().clone(),
            file: args.file,
            name: args.name,
            name_is_closed: args.name_is_closed,
            argv: args.argv,
            envp: args.envp,
        };
        let image = match crate::loader::load(request) {
            Ok(image) => image,
            Err(LoadError::Errno(errno)) => return Err(errno.into()),
            Err(LoadError::Fatal(signal)) => {
                self.start_group_exit(abi::wait::killed(signal.number(), false));
                return Err(Errno::ENOEXEC.into());
            }
        };
        self.end_other_threads()?;
        self.become_image(image);
        Ok(())
    }

    /// The other threads of the process end; this one takes the leader's identity.
    fn end_other_threads(&mut self) -> SysResult<()> {
        let group = Arc::clone(self.thread_group());
        {
            let mut state = group.signals.lock();
            if state.group_exit.is_some() || state.exec_by.is_some() {
                // Another thread is faster: this one ends with the others.
                return Err(SysError::Restart(Restart::NoIntr));
            }
            state.exec_by = Some(self.id);
            for thread in state.threads.iter().filter(|t| t.id != self.id) {
                thread.kick(work::EXIT);
            }
        }
        while group.signals.lock().threads.len() > 1 {
            if self.park_killable().is_err() {
                break;
            }
        }
        let mut state = group.signals.lock();
        state.exec_by = None;
        let killed = state.group_exit.is_some();
        drop(state);
        if killed {
            return Err(SysError::Errno(Errno::EINTR));
        }
        if !self.is_leader() {
            let own: Arc<Pid> = self.set_pid(Arc::clone(&group.pid));
            own.set_task(std::sync::Weak::new());
            own.set_ended();
            self.answers_changed();
            group.keep_dead_leader(None);
            group.pid.set_task(Arc::downgrade(self.task()));
        }
        Ok(())
    }

    fn become_image(&mut self, image: Image) {
        // What belongs to the old memory is settled in it.
        self.thread_group().settle();
        self.forget_rseq();
        self.withdraw_cpu();
        self.release_futexes_for_exec();
        let address = self.clear_child_tid.swap(0, Ordering::Relaxed);
        if address != 0 && Arc::strong_count(self.mm()) > 1 {
            let address = crate::mm::UserAddr(address);
            let _ = self.copy_out(address, &0u32.to_ne_bytes());
            crate::futex::wake_address(self, address, 1);
        }
        let files = if self.shares_files() { self.files().fork() } else { Arc::clone(self.files()) };
        files.close_on_exec();
        self.space = Arc::clone(image.mm.space());
        let resources = Resources {
            mm: image.mm,
            files,
            fs: Arc::clone(self.fs()),
            namespaces: Arc::clone(self.namespaces()),
        };
        self.task.set_resources(Some(resources.clone()));
        let old = std::mem::replace(&mut self.resources, resources);
        self.signal_vfork_done();
        drop(old);

        let group = Arc::clone(self.thread_group());
        group.unshare_actions();
        group.actions().reset_for_exec();
        group.timers.clear_posix_timers();
        {
            // Its flags stay, as on Linux.
            let mut signals = self.task.signals.lock();
            signals.alt_stack = AltStack { base: 0, size: 0, ..signals.alt_stack };
        }
        self.robust_list.set(0);
        self.restart_block = None;
        if image.secure {
            self.parent_death_signal.store(0, Ordering::Relaxed);
        }
        self.set_creds(image.creds);
        group.note_uid(self.creds.uid);
        self.set_comm(&image.comm);
        {
            let mut tree = group.kernel.tree.lock();
            if let Some(node) = tree.get_mut(group.id()) {
                node.did_exec = true;
                node.exit_signal = Some(Signal::SIGCHLD);
            }
        }
        self.regs = image.regs;
        if let Err(error) = self.context.reset_fpu() {
            tracing::warn!(%error, "extended state not reset");
        }
    }
}
