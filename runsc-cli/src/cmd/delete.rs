//! `runsc delete`: everything of a container.

use std::process::ExitCode;

use crate::container::delete::{Force, delete};
use crate::container::{Settings, store::Store};

/// Options of `delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc delete --force web")]
pub struct Args {
    /// Kill it if it runs; no error if there is none
    #[arg(long, short = 'f')]
    force: bool,
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

/// Deletes them.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let force = if args.force { Force::Yes } else { Force::No };
    let mut failed = None;
    for id in &args.ids {
        if let Err(error) = delete(&store, id, force) {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}
