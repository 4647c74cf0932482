//! File systems, one folder each.

pub mod gofer;
pub mod host;
pub mod tmpfs;
