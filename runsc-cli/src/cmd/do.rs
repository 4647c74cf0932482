//! `runsc do`: one program in a sandbox of its own.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;
use host::signal::{self, SignalSet};

use crate::cmd::{Global, HostFifo, HostUds, STATUS_NOT_EXECUTABLE, STATUS_NOT_FOUND, STATUS_RUNSC, tell};
use crate::config::{self, GoferConfig, Mount, PlatformName, Process, SentryConfig, Sharing, Text, Tree};
use crate::log::{self, Timeline};
use crate::overlay::Overlays;
use crate::profile::Report;
use crate::sandbox::control::Ended;
use crate::sandbox::supervise::{Outcome, supervise};
use crate::sandbox::terminal::{self, Terminal};
use crate::sandbox::{Sandbox, Streams, namespace, privileges, streams, user};

/// Options of `do`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "runsc do [OPTIONS] [--] PROGRAM [ARGS]...",
    after_help = "\
Exit status:
  that of PROGRAM; 128 + N when signal N killed it; 127 when there is no PROGRAM,
  126 when it can't be executed; 125 for errors of runsc itself

Examples:
  runsc do uname -a
  runsc do --volume /tmp/out:/out -- make -C /src DESTDIR=/out install
  runsc do --root /srv/debian --user nobody --cwd /tmp -- sh -c 'id; pwd'"
)]
pub struct Args {
    /// Directory of the host that the sandbox sees as its root, read-only below a layer in memory
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Image of the host (EROFS, made by mkfs.erofs, with LZ4 or without compression) that is the root instead
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    rootfs_image: Option<PathBuf>,
    /// Show the file or directory SRC of the host at DST, writable unless `:ro` follows; `:exclusive` says that nobody
    /// else changes it meanwhile, which is faster than `:shared` (may be repeated)
    #[arg(long = "volume", short = 'v', value_name = "SRC:DST[:ro][:shared|:exclusive]")]
    volumes: Vec<OsString>,
    /// Whether the FIFOs in volumes lead to who has opened them on the host
    #[arg(long, value_enum, default_value_t)]
    host_fifo: HostFifo,
    /// Whether the Unix sockets in volumes lead to programs of the host
    #[arg(long, value_enum, default_value_t)]
    host_uds: HostUds,
    /// Where changes go: 'none' (the root is read-only), or 'root:' or 'all:' (volumes too) and where the layer for them is:
    /// 'memory', 'dir=PATH' (a file without a name in that directory) or 'self' (one in the root); ',size=N' limits each
    /// layer [default: root:memory]
    #[arg(long, value_name = "TREES:MEDIUM[,size=N]")]
    overlay2: Option<Overlays>,
    /// Working directory [default: the current one, or / with --root]
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set an environment variable (may be repeated); the others are kept
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// User and group, by number or by name in the sandbox's /etc/passwd [default: the caller's]
    #[arg(long, short = 'u', value_name = "UID[:GID]|NAME")]
    user: Option<String>,
    /// Host name in the sandbox [default: the host's]
    #[arg(long, value_name = "NAME")]
    hostname: Option<OsString>,
    /// What runs the program's code
    #[arg(long, value_enum)]
    platform: Option<PlatformName>,
    /// What the network is
    #[arg(long, value_enum, default_value_t = Network::None)]
    network: Network,
    /// Print every system call, to standard error or, where there is one, to the debug log
    #[arg(long)]
    strace: bool,
    /// Write where the time goes to OUT.txt (a table) and OUT.svg (a flame graph)
    #[arg(long, value_name = "OUT")]
    profile: Option<PathBuf>,
    /// Append what the sandbox does to FILE
    #[arg(long, value_name = "FILE")]
    debug_log: Option<PathBuf>,
    /// The program, looked for in PATH where it has no slash, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// Kinds of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Network {
    /// No network.
    None,
}

