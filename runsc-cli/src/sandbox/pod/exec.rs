//! One more process in a container that was created, or runs.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use abi::Errno;
use abi::signal::{SI_USER, SigInfo, Signal};
use anyhow::{Context, anyhow, bail};
use sentry::fs::cgroupfs::Cgroup;
use sentry::signal::send_to_group;
use sentry::task::{Place, ThreadGroup};

use super::{Entry, Of, Pod};
use crate::config;
use crate::sandbox::control::{Event, Exec, SentryEnd, State, SubCgroup};
use crate::sandbox::program::{self, Surroundings};

/// What a paused container means for a further process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paused {
    /// There can be none.
    Refuse,
    /// It begins when the container goes on.
    Wait,
}

impl Pod {
    /// Over a connection that has been asked for it, which is the process's line from then on.
    pub(super) fn exec_asked(
        &self,
        container: &str,
        paused: Paused,
        line: SentryEnd,
        fds: Vec<OwnedFd>,
    ) -> anyhow::Result<()> {
        let line = Arc::new(line);
        match self.exec(container, paused, &line, fds) {
            Err(error) => Ok(line.send(&Event::Failed(format!("{error:#}")))?),
            Ok(None) => Ok(()),
            Ok(Some(group)) => {
                let told = line.send(&Event::Running).map_err(anyhow::Error::from);
                let served = told.and_then(|()| self.forward(&group, None, &line));
                // Whoever stood for it is gone, also when that could not be told, or it has ended.
                let info = SigInfo::kill(Signal::SIGKILL, SI_USER, 0, 0);
                let _ = send_to_group(&group, Signal::SIGKILL, info);
                served
            }
        }
    }

    /// `None` when there is no such program, which the line is told.
    fn exec(
        &self,
        container: &str,
        paused: Paused,
        line: &Arc<SentryEnd>,
        fds: Vec<OwnedFd>,
    ) -> anyhow::Result<Option<Arc<ThreadGroup>>> {
        let mut fds = fds.into_iter();
        let config = fds.next().context("descriptors are missing; please report this")?;
        let Exec { process, streams, passed, cgroups } = config::load(config).context("configuration")?;
        let entry = self.find(container)?;
        if paused == Paused::Refuse && entry.tag.is_frozen() {
            bail!("cannot exec in a paused container (use --ignore-paused to override)");
        }
        if entry.state() == State::Stopped {
            bail!("cannot exec in a stopped container");
        }
        let cgroups = self.cgroups(&cgroups)?;
        let files = super::create::with_what_is_seen(fds.collect(), &streams, &passed)?;
        let prepared = self.prepare(&process, &entry.namespaces, files, line)?;
        let surroundings = Surroundings {
            creds: prepared.creds,
            fs: prepared.fs,
            files: prepared.files,
            namespaces: entry.namespaces.clone(),
            tty: prepared.terminal.map(|tty| tty as _),
            pid: None,
            container: Arc::clone(&entry.tag),
            cgroups,
            place: Place::Beside,
            watcher: Pod::watcher(&entry, line, Of::Exec),
        };
        match program::start(&self.kernel, &process, surroundings) {
            Ok(group) => Ok(Some(group)),
            Err(not_started) => {
                super::create::tell_not_started(line, not_started)?;
                Ok(None)
            }
        }
    }

    /// The cgroups that a further process is to be in, of those that the container has made.
    fn cgroups(&self, wanted: &[SubCgroup]) -> anyhow::Result<Vec<Arc<Cgroup>>> {
        let mut all = Vec::new();
        for SubCgroup { controller, path } in wanted {
            let found = self.kernel.cgroups.at(controller.as_deref().map(str::as_bytes), path.as_bytes());
            all.extend(found.map_err(|errno| match errno {
                Errno::ENODEV => {
                    anyhow!("unknown controller {} in --cgroup", controller.as_deref().unwrap_or_default())
                }
                Errno::EINVAL => anyhow!("{path} is not a sub cgroup path; leave out .."),
                Errno::ENOENT => anyhow!("there is no cgroup {path} in the container; make it there"),
                errno => anyhow!("cgroup {path}: {errno}"),
            })?);
        }
        Ok(all)
    }

    /// Takes a container out: whatever is left of it is killed.
    pub(super) fn remove(&self, entry: &Arc<Entry>) {
        self.kernel.thaw(&entry.tag);
        self.kernel.signal_container(&entry.tag, Signal::SIGKILL);
        let gone = self.containers.lock().remove(&entry.config.id);
        drop(gone);
    }
}
