//! Linux x86-64 constants and wire structures, no logic.
//!
//! One module a topic. Structures have the field names of the C ones and no padding that is not a named field; flag sets
//! are `bitflags` named without the C prefix (`OpenFlags::CREAT`); other constants keep their C names. A test compares
//! values and layouts with the C headers of the machine.

#![forbid(unsafe_code)]

#[macro_use]
mod declare;

pub mod acl;
pub mod aio;
pub mod capability;
pub mod clone;
pub mod dirent;
pub mod elf;
pub mod errno;
pub mod eventfd;
pub mod fanotify;
pub mod fcntl;
pub mod fuse;
pub mod futex;
pub mod inet;
pub mod inotify;
pub mod io_uring;
pub mod ioctl;
pub mod ipc;
pub mod membarrier;
pub mod mman;
pub mod mount;
pub mod open;
pub mod poll;
pub mod prctl;
pub mod ptrace;
pub mod resource;
pub mod rseq;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod stat;
pub mod sysinfo;
pub mod termios;
pub mod time;
pub mod ucontext;
pub mod uio;
pub mod utsname;
pub mod wait;
pub mod xattr;

pub use declare::NamedFlags;
pub use errno::Errno;
pub use signal::{SigInfo, SigSet, Signal};

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;
/// Bytes in the longest path a system call takes, its NUL included.
pub const PATH_MAX: usize = 4096;
/// Bytes in the longest file name, its NUL excluded.
pub const NAME_MAX: usize = 255;