/// Runs the program and gives its exit status.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let started_ns = config::monotonic_ns();
    let mut timeline = Timeline::new(started_ns);
    // What the program inherits is looked at before this process changes it for itself.
    let ignored_signals = signal::ignored();
    let blocked_signals = signal::block(&SignalSet::all()).context("sigprocmask")?.bits();
    let log = match &args.debug_log {
        Some(path) => {
            let file = log::open(path)
                .with_context(|| format!("debug log {}", path.display()))
                .map_err(|error| error.context("choose another file for --debug-log"))?;
            log::start(file.try_clone()?);
            Some(file)
        }
        None => None,
    };
    let terminal = Terminal::find();
    let identity = namespace::identity();
    let overlays = args.overlay2.as_ref().or(global.overlay2()).unwrap_or(&Overlays::ROOT_IN_MEMORY);
    let gofer = GoferConfig { log: log.is_some(), identity, trees: trees(&args, overlays)?, id_maps: None };
    let mounts = mounts(&args, &gofer, overlays)?;
    let store = overlays.open_store(&args.root)?;
    let process = Process {
        env: environment(std::env::vars_os(), &args.env)?,
        cwd: working_directory(&args)?,
        user: user::find(args.user.as_deref(), &args.root)?,
        umask: umask(),
        limits: privileges::inherited_limits(),
        blocked_signals,
        ignored_signals,
        job_control: terminal::job_control(),
        foreground: terminal.as_ref().is_none_or(Terminal::foreground),
        args: args.command.iter().cloned().map(Text::from).collect(),
        capabilities: None,
        no_new_privileges: false,
        oom_score_adj: 0,
        nice: privileges::inherited_nice(),
        seccomp: None,
    };
    let mut sentry = SentryConfig {
        started_ns,
        log: log.is_some(),
        identity,
        platform: args.platform.or(global.platform()).unwrap_or(PlatformName::Auto),
        hostname: hostname(&args),
        strace: args.strace,
        profile: args.profile.is_some(),
        mounts,
        streams: Default::default(),
        has_store: store.is_some(),
        binds_sockets: args.host_uds.creates(),
        process: Some(process),
        container: None,
    };
    // Before anything runs: what can't be written is no use.
    let report = args.profile.as_deref().map(Report::create).transpose()?;
    timeline.done("command line understood");

    let profile = report.as_ref().map(|report| report.numbers.as_fd());
    let outcome =
        run_sandbox(&mut sentry, &gofer, (log.as_ref(), profile, store), terminal.as_ref(), &mut timeline)?;
    timeline.done("sandbox gone");
    // The program has run: its status is what counts.
    if let (Some(report), Outcome::Ended(_)) = (report, &outcome)
        && let Err(error) = report.write()
    {
        tell(&format!("runsc: do: --profile: {error:#}"));
    }
    Ok(finish(&args.command[0], outcome))
}

/// Starts the sandbox and stays with it; it is gone when this returns.
fn run_sandbox(
    sentry: &mut SentryConfig,
    gofer: &GoferConfig,
    (log, profile, store): (Option<&File>, Option<BorrowedFd<'_>>, Option<OwnedFd>),
    terminal: Option<&Terminal>,
    timeline: &mut Timeline,
) -> anyhow::Result<Outcome> {
    let stdio = streams::for_sandbox()?;
    let strace = log.map_or(stdio[2].fd.as_fd(), File::as_fd);
    sentry.streams = stdio.each_ref().map(|stream| stream.seen);
    let stdout_fds = stdio.each_ref().map(|stream| stream.fd.as_fd());
    let passed: Vec<BorrowedFd<'_>> = store.iter().map(AsFd::as_fd).collect();
    let fds = Streams { stdio: stdout_fds, strace, profile, log, listener: None, passed: &passed };
    let sandbox = Sandbox::start(sentry, gofer, &fds, timeline)?;
    drop((stdio, store));
    streams::let_go()?;
    let outcome = supervise(&sandbox, terminal)?;
    timeline.done("program ended");
    if !matches!(outcome, Outcome::Ended(Ended::Exited(_)))
        && let Some(terminal) = terminal
        && let Err(error) = terminal.restore()
    {
        tracing::warn!("restoring the terminal: {error}");
    }
    Ok(outcome)
}

/// The exit status for an outcome, and the line for one that went wrong.
fn finish(program: &OsString, outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Ended(Ended::Exited(status)) => ExitCode::from(status),
        Outcome::Ended(Ended::Killed(signal)) => ExitCode::from(128u8.saturating_add(signal as u8)),
        Outcome::NotStarted { missing, why } => {
            tell(&format!("runsc: do: {}: {why}", program.display()));
            ExitCode::from(if missing { STATUS_NOT_FOUND } else { STATUS_NOT_EXECUTABLE })
        }
        Outcome::Failed(why) => {
            tell(&format!("runsc: do: {why}"));
            ExitCode::from(STATUS_RUNSC)
        }
    }
}

