//! What a container is doing, as truly as can be told: its monitor's life first, then what its sandbox says.

use std::path::Path;
use std::time::{Duration, Instant};

use super::state_file::{Saved, Stage};
use super::store::Store;
use super::{ContainerError, ask};
use crate::sandbox::control::{Answer, Request, State};

/// The states of the specification, and runc's `paused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Being created.
    Creating,
    /// Created.
    Created,
    /// Running.
    Running,
    /// Paused.
    Paused,
    /// Stopped.
    Stopped,
}

impl Status {
    /// As `state` prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// What the container `saved` is doing.
pub fn status(store: &Store, saved: &Saved) -> Status {
    if saved.stage == Stage::Creating {
        // When the command is gone that makes it, the monitor ends.
        let is_made = saved.maker.is_some_and(|maker| maker.is_alive());
        return if is_made || outlives(saved, ENDING) { Status::Creating } else { Status::Stopped };
    }
    if !saved.monitor.is_some_and(|monitor| monitor.is_alive()) {
        return Status::Stopped;
    }
    let Ok(dir) = store.dir(&saved.sandbox) else { return Status::Stopped };
    match state(&dir, &saved.id) {
        Ok(State::Created) => Status::Created,
        Ok(State::Running) => Status::Running,
        Ok(State::Paused) => Status::Paused,
        Ok(State::Stopped) => Status::Stopped,
        // It ends at this moment, and what has been called stopped must not run again; or its Sentry is stuck: only the
        // monitor's life tells.
        Err(_) if dir.exists() && outlives(saved, ENDING) => Status::Running,
        Err(_) => Status::Stopped,
    }
}

/// So long a monitor may take to end after its Sentry, or after the command that makes its container.
const ENDING: Duration = Duration::from_secs(3);

/// Whether the monitor is still there after this time.
fn outlives(saved: &Saved, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    while saved.monitor.is_some_and(|monitor| monitor.is_alive()) {
        if Instant::now() > deadline {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

fn state(dir: &Path, id: &str) -> Result<State, ContainerError> {
    match ask::ask(dir, &Request::State { container: id.to_owned() })? {
        Answer::State(state) => Ok(state),
        other => Err(ContainerError::Refused(format!("{other:?}"))),
    }
}
