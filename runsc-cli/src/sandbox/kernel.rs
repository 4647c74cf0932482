//! From the configuration to a running kernel with the program in it, and what goes on between it and the command line.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use abi::Errno;
use abi::signal::Signal;
use anyhow::{Context, bail};
use gofer_protocol::Client;
use platform::Platform;
use sentry::fs::host::{HostFs, HostTty, Inherited};
use sentry::signal::External;
use sentry::task::{Container, ControllingTty, Credentials, Namespaces, Place, ThreadGroup};
use sentry::vfs::resolve::{LookupFlags, lookup};
use sentry::vfs::{Caller, FdTable, FsContext, OnExec};
use sentry::{Kernel, KernelConfig, KernelEvent, Watcher};
use syscalls::{Dispatcher, Profiler, Watchable};

use crate::config::{self, SentryConfig, Text};
use crate::log::Timeline;
use crate::sandbox::boot::Inheritance;
use crate::sandbox::control::{Ended, Event, Order, SentryEnd, Target};
use crate::sandbox::mounts;
use crate::sandbox::program::{self, NotStarted, Surroundings};

/// Tasks of one sandbox at most; the host's own limits may be lower.
const MAX_TASKS: u64 = 32 * 1024;

/// After this the code that the start of a program took is seldom needed again.
pub const STARTED: Duration = Duration::from_secs(1);

/// A kernel with its program running.
pub struct Running {
    kernel: Arc<Kernel>,
    program: Arc<ThreadGroup>,
    terminal: Option<Arc<HostTty>>,
}

