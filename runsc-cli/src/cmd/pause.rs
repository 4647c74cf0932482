//! `runsc pause` and `runsc resume`.

use std::process::ExitCode;

use crate::container::status::{Status, status};
use crate::container::store::Store;
use crate::container::{ContainerError, Settings, ask};
use crate::sandbox::control::Request;

/// Options of both.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc pause web && runsc resume web")]
pub struct Args {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// Stops all processes of a container where they are.
pub fn pause(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let container = args.id.clone();
    change(
        settings,
        args,
        &[Status::Running, Status::Created],
        ContainerError::NotRunning,
        &Request::Freeze { container },
    )
}

/// Lets them go on.
pub fn resume(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let container = args.id.clone();
    change(
        settings,
        args,
        &[Status::Paused],
        ContainerError::State("container not paused; 'runsc state' tells what it is doing".to_owned()),
        &Request::Thaw { container },
    )
}

fn change(
    settings: &Settings,
    args: &Args,
    from: &[Status],
    otherwise: ContainerError,
    request: &Request,
) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let _locked = store.lock(&args.id)?;
    let (_, saved) = store.load(&args.id)?;
    if !from.contains(&status(&store, &saved)) {
        return Err(otherwise.into());
    }
    ask::ask(&store.dir(&saved.sandbox)?, request)?;
    Ok(ExitCode::SUCCESS)
}
