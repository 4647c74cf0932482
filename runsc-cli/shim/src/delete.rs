//! `delete`: what containerd calls when a shim has died, or one that it does not reach. Removes the container by force.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use prost::Message;

use crate::api::{DeleteResponse, Timestamp};
use crate::arguments::Arguments;
use crate::config::Config;
use crate::mounts;
use crate::reaper::Reaper;
use crate::runtime::Runtime;
use crate::start;

/// As if killed: what became of the container's process nobody knows.
const KILLED: u32 = 128 + 9;

pub fn delete(arguments: &Arguments) -> Result<()> {
    let bundle = match &arguments.bundle {
        Some(bundle) => bundle.clone(),
        None => std::env::current_dir().context("there is no working directory, the bundle")?,
    };
    // containerd may take the bundle away at the same time, when a client asks for that.
    let socket = start::socket_of(arguments, &bundle);
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    let reaper = Arc::new(Reaper::default());
    let collecting = Arc::clone(&reaper);
    std::thread::spawn(move || collecting.collect());
    // The options of the container are not given here; the shim left a note of them.
    let config = Config::of_note(&bundle)?;
    let runtime = Runtime::new(config, &arguments.namespace, &bundle, &reaper);
    let pid =
        std::fs::read_to_string(bundle.join("init.pid")).unwrap_or_default().trim().parse().unwrap_or(0);
    // What the shim was just having done must not be done after this.
    if let Err(error) = runtime.end_commands() {
        eprintln!("containerd-shim-runsc-v1: delete: {error:#}");
    }
    if let Err(error) = runtime.delete_by_force(&arguments.id) {
        eprintln!("containerd-shim-runsc-v1: delete: {error:#}");
    }
    mounts::unmount_all(&bundle.join("rootfs"));
    if let Err(error) = start::remove_dead_sockets(&socket) {
        eprintln!("containerd-shim-runsc-v1: delete: {error:#}");
    }
    let answer = DeleteResponse { pid, exit_status: KILLED, exited_at: Some(Timestamp::now()) };
    std::io::stdout().write_all(&answer.encode_to_vec())?;
    Ok(())
}
