//! `runsc wait`: the end of a container, or of a process in it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde_json::json;

use crate::container::status::{Status, status};
use crate::container::store::Store;
use crate::container::{ContainerError, Settings, ask, state_file};
use crate::sandbox::control::{Answer, Ended, Request};

/// Options of `wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc wait web")]
pub struct Args {
    /// The process with this number in the container
    #[arg(long, value_name = "PID")]
    pid: Option<i32>,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// Waits, and prints how it ended.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let (dir, saved) = store.load(&args.id)?;
    let ended = loop {
        match status(&store, &saved) {
            Status::Stopped => break noted(&dir)?,
            // There is no process to wait for yet.
            Status::Created | Status::Creating => {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            Status::Running | Status::Paused => {}
        }
        let request = Request::Wait { container: args.id.clone(), pid: args.pid };
        match ask::ask_patiently(&store.dir(&saved.sandbox)?, &request) {
            Ok(Answer::Ended(ended)) => break ended,
            Ok(other) => bail!("the sandbox answered {other:?}; please report this"),
            // The sandbox ended with its process before it could answer.
            Err(ContainerError::Silent(_)) if args.pid.is_none() => break noted(&dir)?,
            Err(ContainerError::Refused(_)) if args.pid.is_none() => break noted(&dir)?,
            Err(error) => return Err(error.into()),
        }
    };
    let status = match ended {
        Ended::Exited(status) => i32::from(status),
        Ended::Killed(signal) => 128 + signal,
    };
    super::print(&json!({"id": args.id, "exitStatus": status}).to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// What the monitor has noted; it does so a moment after the end.
fn noted(dir: &std::path::Path) -> anyhow::Result<Ended> {
    for _ in 0..200 {
        if let Some(ended) = state_file::read_ended(dir) {
            return Ok(ended);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("the container was killed from outside: how it ended is not known")
}
