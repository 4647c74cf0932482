//! The Sentry's side of containers: one kernel for all containers of a pod.
//!
//! A container is *created* (its mounts, its namespaces, its streams are there), then *started* (its process runs), then
//! *stopped*. The first container's line is the one that the Sentry was started with: when its process ends, the sandbox
//! does. Every further one, and every further process in a container, has a line of its own, held by the host process whose
//! life stands for it: when that is gone, the process is killed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use abi::capability::CapSet;
use abi::signal::Signal;
use anyhow::{Context, anyhow};
use host::process::exit_now;
use platform::Platform;
use sentry::fs::host::{HostFs, HostTty};
use sentry::task::{Container, Credentials, Namespaces, Pid, ThreadGroup};
use sentry::vfs::{FdTable, FsContext};
use sentry::{Kernel, KernelEvent, Watcher};
use sync::Mutex;
use syscalls::Watchable;

use crate::config::{self, Process};
use crate::log::Timeline;
use crate::sandbox::boot::Inheritance;
use crate::sandbox::control::{Ended, Event, SentryEnd, State};
use crate::sandbox::kernel::{self, Main, Table};

mod create;
mod exec;
mod hooks;
mod limits;
mod line;
mod mounts;
mod notify;
mod processes;
mod profile;
mod serve;
mod start;

/// The kernel and its containers.
pub struct Pod {
    kernel: Arc<Kernel>,
    table: &'static Watchable,
    host: HostFs,
    containers: Mutex<HashMap<String, Arc<Entry>>, sync::levels::Kernel>,
}

/// A container.
pub struct Entry {
    config: config::Container,
    /// Whether the sandbox ends with it.
    is_first: bool,
    tag: Arc<Container>,
    namespaces: Namespaces,
    progress: Mutex<Progress, sync::levels::Leaf>,
    /// Is told when the process says that it is ready, once somebody listens for that.
    ready: Mutex<Option<Receiver<()>>, sync::levels::Leaf>,
}

/// How far a container is.
enum Progress {
    /// Its process can be started.
    Created(Box<Prepared>),
    /// Somebody is starting it.
    Starting,
    /// It runs.
    Running(Arc<ThreadGroup>),
    /// Its process has ended, or could not be started.
    Stopped,
}

/// What a process needs to be started.
struct Prepared {
    creds: Arc<Credentials>,
    fs: Arc<FsContext>,
    files: Arc<FdTable>,
    terminal: Option<Arc<HostTty>>,
    /// The first of its namespace, which hooks must not get.
    pid: Option<Arc<Pid>>,
    line: Arc<SentryEnd>,
}

/// Makes the kernel and its first container, and serves until that has ended.
pub fn run(
    inherited: Inheritance,
    platform: Arc<dyn Platform>,
    control: &Arc<SentryEnd>,
    timeline: &mut Timeline,
) -> anyhow::Result<()> {
    let Inheritance { mut config, gofer, stdio, passed, strace, listener, .. } = inherited;
    let container = config.container.take().context("no container; please report this")?;
    let listener = listener.context("no socket; please report this")?;
    let table = Table::watchable(&config, strace);
    let kernel = kernel::new_kernel(&config, &Table::Watchable(table), platform, Main::Init)?;
    timeline.done("sentry: kernel");
    let host = HostFs::new().context("the thread that watches host descriptors; see ulimit -u")?;
    let pod = Arc::new(Pod { kernel, table, host, containers: Mutex::default() });
    let fds = stdio.into_iter().chain(passed).collect();
    let Some(entry) = pod.create(container, gofer, fds, control, First::Yes)? else {
        // The command line has been told why, and ends the sandbox.
        while control.receive()?.is_some() {}
        return Ok(());
    };
    timeline.done("sentry: container created");
    let server = Arc::clone(&pod);
    let serve = move || {
        if let Err(error) = server.serve(&listener) {
            tracing::error!("control socket: {error}");
        }
    };
    std::thread::Builder::new().name("control".to_owned()).spawn(serve).context("a thread; see ulimit -u")?;
    control.send(&Event::Created)?;
    pod.obey(&entry, control)?;
    // The host process that stands for the container is gone.
    exit_now(0)
}

