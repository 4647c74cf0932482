//! Job control of a terminal: which session it controls, which process group is in the foreground (tty_ioctl(4),
//! credentials(7)).

use std::sync::{Arc, Weak};

use abi::Errno;
use abi::capability::CAP_SYS_ADMIN;
use abi::ioctl as request;
use abi::signal::{SIG_IGN, SigInfo, Signal};
use sync::Mutex;

use crate::SysResult;
use crate::error::{Restart, SysError};
use crate::mm::{UserAddr, UserRef};
use crate::signal::send_to_process_group;
use crate::task::{ControllingTty, CurrentTask, ProcessGroup, Session};

/// Session and foreground process group of a terminal.
#[derive(Default)]
pub struct JobControl(Mutex<State, sync::levels::Leaf>);

#[derive(Default)]
struct State {
    session: Option<Weak<Session>>,
    foreground: Option<Arc<ProcessGroup>>,
    /// Whether the terminal's host has put all of the sandbox in the background.
    all_background: bool,
}

/// What a background process tries to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Reading: SIGTTIN.
    Read,
    /// Changing the terminal, or writing with `TOSTOP`: SIGTTOU.
    Change,
}

impl JobControl {
    /// The foreground process group.
    pub fn foreground(&self) -> Option<Arc<ProcessGroup>> {
        self.0.lock().foreground.clone()
    }

    /// For a terminal that a host shares: whether the sandbox as a whole is in the background there. Then every process
    /// group is.
    pub fn set_all_background(&self, all: bool) {
        self.0.lock().all_background = all;
    }

