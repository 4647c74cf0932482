//! What the cases are written with.

#![allow(dead_code)]

pub mod case;
pub mod check;
pub mod child;
pub mod elf;
pub mod errno;
pub mod files;
pub mod filter;
pub mod inet;
pub mod memory;
pub mod numbers;
pub mod probe;
pub mod pty;
pub mod runner;
pub mod signal;
pub mod socket;
pub mod sys;
pub mod thread;
pub mod wait;
pub mod walk;

/// Everything a family needs: `use crate::kit::prelude::*`.
#[allow(unused_imports)]
pub mod prelude {
    pub use libc::*;

    pub use super::check::{
        check, done, eq, eq_of, exit_now, fail, fails, fails_any, ok, ok_i32, skip, within,
    };
    pub use super::child::{
        Child, clone_child, describe, exec, exec_output, fork, in_child, pointers, probe, wait_for,
    };
    pub use super::errno::Errno;
    pub use super::files::{
        NOBODY, absolute, become_user, close, content, create, exists, fstat, is_root, lstat, mkdir,
        needs_nice_0, needs_tmpfs, open, pipe, put, read, read_to_end, stat, text, unprivileged, write_all,
    };
    pub use super::memory::{
        ANON, PAGE, RW, SHARED_ANON, call, does_not_fault, fault_of, faults, jump, map, map_file, peek,
        peek64, poke, poke64, shared, touch, unmap,
    };
    pub use super::numbers::nr;
    pub use super::probe::program;
    pub use super::signal as sig;
    pub use super::sys::Answer;
    pub use super::thread;
    pub use super::wait::{eventually, now_ns, sleep_ms, state, until_asleep, until_state};
    pub use crate::{case, sys, sys_number};

    /// A zeroed structure of integers.
    pub fn zeroed<T: Copy>() -> T {
        // SAFETY: used only for the C structures of libc, in which every bit pattern is a value.
        unsafe { std::mem::zeroed() }
    }
}
