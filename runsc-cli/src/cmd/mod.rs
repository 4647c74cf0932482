//! The sub-commands, one file each, and what they share: parsing the command line and telling an error.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::PlatformName;
use crate::container::{Settings, namespaces};
use crate::overlay::Overlays;
use crate::report;

mod argv;
pub mod boot;
pub mod create;
pub mod debug;
pub mod delete;
pub mod r#do;
pub mod events;
pub mod exec;
pub mod features;
pub mod gofer;
pub mod install;
pub mod kill;
pub mod list;
pub mod pause;
pub mod platforms;
pub mod ps;
pub mod run;
pub mod self_test;
pub mod spec;
pub mod start;
pub mod state;
pub mod syscalls;
pub mod unsupported;
pub mod update;
pub mod usage;
pub mod version;
pub mod wait;

/// Exit status for errors of runsc itself, as distinct from any status of a program in the sandbox.
pub const STATUS_RUNSC: u8 = 125;
/// Exit status when the program exists and can't be executed.
pub const STATUS_NOT_EXECUTABLE: u8 = 126;
/// Exit status when there is no such program.
pub const STATUS_NOT_FOUND: u8 = 127;
/// Exit status for errors of the commands that runc has too, and for a command line that can't be parsed.
const STATUS_RUNC: u8 = 1;
/// Exit status for a command that is not known, as runc has it.
const STATUS_UNKNOWN: u8 = 3;
/// Exit status for errors of `exec`, as runc has it.
const STATUS_EXEC: u8 = 255;

/// Commands that are not runc's.
const OWN: [&str; 7] = ["do", "syscalls", "platforms", "version", "self-test", "boot", "gofer"];

/// Runs programs and containers in sandboxes: a Linux kernel in user space stands between them and the host.
#[derive(Debug, Parser)]
#[command(
    name = "runsc",
    disable_version_flag = true,
    arg_required_else_help = true,
    after_help = "Example:\n  runsc do -- ls -l /\n\n'runsc help COMMAND' tells more about a command."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Flags before the command, as container engines give them.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Directory that the state of containers is kept in
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// File that errors and warnings are appended to
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Form of the lines in it
    #[arg(long, value_enum, default_value_t)]
    log_format: report::Format,
    /// Accepted and without effect: --debug-log FILE has a sandbox tell what it does
    #[arg(long)]
    debug: bool,
    /// Append what sandboxes do to FILE
    #[arg(long, value_name = "FILE")]
    debug_log: Option<PathBuf>,
    /// Have systemd make the cgroups: a scope for each container. cgroupsPath is slice:prefix:name then
    #[arg(long)]
    systemd_cgroup: bool,
    /// Accepted and without effect: whether the caller is an ordinary user is seen
    #[arg(long, value_name = "BOOL", default_value = "auto")]
    rootless: String,
    /// What runs guest code
    #[arg(long, value_enum)]
    platform: Option<PlatformName>,
    /// What the network is
    #[arg(long, value_enum, default_value_t)]
    network: Network,
    /// Leave cgroups alone
    #[arg(long)]
    ignore_cgroups: bool,
    /// Print every system call, to the debug log
    #[arg(long)]
    strace: bool,
    /// Where what a container writes to its root goes
    #[arg(long, value_enum, default_value_t)]
    overlay: Overlay,
    /// The same in detail: 'none', or 'root:' or 'all:' (bind mounts too) and where the layer for changes is: 'memory',
    /// 'dir=PATH' (a file without a name in that directory) or 'self' (one in the root); ',size=N' limits each layer
    #[arg(long, value_name = "TREES:MEDIUM[,size=N]", conflicts_with = "overlay")]
    overlay2: Option<Overlays>,
    /// Whether the FIFOs of a container's root and bind mounts lead to who has opened them on the host; not in a root that
    /// is kept in memory
    #[arg(long, value_enum, default_value_t)]
    host_fifo: HostFifo,
    /// Whether the Unix sockets of a container's root and bind mounts lead to programs of the host; not in a root below a layer
    #[arg(long, value_enum, default_value_t)]
    host_uds: HostUds,
    /// Accepted and without effect: there is no checkpointing by criu(8)
    #[arg(long, value_name = "PATH")]
    criu: Option<PathBuf>,
    /// Print the version
    #[arg(long, short = 'v')]
    version: bool,
}

