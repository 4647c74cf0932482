//! What back ends have in common whose guest threads are threads of host processes: `ptrace/` and `systrap/`.

pub(crate) mod bpf;
pub(crate) mod pending;
pub(crate) mod placement;
pub(crate) mod prepare;
pub(crate) mod ranges;
pub(crate) mod registers;
pub(crate) mod xstate;

use std::ops::Range;

/// One past the highest address of a user process on x86-64 with four levels of page tables.
pub(crate) const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// Guest addresses begin here: below, hosts commonly map nothing (vm.mmap_min_addr).
pub(crate) const USER_START: u64 = 0x10000;

/// A process with a copy of the caller's mappings, a child of the Sentry, sharing its fds. No exit signal can be
/// given with CLONE_PARENT: it is that of the first stub, which has none.
pub(crate) const FORK_FLAGS: u64 =
    (libc::CLONE_PARENT | libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_UNTRACED) as u64;

/// A thread of the caller's process.
pub(crate) const THREAD_FLAGS: u64 = (libc::CLONE_VM
    | libc::CLONE_THREAD
    | libc::CLONE_SIGHAND
    | libc::CLONE_FILES
    | libc::CLONE_FS
    | libc::CLONE_SYSVSEM
    | libc::CLONE_UNTRACED) as u64;

/// How guest memory is mapped.
pub(crate) const MAP_FLAGS: u64 = (libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_NORESERVE) as u64;

/// The Sentry's exit status without its master: EX_OSERR of sysexits.h.
const MASTER_LOST: i32 = 71;

/// Ends this process when the one is gone that guest processes are forked from. Nobody but the host kills it, and a sandbox that can't
/// execute programs any more must not seem to run.
pub(crate) fn need_master(pid: i32) {
    if !host::process::is_running(pid) {
        tracing::error!("the process that guest processes are forked from is gone: was it killed?");
        host::process::exit_now(MASTER_LOST);
    }
}

/// Addresses guests may use, below `end`, where the stub begins.
pub(crate) fn user_range(end: u64) -> Range<u64> {
    USER_START..end
}
