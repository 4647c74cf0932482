//! Descriptors of processes and threads (pidfd_open(2), CLONE_PIDFD).
//!
//! A pidfd holds an identity, not a task: it outlives the process, and a number that is used again does not fool it.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::clone::PidfdFlags;
use abi::open::OpenFlags;
use abi::poll::PollEvents;

use super::{CurrentTask, Pid};
use crate::mm::UserRef;
use crate::vfs::file::{Blocking, FileOps};
use crate::vfs::{File, OnExec};
use crate::wait::WaitQueue;

/// What a pidfd does: it becomes readable when the process, or the one thread, has exited.
pub struct PidFd {
    pid: Arc<Pid>,
    of_thread: bool,
}

impl PidFd {
    /// Whether it names one thread and not its process (PIDFD_THREAD).
    pub fn of_thread(&self) -> bool {
        self.of_thread
    }

    /// Whom it names.
    pub fn pid(&self) -> &Arc<Pid> {
        &self.pid
    }
}

impl FileOps for PidFd {
    fn has_read(&self) -> bool {
        false
    }

    fn has_write(&self) -> bool {
        false
    }

    fn blocking(&self) -> Blocking {
        Blocking::Record
    }

    fn poll(&self, _file: &File) -> PollEvents {
        if !self.pid.has_ended() {
            return PollEvents::empty();
        }
        let ended = PollEvents::IN | PollEvents::RDNORM;
        // Nobody is left to wait for.
        if self.pid.task().is_none() { ended | PollEvents::HUP } else { ended }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pid.exited)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "anon_inode:[pidfd]".to_owned()
    }

    fn fdinfo(&self, _file: &File) -> String {
        if self.pid.has_ended() && self.pid.task().is_none() {
            return "Pid:\t-1\nNSpid:\t-1\n".to_owned();
        }
        let numbers: String = self.pid.numbers().map(|number| format!("\t{number}")).collect();
        format!("Pid:\t{}\nNSpid:{numbers}\n", self.pid.outer_number())
    }
}

impl CurrentTask {
    /// A pidfd for `pid`.
    pub fn add_pidfd(&self, pid: &Arc<Pid>, flags: PidfdFlags) -> Result<i32, Errno> {
        let reserved = self.reserve_fd(OnExec::from_flags(OpenFlags::CLOEXEC))?;
        Ok(reserved.fill(self.pidfd_file(pid, flags)))
    }

    /// A file that stands for `pid`.
    pub(crate) fn pidfd_file(&self, pid: &Arc<Pid>, flags: PidfdFlags) -> Arc<File> {
        let ops = Box::new(PidFd { pid: Arc::clone(pid), of_thread: flags.contains(PidfdFlags::THREAD) });
        let nonblock =
            if flags.contains(PidfdFlags::NONBLOCK) { OpenFlags::NONBLOCK } else { OpenFlags::empty() };
        self.kernel().internal.anonymous(ops, nonblock | OpenFlags::RDWR, self.own_creds())
    }

    /// A pidfd for a process that is being made (CLONE_PIDFD); its number goes to `to`.
    pub(super) fn install_pidfd(&self, pid: &Arc<Pid>, to: UserRef<i32>) -> Result<i32, Errno> {
        let reserved = self.reserve_fd(OnExec::from_flags(OpenFlags::CLOEXEC))?;
        self.write_obj(to, &reserved.fd())?;
        Ok(reserved.fill(self.pidfd_file(pid, PidfdFlags::empty())))
    }
}
