//! `runsc platforms`: what can run guest code here.

use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::config::PlatformName;
use crate::sandbox::choose_platform;

/// Options of `platforms`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc platforms")]
pub struct Args {}

/// Prints each platform, whether it is what `--platform=auto` comes to, and whether it works here (it is tried).
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<10} {:<8} {:<6} NOTE", "PLATFORM", "DEFAULT", "WORKS")?;
    let default = choose_platform::default();
    let hidden = [PlatformName::Auto, PlatformName::SystrapSignals];
    for &name in PlatformName::value_variants().iter().filter(|name| !hidden.contains(name)) {
        let chosen = if default == Some(name) { "yes" } else { "no" };
        let (works, note) = match choose_platform::obstacle(name) {
            None => ("yes", String::new()),
            Some(why) => ("no", why),
        };
        writeln!(out, "{:<10} {chosen:<8} {works:<6} {note}", name.as_str())?;
    }
    Ok(ExitCode::SUCCESS)
}
