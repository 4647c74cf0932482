//! The host process that stands for a container, or for a process that was added to one: its pid is what engines get, its
//! exit status the container's, and with it everything dies that it started.
//!
//! It is a fork of the command line, which goes away; the engine's subreaper becomes its parent. It passes signals on, and
//! those of the terminal, whose session it leads.
//!
//! Where it may, a container's monitor is process 1 of a PID namespace, which it makes for two reasons: whatever it has started is
//! gone when its end is seen, and engines that enter the namespaces of the pid that they were given (`podman top`,
//! `podman cp`) find the container's processes and no others.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use host::namespace::Namespaces;
use host::process::{Child, Status, exit_now};
use host::signal::{self, SignalSet};
use serde::{Deserialize, Serialize};

use super::namespaces::{self, Network};
use super::notes::NotePlace;
use super::view::View;
use super::{ask, hooks, state_file};
use crate::cgroup::Cgroup;
use crate::config::{self, Container, GoferConfig, SentryConfig};
use crate::log::Timeline;
use crate::sandbox::control::{Channel, CommandEnd, Ended, Event, Exec, Order, Request, Target, socketpair};
use crate::sandbox::supervise::{LAST_WORD, died, forwarded, wait};
use crate::sandbox::{GoferProcess, Sandbox, Streams, streams};

/// Exit status when the sandbox broke: as if it had been killed.
const BROKEN: i32 = 137;

/// What a monitor tells its maker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// It is in its cgroup and namespaces: hooks may run.
    Ready,
    /// The container is created, or the added process runs: the host processes that this one started.
    Done(Vec<i32>),
    /// There is no program to run.
    NotStarted {
        /// Whether there is no such file.
        missing: bool,
        /// Why.
        why: String,
    },
    /// It can't be done.
    Failed(String),
}

/// What its maker tells a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Go {
    /// It is written down that there is this process: it may begin.
    Begin,
    /// The hooks have run.
    On,
    /// All that belongs to it is written down: it may stay.
    Stay,
}

/// The maker's end.
pub type MakerEnd = Channel<Go, Word>;
type MonitorEnd = Channel<Word, Go>;

/// What a monitor holds.
#[derive(Debug)]
pub enum Job {
    /// The first container of a sandbox.
    Sandbox {
        /// For its Sentry.
        sentry: Box<SentryConfig>,
        /// For its Gofer.
        gofer: GoferConfig,
        /// The socket of the sandbox.
        listener: OwnedFd,
    },
    /// A further one.
    Container {
        /// The container.
        container: Box<Container>,
        /// For its Gofer.
        gofer: GoferConfig,
        /// Where the sandbox has its socket.
        sandbox: PathBuf,
    },
    /// A process in a container that runs.
    Exec {
        /// The process.
        exec: Box<Exec>,
        /// The container.
        container: String,
        /// Whether it is to wait while that is paused.
        ignore_paused: bool,
        /// Where its sandbox has its socket.
        sandbox: PathBuf,
    },
}

/// What the end of a monitor's process changes in the container's directory, whose path is out of its sight by then.
#[derive(Debug)]
pub enum End {
    /// How it ended is noted.
    Noted(OwnedFd),
    /// The note that there is a process goes away.
    Forgotten(NotePlace),
}

/// What a monitor is to do.
#[derive(Debug)]
pub struct Plan {
    /// What it holds.
    pub job: Job,
    /// Standard streams of the process.
    pub stdio: [streams::Stream; 3],
    /// Its descriptors behind them.
    pub passed: Vec<streams::Stream>,
    /// The file of the host for layers.
    pub store: Option<OwnedFd>,
    /// Its terminal, which the monitor's session takes.
    pub terminal: Option<OwnedFd>,
    /// The cgroups that all of it is in.
    pub cgroup: Option<Cgroup>,
    /// The network namespace that hooks find it in.
    pub network: Network,
    /// Hooks that run in it once its maker has run others; without these its maker has nothing to do in between.
    pub hooks: Option<hooks::InContainer>,
    /// Namespaces that hooks are to find it in, where they can be made.
    pub own_namespaces: Namespaces,
    /// What those see who enter its mount namespace.
    pub view: Option<View>,
    /// The descriptor with its maker's lock on the container. It is held until it is written down that there is this process: a
    /// maker that was killed before leaves the lock to this one, whose end then comes next.
    pub lock: RawFd,
    /// The debug log.
    pub log: Option<File>,
    /// When the command began.
    pub started_ns: u64,
    /// Descriptors of its maker that it must not keep open.
    pub not_kept: Vec<RawFd>,
}

