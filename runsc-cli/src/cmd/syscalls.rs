//! `runsc syscalls`: the system call table.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;

/// Options of `syscalls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc syscalls --format json")]
pub struct Args {
    /// Shape of the output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Shapes of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Columns.
    Table,
    /// An array of objects.
    Json,
}

/// Prints number, name, support level and note of each call.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let rows = syscalls::table();
    let text = match args.format {
        Format::Table => syscalls::report::text(rows),
        Format::Json => syscalls::report::json(rows),
    };
    print(&text)
}

/// Prints to standard output. A reader that has enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
