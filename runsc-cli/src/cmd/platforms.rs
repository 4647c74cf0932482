//! `runsc platforms`: what can run guest code here.

use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::config::PlatformName;

/// Options of `platforms`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc platforms")]
pub struct Args {}

/// Prints each platform, whether it is the one that `--platform` defaults to, and whether it works here.
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<10} {:<8} {:<6} NOTE", "PLATFORM", "DEFAULT", "WORKS")?;
    for platform in PlatformName::value_variants() {
        let default = if *platform == PlatformName::Ptrace { "yes" } else { "no" };
        let (works, note) = match obstacle(*platform) {
            None => ("yes", String::new()),
            Some(why) => ("no", why),
        };
        writeln!(out, "{:<10} {default:<8} {works:<6} {note}", platform.as_str())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a platform does not work on this host.
fn obstacle(platform: PlatformName) -> Option<String> {
    match platform {
        PlatformName::Systrap => None,
        PlatformName::Ptrace => {
            // 3: nobody may trace anything, not even its own children (Documentation/admin-guide/LSM/Yama.rst).
            let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
            (scope.trim() == "3")
                .then(|| "kernel.yama.ptrace_scope is 3: set it to 2 or less with sysctl".to_owned())
        }
    }
}
