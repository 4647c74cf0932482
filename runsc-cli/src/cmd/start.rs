//! `runsc start`: the process of a container that was created.

use std::process::ExitCode;

use crate::container::{Settings, notify, start, store::Store};

/// Options of `start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc start web")]
pub struct Args {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// Starts it.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let monitor = start::start(&store, &args.id)?;
    notify::pass_on(&store, &args.id, monitor)?;
    Ok(ExitCode::SUCCESS)
}
