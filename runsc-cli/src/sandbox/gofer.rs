//! The Gofer's process, as far as the command line knows it: takes its descriptors and configuration, and serves.

use anyhow::Context;

use crate::config::{self, GoferConfig, fd};
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
    // The server is not there yet: hold the connection open until the Sentry closes its end.
    let mut byte = [0; 1];
    let _ = rustix::io::read(&socket, &mut byte);
    Ok(())
}