/// What becomes of the host's FIFOs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum HostFifo {
    /// They are the sandbox's own: nobody outside is reached.
    #[default]
    None,
    /// They are opened on the host.
    Open,
}

/// What Unix sockets have to do with the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HostUds {
    /// They are the sandbox's own: nobody outside is reached.
    #[default]
    None,
    /// Sockets of the host can be connected to.
    Open,
    /// Sockets that are made are the host's: its programs can connect to them.
    Create,
    /// Both.
    All,
}

impl HostUds {
    /// Whether sockets of the host can be connected to.
    pub fn opens(self) -> bool {
        matches!(self, HostUds::Open | HostUds::All)
    }

    /// Whether sockets are made on the host.
    pub fn creates(self) -> bool {
        matches!(self, HostUds::Create | HostUds::All)
    }
}

/// Kinds of network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Network {
    /// The sandbox's own: no more than it has.
    #[default]
    Sandbox,
    /// None.
    None,
    /// The host's, which is not supported.
    Host,
}

/// What becomes of writes to a container's root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Overlay {
    /// They are kept in the bundle, as with runc.
    #[default]
    None,
    /// They stay in memory, and are gone with the sandbox.
    Memory,
}

/// Forms of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Columns with a heading.
    #[default]
    Table,
    /// JSON.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program in a sandbox that shows the host's files, read-only below a layer in memory
    Do(Box<r#do::Args>),
    /// Create a container; its process does not run yet
    Create(create::Args),
    /// Start the process of a container that was created
    Start(start::Args),
    /// Create a container and start its process
    Run(run::Args),
    /// Start one more process in a container
    Exec(exec::Args),
    /// Print what a container is doing
    State(state::Args),
    /// Send a signal to a container
    Kill(kill::Args),
    /// Remove a container
    Delete(delete::Args),
    /// List containers
    List(list::Args),
    /// List the processes of a container
    Ps(ps::Args),
    /// Stop the processes of a container where they are
    Pause(pause::Args),
    /// Let them go on
    Resume(pause::Args),
    /// Print what a container uses
    Events(events::Args),
    /// Change the limits of a container
    Update(update::Args),
    /// Wait for the end of a container
    Wait(wait::Args),
    /// Write a configuration to start from
    Spec(spec::Args),
    /// Print what the runtime understands
    #[command(after_help = "Example:\n  runsc features")]
    Features,
    /// Print the memory that a sandbox uses
    Usage(usage::Args),
    /// Print what the processes of a sandbox are doing
    Debug(debug::Args),
    /// Make the runtime known to Docker and containerd
    Install(install::Args),
    /// Make them forget it
    Uninstall(install::Args),
    /// Not supported yet
    Checkpoint(unsupported::Args),
    /// Not supported yet
    Restore(unsupported::Args),
    /// Print the system call table: what is supported, and how far
    Syscalls(syscalls::Args),
    /// Print the platforms that can run guest code, and whether they work here
    Platforms(platforms::Args),
    /// Print the version
    #[command(after_help = "Example:\n  runsc version")]
    Version,
    /// Start a sandbox without a program and print how it is confined
    #[command(hide = true)]
    SelfTest(self_test::Args),
    /// The Sentry of a sandbox (started by runsc)
    #[command(hide = true, after_help = "Example:\n  runsc do true    # starts it")]
    Boot,
    /// The Gofer of a sandbox (started by runsc)
    #[command(hide = true, after_help = "Example:\n  runsc do true    # starts it")]
    Gofer,
    /// What tells an ordinary user's Gofer whose files are (started by runsc)
    #[command(hide = true, after_help = "Example:\n  runsc do true    # starts it")]
    Owners,
}

