//! The Sentry's way from a fresh process to a running kernel. Every step has to work: a sandbox that can't be confined
//! does not start.
//!
//! Single-threaded until the filter is in place, so that each step holds for all threads to come.

use std::backtrace::Backtrace;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, bail};
use host::seccomp_program::Otherwise;
use platform::{LargeFile, Platform};

use crate::config::{self, SentryConfig, fd};
use crate::log::{self, Timeline};
use crate::sandbox::control::{Event, Order, Report, SentryEnd};
use crate::sandbox::{choose_platform, filter, kernel, namespace, pod, privileges};

/// Exit status after a panic.
const PANICKED: i32 = 70;

const FOR_RUNSC: &str = "this command is for runsc itself";

/// Everything that the Sentry was started with.
#[derive(Debug)]
pub struct Inheritance {
    /// What to do.
    pub config: SentryConfig,
    /// The connection to the Gofer.
    pub gofer: OwnedFd,
    /// Standard input, output and error of the program.
    pub stdio: [OwnedFd; 3],
    /// Its descriptors behind them.
    pub passed: Vec<OwnedFd>,
    /// Where `--strace` lines go.
    pub strace: OwnedFd,
    /// The socket of a container.
    pub listener: Option<OwnedFd>,
    /// Where the profile goes.
    pub profile: Option<OwnedFd>,
}

/// Runs as the Sentry. Errors go to the command line, which prints them.
pub fn boot() -> anyhow::Result<()> {
    namespace::die_with_parent()?;
    let control = host::process::inherited_fd(fd::CONTROL).context(FOR_RUNSC)?;
    let control = Arc::new(SentryEnd::new(control));
    end_with_a_word(&control);
    if let Err(error) = run(&control) {
        tracing::error!("boot: {error:#}");
        control.send(&Event::Failed(format!("{error:#}"))).context("telling the command line")?;
    }
    // Threads of the kernel may be anywhere: nothing is put in order any more.
    host::process::exit_now(0)
}

/// A panic anywhere in the Sentry ends it, and the command line is told where it was.
fn end_with_a_word(control: &Arc<SentryEnd>) {
    let control = Arc::clone(control);
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}\n{}", Backtrace::force_capture());
        let text = panic.to_string().replace('\n', " ");
        let _ = control.send(&Event::Failed(format!("sentry: {text}; this is a bug, please report it")));
        host::process::exit_now(PANICKED);
    }));
}

fn run(control: &Arc<SentryEnd>) -> anyhow::Result<()> {
    let mut inherited = inherit()?;
    let config = &inherited.config;
    if config.log {
        log::start(File::from(rustix::io::dup(rustix::stdio::stderr())?));
        // Finds the names of functions while the program's file can still be read, for a panic later. Takes a while.
        if cfg!(debug_assertions) {
            let _ = Backtrace::force_capture().to_string();
        }
    }
    let mut timeline = Timeline::new(config.started_ns);
    timeline.done("sentry: configuration read");
    let passed = match control.receive_with()? {
        Some((Order::Start, fds)) => fds,
        _ => bail!("the command line went away before the start"),
    };
    timeline.done("sentry: ids are mapped");

    let platform = confine(config, &mut timeline)?;
    inherited.passed = passed;
    if inherited.config.container.is_some() {
        return pod::run(inherited, platform, control, &mut timeline);
    }
    if inherited.config.process.is_none() {
        return self_test(control, &inherited.config, &*platform);
    }
    match kernel::start(inherited, platform, control, &mut timeline)? {
        Some(running) => running.obey(control),
        None => Ok(()),
    }
}

fn inherit() -> anyhow::Result<Inheritance> {
    let take = |number| host::process::inherited_fd(number).context(FOR_RUNSC);
    let config: SentryConfig = config::load(take(fd::CONFIG)?).context("configuration")?;
    let listener = config.container.is_some().then(|| take(fd::LISTENER)).transpose()?;
    let profile = if config.profile { Some(take(fd::PROFILE)?) } else { None };
    Ok(Inheritance {
        config,
        profile,
        listener,
        passed: Vec::new(),
        gofer: take(fd::GOFER)?,
        stdio: [take(fd::STDIO[0])?, take(fd::STDIO[1])?, take(fd::STDIO[2])?],
        strace: take(fd::STRACE)?,
    })
}

/// Leaves everything of the host behind but the descriptors, and makes the platform on the way: it needs more than the
/// filter allows, but no privilege.
fn confine(config: &SentryConfig, timeline: &mut Timeline) -> anyhow::Result<Arc<dyn Platform>> {
    namespace::take_identity(config.identity)?;
    host::process::setsid().context("setsid")?;
    namespace::enter()?;
    timeline.done("sentry: new namespaces");
    namespace::empty_root()?;
    timeline.done("sentry: empty root");
    // The last thing that takes the right to mount. Without it everything works, slower.
    let large =
        LargeFile::new().inspect_err(|error| tracing::info!(%error, "guest memory without large pages"));
    privileges::drop_all()?;
    privileges::set_limits()?;
    // The processes of guests share the table.
    if let Err(error) = host::process::reserve_descriptors() {
        tracing::info!(%error, "no room ahead for descriptors");
    }
    timeline.done("sentry: capabilities dropped");
    let (name, platform) = choose_platform::make(config.platform, large.ok())?;
    timeline.done("sentry: platform");

    // With a log there is someone to read which call it was.
    let otherwise = if config.log { Otherwise::Trap } else { Otherwise::Kill };
    if config.log {
        host::refused_call::report().context("SIGSYS handler")?;
    }
    let asked = if config.container.is_some() { filter::Asked::Listens } else { filter::Asked::Never };
    let sockets = if config.binds_sockets { filter::Sockets::Bound } else { filter::Sockets::Own };
    filter::install(name, asked, sockets, otherwise)?;
    if config.binds_sockets {
        sentry::fs::gofer::permit_binding();
    }
    timeline.done("sentry: seccomp filter");
    Ok(platform)
}

/// Reports, and holds the sandbox until the command line lets go of it.
fn self_test(control: &SentryEnd, config: &SentryConfig, platform: &dyn Platform) -> anyhow::Result<()> {
    let (uid, gid) = match config.identity {
        config::Identity::Caller { uid, gid } | config::Identity::Nobody { uid, gid } => (uid, gid),
    };
    let report = Report {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        uid,
        gid,
        platform: platform.name().to_owned(),
    };
    control.send(&Event::Confined(report))?;
    while control.receive()?.is_some() {}
    Ok(())
}
