//! The kernel: tasks, memory, files, signals, time.
//!
//! It knows no system call numbers: a table is handed in ([`SyscallTable`]) and calls its methods.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod aio;
pub mod dev;
pub mod error;
pub mod fs;
pub mod futex;
pub mod ipc;
mod kernel;
pub mod loader;
pub mod membarrier;
pub mod mm;
pub mod net;
pub mod profile;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod system;
pub mod task;
pub mod time;
pub mod tty;
pub mod uts;
pub mod vfs;
pub mod wait;

pub use error::{Restart, Result, SysError, SysResult};
pub use kernel::{Kernel, KernelConfig, KernelEvent, SyscallTable, Watcher};
pub use platform::Answer;