/// Whether a container is the one that the sandbox lives for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Yes.
    Yes,
    /// There is one already.
    No,
}

impl Pod {
    fn find(&self, id: &str) -> anyhow::Result<Arc<Entry>> {
        let found = self.containers.lock().get(id).cloned();
        found.ok_or_else(|| anyhow!("container {id} is not in this sandbox; give its id"))
    }

    /// Somebody who may do everything in it.
    fn root(&self) -> Arc<Credentials> {
        Arc::new(Credentials::for_user(0, 0, &[], Arc::clone(&self.kernel.user_ns)))
    }

    /// What a process is started as.
    fn credentials(&self, process: &Process) -> Arc<Credentials> {
        let user = &process.user;
        let user_ns = Arc::clone(&self.kernel.user_ns);
        let mut creds = Credentials::for_user(user.uid, user.gid, &user.groups, user_ns);
        if let Some(sets) = &process.capabilities {
            let set = |bits: u64| CapSet(bits).intersection(CapSet::ALL);
            creds.cap_bounding = set(sets.bounding);
            creds.cap_permitted = set(sets.permitted);
            creds.cap_effective = set(sets.effective);
            creds.cap_inheritable = set(sets.inheritable);
            creds.cap_ambient = set(sets.ambient);
        }
        creds.no_new_privs = process.no_new_privileges;
        Arc::new(creds)
    }

    /// Tells a line how its process ends; the sandbox ends with the first container's.
    fn watcher(entry: &Arc<Entry>, line: &Arc<SentryEnd>, of: Of) -> Watcher {
        let (entry, line) = (Arc::clone(entry), Arc::clone(line));
        Box::new(move |event| {
            // Errors: whoever held the line is gone, and what follows from that is seen where the line is read.
            match event {
                KernelEvent::Continued => {}
                KernelEvent::Stopped(signal) => {
                    let _ = line.send(&Event::Stopped(signal.number() as i32));
                }
                KernelEvent::Exited(status) => {
                    if of == Of::Container {
                        entry.set(Progress::Stopped);
                    }
                    let _ = line.send(&Event::Ended(kernel::ended(status)));
                    if of == Of::Container && entry.is_first {
                        exit_now(0);
                    }
                }
            }
        })
    }
}

/// What a watched process is to its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// Its first process.
    Container,
    /// One that was added.
    Exec,
}

impl Entry {
    fn set(&self, progress: Progress) {
        let old = std::mem::replace(&mut *self.progress.lock(), progress);
        drop(old);
    }

    fn state(&self) -> State {
        match &*self.progress.lock() {
            Progress::Stopped => State::Stopped,
            _ if self.tag.is_frozen() => State::Paused,
            Progress::Created(_) | Progress::Starting => State::Created,
            Progress::Running(_) => State::Running,
        }
    }

    /// Whether its process has not been started.
    fn is_unstarted(&self) -> bool {
        matches!(&*self.progress.lock(), Progress::Created(_) | Progress::Starting)
    }

    /// Before its process runs, a signal that would end that ends the container; whether it was so.
    fn end_unstarted(&self, signal: Signal) -> bool {
        const ENDING: [Signal; 6] = [
            Signal::SIGKILL,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGABRT,
        ];
        let prepared = {
            let mut progress = self.progress.lock();
            match std::mem::replace(&mut *progress, Progress::Stopped) {
                Progress::Created(prepared) if ENDING.contains(&signal) => prepared,
                other => {
                    *progress = other;
                    return false;
                }
            }
        };
        // An error: whoever stands for it is gone.
        let _ = prepared.line.send(&Event::Ended(Ended::Killed(signal.number() as i32)));
        if self.is_first {
            exit_now(0);
        }
        true
    }

    /// Its first process, while it runs.
    fn init(&self) -> anyhow::Result<Arc<ThreadGroup>> {
        match &*self.progress.lock() {
            Progress::Running(init) => Ok(Arc::clone(init)),
            Progress::Created(_) | Progress::Starting => Err(anyhow!("container is not running; start it")),
            Progress::Stopped => Err(anyhow!("container not running")),
        }
    }
}
