//! The kernel: tasks, memory, files, signals, time.
#![forbid(unsafe_code)]

pub mod error;
pub mod mm;
pub mod vfs;
pub mod wait;

pub use error::{Restart, Result, SysError, SysResult};
