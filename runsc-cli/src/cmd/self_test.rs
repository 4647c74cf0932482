//! `runsc self-test`: a sandbox without a program, to see how it is confined.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use crate::config::{self, GoferConfig, PlatformName, SentryConfig, Text, Tree};
use crate::log::{self, Timeline};
use crate::sandbox::control::Event;
use crate::sandbox::supervise::{LAST_WORD, died, wait};
use crate::sandbox::{Sandbox, Streams, namespace};

/// Options of `self-test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc self-test </dev/null")]
pub struct Args {
    /// What runs guest code
    #[arg(long, value_enum, default_value_t = PlatformName::Auto)]
    platform: PlatformName,
    /// Append what the sandbox does to FILE
    #[arg(long, value_name = "FILE")]
    debug_log: Option<PathBuf>,
}

/// Prints the host pids of Sentry and Gofer and what the Sentry says of itself, as JSON; ends with standard input, or
/// with an error when a process of the sandbox dies.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started_ns = config::monotonic_ns();
    let log = args.debug_log.as_deref().map(log::open).transpose()?;
    if let Some(file) = &log {
        log::start(file.try_clone()?);
    }
    let identity = namespace::identity();
    let sentry = SentryConfig {
        started_ns,
        log: log.is_some(),
        identity,
        platform: args.platform,
        hostname: Text::Utf8("self-test".to_owned()),
        profile: false,
        strace: false,
        mounts: Vec::new(),
        streams: Default::default(),
        has_store: false,
        binds_sockets: false,
        process: None,
        container: None,
    };
    let source = Text::Utf8("/".to_owned());
    let root = Tree {
        source,
        read_only: true,
        host_sockets: false,
        bound_sockets: false,
        host_fifos: false,
        hide: Vec::new(),
    };
    let gofer = GoferConfig { log: log.is_some(), identity, trees: vec![root], id_maps: None };
    let stderr = std::io::stderr();
    let stderr = stderr.as_fd();
    let log = log.as_ref();
    let streams =
        Streams { stdio: [stderr; 3], strace: stderr, profile: None, log, listener: None, passed: &[] };
    let sandbox = Sandbox::start(&sentry, &gofer, &streams, &mut Timeline::new(started_ns))?;
    match sandbox.control.receive()? {
        Some(Event::Confined(report)) => {
            let line = serde_json::json!({
                "sentry": sandbox.sentry.pid(),
                "gofer": sandbox.gofer.process.pid(),
                "report": report,
            });
            println!("{line}");
        }
        Some(Event::Failed(why)) => bail!("{why}"),
        Some(other) => bail!("the sentry answered {other:?}; please report this"),
        None => bail!("{}", died("sentry", sandbox.sentry.wait()?)),
    }
    let stdin = std::io::stdin();
    let control = sandbox.control.as_fd();
    let [done, mut sentry_ended, _] =
        wait([stdin.as_fd(), control, sandbox.gofer.process.pidfd().as_fd()], None)?;
    if done {
        return Ok(ExitCode::SUCCESS);
    }
    if !sentry_ended {
        [sentry_ended] = wait([control], Some(LAST_WORD))?;
    }
    match sentry_ended {
        true => bail!("{}", died("sentry", sandbox.sentry.wait()?)),
        false => bail!("{}", sandbox.failure(died("gofer", sandbox.gofer.process.wait()?))),
    }
}
