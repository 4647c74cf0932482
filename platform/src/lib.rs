//! Runs guest code until something happens: `ptrace/`, `systrap/`, `kvm/`; the memory file.
//!
//! See [`api`] for the traits that the kernel sees.

pub mod access;
pub mod api;
#[cfg(test)]
pub(crate) mod conformance;
pub mod cpu;
pub(crate) mod guest_process;
pub mod host_file;
pub mod memory_file;
pub mod mock;
pub mod ptrace;
pub mod systrap;

pub use api::*;
pub use host_file::HostFile;
pub use memory_file::{Frames, HUGE_PAGE_SIZE, LargeFile, MemoryFile};
