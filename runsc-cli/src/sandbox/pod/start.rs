//! Starting a container's process.

use std::sync::Arc;

use anyhow::bail;
use sentry::task::Place;

use super::{Entry, Of, Pod, Progress};
use crate::sandbox::control::Event;
use crate::sandbox::program::{self, Surroundings};

/// Whether somebody will ask when a process is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsksIfReady {
    /// Yes.
    Yes,
    /// No: what it says of that is refused.
    No,
}

impl Pod {
    /// Starts the process of a container, after the hooks that run in the container.
    pub(super) fn start(&self, entry: &Arc<Entry>, asks: AsksIfReady) -> anyhow::Result<()> {
        let prepared = {
            let mut progress = entry.progress.lock();
            match std::mem::replace(&mut *progress, Progress::Starting) {
                Progress::Created(prepared) => prepared,
                other => {
                    let why = match &other {
                        Progress::Stopped => "cannot start a container that has stopped",
                        Progress::Starting => "container is being started already",
                        Progress::Running(_) => "cannot start an already running container",
                        Progress::Created(_) => "please report this",
                    };
                    *progress = other;
                    bail!(why);
                }
            }
        };
        let listened = match &prepared.pid {
            Some(pid) if asks == AsksIfReady::Yes && entry.config.notifies => {
                self.listen_for_ready(entry, pid)
            }
            _ => Ok(()),
        };
        if let Err(error) = listened.and_then(|()| self.run_start_hooks(entry)) {
            entry.set(Progress::Stopped);
            return Err(error);
        }
        self.console(&prepared, &entry.namespaces);
        let line = Arc::clone(&prepared.line);
        let surroundings = Surroundings {
            creds: prepared.creds,
            fs: prepared.fs,
            files: prepared.files,
            namespaces: entry.namespaces.clone(),
            tty: prepared.terminal.map(|tty| tty as _),
            pid: prepared.pid,
            container: Arc::clone(&entry.tag),
            cgroups: Vec::new(),
            place: if entry.is_first { Place::Main } else { Place::Beside },
            watcher: Pod::watcher(entry, &line, Of::Container),
        };
        match program::start(&self.kernel, &entry.config.process, surroundings) {
            Ok(group) => {
                let mut progress = entry.progress.lock();
                // It may have ended already.
                if matches!(*progress, Progress::Starting) {
                    *progress = Progress::Running(group);
                }
                drop(progress);
                // An error means that whoever stands for it is gone, and the line is read to its end elsewhere.
                let _ = line.send(&Event::Running);
                Ok(())
            }
            Err(not_started) => {
                entry.set(Progress::Stopped);
                super::create::tell_not_started(&line, not_started)?;
                bail!(not_started.text())
            }
        }
    }
}
