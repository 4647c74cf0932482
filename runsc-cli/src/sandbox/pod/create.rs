//! Creating a container: everything but its process.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, bail};
use gofer_protocol::Client;
use sentry::fs::host::HostTty;
use sentry::ipc::IpcNamespace;
use sentry::net::{Loopback, NetNamespace};
use sentry::task::{Container, Namespaces, Pid, PidNamespace};
use sentry::uts::UtsNamespace;
use sentry::vfs::{FdTable, FsContext, MountNamespace};
use sync::Mutex;

use super::{Entry, First, Pod, Prepared, Progress, mounts};
use crate::config::{self, PodNamespace, Process, Stream};
use crate::sandbox::control::{Event, SentryEnd};
use crate::sandbox::kernel;
use crate::sandbox::program::{self, NotStarted};

impl Pod {
    /// Makes a container. `None` when it has no program to run, which the line is told.
    pub(super) fn create(
        &self,
        config: config::Container,
        gofer: OwnedFd,
        mut fds: Vec<OwnedFd>,
        line: &Arc<SentryEnd>,
        first: First,
    ) -> anyhow::Result<Option<Arc<Entry>>> {
        let client = Arc::new(Client::connect(gofer).context("gofer")?);
        let store = if config.has_store { fds.pop() } else { None };
        let store = store.map(crate::sandbox::mounts::open_store).transpose()?;
        let ipc = self.ipc_namespace(&config, first)?;
        let build = || mounts::build(&self.kernel, &config, &client, store.as_ref());
        let mount = sentry::ipc::on_behalf_of(&ipc, build)?;
        if let Some(death) = client.death() {
            bail!("{death}; see the debug log");
        }
        let namespaces = self.namespaces(&config, (mount, ipc), first)?;
        let process = &config.process;
        mounts::make_directory(&self.kernel, &namespaces.mount, &process.cwd);
        let files = with_what_is_seen(fds, &config.streams, &config.passed)?;
        let mut prepared = self.prepare(process, &namespaces, files, line)?;
        prepared.pid = Some(Pid::new(&namespaces.pid_for_children, &[])?);
        if let Err(not_started) = program::look_for(&self.kernel, process, &prepared.fs, &prepared.creds) {
            tell_not_started(line, not_started)?;
            return Ok(None);
        }
        let tag = Container::new(&config.id);
        super::limits::set(&tag, &config.limits);
        let id = config.id.clone();
        let entry = Arc::new(Entry {
            config,
            is_first: first == First::Yes,
            tag,
            namespaces,
            progress: Mutex::new(Progress::Created(Box::new(prepared))),
            ready: Mutex::default(),
        });
        let mut containers = self.containers.lock();
        if containers.contains_key(&id) {
            bail!("container {id} is in this sandbox already; choose another id");
        }
        containers.insert(id, Arc::clone(&entry));
        Ok(Some(entry))
    }

    fn namespaces(
        &self,
        config: &config::Container,
        (mount, ipc): (Arc<MountNamespace>, Arc<IpcNamespace>),
        first: First,
    ) -> anyhow::Result<Namespaces> {
        let kernel = &self.kernel;
        let user_ns = || Arc::clone(&kernel.user_ns);
        let uts = match (&config.hostname, first) {
            (Some(name), _) => UtsNamespace::new(kernel.next_namespace_id(), user_ns(), name.as_bytes()),
            (None, First::Yes) => Arc::clone(&kernel.uts_ns),
            (None, First::No) => kernel.uts_ns.copy(kernel.next_namespace_id(), user_ns()),
        };
        if let Some(name) = &config.domainname {
            uts.set_domainname(name.as_bytes().to_vec());
        }
        let wanted = &config.namespaces;
        let pid_for_children = match self.joined(&wanted.pid, first)? {
            Joined::First => Arc::clone(&kernel.pid_ns),
            Joined::New => PidNamespace::new(kernel.next_namespace_id(), &kernel.pid_ns, user_ns())?,
            Joined::Of(other) => Arc::clone(&other.namespaces.pid_for_children),
        };
        let net = match self.joined(&wanted.net, first)? {
            Joined::First => Arc::clone(&kernel.net),
            // With an interface that is up, as runc leaves it.
            Joined::New => NetNamespace::new(kernel.next_namespace_id(), user_ns(), Loopback::Up),
            Joined::Of(other) => Arc::clone(&other.namespaces.net),
        };
        let cgroup = Arc::clone(&kernel.cgroup_ns);
        Ok(Namespaces { mount, uts, ipc, cgroup, net, pid_for_children })
    }

