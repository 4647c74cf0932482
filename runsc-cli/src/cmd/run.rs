//! `runsc run`: create, start, and unless detached, stay and delete.

use std::process::ExitCode;

use crate::container::delete::{Force, delete};
use crate::container::descriptors::{DescriptorError, Descriptors};
use crate::container::store::Store;
use crate::container::{Settings, create, notify, relay, start};
use crate::report;

/// Options of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status:
  that of the container's process, 128 + N when signal N killed it

Example:
  runsc run --bundle /bundles/web web")]
pub struct Args {
    #[command(flatten)]
    common: super::create::Common,
    /// Return when the container runs
    #[arg(long, short = 'd')]
    detach: bool,
    /// Leave the container's state when it has ended
    #[arg(long)]
    keep: bool,
    /// Accepted and without effect: orphans of the container are reaped in it
    #[arg(long)]
    no_subreaper: bool,
}

impl Args {
    /// Takes the descriptors that the command was started with.
    pub fn descriptors(&self) -> Result<Descriptors, DescriptorError> {
        self.common.descriptors()
    }
}

/// Runs it.
pub fn run(settings: &Settings, args: &Args, descriptors: Descriptors) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    if !args.detach {
        relay::hold_signals()?;
    }
    let created = create::create(settings, args.common.wanted(!args.detach, descriptors))?;
    let id = &args.common.id;
    if let Err(error) = start::start(&store, id) {
        if let Err(error) = delete(&store, id, Force::Yes) {
            report::warn(&format!("cleaning up: {error:#}"));
        }
        return Err(error);
    }
    let pid = if args.detach { created.monitor.pid() } else { std::process::id() as i32 };
    let (waiting, of) = (store.clone(), id.clone());
    let pass_on = move || {
        if let Err(error) = notify::pass_on(&waiting, &of, pid) {
            report::warn(&format!("{error:#}"));
        }
    };
    if args.detach {
        pass_on();
        return Ok(ExitCode::SUCCESS);
    }
    if notify::socket().is_some() {
        // Beside what this command does meanwhile, and gone with it.
        std::thread::Builder::new().name("notify".to_owned()).spawn(pass_on)?;
    }
    let status = relay::attend(&created.monitor, created.master)?;
    if !args.keep {
        delete(&store, id, Force::Yes)?;
    }
    Ok(ExitCode::from(status as u8))
}
