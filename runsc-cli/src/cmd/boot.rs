//! `runsc boot`: the Sentry.

use std::process::ExitCode;

/// Confines itself, starts the kernel, and stays until the sandbox ends.
pub fn run() -> anyhow::Result<ExitCode> {
    crate::sandbox::boot::boot()?;
    Ok(ExitCode::SUCCESS)
}
