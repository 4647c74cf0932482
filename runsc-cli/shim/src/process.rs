//! A process that containerd knows: a container's first, or one that an exec adds.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::{StateResponse, Status};
use crate::console::Console;
use crate::failure::{Code, Failure};
use crate::reaper::Exit;
use crate::streams::{Held, Names};

/// Kept open for the process.
#[derive(Default)]
pub enum Io {
    #[default]
    None,
    Streams(Held),
    Terminal(Console),
}

/// What changes.
pub struct State {
    pub pid: u32,
    pub started: bool,
    pub paused: bool,
    pub exit: Option<Exit>,
    pub io: Io,
}

/// A process.
pub struct Process {
    /// Empty for a container's first process.
    pub exec_id: String,
    pub names: Names,
    /// The JSON of the process, for an exec.
    pub spec: Vec<u8>,
    state: Mutex<State>,
    ended: Condvar,
}

impl Process {
    pub fn new(exec_id: String, names: Names, spec: Vec<u8>) -> Process {
        let state = State { pid: 0, started: false, paused: false, exit: None, io: Io::None };
        Process { exec_id, names, spec, state: Mutex::new(state), ended: Condvar::new() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has ended; whoever waits is told.
    pub fn set_exit(&self, exit: Exit) {
        let mut state = self.state();
        state.exit = Some(exit);
        if let Io::Streams(_) = state.io {
            // With the last ends of the FIFOs closed, the client sees their end.
            state.io = Io::None;
        }
        drop(state);
        self.ended.notify_all();
    }

    /// Waits for the end.
    pub fn wait(&self) -> Exit {
        let mut state = self.state();
        loop {
            if let Some(exit) = state.exit {
                return exit;
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the end, but no longer than this.
    pub fn wait_for(&self, limit: Duration) -> Option<Exit> {
        let state = self.state();
        let waited = self.ended.wait_timeout_while(state, limit, |state| state.exit.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.exit
    }

    /// Closes what is open once everything that it printed is out.
    pub fn close(&self) {
        let io = std::mem::take(&mut self.state().io);
        if let Io::Terminal(console) = io {
            console.drain();
        }
    }

    pub fn status(&self) -> Status {
        let state = self.state();
        match (&state.exit, state.started, state.paused) {
            (Some(_), _, _) => Status::Stopped,
            (None, false, _) => Status::Created,
            (None, true, true) => Status::Paused,
            (None, true, false) => Status::Running,
        }
    }

    /// The answer to a request for its state.
    pub fn report(&self, id: &str, bundle: &str) -> StateResponse {
        let status = self.status();
        let state = self.state();
        StateResponse {
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            pid: state.pid,
            status: status as i32,
            stdin: self.names.stdin.clone(),
            stdout: self.names.stdout.clone(),
            stderr: self.names.stderr.clone(),
            terminal: self.names.terminal,
            exit_status: state.exit.map_or(0, |exit| exit.status),
            exited_at: state.exit.map(|exit| exit.at),
            exec_id: self.exec_id.clone(),
        }
    }

    pub fn resize(&self, columns: u16, rows: u16) -> Result<(), Failure> {
        match &self.state().io {
            Io::Terminal(console) => Ok(console.resize(columns, rows)?),
            // One that has ended, or has none: as runc's shim, nothing to do.
            _ => Ok(()),
        }
    }

    pub fn close_input(&self) {
        if let Io::Streams(held) = &mut self.state().io {
            held.close_input();
        }
    }

    /// The end, or an error while it runs.
    pub fn must_have_ended(&self) -> Result<Option<Exit>, Failure> {
        let state = self.state();
        match (state.exit, state.pid) {
            (Some(exit), _) => Ok(Some(exit)),
            (None, 0) => Ok(None),
            _ if !state.started && self.exec_id.is_empty() => Ok(None),
            _ => Err(Failure::new(Code::FailedPrecondition, "the process is running; kill it first")),
        }
    }
}
