//! `runsc state`: what a container is doing, as the specification has it.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::container::Settings;
use crate::container::state_file::Saved;
use crate::container::status::{Status, status};
use crate::container::store::Store;

/// Options of `state`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc state web")]
pub struct Args {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// The object that `state` and `list` print.
pub fn value(saved: &Saved, status: Status) -> Value {
    let pid = match status {
        Status::Stopped => 0,
        _ => saved.monitor.map_or(0, |monitor| monitor.pid),
    };
    let mut value = json!({
        "ociVersion": saved.oci_version,
        "id": saved.id,
        "pid": pid,
        "status": status.as_str(),
        "bundle": saved.bundle,
        "rootfs": saved.rootfs,
        "created": saved.created,
        "owner": saved.owner,
    });
    if !saved.annotations.is_empty() {
        value["annotations"] = json!(saved.annotations);
    }
    value
}

/// Prints it.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let (_, saved) = store.load(&args.id)?;
    let value = value(&saved, status(&store, &saved));
    super::print(&serde_json::to_string_pretty(&value)?)?;
    Ok(ExitCode::SUCCESS)
}