    /// The session it controls.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.0.lock().session.as_ref()?.upgrade()
    }

    /// Makes `session` the one it controls, with `foreground` in front.
    pub fn set(&self, session: &Arc<Session>, foreground: Arc<ProcessGroup>) {
        let mut state = self.0.lock();
        let old = (state.session.replace(Arc::downgrade(session)), state.foreground.replace(foreground));
        drop(state);
        drop(old);
    }

    /// It controls no session any more, if it was `session` (any with `None`).
    pub fn clear(&self, session: Option<&Arc<Session>>) {
        let mut state = self.0.lock();
        let is_it = match (session, &state.session) {
            (Some(session), Some(own)) => std::ptr::eq(own.as_ptr(), Arc::as_ptr(session)),
            (None, _) => true,
            (Some(_), None) => false,
        };
        let old = is_it.then(|| (state.session.take(), state.foreground.take()));
        drop(state);
        drop(old);
    }

    /// Sends a terminal's signal to the foreground process group.
    pub fn signal_foreground(&self, kernel: &crate::Kernel, signal: Signal) {
        if let Some(group) = self.foreground() {
            send_to_process_group(kernel, &group, signal, SigInfo::kernel(signal));
        }
    }

    /// Lets foreground processes, and those of other sessions, pass. A background process is sent a signal and its
    /// call restarted, or EIO when that could not stop it.
    pub fn check(&self, task: &CurrentTask, what: Background) -> SysResult<()> {
        let kernel = task.kernel();
        let (own_group, orphaned) = {
            let tree = kernel.tree.lock();
            let Some(group) = tree.process_group(task.thread_group().id()) else { return Ok(()) };
            let orphaned = tree.is_orphaned(group.id(), None);
            (group, orphaned)
        };
        {
            let state = self.0.lock();
            let is_own = state
                .session
                .as_ref()
                .is_some_and(|s| std::ptr::eq(s.as_ptr(), Arc::as_ptr(&own_group.session)));
            let in_front =
                !state.all_background && state.foreground.as_ref().is_none_or(|f| f.id() == own_group.id());
            if !is_own || in_front {
                return Ok(());
            }
        }
        let signal = match what {
            Background::Read => Signal::SIGTTIN,
            Background::Change => Signal::SIGTTOU,
        };
        let deaf =
            task.mask().contains(signal) || task.thread_group().actions().get(signal).sa_handler == SIG_IGN;
        match (what, deaf) {
            (Background::Change, true) => return Ok(()),
            (Background::Read, true) => return Err(Errno::EIO.into()),
            (_, false) if orphaned => return Err(Errno::EIO.into()),
            (_, false) => {}
        }
        send_to_process_group(kernel, &own_group, signal, SigInfo::kernel(signal));
        Err(SysError::Restart(Restart::Sys))
    }

    /// The requests that concern job control; `None` for all others. `tty` is the terminal itself.
    pub fn ioctl(
        &self,
        tty: &Arc<dyn ControllingTty>,
        task: &mut CurrentTask,
        number: u32,
        arg: u64,
    ) -> Option<SysResult<u64>> {
        let result = match number {
            request::TIOCGPGRP => self.get_foreground(task, arg),
            request::TIOCSPGRP => self.set_foreground(task, arg),
            request::TIOCGSID => self.get_session(task, arg),
            request::TIOCSCTTY => self.become_controlling(tty, task, arg),
            request::TIOCNOTTY => self.give_up(task),
            _ => return None,
        };
        Some(result.map(|()| 0))
    }

    fn is_controlling(&self, task: &CurrentTask) -> Result<(), Errno> {
        if task.thread_group().gave_up_tty() {
            return Err(Errno::ENOTTY);
        }
        let own = task.kernel().tree.lock().session(task.thread_group().id()).ok_or(Errno::ENOTTY)?;
        match self.session() {
            Some(session) if Arc::ptr_eq(&session, &own) => Ok(()),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn get_foreground(&self, task: &CurrentTask, arg: u64) -> SysResult<()> {
        self.is_controlling(task)?;
        let ns = task.pid();
        let number = self.foreground().map_or(0, |g| g.pid.number_in(ns.namespace()));
        Ok(task.write_obj(UserRef::<i32>::new(UserAddr(arg)), &number)?)
    }

    fn set_foreground(&self, task: &CurrentTask, arg: u64) -> SysResult<()> {
        self.check(task, Background::Change)?;
        self.is_controlling(task)?;
        let number: i32 = task.read_obj(UserRef::new(UserAddr(arg)))?;
        if number < 0 {
            return Err(Errno::EINVAL.into());
        }
        let pid = task.pid().namespace().find(number).ok_or(Errno::ESRCH)?;
        let group = pid.process_group().ok_or(Errno::ESRCH)?;
        let tree = task.kernel().tree.lock();
        let own = tree.session(task.thread_group().id()).ok_or(Errno::ESRCH)?;
        if !tree.group_exists(group.id()) {
            return Err(Errno::ESRCH.into());
        }
        drop(tree);
        if !Arc::ptr_eq(&own, &group.session) {
            return Err(Errno::EPERM.into());
        }
        let old = self.0.lock().foreground.replace(group);
        drop(old);
        Ok(())
    }

    fn get_session(&self, task: &CurrentTask, arg: u64) -> SysResult<()> {
        self.is_controlling(task)?;
        let ns = task.pid();
        let number = self.session().ok_or(Errno::ENOTTY)?.pid.number_in(ns.namespace());
        Ok(task.write_obj(UserRef::<i32>::new(UserAddr(arg)), &number)?)
    }

    fn become_controlling(
        &self,
        tty: &Arc<dyn ControllingTty>,
        task: &CurrentTask,
        arg: u64,
    ) -> SysResult<()> {
        let group = task.process_group().ok_or(Errno::EPERM)?;
        let session = Arc::clone(&group.session);
        let leads = session.is_leader(task);
        let mine = self.session().is_some_and(|s| Arc::ptr_eq(&s, &session));
        if leads && mine {
            return Ok(());
        }
        if !leads || session.tty().is_some() {
            return Err(Errno::EPERM.into());
        }
        if let Some(other) = self.session() {
            // Stealing it takes a privilege and saying so.
            if arg != 1 || !task.own_creds().has_cap(CAP_SYS_ADMIN) {
                return Err(Errno::EPERM.into());
            }
            other.set_tty(None);
        }
        session.set_tty(Some(Arc::clone(tty)));
        self.set(&session, group);
        Ok(())
    }

    /// TIOCNOTTY: a session leader gives up the terminal for all of the session, others for themselves.
    fn give_up(&self, task: &CurrentTask) -> SysResult<()> {
        self.is_controlling(task)?;
        let session = task.kernel().tree.lock().session(task.thread_group().id()).ok_or(Errno::ENOTTY)?;
        if !session.is_leader(task) {
            task.thread_group().set_gave_up_tty(true);
            return Ok(());
        }
        let kernel = task.kernel();
        self.signal_foreground(kernel, Signal::SIGHUP);
        self.signal_foreground(kernel, Signal::SIGCONT);
        session.set_tty(None);
        self.clear(Some(&session));
        Ok(())
    }

    /// A session leader without a terminal that opens one without O_NOCTTY gets it.
    pub fn opened(&self, tty: &Arc<dyn ControllingTty>, task: &CurrentTask) {
        let Some(group) = task.process_group() else { return };
        let session = Arc::clone(&group.session);
        if session.is_leader(task) && session.tty().is_none() && self.session().is_none() {
            session.set_tty(Some(Arc::clone(tty)));
            self.set(&session, group);
        }
    }
}
