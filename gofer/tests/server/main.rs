//! The server against a client in the same process, on real trees in a temporary directory, without confinement.

#![forbid(unsafe_code)]

mod attributes;
mod create;
mod fixture;
mod hostile;
mod listing;
mod names;
mod open;
mod race;
mod walk;
mod xattr;