/// Starts a monitor, which waits for [`Go::Begin`].
pub fn start(plan: Plan, end: End) -> io::Result<(Child, MakerEnd)> {
    let (own_end, its_end) = socketpair()?;
    let (own, its) = (own_end, MonitorEnd::new(its_end));
    let own_number = std::os::fd::AsRawFd::as_raw_fd(&own);
    let namespaces = if plan.view.is_some() { Namespaces::PID } else { Namespaces::empty() };
    let child = host::process::fork(namespaces, move || {
        // Owned by the maker's side of the fork; this side ends without looking at them again.
        for number in plan.not_kept.iter().copied().chain([own_number]) {
            let _ = host::process::close_range(number, number);
        }
        let ended = run(plan, &its);
        match &end {
            End::Forgotten(note) => note.remove(),
            End::Noted(dir) => {
                if let Ok(ended) = &ended
                    && let Err(error) = state_file::write_ended(dir, ended)
                {
                    tracing::warn!("monitor: {error}");
                }
            }
        }
        let status = match ended {
            Ok(ended) => status(ended),
            Err(error) => {
                tracing::error!("monitor: {error:#}");
                // An error: its maker has gone, since all went well until now.
                let _ = its.send(&Word::Failed(format!("{error:#}")));
                BROKEN
            }
        };
        exit_now(status)
    })?;
    Ok((child, MakerEnd::new(own)))
}

/// The exit status for an end.
pub fn status(ended: Ended) -> i32 {
    match ended {
        Ended::Exited(status) => status.into(),
        Ended::Killed(signal) => 128 + signal,
    }
}

/// What was started, and dies with this process.
enum Held {
    Sandbox(Sandbox),
    Other { control: CommandEnd, gofer: Option<GoferProcess> },
}

fn run(plan: Plan, maker: &MonitorEnd) -> anyhow::Result<Ended> {
    signal::block(&SignalSet::all()).context("sigprocmask")?;
    match maker.receive()? {
        Some(Go::Begin) => host::process::close_range(plan.lock, plan.lock).context("giving up the lock")?,
        _ => bail!("the command went away"),
    }
    host::process::setsid().context("setsid")?;
    if let Some(terminal) = &plan.terminal {
        rustix::process::ioctl_tiocsctty(terminal).context("taking the terminal")?;
    }
    if let Some(cgroup) = &plan.cgroup {
        cgroup.join()?;
    }
    match namespaces::enter(&plan.network) {
        // An ordinary user outside of a user namespace can make none, and hooks of that user can do nothing to this one.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && plan.network == Network::New => {
            tracing::warn!("network namespace: {error}; hooks find the runtime's");
        }
        entered => entered
            .map_err(|error| anyhow!("network namespace: {error}; run as root or in a user namespace"))?,
    }
    if let Some(hooks) = &plan.hooks {
        namespaces::make(plan.own_namespaces).context("namespaces for hooks")?;
        maker.send(&Word::Ready)?;
        match maker.receive()? {
            Some(Go::On) => {}
            _ => bail!("the command went away"),
        }
        hooks.run()?;
    }
    let held = start_job(&plan)?;
    let Plan { stdio, passed, store, terminal, log, view, .. } = plan;
    // The other end of a pipe is to see the end when the guest closes it.
    drop((stdio, passed, store, log));
    hide_streams().context("/dev/null")?;
    match held.first_event()? {
        Event::Created | Event::Running => {
            // The host's /proc may be out of sight in the other mount namespace.
            let done = Word::Done(held.processes().filter_map(Child::pid_in_proc).collect());
            let hidden: Vec<i32> = [1].into_iter().chain(held.processes().map(Child::pid)).collect();
            view.map_or(Ok(()), |view| view.enter(&hidden))?;
            maker.send(&done)?;
        }
        Event::NotStarted { missing, why } => {
            maker.send(&Word::NotStarted { missing, why })?;
            return Ok(Ended::Killed(libc::SIGKILL));
        }
        Event::Failed(why) => bail!("{}", held.failure(why)),
        // A process that was added has ended before it was told that it runs.
        Event::Ended(ended) => {
            maker.send(&Word::Done(Vec::new()))?;
            let _ = maker.receive()?;
            return Ok(ended);
        }
        other => bail!("the sentry answered {other:?}; please report this"),
    }
    match maker.receive()? {
        Some(Go::Stay) => {}
        _ => bail!("the command went away"),
    }
    let ended = held.follow()?;
    drop(terminal);
    Ok(ended)
}

