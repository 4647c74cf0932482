//! `runsc create`: a container from a bundle, its process not yet running.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::container::descriptors::{self, DescriptorError, Descriptors};
use crate::container::{Settings, create};

/// Options of `create` and `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc create --bundle /bundles/web web && runsc start web")]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

/// What `create` and `run` have in common.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Directory with config.json
    #[arg(long, short = 'b', value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Unix socket that the master of the container's terminal is sent to
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,
    /// File that the pid of the container is written to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Descriptors from 3 on that the container gets as its own, behind those of LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Accepted and without effect: there is no root to pivot to
    #[arg(long)]
    pub no_pivot: bool,
    /// Accepted and without effect: sandboxes have no session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Name of the container, unique on this host
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Common {
    /// Takes the descriptors that the command was started with.
    pub fn descriptors(&self) -> Result<Descriptors, DescriptorError> {
        descriptors::take(self.preserve_fds, descriptors::listening())
    }

    /// What is to be created.
    pub fn wanted(&self, attached: bool, descriptors: Descriptors) -> create::Wanted {
        create::Wanted {
            id: self.id.clone(),
            bundle: self.bundle.clone(),
            pid_file: self.pid_file.clone(),
            console_socket: self.console_socket.clone(),
            attached,
            descriptors,
        }
    }
}

impl Args {
    /// Takes the descriptors that the command was started with.
    pub fn descriptors(&self) -> Result<Descriptors, DescriptorError> {
        self.common.descriptors()
    }
}

/// Creates it.
pub fn run(settings: &Settings, args: &Args, descriptors: Descriptors) -> anyhow::Result<ExitCode> {
    create::create(settings, args.common.wanted(false, descriptors))?;
    Ok(ExitCode::SUCCESS)
}
