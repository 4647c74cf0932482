//! The system call table: dispatch, strace lines, counters and the compat matrix come from it.
//!
//! - [`table()`] has one [`Row`] a call: number, name, handler, level of support, note. It is the only list of calls.
//! - A handler is a function of typed arguments, `fn(&mut CurrentTask, Fd, OutBuf, usize) -> SysResult<usize>`. The types
//!   ([`arg`]) decode themselves and print themselves; how many there are follows from the signature ([`handler`]).
//! - [`dispatch`] finds the row by number and calls it; [`strace`] writes the lines; [`counters`] counts.
//!
//! One file a family of calls holds the handlers.

#![forbid(unsafe_code)]

pub mod arg;
pub mod counters;
pub mod dispatch;
mod futex;
pub mod handle;
pub mod handler;
pub mod profile;
pub mod report;
mod restart;
pub mod row;
pub mod show;
pub mod strace;
pub mod table;

mod aio;
mod attr;
mod clock;
mod control;
mod cred;
mod dir;
mod epoll;
mod eventfd;
mod exec;
mod fanotify;
mod fd;
mod file_ioctl;
mod info;
mod inotify;
mod inspect;
mod iovec;
mod limit;
mod mask;
mod memfd;
mod message;
mod mmap;
mod mount;
mod mount_api;
mod mount_query;
mod mqueue;
mod msg;
mod numa;
mod open;
mod path;
mod pidfd;
mod pipe;
mod poll;
mod prctl;
mod process;
mod read_write;
mod rseq;
mod sched;
mod seccomp;
mod sem;
mod shm;
mod signal;
mod signalfd;
mod sleep;
mod socket;
mod splice;
mod stat;
mod sync;
mod target;
mod time;
mod timer;
mod timerfd;
mod wait;
mod xattr;

pub use dispatch::Dispatcher;
pub use profile::{Profiler, Watchable};
pub use row::{Level, Row};
pub use table::table;
