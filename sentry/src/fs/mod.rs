//! File systems, one folder each.

pub mod host;
