//! `runsc checkpoint` and `runsc restore`, which are not there yet.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::bail;

/// Whatever they are given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc checkpoint web    # not supported yet")]
pub struct Args {
    /// Options and the container
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    _args: Vec<OsString>,
}

/// Says so.
pub fn run() -> anyhow::Result<ExitCode> {
    bail!("not supported yet")
}
