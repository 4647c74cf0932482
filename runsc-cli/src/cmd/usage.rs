//! `runsc usage`: the memory of a sandbox.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use crate::container::status::{Status, status};
use crate::container::store::Store;
use crate::container::{ContainerError, Settings, ask};
use crate::sandbox::control::{Answer, Request};

/// Options of `usage`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc usage web")]
pub struct Args {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// Prints it, bytes: what guests use, and the host's view of each process.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let (_, saved) = store.load(&args.id)?;
    if matches!(status(&store, &saved), Status::Stopped | Status::Creating) {
        return Err(ContainerError::NotRunning.into());
    }
    let answer = ask::ask(&store.dir(&saved.sandbox)?, &Request::Stats { container: args.id.clone() })?;
    let Answer::Stats(stats) = answer else { bail!("the sandbox answered {answer:?}; please report this") };
    let mut processes = Vec::new();
    let mut total = 0;
    for process in saved.monitor.iter().chain(&saved.helpers) {
        let pss = pss(process.pid).unwrap_or(0);
        total += pss;
        processes.push(json!({"pid": process.pid, "pss": pss}));
    }
    let usage = json!({"id": args.id, "guest": stats.memory, "runtime": total, "processes": processes});
    super::print(&serde_json::to_string_pretty(&usage)?)?;
    Ok(ExitCode::SUCCESS)
}

/// A process's share of memory, bytes.
fn pss(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
