//! Serves: the long life of the shim.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::arguments::Arguments;
use crate::container::Shared;
use crate::events::Publisher;
use crate::reaper::Reaper;
use crate::service::Tasks;
use crate::{log, start, ttrpc};

/// Serves on the socket that is standard input.
pub fn serve(arguments: &Arguments) -> Result<()> {
    // A terminal's hangup or an interrupt of containerd's group is not for the shim.
    rustix::process::setsid().context("can't leave the session")?;
    nix::sys::prctl::set_child_subreaper(true).context("can't become a subreaper")?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().context("can't block SIGCHLD")?;
    log::open();

    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let address =
        listener.local_addr().context("standard input is no socket: let containerd start the shim")?;
    let socket = address.as_pathname().context("the socket has no path")?.to_path_buf();

    let reaper = Arc::new(Reaper::default());
    let collecting = Arc::clone(&reaper);
    std::thread::Builder::new().name("reaper".to_owned()).spawn(move || collecting.collect())?;
    let events = Publisher::start(&arguments.namespace, start::events_socket(arguments))?;
    let socket_folder = socket.parent().context("the socket is in no folder")?.to_path_buf();
    let shared = Arc::new(Shared { namespace: arguments.namespace.clone(), reaper, events, socket_folder });
    let tasks = Arc::new(Tasks::new(shared, move || {
        let _ = std::fs::remove_file(&socket);
        std::process::exit(0);
    }));
    for connection in listener.incoming() {
        let (connection, tasks) = (connection.context("can't take connections")?, Arc::clone(&tasks));
        std::thread::Builder::new().name("connection".to_owned()).stack_size(128 << 10).spawn(move || {
            if let Err(error) = ttrpc::serve_connection(connection, &tasks) {
                log::info(&format!("a connection ended: {error}"));
            }
        })?;
    }
    Ok(())
}
