//! The Gofer's process, as far as the command line knows it: takes its descriptors and configuration, and serves.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gofer::{Overflow, Refused};

use crate::config::{self, GoferConfig, Identity, fd};
use crate::log;
use crate::sandbox::namespace;

/// Runs as the Gofer until the Sentry is gone.
pub fn serve() -> anyhow::Result<()> {
    namespace::die_with_parent()?;
    let config =
        host::process::inherited_fd(fd::CONFIG).context("configuration; this command is for runsc itself")?;
    let socket =
        host::process::inherited_fd(fd::GOFER).context("connection; this command is for runsc itself")?;
    let go = host::process::inherited_fd(fd::GO).context("start; this command is for runsc itself")?;
    let config: GoferConfig = config::load(config).context("configuration")?;
    if config.log {
        log::start(std::fs::File::from(rustix::io::dup(rustix::stdio::stderr())?));
    }
    host::process::setsid().context("setsid")?;
    if rustix::io::read(&go, &mut [0; 1])? != 1 {
        anyhow::bail!("the command line went away before the start");
    }
    drop(go);
    gofer::serve(&server_config(&config), socket)?;
    Ok(())
}

/// What the server is told. The kernel's own file systems cover these directories of a root, so nobody needs what the
/// host has there.
fn server_config(config: &GoferConfig) -> gofer::Config {
    let trees = config.trees.iter().map(|tree| {
        let source = PathBuf::from(OsStr::from_bytes(tree.source.as_bytes()));
        let hide =
            if source == Path::new("/") { ["proc", "sys", "dev"].map(PathBuf::from).into() } else { vec![] };
        gofer::TreeConfig { source, read_only: tree.read_only, hide, host_sockets: false, host_fifos: false }
    });
    gofer::Config {
        // An ordinary user's Gofer has a name for that user only. What is left is mostly root's, and the program is to
        // see it so.
        overflow: match config.identity {
            Identity::Caller { .. } => Overflow::Root,
            Identity::Nobody { .. } => Overflow::AsItIs,
        },
        // With a log there is someone to read which call it was.
        refused: if config.log { Refused::Report } else { Refused::Kill },
        ..gofer::Config::new(trees.collect())
    }
}
