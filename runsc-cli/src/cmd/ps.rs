//! `runsc ps`: the processes of a container.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use super::Shape;
use crate::container::state_file::Saved;
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
    /// Options of ps(1), which then shows the host processes of the container's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// The processes of a container that runs, or could be started.
pub fn processes(store: &Store, id: &str) -> anyhow::Result<Vec<ProcessInfo>> {
    let (_, saved) = store.load(id)?;
    if matches!(status(store, &saved), Status::Stopped | Status::Creating) {
        return Err(ContainerError::NotRunning.into());
    }
    processes_of(store, &saved)
}

fn processes_of(store: &Store, saved: &Saved) -> anyhow::Result<Vec<ProcessInfo>> {
    let id = &saved.id;
    match ask::ask(&store.dir(&saved.sandbox)?, &Request::Processes { container: id.to_owned() })? {
        Answer::Processes(processes) => Ok(processes),
        other => bail!("the sandbox answered {other:?}; please report this"),
    }
}

/// Prints them; as JSON, which is for engines, the numbers of their host processes: those are what ps(1) shows to them.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let (_, saved) = store.load(&args.id)?;
    // One that has stopped has none.
    let processes = match status(&store, &saved) {
        Status::Stopped | Status::Creating => Vec::new(),
        _ => processes_of(&store, &saved)?,
    };
    match args.format {
        // As runc has it, an empty list is no list.
        Shape::Json if processes.is_empty() => super::print("null")?,
        Shape::Json => {
            super::print(&serde_json::to_string(&on_the_host(&store, &args.id, &processes)?)?)?;
        }
        Shape::Table if !args.options.is_empty() => {
            let pids = on_the_host(&store, &args.id, &processes)?;
            super::print(&shown_by_ps(&args.options, &pids)?)?;
        }
        Shape::Table => {
            let mut rows = vec![["UID", "PID", "PPID", "C", "STIME", "TIME", "CMD"].map(str::to_owned)];
            rows.extend(processes.iter().map(row));
            super::print(&super::table(&rows))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The numbers of their host processes. One that has ended has none.
fn on_the_host(store: &Store, id: &str, processes: &[ProcessInfo]) -> anyhow::Result<Vec<i32>> {
    let (_, saved) = store.load(id)?;
    let (_, first) = store.load(&saved.sandbox)?;
    let hosts = first.helpers.first().map(|sentry| host_pids::of_children(sentry.pid)).unwrap_or_default();
    Ok(processes.iter().filter_map(|process| hosts.get(&process.host_process?).copied()).collect())
}

/// The heading that the host's ps(1) prints with these options, and its lines on these processes.
fn shown_by_ps(options: &[String], pids: &[i32]) -> anyhow::Result<String> {
    let output = Command::new("ps").args(options).output().context("ps; install procps on the host")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        bail!("ps {}: {}: {first}; see ps(1)", options.join(" "), output.status);
    }
    only(&String::from_utf8_lossy(&output.stdout), pids)
        .with_context(|| format!("ps {}: no column PID; choose options that show it", options.join(" ")))
}

/// The heading of a table, and those of its lines that are about these processes. `None` without a column for that.
fn only(table: &str, pids: &[i32]) -> Option<String> {
    let mut lines = table.lines();
    let heading = lines.next()?;
    let column = heading.split_whitespace().position(|name| name == "PID")?;
    let is_asked = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|text| text.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Some([heading].into_iter().chain(lines.filter(is_asked)).collect::<Vec<_>>().join("\n"))
}

fn row(process: &ProcessInfo) -> [String; 7] {
    let seconds = process.cpu_ms / 1000;
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let started = format!("{:02}:{:02}", process.start_s / 60, process.start_s % 60);
    let name = process.threads.first().map(|thread| {
        let ended = if thread.state == 'Z' { " <defunct>" } else { "" };
        format!("[{}]{ended}", thread.name.display())
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_pid() {
        let table = "USER  PID %CPU\nroot    1  0.0\nroot   12  0.0\n7      13  0.0\n";
        assert_eq!(only(table, &[12, 7]).unwrap(), "USER  PID %CPU\nroot   12  0.0");
        assert_eq!(only("COMMAND\nsh\n", &[12]), None);
    }
}
