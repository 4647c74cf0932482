//! The Gofer's process, as far as the command line knows it: takes its descriptors and configuration, and serves.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, bail};
use gofer::{Config, Overflow, Refused, TreeConfig};
use rustix::net::{RecvFlags, SendFlags};

use crate::config::{self, GoferConfig, Identity, Tree, fd};
use crate::log;
use crate::sandbox::namespace;

const FOR_RUNSC: &str = "this command is for runsc itself";

/// Requests that can be under way at a time.
const CHANNELS: usize = 4;

/// The longest line that a Gofer leaves behind.
const LINE: usize = 4096;

/// Runs as the Gofer until the Sentry is gone. An error is told to the command line, which prints it.
pub fn serve() -> anyhow::Result<()> {
    namespace::die_with_parent()?;
    let line = host::process::inherited_fd(fd::GO).context(FOR_RUNSC)?;
    let served = run(&line);
    if let Err(error) = &served {
        tracing::error!("gofer: {error:#}");
        let text = format!("{error:#}");
        let _ = rustix::net::send(&line, &text.as_bytes()[..text.len().min(LINE)], SendFlags::NOSIGNAL);
    }
    served
}

/// Runs as the process that tells an ordinary user's Gofer whose files are, until the Gofer is gone.
pub fn serve_owners() -> anyhow::Result<()> {
    namespace::die_with_parent()?;
    let line = host::process::inherited_fd(fd::OWNERS).context(FOR_RUNSC)?;
    host::process::setsid().context("setsid")?;
    gofer::owners::serve(line, Refused::Kill)?;
    Ok(())
}

fn run(line: &OwnedFd) -> anyhow::Result<()> {
    let config = host::process::inherited_fd(fd::CONFIG).context(FOR_RUNSC)?;
    let socket = host::process::inherited_fd(fd::GOFER).context(FOR_RUNSC)?;
    // Only an ordinary user's has one.
    let owners = host::process::inherited_fd(fd::OWNERS).ok();
    let config: GoferConfig = config::load(config).context("configuration")?;
    if config.log {
        log::start(File::from(rustix::io::dup(rustix::stdio::stderr())?));
    }
    host::process::setsid().context("setsid")?;
    if rustix::net::recv(line, &mut [0; 1], RecvFlags::empty())?.0 != 1 {
        bail!("the command line went away before the start");
    }
    gofer::serve(&server_config(config), socket, owners)?;
    Ok(())
}

/// What the server is told.
fn server_config(config: GoferConfig) -> Config {
    // An ordinary user's Gofer has a name for that user only: what it makes for root is that user's.
    let overflow = match config.identity {
        Identity::Caller { .. } if config.id_maps.is_none() => Overflow::Root,
        _ => Overflow::AsItIs,
    };
    let tree = |tree: Tree| TreeConfig {
        source: PathBuf::from(tree.source.into_os_string()),
        read_only: tree.read_only,
        hide: tree.hide.into_iter().map(|path| PathBuf::from(path.into_os_string())).collect(),
        host_sockets: tree.host_sockets,
        bound_sockets: tree.bound_sockets,
        host_fifos: tree.host_fifos,
    };
    Config {
        trees: config.trees.into_iter().map(tree).collect(),
        overflow,
        // With a log there is someone to read which call it was.
        refused: if config.log { Refused::Report } else { Refused::Kill },
        channels: CHANNELS,
    }
}

/// What a Gofer said before it ended, at the other end of its line.
pub fn last_word(line: &OwnedFd) -> Option<String> {
    let mut text = [0; LINE];
    match rustix::net::recv(line, &mut text, RecvFlags::DONTWAIT) {
        Ok((n @ 1.., _)) => Some(String::from_utf8_lossy(&text[..n]).into_owned()),
        _ => None,
    }
}