/// The system call table: one a process, for as long as that lives.
pub enum Table {
    /// Nothing is written down.
    Plain(&'static Dispatcher),
    /// With a watch on it, and where the numbers go in the end.
    Watched(&'static Profiler, OwnedFd),
    /// For a sandbox that can be asked for a profile.
    Watchable(&'static Watchable),
}

impl Table {
    /// As the configuration says.
    pub fn new(config: &SentryConfig, strace: OwnedFd, profile: Option<OwnedFd>) -> Table {
        let dispatcher = dispatcher(config, strace);
        match profile {
            None => Table::Plain(Box::leak(Box::new(dispatcher))),
            Some(fd) => Table::Watched(Box::leak(Box::new(Profiler::new(dispatcher))), fd),
        }
    }

    /// The same for a sandbox of containers.
    pub fn watchable(config: &SentryConfig, strace: OwnedFd) -> &'static Watchable {
        Box::leak(Box::new(Watchable::new(dispatcher(config, strace))))
    }

    /// Writes the profile, if there is to be one.
    fn ended(&self) {
        if let Table::Watched(profiler, fd) = self
            && let Err(error) = fd.try_clone().and_then(|fd| crate::profile::store(&profiler.snapshot(), fd))
        {
            tracing::error!("profile: {error}");
        }
    }
}

fn dispatcher(config: &SentryConfig, strace: OwnedFd) -> Dispatcher {
    let lines: Option<Box<dyn Write + Send>> =
        if config.strace { Some(Box::new(std::fs::File::from(strace))) } else { None };
    Dispatcher::new(lines)
}

/// Starts the kernel and the program in it. `None` when the program could not be started, which is told.
pub fn start(
    inherited: Inheritance,
    platform: Arc<dyn Platform>,
    control: &Arc<SentryEnd>,
    timeline: &mut Timeline,
) -> anyhow::Result<Option<Running>> {
    let Inheritance { config, gofer, stdio, strace, profile, mut passed, .. } = inherited;
    let Some(process) = &config.process else { bail!("no program in the configuration; please report this") };
    let table = Table::new(&config, strace, profile);
    let kernel = new_kernel(&config, &table, platform, Main::Job)?;
    timeline.done("sentry: kernel");

    let client = Arc::new(Client::connect(gofer).context("gofer")?);
    timeline.done("sentry: connected to the gofer");
    let store = if config.has_store { passed.pop() } else { None };
    let store = store.map(mounts::open_store).transpose()?;
    let namespaces = Namespaces {
        mount: mounts::build(&kernel, &config.mounts, &client, store.as_ref())?,
        uts: Arc::clone(&kernel.uts_ns),
        ipc: Arc::clone(&kernel.ipc),
        cgroup: Arc::clone(&kernel.cgroup_ns),
        net: Arc::clone(&kernel.net),
        pid_for_children: Arc::clone(&kernel.pid_ns),
    };
    timeline.done("sentry: mounts");

    let user = &process.user;
    let creds = Credentials::for_user(user.uid, user.gid, &user.groups, Arc::clone(&kernel.user_ns));
    let creds = Arc::new(creds);
    let fs = FsContext::new(namespaces.mount.root(), process.umask);
    enter_directory(&kernel, &fs, &creds, &process.cwd)?;
    let host = HostFs::new().context("the thread that watches host descriptors; see ulimit -u")?;
    let streams = stdio.into_iter().zip(config.streams);
    let (files, terminal) = files(&kernel, &host, &fs, &creds, streams)?;
    if let Some(terminal) = &terminal {
        terminal.jobs.set_all_background(!process.foreground);
    }
    let tty = terminal.clone().map(|tty| tty as Arc<dyn ControllingTty>);
    let surroundings = Surroundings {
        creds,
        fs,
        files,
        namespaces,
        tty,
        pid: None,
        container: Container::new(""),
        cgroups: Vec::new(),
        place: Place::Main,
        watcher: watcher(control, table),
    };
    match program::start(&kernel, process, surroundings) {
        Ok(program) => {
            if !process.job_control {
                // Nobody outside would continue it: it is not stopped by the terminal.
                kernel.tree.lock().job = None;
            }
            let line = Arc::clone(control);
            // An error means that the command line is gone, and this process about to be killed.
            client.on_death(move |death| drop(line.send(&Event::GoferLost(format!("gofer: {death}")))));
            timeline.done("sentry: program started");
            Ok(Some(Running { kernel, program, terminal }))
        }
        Err(not_started) => {
            if let Some(death) = client.death() {
                bail!("{death}; run again with --debug-log FILE, and report what it says");
            }
            // As a shell: 127 also for a program whose interpreter is not there.
            let missing =
                matches!(not_started, NotStarted::Missing(_) | NotStarted::NotExecutable(Errno::ENOENT));
            control.send(&match not_started {
                NotStarted::Killed(signal) => Event::Ended(Ended::Killed(signal.number() as i32)),
                _ => Event::NotStarted { missing, why: not_started.text() },
            })?;
            Ok(None)
        }
    }
}

impl Running {
    /// Carries out the command line's orders until it goes away.
    pub fn obey(&self, control: &SentryEnd) -> anyhow::Result<()> {
        if !host::event::wait_readable(control, STARTED)? {
            host::memory::forget_code();
        }
        while let Some(order) = control.receive()? {
            match order {
                Order::Start => {}
                Order::Signal { signal, value, to } => {
                    // The C library's own two signals are nobody's business outside.
                    let Some(signal) = Signal::new(signal.unsigned_abs()) else { continue };
                    let to = match to {
                        Target::Init => External::Init,
                        Target::Foreground => External::Foreground,
                    };
                    self.kernel.send_external_signal(&self.program, signal, value, to);
                }
                Order::Continue { foreground } => {
                    if let Some(terminal) = &self.terminal {
                        terminal.jobs.set_all_background(!foreground);
                    }
                    self.kernel.send_external_signal(&self.program, Signal::SIGCONT, 0, External::Job);
                }
            }
        }
        Ok(())
    }
}

/// Tells the command line what becomes of the program. The Sentry ends with it. Errors mean that the command line is gone,
/// and this process about to be killed.
fn watcher(control: &Arc<SentryEnd>, table: Table) -> Watcher {
    let control = Arc::clone(control);
    Box::new(move |event| match event {
        KernelEvent::Continued => {}
        KernelEvent::Stopped(signal) => {
            let _ = control.send(&Event::Stopped(signal.number() as i32));
        }
        KernelEvent::Exited(status) => {
            table.ended();
            let _ = control.send(&Event::Ended(ended(status)));
            host::process::exit_now(0)
        }
    })
}

/// Whose process 1 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Main {
    /// The kernel's own: the program is a job of a shell outside.
    Job,
    /// The container's.
    Init,
}

/// A wait status, for the command line.
pub fn ended(status: i32) -> Ended {
    match host::process::Status::from_wait(status) {
        host::process::Status::Signaled(signal, _) => Ended::Killed(signal),
        // The other kinds don't end a process.
        _ => Ended::Exited((status >> 8) as u8),
    }
}

/// A kernel without processes.
pub fn new_kernel(
    config: &SentryConfig,
    table: &Table,
    platform: Arc<dyn Platform>,
    main: Main,
) -> anyhow::Result<Arc<Kernel>> {
    let kernel = Kernel::new(KernelConfig {
        platform,
        table: match table {
            Table::Plain(table) => *table,
            Table::Watched(table, _) => *table,
            Table::Watchable(table) => *table,
        },
        hostname: String::from_utf8_lossy(config.hostname.as_bytes()).into_owned(),
        max_tasks: MAX_TASKS,
        cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        job: main == Main::Job,
    });
    let kernel = kernel.map_err(|errno| anyhow::anyhow!("kernel: {errno}; please report this"))?;
    sentry::fs::register(&kernel);
    Ok(kernel)
}

/// Makes `directory` the working directory, as whoever the program runs as.
pub fn enter_directory(
    kernel: &Kernel,
    fs: &FsContext,
    creds: &Arc<Credentials>,
    directory: &Text,
) -> anyhow::Result<()> {
    let roots = fs.roots();
    let caller = Caller { creds, vfs: &kernel.vfs, roots: &roots, umask: 0, task: None };
    let flags = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let place = lookup(&caller, &roots.root, directory.as_bytes(), flags).map_err(|errno| {
        anyhow::anyhow!("working directory {}: {errno}; give another with --cwd", directory.display())
    })?;
    fs.set_cwd(place);
    Ok(())
}

/// The program's files from descriptor 0 on, and the terminal among its standard streams.
pub fn files(
    kernel: &Kernel,
    host: &HostFs,
    fs: &FsContext,
    creds: &Arc<Credentials>,
    fds: impl Iterator<Item = (OwnedFd, config::Stream)>,
) -> anyhow::Result<(Arc<FdTable>, Option<Arc<HostTty>>)> {
    let roots = fs.roots();
    let caller = Caller { creds, vfs: &kernel.vfs, roots: &roots, umask: 0, task: None };
    // A bare root may have no place for it: then the terminal has no name.
    let terminals = lookup(&caller, &roots.root, b"/dev/pts", LookupFlags::FOLLOW).ok();
    let files = FdTable::new();
    let mut terminal = None;
    for (number, (fd, seen)) in fds.enumerate() {
        let inherited = Inherited { fd, owner: (seen.uid, seen.gid), nonblocking: seen.nonblocking };
        let (file, tty) = host
            .import(inherited, &caller, terminals.as_ref())
            .with_context(|| format!("descriptor {number}; please report this"))?;
        terminal = terminal.or(tty.filter(|_| number < 3));
        files
            .add(file, u64::MAX, OnExec::Keep)
            .map_err(|errno| anyhow::anyhow!("descriptor {number}: {errno}; please report this"))?;
    }
    Ok((files, terminal))
}
