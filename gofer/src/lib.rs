//! Serves trees of host files to the Sentry, confined to them. See `README.md` beside this crate.

#![forbid(unsafe_code)]

mod attr;
pub mod config;
mod connection;
pub mod error;
mod ops;
pub mod server;
mod table;
pub mod tree;

pub use config::{Config, Ids, Overflow, Refused, TreeConfig};
pub use error::GoferError;
