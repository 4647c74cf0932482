//! The Gofer's seccomp filter: the host calls it may make, one line and one reason a call.
//!
//! Whoever takes the Gofer over finds these calls on the trees that it serves. Not on the list, so deadly: exec, new
//! processes and threads, mounts, namespaces, ids, keys, BPF, executable memory, and handles of files
//! (open_by_handle_at, the way around a root directory). Writing to files is the Sentry's business, through the
//! descriptors that it is given; here only standard error is written.

use std::io;

use host::seccomp::Scope;
use host::seccomp_program::{self, Otherwise, Verdict};
use libc::{PROT_EXEC, c_long};

use crate::config::{Config, Refused};
use crate::error::GoferError;
use Verdict::{Allow, Only, Without};

/// Standard error.
const LOG: &[u32] = &[2];

/// Commands of fcntl(2).
const CHECK: &[u32] = &[libc::F_GETFD as u32];

/// The calling thread.
const ITSELF: &[u32] = &[0];

/// The list.
#[rustfmt::skip]
const CALLS: &[(c_long, Verdict, &str)] = &[
    // Requests and replies.
    (libc::SYS_recvmsg,         Allow, "the next request"),
    (libc::SYS_sendmsg,         Allow, "the reply, with the files that are opened"),
    (libc::SYS_shutdown,        Allow, "tells the Sentry, and the other threads, that it is over"),

    // Finding and opening.
    (libc::SYS_openat2,         Allow, "one name in a held directory, never above it, never through a link; new files"),
    (libc::SYS_openat,          Allow, "a held file once more, by the number of its descriptor"),
    (libc::SYS_close,           Allow, "handles that are given back, files that were given away"),
    (libc::SYS_fcntl,           Only(1, CHECK), "Rust, built with debug assertions, looks whether what it closes is open"),
    (libc::SYS_statx,           Allow, "attributes"),
    (libc::SYS_readlinkat,      Allow, "the target of a symbolic link"),
    (libc::SYS_getdents64,      Allow, "the entries of a directory"),
    (libc::SYS_lseek,           Allow, "a listing that goes on somewhere else"),
    (libc::SYS_fstatfs,         Allow, "free space"),

    // Changing the tree. What may be changed, the mounts say.
    (libc::SYS_mkdirat,         Allow, "new directories"),
    (libc::SYS_mknodat,         Allow, "new FIFOs, sockets, whiteouts; the capability for devices is gone"),
    (libc::SYS_symlinkat,       Allow, "new symbolic links"),
    (libc::SYS_linkat,          Allow, "one more name"),
    (libc::SYS_unlinkat,        Allow, "a name less; what could not be finished is removed again"),
    (libc::SYS_renameat2,       Allow, "another name"),
    (libc::SYS_fchownat,        Allow, "owner"),
    (libc::SYS_fchmodat,        Allow, "permissions"),
    (libc::SYS_utimensat,       Allow, "times"),
    (libc::SYS_ftruncate,       Allow, "size"),
    (libc::SYS_fsync,           Allow, "directories, and files that the Sentry has not open"),
    (libc::SYS_fdatasync,       Allow, "the same"),
    (libc::SYS_syncfs,          Allow, "a whole file system"),
    (libc::SYS_getxattr,        Allow, "extended attributes"),
    (libc::SYS_setxattr,        Allow, "extended attributes"),
    (libc::SYS_listxattr,       Allow, "extended attributes"),
    (libc::SYS_removexattr,     Allow, "extended attributes"),

    // Memory and threads.
    (libc::SYS_mmap,            Without(2, PROT_EXEC as u32), "the allocator"),
    (libc::SYS_mprotect,        Without(2, PROT_EXEC as u32), "the allocator"),
    (libc::SYS_munmap,          Allow, "the allocator; the stack of a thread that ends"),
    (libc::SYS_mremap,          Allow, "the allocator grows blocks"),
    (libc::SYS_madvise,         Allow, "the allocator; the stack of a thread that ends"),
    (libc::SYS_brk,             Allow, "the allocator"),
    (libc::SYS_futex,           Allow, "locks; waiting for threads that end"),
    (libc::SYS_sched_yield,     Allow, "a lock that is contended for a moment"),
    (libc::SYS_sched_setaffinity, Only(0, ITSELF), "a channel's thread runs where its requests come from"),
    (libc::SYS_rt_sigprocmask,  Allow, "the C library blocks signals while a thread ends"),
    (libc::SYS_rt_sigreturn,    Allow, "return from a handler"),
    (libc::SYS_sigaltstack,     Allow, "Rust takes a thread's overflow stack down"),
    (libc::SYS_restart_syscall, Allow, "the host restarts a wait after a stop"),
    (libc::SYS_exit,            Allow, "a thread ends"),
    (libc::SYS_exit_group,      Allow, "the process ends"),

    // When something goes wrong.
    (libc::SYS_write,           Only(0, LOG), "the log"),
    (libc::SYS_writev,          Only(0, LOG), "the log"),
    (libc::SYS_clock_gettime,   Allow, "times in the log, without a vDSO"),
    (libc::SYS_gettid,          Allow, "the C library's abort"),
    (libc::SYS_getpid,          Allow, "the C library's abort"),
    (libc::SYS_tgkill,          Allow, "the C library's abort; there is no other process in this PID namespace"),
    (libc::SYS_rt_sigaction,    Allow, "the C library's abort"),
];

