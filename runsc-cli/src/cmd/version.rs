//! `runsc version`.

use std::process::ExitCode;

/// Prints name and version.
pub fn run() -> anyhow::Result<ExitCode> {
    println!("runsc {}", env!("CARGO_PKG_VERSION"));
    Ok(ExitCode::SUCCESS)
}
