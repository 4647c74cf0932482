//! `runsc syscalls`: the system call table.

use std::process::ExitCode;

use anyhow::bail;

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

/// Prints number, name, arguments, support level and note of each call.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    bail!("{:?}: the system call table is not built yet; wait for it", args.format);
}