/// The host's trees that the sandbox shows: the root first, then the volumes.
fn trees(args: &Args, overlays: &Overlays) -> anyhow::Result<Vec<Tree>> {
    let root = match &args.rootfs_image {
        Some(image) if !image.is_file() => {
            bail!("--rootfs-image {}: no such file; make one with mkfs.erofs", image.display());
        }
        Some(_) if args.user.as_ref().is_some_and(|user| user.contains(|c: char| c.is_alphabetic())) => {
            bail!("--user: names are not looked up in an image; give numbers");
        }
        Some(image) => image,
        None if !args.root.is_dir() => {
            let why = if args.root.exists() { "not a directory" } else { "no such directory" };
            bail!("--root {}: {why}; give a directory that exists", args.root.display());
        }
        None => &args.root,
    };
    let root = std::path::absolute(root).context("--root")?;
    // The kernel's own file systems cover these, so nobody needs what the host has there.
    let hide = ["proc", "sys", "dev"].map(|name| Text::Utf8(name.to_owned())).to_vec();
    let tree = |source: PathBuf, read_only, hide| Tree {
        source: source.into(),
        read_only,
        hide,
        host_sockets: false,
        bound_sockets: false,
        host_fifos: false,
    };
    let mut trees = vec![tree(root, true, hide)];
    for text in &args.volumes {
        let volume = Volume::parse(text)?;
        if let Err(error) = std::fs::metadata(&volume.source) {
            bail!("--volume {}: {error}; give a file or directory that exists", volume.source.display());
        }
        let source = std::path::absolute(&volume.source).context("--volume")?;
        let in_layer = overlays.of_others().is_some() && source.is_dir();
        let read_only = volume.read_only || in_layer;
        let host_fifos = args.host_fifo == HostFifo::Open && !in_layer;
        let (host_sockets, bound_sockets) =
            (args.host_uds.opens() && !in_layer, args.host_uds.creates() && !in_layer);
        trees.push(Tree { host_fifos, host_sockets, bound_sockets, ..tree(source, read_only, Vec::new()) });
    }
    Ok(trees)
}

/// Where the trees are mounted.
fn mounts(args: &Args, gofer: &GoferConfig, overlays: &Overlays) -> anyhow::Result<Vec<Mount>> {
    let target = Text::Utf8("/".to_owned());
    let overlay = overlays.of_root();
    let root = Mount { target, tree: 0, read_only: overlay.is_none(), overlay, sharing: Sharing::Exclusive };
    let mut mounts = vec![root];
    for (text, tree) in args.volumes.iter().zip(1..gofer.trees.len()) {
        let Volume { source, target, read_only, sharing } = Volume::parse(text)?;
        let overlay = overlays.of_others().filter(|_| source.is_dir());
        // Below a layer nothing is asked twice, as below Linux's overlays.
        let sharing = if overlay.is_some() { Sharing::Exclusive } else { sharing };
        mounts.push(Mount { target: target.into(), tree, read_only, overlay, sharing });
    }
    Ok(mounts)
}

/// A `--volume`.
#[derive(Debug, PartialEq, Eq)]
struct Volume {
    source: PathBuf,
    target: PathBuf,
    read_only: bool,
    sharing: Sharing,
}