    fn ipc_namespace(&self, config: &config::Container, first: First) -> anyhow::Result<Arc<IpcNamespace>> {
        let kernel = &self.kernel;
        Ok(match self.joined(&config.namespaces.ipc, first)? {
            Joined::First => Arc::clone(&kernel.ipc),
            Joined::New => kernel.ipc.another(kernel.next_namespace_id(), Arc::clone(&kernel.user_ns))?,
            Joined::Of(other) => Arc::clone(&other.namespaces.ipc),
        })
    }

    /// Whose namespace a container is to be in.
    fn joined(&self, wanted: &PodNamespace, first: First) -> anyhow::Result<Joined> {
        Ok(match wanted {
            _ if first == First::Yes => Joined::First,
            PodNamespace::Pod => Joined::First,
            PodNamespace::New => Joined::New,
            PodNamespace::Of(id) => Joined::Of(self.find(id)?),
        })
    }

    /// What a process of a container needs.
    pub(super) fn prepare(
        &self,
        process: &Process,
        namespaces: &Namespaces,
        files: Vec<(OwnedFd, Stream)>,
        line: &Arc<SentryEnd>,
    ) -> anyhow::Result<Prepared> {
        let creds = self.credentials(process);
        let fs = FsContext::new(namespaces.mount.root(), process.umask);
        kernel::enter_directory(&self.kernel, &fs, &creds, &process.cwd)?;
        let (files, terminal) = self.files(&fs, files)?;
        Ok(Prepared { creds, fs, files, terminal, pid: None, line: Arc::clone(line) })
    }

    /// Files that a process begins with, opened with all rights: they are the engine's, not the program's to open.
    fn files(
        &self,
        fs: &FsContext,
        files: Vec<(OwnedFd, Stream)>,
    ) -> anyhow::Result<(Arc<FdTable>, Option<Arc<HostTty>>)> {
        kernel::files(&self.kernel, &self.host, fs, &self.root(), files.into_iter())
    }

    /// Shows the container's terminal as its console.
    pub(super) fn console(&self, prepared: &Prepared, namespaces: &Namespaces) {
        let Some(file) = prepared.terminal.as_ref().and_then(|_| prepared.files.get(0)) else { return };
        // A bare root may have no place for it: then there is no console.
        if let Err(error) = mounts::show_console(&self.kernel, &namespaces.mount, &file.path) {
            tracing::warn!("{error:#}");
        }
    }

    /// A container over a connection that has been asked for one.
    pub(super) fn create_asked(self: &Arc<Self>, line: SentryEnd, fds: Vec<OwnedFd>) -> anyhow::Result<()> {
        let mut fds = fds.into_iter();
        let (Some(config), Some(gofer)) = (fds.next(), fds.next()) else {
            bail!("descriptors are missing; please report this")
        };
        let config: config::Container = config::load(config).context("configuration")?;
        let line = Arc::new(line);
        match self.create(config, gofer, fds.collect(), &line, First::No) {
            Err(error) => Ok(line.send(&Event::Failed(format!("{error:#}")))?),
            Ok(None) => Ok(()),
            Ok(Some(entry)) => {
                let told = line.send(&Event::Created).map_err(anyhow::Error::from);
                let served = told.and_then(|()| self.obey(&entry, &line));
                // Whoever stood for it is gone, also when that could not be told.
                self.remove(&entry);
                served
            }
        }
    }
}

/// Whose namespace a container gets.
enum Joined {
    /// The sandbox's.
    First,
    /// One of its own.
    New,
    /// Another container's.
    Of(Arc<Entry>),
}

/// Descriptors with what the caller knows of them: one for each.
pub(super) fn with_what_is_seen(
    fds: Vec<OwnedFd>,
    streams: &[Stream; 3],
    passed: &[Stream],
) -> anyhow::Result<Vec<(OwnedFd, Stream)>> {
    if fds.len() != streams.len() + passed.len() {
        bail!("descriptors are missing; please report this");
    }
    Ok(fds.into_iter().zip(streams.iter().chain(passed).copied()).collect())
}

/// Tells a line that there is no program to run.
pub(super) fn tell_not_started(line: &SentryEnd, not_started: NotStarted) -> std::io::Result<()> {
    let missing = matches!(not_started, NotStarted::Missing(_));
    line.send(&Event::NotStarted { missing, why: not_started.text() })
}
