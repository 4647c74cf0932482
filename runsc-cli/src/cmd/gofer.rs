//! `runsc gofer`: the process that holds the host's files for the Sentry.

use std::process::ExitCode;

/// Serves until the Sentry closes its end.
pub fn run() -> anyhow::Result<ExitCode> {
    crate::sandbox::gofer::serve()?;
    Ok(ExitCode::SUCCESS)
}