impl Command {
    /// The name on the command line, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Do(_) => "do",
            Command::Create(_) => "create",
            Command::Start(_) => "start",
            Command::Run(_) => "run",
            Command::Exec(_) => "exec",
            Command::State(_) => "state",
            Command::Kill(_) => "kill",
            Command::Delete(_) => "delete",
            Command::List(_) => "list",
            Command::Ps(_) => "ps",
            Command::Pause(_) => "pause",
            Command::Resume(_) => "resume",
            Command::Events(_) => "events",
            Command::Update(_) => "update",
            Command::Wait(_) => "wait",
            Command::Spec(_) => "spec",
            Command::Features => "features",
            Command::Usage(_) => "usage",
            Command::Debug(_) => "debug",
            Command::Install(_) => "install",
            Command::Uninstall(_) => "uninstall",
            Command::Checkpoint(_) => "checkpoint",
            Command::Restore(_) => "restore",
            Command::Syscalls(_) => "syscalls",
            Command::Platforms(_) => "platforms",
            Command::Version => "version",
            Command::SelfTest(_) => "self-test",
            Command::Boot => "boot",
            Command::Gofer => "gofer",
            Command::Owners => "owners",
        }
    }
}

impl Global {
    /// What they mean for containers.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        report::begin(self.log.as_deref(), self.log_format).context("--log")?;
        if self.network == Network::Host {
            anyhow::bail!("--network=host is not supported yet; leave it out");
        }
        Ok(Settings {
            root: self.root.clone().unwrap_or_else(default_root),
            platform: self.platform.unwrap_or(PlatformName::Auto),
            systemd_cgroup: self.systemd_cgroup,
            ignore_cgroups: self.ignore_cgroups,
            strace: self.strace,
            debug_log: self.debug_log.clone(),
            overlays: match (&self.overlay2, self.overlay) {
                (Some(overlays), _) => overlays.clone(),
                (None, Overlay::Memory) => Overlays::ROOT_IN_MEMORY,
                (None, Overlay::None) => Overlays::NONE,
            },
            host_uds: self.host_uds,
            host_fifos: self.host_fifo == HostFifo::Open,
        })
    }

    /// The layers for changes, if they are named.
    pub fn overlay2(&self) -> Option<&Overlays> {
        self.overlay2.as_ref()
    }

    /// The platform, if one is named.
    pub fn platform(&self) -> Option<PlatformName> {
        self.platform
    }
}

/// Where the state of containers is kept without a word: for an ordinary user, also as root of an own user namespace, in the
/// directory of the login session.
fn default_root() -> PathBuf {
    let uid = rustix::process::geteuid();
    if namespaces::is_hosts_root() {
        return PathBuf::from("/run/runsc");
    }
    let session = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let temporary = || std::env::temp_dir().join(format!("runsc-{}", uid.as_raw()));
    session.map_or_else(temporary, |dir| dir.join("runsc"))
}

/// Parses the command line; help and usage errors are printed here, and the status to exit with is returned.
pub fn parse() -> Result<(Global, Command), ExitCode> {
    let args = argv::normalize(&Cli::command(), std::env::args_os());
    let parsed =
        Cli::command().try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    let error = match parsed {
        Ok(Cli { global, command: Some(command) }) => return Ok((global, command)),
        Ok(Cli { global, command: None }) if global.version => {
            let text = format!("runsc version {}\nspec: 1.2.0", env!("CARGO_PKG_VERSION"));
            return Err(print(&text).map_or(ExitCode::from(STATUS_RUNSC), |()| ExitCode::SUCCESS));
        }
        Ok(_) => Cli::command().error(clap::error::ErrorKind::MissingSubcommand, "a command is missing"),
        Err(error) => error,
    };
    if !error.use_stderr() {
        let _ = error.print();
        return Err(ExitCode::SUCCESS);
    }
    let text = error.render().to_string();
    // No arguments at all: clap's text is the help, which is worth more than one line.
    if std::env::args_os().len() < 2 {
        tell(&text);
    } else {
        let line = usage_line(&text, &command_of(&args));
        let (log, format) = log_of(&args);
        // An error: the line goes to standard error at least.
        let _ = report::begin(log.as_deref(), format);
        tell_error(&line, &format!("runsc: {line}"));
    }
    let status = match command_of(&args).as_str() {
        _ if error.kind() == clap::error::ErrorKind::InvalidSubcommand => STATUS_UNKNOWN,
        own if OWN.contains(&own) => STATUS_RUNSC,
        _ => STATUS_RUNC,
    };
    Err(ExitCode::from(status))
}

