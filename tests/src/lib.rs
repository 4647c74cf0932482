//! The harness: builds the static program that holds the cases, runs each natively (the oracle) and then, unchanged, in
//! the sandbox on every platform asked for, and keeps what came out for the compat matrix.

#![forbid(unsafe_code)]

pub mod batch;
pub mod build;
pub mod catalog;
pub mod parallel;
pub mod place;
pub mod results;
pub mod session;
pub mod volumes;
pub mod walk;
