//! Removing a container, and all that is left of it on the host.

use std::path::Path;
use std::time::Duration;

use super::state_file::{self, HostProcess, Saved};
use super::status::{Status, status};
use super::store::Store;
use super::{ContainerError, ask, disk, hooks, notes};
use crate::report;
use crate::sandbox::control::Request;
use crate::spec;

/// So long the host has to end a process that was killed. Linux 6.18 was seen to give both processors to one group of tasks that
/// never rest, and none to all others, the kernel's own threads too, for 17 s at a time.
const PATIENCE: Duration = Duration::from_secs(25);

/// Whether a container that runs is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Yes, and one that is not there is no error.
    Yes,
    /// No.
    No,
}

/// Deletes a container.
pub fn delete(store: &Store, id: &str, force: Force) -> anyhow::Result<()> {
    let locked = match store.lock(id) {
        Err(ContainerError::Missing) if force == Force::Yes => return Ok(()),
        locked => locked?,
    };
    let saved = match store.load(id) {
        Ok((_, saved)) => Some(saved),
        // Its maker was killed before it wrote anything but the directory.
        Err(ContainerError::Missing) if force == Force::Yes => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(saved) = &saved {
        match status(store, saved) {
            Status::Stopped => {}
            _ if force == Force::Yes => {}
            Status::Created => {}
            other => {
                let text = format!(
                    "cannot delete container {id} that is not stopped: {}; kill it, or use --force",
                    other.as_str()
                );
                return Err(ContainerError::State(text).into());
            }
        }
        destroy(store, saved)?;
    }
    // What can be told of it is there until they have run: if this is killed, they run when it is deleted again.
    if let (Some(saved), Ok(text)) = (&saved, spec::read(&locked.dir.join(state_file::CONFIG)))
        && let Ok((spec, _)) = spec::parse(Path::new(state_file::CONFIG), &text)
        && let Some(all) = spec.hooks()
        && let Err(error) = hooks::run(
            "poststop",
            all.poststop().as_deref().unwrap_or_default(),
            &hooks::state(saved, 0, "stopped"),
            &hooks::Place::of_runtime(&saved.bundle, &locked.dir),
        )
    {
        report::warn(&error.to_string());
    }
    Ok(locked.remove()?)
}

/// Ends what a container has on the host: its processes and its cgroups.
pub fn destroy(store: &Store, saved: &Saved) -> Result<(), ContainerError> {
    for process in saved.monitor.iter().chain(&saved.helpers) {
        kill(*process)?;
    }
    for note in notes::all(&store.dir(&saved.id)?) {
        if note.leads_group && note.process.is_alive() {
            // An error: it has just ended. Of the others in the group the host lets none be waited for.
            let _ = host::signal::kill(-note.process.pid, libc::SIGKILL);
        }
        kill(note.process)?;
    }
    if !saved.began_sandbox()
        && let Ok(dir) = store.dir(&saved.sandbox)
        && dir.join(state_file::SOCKET).exists()
    {
        // An error: the sandbox is gone, and the container with it.
        let _ = ask::ask(&dir, &Request::Remove { container: saved.id.clone() });
    }
    if let Some(cgroup) = &saved.cgroup {
        cgroup.remove().map_err(|error| ContainerError::Refused(error.to_string()))?;
    }
    Ok(())
}

/// Kills a process, and waits for its end.
pub fn kill(process: HostProcess) -> Result<(), ContainerError> {
    if !process.is_alive() {
        return Ok(());
    }
    let Ok(pidfd) = host::process::pidfd_open(process.pid) else { return Ok(()) };
    // The number may have been given to another process before the descriptor was opened.
    if !process.is_alive() {
        return Ok(());
    }
    match host::process::pidfd_send_signal(&pidfd, libc::SIGKILL) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            return Err(disk(Path::new("/proc"), "killing the sandbox")(error));
        }
        _ => {}
    }
    let ended = host::event::wait_readable(&pidfd, PATIENCE);
    match ended.map_err(disk(Path::new("/proc"), "waiting for the end of the sandbox"))? {
        true => Ok(()),
        false => Err(ContainerError::Lingers { pid: process.pid, seconds: PATIENCE.as_secs() }),
    }
}
