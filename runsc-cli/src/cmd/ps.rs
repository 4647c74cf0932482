//! `runsc ps`: the processes of a container.

use std::process::ExitCode;

use anyhow::bail;

use super::Shape;
use crate::container::status::{Status, status};
use crate::container::store::Store;
use crate::container::{ContainerError, Settings, ask, host_pids};
use crate::sandbox::control::{Answer, ProcessInfo, Request};

/// Options of `ps`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc ps --format json web")]
pub struct Args {
    /// Form of the list
    #[arg(long, short = 'f', value_enum, default_value_t)]
    format: Shape,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// Options of ps(1), accepted and without effect: the columns are fixed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// The processes of a container that is there.
pub fn processes(store: &Store, id: &str) -> anyhow::Result<Vec<ProcessInfo>> {
    let (_, saved) = store.load(id)?;
    if matches!(status(store, &saved), Status::Stopped | Status::Creating) {
        return Err(ContainerError::State("container not running".to_owned()).into());
    }
    match ask::ask(&store.dir(&saved.sandbox)?, &Request::Processes { container: id.to_owned() })? {
        Answer::Processes(processes) => Ok(processes),
        other => bail!("the sandbox answered {other:?}; please report this"),
    }
}

/// Prints them; as JSON, which is for engines, the numbers of their host processes: those are what ps(1) shows to them.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let processes = processes(&store, &args.id)?;
    match args.format {
        Shape::Json => {
            let (_, saved) = store.load(&args.id)?;
            let (_, first) = store.load(&saved.sandbox)?;
            let hosts = first.helpers.first().map(|sentry| host_pids::of_children(sentry.pid));
            let hosts = hosts.unwrap_or_default();
            let pids = processes.iter().filter_map(|process| hosts.get(&process.host_process?).copied());
            let pids: Vec<i32> = pids.collect();
            super::print(&serde_json::to_string(&pids)?)?;
        }
        Shape::Table => {
            let mut rows = vec![["UID", "PID", "PPID", "C", "STIME", "TIME", "CMD"].map(str::to_owned)];
            rows.extend(processes.iter().map(row));
            super::print(&super::table(&rows))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(process: &ProcessInfo) -> [String; 7] {
    let seconds = process.cpu_ms / 1000;
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let started = format!("{:02}:{:02}", process.start_s / 60, process.start_s % 60);
    let name = process.threads.first().map(|thread| format!("[{}]", thread.name.display()));
    let args: Vec<_> = process.args.iter().map(|arg| arg.display()).collect();
    let command =
        if args.iter().all(|arg| arg.is_empty()) { name.unwrap_or_default() } else { args.join(" ") };
    [
        process.uid.to_string(),
        process.pid.to_string(),
        process.ppid.to_string(),
        "0".to_owned(),
        started,
        time,
        command,
    ]
}
