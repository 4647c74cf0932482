//! Collects the children: the runtime's commands, and the containers' processes, which become the shim's children when the
//! command that made them ends (the shim is a subreaper).
//!
//! One thread collects. Commands are started under the lock that it holds while it collects, so that an end is never seen
//! before it is known whose it is.

use std::collections::HashMap;
use std::io;
use std::process::Command;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::api::Timestamp;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exit {
    /// The exit status, or 128 + the signal.
    pub status: u32,
    pub at: Timestamp,
}

type Told = Box<dyn FnOnce(Exit) + Send>;

#[derive(Default)]
struct State {
    /// Of processes that nobody has asked for yet: the pid of a container's process is known only after its start.
    ended: HashMap<u32, Exit>,
    watched: HashMap<u32, Told>,
}

/// The children.
#[derive(Default)]
pub struct Reaper {
    state: Mutex<State>,
    changed: Condvar,
}

/// How many ends are remembered that nobody asks for.
const REMEMBERED: usize = 1024;

impl Reaper {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a command and waits for its end.
    pub fn run(&self, command: &mut Command) -> io::Result<Exit> {
        let mut state = self.lock();
        // std waits for the child itself if exec fails; under the lock nobody else takes it.
        let pid = command.spawn()?.id();
        loop {
            if let Some(exit) = state.ended.remove(&pid) {
                return Ok(exit);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has this called with the end of a process, at once if it has ended already.
    pub fn watch(&self, pid: u32, told: impl FnOnce(Exit) + Send + 'static) {
        let mut state = self.lock();
        match state.ended.remove(&pid) {
            Some(exit) => {
                drop(state);
                told(exit);
            }
            None => {
                state.watched.insert(pid, Box::new(told));
            }
        }
    }

    /// Collects for ever. `SIGCHLD` must be blocked in all threads.
    pub fn collect(&self) {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        loop {
            while let Some((told, exit)) = self.collect_one() {
                if let Some(told) = told {
                    told(exit);
                }
            }
            if signals.wait().is_err() {
                return;
            }
        }
    }

    fn collect_one(&self) -> Option<(Option<Told>, Exit)> {
        let mut state = self.lock();
        let (pid, status) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) => (pid, status.cast_unsigned()),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + (signal as i32).cast_unsigned()),
            _ => return None,
        };
        let (pid, exit) = (pid.as_raw().cast_unsigned(), Exit { status, at: Timestamp::now() });
        let told = state.watched.remove(&pid);
        if told.is_none() {
            if state.ended.len() >= REMEMBERED {
                let oldest = state.ended.iter().min_by_key(|(_, exit)| (exit.at.seconds, exit.at.nanos));
                if let Some(oldest) = oldest.map(|(pid, _)| *pid) {
                    state.ended.remove(&oldest);
                }
            }
            state.ended.insert(pid, exit);
            self.changed.notify_all();
        }
        Some((told, exit))
    }
}
