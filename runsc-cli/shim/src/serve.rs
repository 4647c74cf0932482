//! Serves: the long life of the shim.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::arguments::Arguments;
use crate::container::Shared;
use crate::events::Publisher;
use crate::reaper::Reaper;
use crate::service::Tasks;
use crate::{log, start, ttrpc};

/// A shim that has had no container after this time, and that nobody is connected to, is one that nobody knows of: who started it
/// was killed before it told the address.
const UNKNOWN: Duration = Duration::from_secs(15);

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
    let own_socket = socket.clone();
    let socket_folder = socket.parent().context("the socket is in no folder")?.to_path_buf();
    let shared = Arc::new(Shared { namespace: arguments.namespace.clone(), reaper, events, socket_folder });
    let tasks = Arc::new(Tasks::new(shared, move || {
        let _ = std::fs::remove_file(&socket);
        std::process::exit(0);
    }));
    let connections = Arc::new(AtomicUsize::new(0));
    let (connected, known) = (Arc::clone(&connections), Arc::clone(&tasks));
    let end_unknown = move || {
        while !known.has_had_any() {
            std::thread::sleep(UNKNOWN);
            if connected.load(Ordering::Acquire) == 0 && !known.has_had_any() {
                let _ = std::fs::remove_file(&own_socket);
                std::process::exit(0);
            }
        }
    };
    std::thread::Builder::new().name("unknown".to_owned()).stack_size(64 << 10).spawn(end_unknown)?;
    for connection in listener.incoming() {
        let (connection, tasks) = (connection.context("can't take connections")?, Arc::clone(&tasks));
        connections.fetch_add(1, Ordering::AcqRel);
        let connections = Arc::clone(&connections);
        std::thread::Builder::new().name("connection".to_owned()).stack_size(128 << 10).spawn(move || {
            if let Err(error) = ttrpc::serve_connection(connection, &tasks) {
                log::info(&format!("a connection ended: {error}"));
            }
            connections.fetch_sub(1, Ordering::AcqRel);
        })?;
    }
    Ok(())
}