/// Besides those, where a tree lets sockets be used or made.
const SOCKET: &[(c_long, Verdict, &str)] = &[(
    libc::SYS_socket,
    Only(0, &[libc::AF_UNIX as u32]),
    "a connection to a socket in a tree, or a new one",
)];

/// Where its sockets may be used.
const CONNECT: &[(c_long, Verdict, &str)] =
    &[(libc::SYS_connect, Allow, "a connection to a socket in a tree; others have no names here")];

/// Where new ones may be made.
const BIND: &[(c_long, Verdict, &str)] = &[(libc::SYS_bind, Allow, "a new socket in a tree")];

/// The calls that a Gofer with this configuration may make.
fn calls(config: &Config) -> Vec<(u32, Verdict)> {
    let connects = config.trees.iter().any(|tree| tree.host_sockets);
    let binds = config.trees.iter().any(|tree| tree.bound_sockets);
    let only = |wanted: bool, calls| if wanted { calls } else { &[][..] };
    let more = [only(connects || binds, SOCKET), only(connects, CONNECT), only(binds, BIND)];
    CALLS
        .iter()
        .chain(more.into_iter().flatten())
        .map(|&(number, verdict, _reason)| (number as u32, verdict))
        .collect()
}

/// Installs the filter for all threads. There is no way back.
pub(crate) fn install(config: &Config) -> Result<(), GoferError> {
    let advice = "the host kernel needs CONFIG_SECCOMP_FILTER";
    let failed = |error: io::Error| GoferError::Confine { step: "seccomp filter", error, advice };
    let otherwise = match config.refused {
        Refused::Kill => Otherwise::Kill,
        Refused::Report => {
            host::refused_call::report().map_err(failed)?;
            Otherwise::Trap
        }
    };
    let program = seccomp_program::build(&calls(config), otherwise);
    host::seccomp::install(&program, Scope::Process).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::TreeConfig;

    #[test]
    fn the_list_names_each_call_once() {
        let all: Vec<_> = CALLS.iter().chain(SOCKET).chain(CONNECT).chain(BIND).collect();
        let numbers: BTreeSet<_> = all.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers.len(), all.len());
        assert!(all.iter().all(|(_, _, reason)| !reason.is_empty()));
    }

    #[test]
    fn what_must_never_be_allowed_is_not() {
        let tree = TreeConfig { host_sockets: true, ..TreeConfig::default() };
        let calls = calls(&Config::new(vec![tree]));
        for number in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_fork,
            libc::SYS_mount,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_mount_setattr,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_open_by_handle_at,
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_setuid,
            libc::SYS_capset,
            libc::SYS_ioctl,
            libc::SYS_bind,
            libc::SYS_pwrite64,
        ] {
            assert!(
                calls.iter().all(|&(allowed, _)| allowed != number as u32),
                "call {number} is on the list"
            );
        }
    }

    #[test]
    fn sockets_only_where_a_tree_has_them() {
        let tree =
            |host_sockets, bound_sockets| TreeConfig { host_sockets, bound_sockets, ..TreeConfig::default() };
        let has = |call: c_long, trees| calls(&Config::new(trees)).iter().any(|&(n, _)| n == call as u32);
        for (call, connects, binds) in
            [(libc::SYS_connect, true, false), (libc::SYS_bind, false, true), (libc::SYS_socket, true, true)]
        {
            assert!(!has(call, vec![tree(false, false)]));
            assert_eq!(has(call, vec![tree(false, false), tree(true, false)]), connects);
            assert_eq!(has(call, vec![tree(false, true)]), binds);
        }
    }
}