fn start_job(plan: &Plan) -> anyhow::Result<Held> {
    let stdio = plan.stdio.each_ref().map(|stream| stream.fd.as_fd());
    let null = File::options().write(true).open("/dev/null").context("/dev/null")?;
    let strace = plan.log.as_ref().map_or(null.as_fd(), File::as_fd);
    let mut timeline = Timeline::new(plan.started_ns);
    let passed: Vec<BorrowedFd<'_>> = plan
        .passed
        .iter()
        .map(|stream| stream.fd.as_fd())
        .chain(plan.store.as_ref().map(AsFd::as_fd))
        .collect();
    let mut fds =
        Streams { stdio, strace, profile: None, log: plan.log.as_ref(), listener: None, passed: &passed };
    let (request, config, gofer, sandbox_dir) = match &plan.job {
        Job::Sandbox { sentry, gofer, listener } => {
            fds.listener = Some(listener.as_fd());
            return Ok(Held::Sandbox(Sandbox::start(sentry, gofer, &fds, &mut timeline)?));
        }
        Job::Container { container, gofer, sandbox } => {
            (Request::Create, config::store(container)?, Some(gofer), sandbox)
        }
        Job::Exec { exec, container, ignore_paused, sandbox } => {
            let request = Request::Exec { container: container.clone(), ignore_paused: *ignore_paused };
            (request, config::store(exec)?, None, sandbox)
        }
    };
    let connection = ask::connect(sandbox_dir).context("connecting to the sandbox")?;
    let mut gofer_process = None;
    let mut connected = None;
    if let Some(gofer) = gofer {
        let (client_end, server_end) = socketpair()?;
        gofer_process = Some(GoferProcess::start(gofer, server_end, &fds)?);
        connected = Some(client_end);
    }
    let sent: Vec<BorrowedFd<'_>> =
        [config.as_fd()].into_iter().chain(connected.as_ref().map(AsFd::as_fd)).chain(stdio).collect();
    let sent = [sent, passed].concat();
    connection.send_with(&request, &sent).context("asking the sandbox")?;
    Ok(Held::Other { control: connection.into_other(), gofer: gofer_process })
}

/// Standard streams of this process become /dev/null.
fn hide_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}

impl Held {
    fn gofer(&self) -> Option<&GoferProcess> {
        match self {
            Held::Sandbox(sandbox) => Some(&sandbox.gofer),
            Held::Other { gofer, .. } => gofer.as_ref(),
        }
    }

    /// The Sentry, if it is this one's, the Gofer, and what helps that.
    fn processes(&self) -> impl Iterator<Item = &Child> {
        let sentry = match self {
            Held::Sandbox(sandbox) => Some(&sandbox.sentry),
            Held::Other { .. } => None,
        };
        sentry.into_iter().chain(self.gofer().into_iter().flat_map(GoferProcess::processes))
    }

    fn control(&self) -> &CommandEnd {
        match self {
            Held::Sandbox(sandbox) => &sandbox.control,
            Held::Other { control, .. } => control,
        }
    }

    fn failure(&self, other: String) -> String {
        self.gofer().map_or(other.clone(), |gofer| gofer.failure(other))
    }

    fn first_event(&self) -> anyhow::Result<Event> {
        match self.control().receive()? {
            Some(event) => Ok(event),
            None => bail!("{}", self.end_of_sentry()),
        }
    }

    fn end_of_sentry(&self) -> String {
        match self {
            Held::Sandbox(sandbox) => {
                sandbox.sentry.wait().map_or_else(|error| error.to_string(), |status| died("sentry", status))
            }
            Held::Other { .. } => "the sandbox has ended".to_owned(),
        }
    }

    /// Passes signals on until the process has ended.
    fn follow(&self) -> anyhow::Result<Ended> {
        let signals = signal::signalfd(&SignalSet::all())?;
        let gofer = self.gofer();
        // From here on there is little to do.
        host::memory::forget_code();
        loop {
            // Without a Gofer the third is one that never ends before the first.
            let third = gofer.map_or(self.control().as_fd(), |gofer| gofer.process.pidfd().as_fd());
            let [mut ready, signalled, gofer_ended] =
                wait([self.control().as_fd(), signals.as_fd(), third], None)?;
            if signalled {
                while let Some(received) = signal::read_signalfd(&signals)? {
                    if let Some((signal, value, to)) = forwarded(received) {
                        // An error means that the Sentry is gone, which the line tells.
                        let _ = self.control().send(&order(signal, value, to));
                    }
                }
            }
            if gofer_ended
                && !ready
                && let Some(gofer) = gofer
            {
                let status = gofer.process.wait()?;
                // One that ends by itself does so because the Sentry has ended, of which the line tells.
                if matches!(status, Status::Exited(_)) {
                    [ready] = wait([self.control().as_fd()], Some(LAST_WORD))?;
                }
                if !ready {
                    bail!("{}", gofer.failure(died("gofer", status)));
                }
            }
            if !ready {
                continue;
            }
            match self.control().receive()? {
                Some(Event::Ended(ended)) => return Ok(ended),
                Some(Event::Failed(why)) => bail!("{}", self.failure(why)),
                // It could be created and not be started, which whoever starts it is told.
                Some(Event::NotStarted { .. }) => return Ok(Ended::Killed(libc::SIGKILL)),
                Some(_) => {}
                None => bail!("{}", self.end_of_sentry()),
            }
        }
    }
}

fn order(signal: i32, value: i32, to: Target) -> Order {
    if signal == libc::SIGCONT {
        Order::Continue { foreground: true }
    } else {
        Order::Signal { signal, value, to }
    }
}
