//! Starting a container that was created.

use super::store::Store;
use super::{ContainerError, ask, delete, hooks, notify, state_file};
use crate::sandbox::control::Request;
use crate::spec;

/// Starts the process of a container, after the hooks for that, and runs those that come after it. The pid of its monitor.
pub fn start(store: &Store, id: &str) -> anyhow::Result<i32> {
    let locked = store.lock(id)?;
    let (dir, saved) = store.load(id)?;
    match super::status::status(store, &saved) {
        super::status::Status::Created => {}
        super::status::Status::Stopped => {
            return Err(ContainerError::State(
                "cannot start a container that has stopped; delete it and create it anew".to_owned(),
            )
            .into());
        }
        super::status::Status::Creating => {
            return Err(ContainerError::State(
                "cannot start a container that is being created; wait for that".to_owned(),
            )
            .into());
        }
        super::status::Status::Paused => {
            return Err(ContainerError::State(
                "cannot start a container in the paused state; resume it".to_owned(),
            )
            .into());
        }
        super::status::Status::Running => {
            return Err(ContainerError::State(
                "cannot start an already running container; 'runsc exec' starts a further process".to_owned(),
            )
            .into());
        }
    }
    let config = dir.join(state_file::CONFIG);
    let (spec, _) = spec::parse(&config, &spec::read(&config)?)?;
    ask::ask_patiently(
        &store.dir(&saved.sandbox)?,
        &Request::Start { container: id.to_owned(), notified: notify::socket().is_some() },
    )?;
    drop(locked);
    let pid = saved.monitor.map_or(0, |monitor| monitor.pid);
    if let Some(all) = spec.hooks() {
        let state = hooks::state(&saved, pid, "running");
        let place = hooks::Place::of_runtime(&saved.bundle, &dir);
        let hooks = all.poststart().as_deref().unwrap_or_default();
        if let Err(error) = hooks::run("poststart", hooks, &state, &place) {
            // As runc, and the specification from 1.2.1 on: the container ends.
            if let Some(process) = saved.monitor {
                delete::kill(process)?;
            }
            return Err(error.into());
        }
    }
    Ok(pid)
}
