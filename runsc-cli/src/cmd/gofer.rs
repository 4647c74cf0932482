//! `runsc gofer`: the process that holds the host's files for the Sentry.

use std::process::ExitCode;

/// `runsc owners`: the process that tells an ordinary user's Gofer whose files are.
pub fn run_owners() -> anyhow::Result<ExitCode> {
    crate::sandbox::gofer::serve_owners()?;
    Ok(ExitCode::SUCCESS)
}

/// Serves until the Sentry closes its end.
pub fn run() -> anyhow::Result<ExitCode> {
    crate::sandbox::gofer::serve()?;
    Ok(ExitCode::SUCCESS)
}
