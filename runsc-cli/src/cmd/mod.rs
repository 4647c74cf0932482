//! The sub-commands, one file each, and what they share: parsing the command line and telling an error.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod boot;
pub mod r#do;
pub mod gofer;
pub mod platforms;
pub mod self_test;
pub mod syscalls;
pub mod version;

/// Exit status for errors of runsc itself, as distinct from any status of a program in the sandbox.
pub const STATUS_RUNSC: u8 = 125;
/// Exit status when the program exists and can't be executed.
pub const STATUS_NOT_EXECUTABLE: u8 = 126;
/// Exit status when there is no such program.
pub const STATUS_NOT_FOUND: u8 = 127;

/// Runs programs in a sandbox: a Linux kernel in user space stands between them and the host.
#[derive(Debug, Parser)]
#[command(
    name = "runsc",
    version,
    disable_version_flag = true,
    after_help = "Example:\n  runsc do -- ls -l /\n\n'runsc help COMMAND' tells more about a command."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program in a sandbox that shows the host's files, read-only below a layer in memory
    Do(Box<r#do::Args>),
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

/// Parses the command line; help and usage errors are printed here, and the status to exit with is returned.
pub fn parse() -> Result<Command, ExitCode> {
    Cli::try_parse().map(|cli| cli.command).map_err(|error| {
        if !error.use_stderr() {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let text = error.render().to_string();
        // No arguments at all: clap's text is the help, which is worth more than one line.
        if std::env::args_os().len() < 2 {
            tell(&text);
        } else {
            tell(&format!("runsc: {}", usage_line(&text)));
        }
        ExitCode::from(STATUS_RUNSC)
    })
}

/// One line from clap's several: the first paragraph, and where to read on.
fn usage_line(text: &str) -> String {
    let paragraph: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let first = paragraph.join(" ");
    let command = text
        .lines()
        .find_map(|line| line.strip_prefix("Usage: "))
        .map(|usage| {
            usage.split_whitespace().take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        })
        .map(|words| words.collect::<Vec<_>>().join(" "))
        .unwrap_or_else(|| "runsc".to_owned());
    format!("{}; see '{command} --help'", first.strip_prefix("error: ").unwrap_or(&first))
}

/// Prints the one line of an error and gives the status to exit with.
pub fn fail(command: &str, error: &anyhow::Error) -> ExitCode {
    tracing::error!("{command}: {error:#}");
    tell(&format!("runsc: {command}: {error:#}"));
    ExitCode::from(STATUS_RUNSC)
}

/// Writes a line to standard error. When that is closed there is nobody to tell.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

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
            usage_line(&Cli::try_parse_from(args).expect_err("a usage error").render().to_string())
        };
        assert_eq!(
            line(&["runsc", "do"]),
            "the following required arguments were not provided: <PROGRAM>...; see 'runsc do --help'"
        );
        assert_eq!(
            line(&["runsc", "do", "--bogus", "ls"]),
            "unexpected argument '--bogus' found; see 'runsc do --help'"
        );
    }
}
