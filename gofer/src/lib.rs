//! Serves trees of host files to the Sentry, confined to them. See `README.md` beside this crate.
//!
//! [`serve`] is the whole life of the process: it confines itself ([`confine`]), installs its filter ([`filter`]), and then
//! answers requests ([`server`]) until the Sentry closes the connection.

#![forbid(unsafe_code)]

mod attr;
pub mod config;
mod confine;
mod connection;
pub mod error;
mod filter;
mod ops;
pub mod owners;
mod processor;
pub mod server;
mod table;
pub mod tree;

use std::os::fd::OwnedFd;

pub use config::{Config, Overflow, Refused, TreeConfig};
pub use error::GoferError;
use owners::Owners;
use server::{Parts, Ready};

/// Serves the trees of `config` to the Sentry at the other end of `socket`, until that is closed. `owners` tells whose the
/// files are that this process's user namespace has no name for.
///
/// To be called by a process with one thread, which is process 1 of a PID namespace, has no descriptors but standard
/// streams, its log and the socket, and may mount: as root, or in a user namespace of its own where its ids are mapped.
/// The caller ends the process when this returns: there is nothing left that it could do.
pub fn serve(config: &Config, socket: OwnedFd, owners: Option<OwnedFd>) -> Result<(), GoferError> {
    let parts = Parts { owners: owners.map(Owners::new), ..confine::confine(config)? };
    // Without it the first files take longer to open.
    if let Err(error) = host::process::reserve_descriptors() {
        tracing::info!("no room ahead for descriptors: {error}");
    }
    // The threads are made before the filter, which then has no reason to allow that.
    let ready = Ready::new(parts, socket)?;
    filter::install(config)?;
    ready.run()
}
