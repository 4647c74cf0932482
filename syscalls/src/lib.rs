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
mod cred;
pub mod dispatch;
mod epoll;
mod eventfd;
pub mod handler;
mod mask;
mod pipe;
mod poll;
pub mod report;
pub mod row;
pub mod show;
pub mod strace;
pub mod table;
mod timerfd;

mod exec;
mod path;
mod pidfd;
mod process;
mod signal;
mod time;
mod wait;

pub use dispatch::Dispatcher;
pub use row::{Level, Row};
pub use table::table;