/// What a command line that can't be parsed says of the log: engines look there for what is wrong with it.
fn log_of(args: &[OsString]) -> (Option<PathBuf>, report::Format) {
    let (mut log, mut format) = (None, report::Format::Text);
    let mut args = args.iter().skip(1).filter_map(|arg| arg.to_str());
    while let Some((name, value)) = args
        .next()
        .and_then(|arg| arg.strip_prefix("--"))
        .map(|flag| flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value))))
    {
        let takes = Cli::command()
            .get_arguments()
            .any(|arg| arg.get_long() == Some(name) && arg.get_action().takes_values());
        let value = if takes { value.or_else(|| args.next()) } else { value };
        match (name, value) {
            ("log", Some(path)) => log = Some(PathBuf::from(path)),
            ("log-format", Some("json")) => format = report::Format::Json,
            _ => {}
        }
    }
    (log, format)
}

/// The command on a command line that could not be parsed.
fn command_of(args: &[OsString]) -> String {
    let command = Cli::command();
    let known = |arg: &&OsString| command.get_subcommands().any(|sub| Some(sub.get_name()) == arg.to_str());
    args.iter().skip(1).find(known).map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The exit status for an error of a command.
fn status_of(command: &str) -> u8 {
    match command {
        "exec" => STATUS_EXEC,
        own if OWN.contains(&own) => STATUS_RUNSC,
        _ => STATUS_RUNC,
    }
}

/// Writes a line to standard output.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One line from clap's several for a command: the first paragraph, and where to read on.
fn usage_line(text: &str, command: &str) -> String {
    let paragraph: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let first = paragraph.join(" ");
    let of_command = || if command.is_empty() { "runsc".to_owned() } else { format!("runsc {command}") };
    let command = text
        .lines()
        .find_map(|line| line.strip_prefix("Usage: "))
        .map(|usage| {
            usage.split_whitespace().take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        })
        .map(|words| words.collect::<Vec<_>>().join(" "))
        .unwrap_or_else(of_command);
    format!("{}; see '{command} --help'", first.strip_prefix("error: ").unwrap_or(&first))
}

/// Prints the one line of an error and gives the status to exit with.
pub fn fail(command: &str, error: &anyhow::Error) -> ExitCode {
    tracing::error!("{command}: {error:#}");
    tell_error(&format!("{error:#}"), &format!("runsc: {command}: {error:#}"));
    ExitCode::from(status_of(command))
}

/// Tells an error where `--log` says, and on standard error.
fn tell_error(log: &str, line: &str) {
    report::error(log);
    if !report::is_standard_error() {
        tell(line);
    }
}

/// Writes a line to standard error. When that is closed there is nobody to tell.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{} --help has no example", command.get_name());
        }
    }

    #[test]
    fn usage_errors_are_one_line() {
        let line = |args: &[&str]| {
            let error = Cli::try_parse_from(args).expect_err("a usage error");
            usage_line(&error.render().to_string(), args[1])
        };
        assert_eq!(
            line(&["runsc", "do"]),
            "the following required arguments were not provided: <PROGRAM>...; see 'runsc do --help'"
        );
        assert_eq!(
            line(&["runsc", "do", "--bogus", "ls"]),
            "unexpected argument '--bogus' found; see 'runsc do --help'"
        );
        assert_eq!(
            line(&["runsc", "exec", "--preserve-fds", "x", "web"]),
            "invalid value 'x' for '--preserve-fds <N>': invalid digit found in string; see 'runsc exec --help'"
        );
    }

    #[test]
    fn the_log_is_found_on_a_command_line_that_can_not_be_parsed() {
        let log = |line: &str| log_of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let path = Some(PathBuf::from("/l"));
        assert_eq!(
            log("runsc --root /r --log /l --debug state --bogus"),
            (path.clone(), report::Format::Text)
        );
        assert_eq!(log("runsc --log=/l --log-format=json --bogus"), (path, report::Format::Json));
        assert_eq!(log("runsc state --log /l"), (None, report::Format::Text));
    }
}
