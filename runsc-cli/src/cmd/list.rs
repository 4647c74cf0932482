//! `runsc list`: all containers below `--root`.

use std::process::ExitCode;

use serde_json::Value;

use super::Shape;
use crate::container::status::status;
use crate::container::store::Store;
use crate::container::{ContainerError, Settings};

/// Options of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc list --format json")]
pub struct Args {
    /// Form of the list
    #[arg(long, short = 'f', value_enum, default_value_t)]
    format: Shape,
    /// Print ids alone
    #[arg(long, short = 'q')]
    quiet: bool,
}

/// Prints the list.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let mut all: Vec<Value> = Vec::new();
    for id in store.ids()? {
        match store.load(&id) {
            Ok((_, saved)) => all.push(super::state::value(&saved, status(&store, &saved))),
            // Deleted meanwhile, or not yet written.
            Err(ContainerError::Missing) => {}
            Err(error) => crate::report::warn(&format!("container {id}: {error}")),
        }
    }
    if args.quiet {
        for container in &all {
            super::print(container["id"].as_str().unwrap_or_default())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    match args.format {
        // As runc has it, an empty list is no list.
        Shape::Json if all.is_empty() => super::print("null")?,
        Shape::Json => super::print(&serde_json::to_string(&all)?)?,
        Shape::Table => {
            let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            rows.extend(all.iter().map(|container| {
                ["id", "pid", "status", "bundle", "created", "owner"].map(|name| text(&container[name]))
            }));
            super::print(&super::table(&rows))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