impl Volume {
    fn parse(text: &OsString) -> anyhow::Result<Volume> {
        let parts: Vec<&[u8]> = text.as_bytes().split(|&byte| byte == b':').collect();
        let [source, target, ref options @ ..] = parts[..] else {
            bail!("--volume {}: not of the form SRC:DST[:ro]; give two paths", text.display())
        };
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        // A volume is there to exchange files with the host, so others may well change it.
        let (source_path, target) = (path(source), path(target));
        let mut volume = Volume { source: source_path, target, read_only: false, sharing: Sharing::Shared };
        let mut seen = [false; 2];
        for option in options {
            let kind = match *option {
                b"ro" | b"rw" => {
                    volume.read_only = *option == b"ro";
                    0
                }
                b"shared" => 1,
                b"exclusive" => {
                    volume.sharing = Sharing::Exclusive;
                    1
                }
                _ => bail!(
                    "--volume {}: {} is none of ro, rw, shared, exclusive; give one of them",
                    text.display(),
                    String::from_utf8_lossy(option)
                ),
            };
            if std::mem::replace(&mut seen[kind], true) {
                bail!("--volume {}: options that exclude each other; give one of them", text.display());
            }
        }
        if source.is_empty() || !volume.target.is_absolute() {
            bail!("--volume {}: DST is no absolute path; give one that begins with /", text.display());
        }
        Ok(volume)
    }
}

/// The caller's environment with `overrides` in it.
fn environment(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    overrides: &[OsString],
) -> anyhow::Result<Vec<Text>> {
    let name = |entry: &OsString| -> Option<Vec<u8>> {
        let bytes = entry.as_bytes();
        // A name has at least one byte, and may begin with '=' for odd shells.
        bytes.iter().skip(1).position(|&byte| byte == b'=').map(|at| bytes[..=at].to_vec())
    };
    let mut entries: Vec<OsString> = inherited
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        })
        .collect();
    for entry in overrides {
        let Some(wanted) = name(entry) else {
            bail!("--env {}: no NAME=VALUE; write the value too", entry.display());
        };
        match entries.iter().position(|old| name(old).as_ref() == Some(&wanted)) {
            Some(place) => entries[place] = entry.clone(),
            None => entries.push(entry.clone()),
        }
    }
    Ok(entries.into_iter().map(Text::from).collect())
}

fn working_directory(args: &Args) -> anyhow::Result<Text> {
    match &args.cwd {
        Some(dir) if dir.is_absolute() => Ok(dir.clone().into()),
        Some(dir) => bail!("--cwd {}: no absolute path; give one that begins with /", dir.display()),
        None if args.root == Path::new("/") && args.rootfs_image.is_none() => {
            Ok(std::env::current_dir().context("the current directory is gone; give --cwd")?.into())
        }
        None => Ok(Text::Utf8("/".to_owned())),
    }
}

fn hostname(args: &Args) -> Text {
    match &args.hostname {
        Some(name) => name.clone().into(),
        None => rustix::system::uname().nodename().to_bytes().to_vec().into(),
    }
}

/// The caller's file mode creation mask, which can only be asked for by setting it.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(text: &str) -> anyhow::Result<(String, String, bool, Sharing)> {
        let Volume { source, target, read_only, sharing } = Volume::parse(&text.into())?;
        Ok((source.display().to_string(), target.display().to_string(), read_only, sharing))
    }

    #[test]
    fn volumes() {
        use Sharing::{Exclusive, Shared};
        let good = [
            ("/a:/b", ("/a".into(), "/b".into(), false, Shared)),
            ("./a:/b:ro", ("./a".into(), "/b".into(), true, Shared)),
            ("/a:/b:exclusive", ("/a".into(), "/b".into(), false, Exclusive)),
            ("/a:/b:ro:exclusive", ("/a".into(), "/b".into(), true, Exclusive)),
            ("/a:/b:shared:rw", ("/a".into(), "/b".into(), false, Shared)),
        ];
        for (text, expected) in good {
            assert_eq!(volume(text).unwrap(), expected, "{text}");
        }
        let bad = [
            "",
            "/a",
            "/a:",
            ":/b",
            "/a:b",
            "/a:/b:rx",
            "/a:/b:ro:x",
            "/a:/b:ro:rw",
            "/a:/b:",
            "/a:/b:shared:exclusive",
        ];
        for wrong in bad {
            assert!(volume(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn environment_is_kept_and_overridden() {
        let inherited = [("A", "1"), ("B", "2"), ("C", "")].map(|(n, v)| (n.into(), v.into()));
        let made = environment(inherited.into_iter(), &["B=3=x".into(), "D=4".into()]).unwrap();
        assert_eq!(made, ["A=1", "B=3=x", "C=", "D=4"].map(|entry| Text::Utf8(entry.to_owned())));
        assert!(environment(std::iter::empty(), &["NOVALUE".into()]).is_err());
    }
}
