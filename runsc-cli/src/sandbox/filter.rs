//! The Sentry's seccomp filter: the host calls it may make, one line and one reason a call.
//!
//! Guest code never makes a host call, but the Sentry is where a guest would break out: this list is what it would
//! find there. Not on it, so deadly: exec, sockets (there is no network), mounts, namespaces, keys, BPF, io_uring, modules and
//! everything else that starts with a path. What the platform needs it says itself; of its calls, those with an entry
//! here are restricted by it. The processes that hold guest memory have a filter of their own, which is narrower.
//!
//! Some calls are refused with an error number instead, because libraries try them and have another way.

use std::io;

use host::seccomp::{Instruction, Scope};
use host::seccomp_program::{self, Otherwise, Verdict};
use libc::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS,
    ENOENT, ENOSYS, c_long,
};

use crate::config::PlatformName;

use Verdict::{Allow, Only, Refuse, Without};

/// The host refused the filter.
#[derive(Debug, thiserror::Error)]
#[error("installing the seccomp filter: {0}; the host kernel needs CONFIG_SECCOMP_FILTER")]
pub struct FilterError(io::Error);

/// Bits of clone(2) that make a namespace.
const NAMESPACES: u32 = (CLONE_NEWCGROUP
    | CLONE_NEWIPC
    | CLONE_NEWNET
    | CLONE_NEWNS
    | CLONE_NEWPID
    | CLONE_NEWUSER
    | CLONE_NEWUTS) as u32;

/// Requests of ptrace(2), the most frequent first: those on a process that the Sentry made and already traces, and SEIZE,
/// which can only name a process of this PID namespace.
const PTRACE: &[u32] = &[
    libc::PTRACE_SYSEMU,
    libc::PTRACE_GETREGS,
    libc::PTRACE_SETREGSET,
    libc::PTRACE_POKEUSER,
    libc::PTRACE_PEEKUSER,
    libc::PTRACE_GETREGSET,
    libc::PTRACE_GETSIGINFO,
    libc::PTRACE_CONT,
    libc::PTRACE_SEIZE,
    libc::PTRACE_INTERRUPT,
    libc::PTRACE_DETACH,
];

/// Requests of ioctl(2) on descriptors of the host.
const IOCTL: &[u32] = &[
    libc::TCGETS as u32,
    libc::TCSETS as u32,
    libc::TCSETSW as u32,
    libc::TCSETSF as u32,
    libc::TCGETS2 as u32,
    libc::TCSETS2 as u32,
    libc::TCSETSW2 as u32,
    libc::TCSETSF2 as u32,
    libc::TCFLSH as u32,
    libc::TCSBRK as u32,
    libc::TCSBRKP as u32,
    libc::TCXONC as u32,
    libc::TIOCGWINSZ as u32,
    libc::TIOCSWINSZ as u32,
    libc::TIOCOUTQ as u32,
    libc::FIONREAD as u32,
];

/// Commands of fcntl(2).
const FCNTL: &[u32] = &[
    libc::F_DUPFD as u32,
    libc::F_DUPFD_CLOEXEC as u32,
    libc::F_GETFD as u32,
    libc::F_SETFD as u32,
    libc::F_GETFL as u32,
    libc::F_SETFL as u32,
    libc::F_GETLK as u32,
    libc::F_OFD_GETLK as u32,
    libc::F_OFD_SETLK as u32,
    libc::F_OFD_SETLKW as u32,
    libc::F_GETPIPE_SZ as u32,
    libc::F_ADD_SEALS as u32,
    libc::F_GET_SEALS as u32,
];

/// Options of prctl(2).
const PRCTL: &[u32] = &[
    libc::PR_SET_NAME as u32,
    libc::PR_GET_NAME as u32,
    libc::PR_SET_VMA as u32,
    libc::PR_GET_SECCOMP as u32,
    libc::PR_SET_TIMERSLACK as u32,
];

/// Options of setsockopt(2), of whatever level: `SO_RCVTIMEO_NEW` and `SO_SNDTIMEO_NEW`.
const SOCKET_TIMEOUTS: &[u32] = &[66, 67];

/// Whether the Sentry is asked for things over a socket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Only its maker speaks to it.
    Never,
    /// The command lines of an engine connect to it.
    Listens,
}

/// Whether guests may make sockets that programs of the host can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// No.
    Own,
    /// With `--host-uds=create`.
    Bound,
}

/// For guests' sockets that the Gofer has bound.
const BOUND: &[(c_long, Verdict, &str)] = &[
    (libc::SYS_listen, Allow, "sockets that the Gofer has bound; none can be made or bound here"),
    (libc::SYS_accept4, Allow, "their connections"),
];

/// For a Sentry that listens.
const LISTENING: &[(c_long, Verdict, &str)] = &[(
    libc::SYS_accept4,
    Allow,
    "command lines connect to the container's socket, the only one that listens",
)];

/// The list.
#[rustfmt::skip]
const CALLS: &[(c_long, Verdict, &str)] = &[
    // Memory of the Sentry, windows on the memory file and on donated files.
    (libc::SYS_mmap,              Allow, "windows on guest memory, stacks of threads, the allocator"),
    (libc::SYS_munmap,            Allow, "the same, taken away"),
    (libc::SYS_mremap,            Allow, "the allocator grows blocks"),
    (libc::SYS_mprotect,          Allow, "guard pages"),
    (libc::SYS_madvise,           Allow, "the allocator and guests give memory back"),
    (libc::SYS_mincore,           Allow, "which guest pages are in memory"),
    (libc::SYS_msync,             Allow, "guests write shared file mappings back"),
    (libc::SYS_brk,               Allow, "the allocator"),
    (libc::SYS_fallocate,         Allow, "freed guest memory is punched out; room in donated files"),
    (libc::SYS_ftruncate,         Allow, "the memory file grows; length of donated files"),
    (libc::SYS_memfd_create,      Allow, "more memory files"),

    // Threads of the Sentry.
    (libc::SYS_clone,             Without(0, NAMESPACES), "a host thread a guest thread"),
    (libc::SYS_clone3,            Refuse(ENOSYS), "its flags can't be seen here: the C library falls back to clone"),
    (libc::SYS_exit,              Allow, "a thread ends"),
    (libc::SYS_exit_group,        Allow, "the Sentry ends"),
    (libc::SYS_set_robust_list,   Allow, "the C library sets a thread up"),
    (libc::SYS_set_tid_address,   Allow, "the C library sets a thread up"),
    (libc::SYS_rseq,              Allow, "the C library sets a thread up"),
    (libc::SYS_getpid,            Allow, "to signal an own thread"),
    (libc::SYS_gettid,            Allow, "to be signalled"),
    (libc::SYS_futex,             Allow, "locks and parked threads"),
    (libc::SYS_sched_yield,       Allow, "a lock that is contended for a moment"),
    (libc::SYS_sched_getaffinity, Allow, "how many CPUs guests see"),
    (libc::SYS_sched_setaffinity, Allow, "a tracer and its guest thread on one CPU"),
    (libc::SYS_getcpu,            Allow, "the CPU a guest thread is told"),
    (libc::SYS_getrusage,         Allow, "CPU time of guest threads"),
    (libc::SYS_times,             Allow, "CPU time of guest threads"),
    (libc::SYS_prlimit64,         Allow, "own limits, asked by the C library for stacks"),
    (libc::SYS_prctl,             Only(0, PRCTL), "names of threads and mappings, slack of timers"),
    (libc::SYS_ptrace,            Only(0, PTRACE), "runs guest threads; only processes of this PID namespace can be named"),
    (libc::SYS_tgkill,            Allow, "aborts, own PID namespace only"),

    // Signals of the Sentry itself.
    (libc::SYS_rt_sigaction,      Allow, "handlers for faults on guest memory"),
    (libc::SYS_rt_sigprocmask,    Allow, "threads that wait for signals"),
    (libc::SYS_rt_sigreturn,      Allow, "return from those handlers"),
    (libc::SYS_rt_sigtimedwait,   Allow, "a thread that waits for a signal"),
    (libc::SYS_rt_sigsuspend,     Allow, "a thread that waits for a signal"),
    (libc::SYS_sigaltstack,       Allow, "the stack of those handlers"),
    (libc::SYS_restart_syscall,   Allow, "the host restarts a wait after a stop"),

    // Time.
    (libc::SYS_clock_gettime,     Allow, "clocks without a vDSO"),
    (libc::SYS_clock_getres,      Allow, "their resolution"),
    (libc::SYS_clock_nanosleep,   Allow, "waits with a deadline"),
    (libc::SYS_nanosleep,         Allow, "waits with a deadline"),
    (libc::SYS_gettimeofday,      Allow, "clocks without a vDSO"),
    (libc::SYS_time,              Allow, "clocks without a vDSO"),
    (libc::SYS_timerfd_create,    Allow, "the timer thread"),
    (libc::SYS_timerfd_settime,   Allow, "the timer thread"),
    (libc::SYS_timer_create,      Allow, "CPU-time timers of guest threads"),
    (libc::SYS_timer_settime,     Allow, "CPU-time timers of guest threads"),
    (libc::SYS_timer_delete,      Allow, "CPU-time timers of guest threads"),

    // Facts about the host that guests are told.
    (libc::SYS_getrandom,         Allow, "random bytes for guests, hash seeds"),
    (libc::SYS_sysinfo,           Allow, "memory and load for /proc"),
    (libc::SYS_membarrier,        Only(0, &[libc::MEMBARRIER_CMD_GLOBAL as u32]), "membarrier(2) of guests"),
    (libc::SYS_uname,             Allow, "the host's version, for the log"),

    // Donated files, standard streams, the connections to Gofer and command line.
    (libc::SYS_read,              Allow, "files and streams"),
    (libc::SYS_write,             Allow, "files, streams, the log"),
    (libc::SYS_readv,             Allow, "files and streams"),
    (libc::SYS_writev,            Allow, "files and streams"),
    (libc::SYS_pread64,           Allow, "files"),
    (libc::SYS_pwrite64,          Allow, "files"),
    (libc::SYS_preadv,            Allow, "files"),
    (libc::SYS_pwritev,           Allow, "files"),
    (libc::SYS_preadv2,           Allow, "files and streams, without waiting"),
    (libc::SYS_pwritev2,          Allow, "files and streams, without waiting"),
    (libc::SYS_lseek,             Allow, "length, holes, and position of standard streams"),
    (libc::SYS_fstat,             Allow, "what a descriptor is"),
    (libc::SYS_newfstatat,        Allow, "fstat of newer C libraries; there is no file to name"),
    (libc::SYS_statx,             Allow, "fstat with more detail; there is no file to name"),
    (libc::SYS_fstatfs,           Allow, "file system of a donated file"),
    (libc::SYS_fsync,             Allow, "files"),
    (libc::SYS_fdatasync,         Allow, "files"),
    (libc::SYS_sync_file_range,   Allow, "files"),
    (libc::SYS_fadvise64,         Allow, "files"),
    (libc::SYS_copy_file_range,   Allow, "between donated files"),
    (libc::SYS_flock,             Allow, "locks that other programs of the host see"),
    (libc::SYS_fcntl,             Only(1, FCNTL), "duplicates, flags and locks of descriptors"),
    (libc::SYS_ioctl,             Only(1, IOCTL), "settings of the terminal, bytes that wait"),
    (libc::SYS_close,             Allow, "a resource is given back"),
    (libc::SYS_close_range,       Allow, "stub processes keep no descriptor"),
    (libc::SYS_dup,               Allow, "a second name for a descriptor"),
    (libc::SYS_dup3,              Allow, "a second name for a descriptor"),
    (libc::SYS_poll,              Allow, "waits on streams and sockets"),
    (libc::SYS_ppoll,             Allow, "waits on streams and sockets"),
    (libc::SYS_epoll_create1,     Allow, "the thread that waits on host descriptors"),
    (libc::SYS_epoll_ctl,         Allow, "the thread that waits on host descriptors"),
    (libc::SYS_epoll_wait,        Allow, "the thread that waits on host descriptors"),
    (libc::SYS_epoll_pwait,       Allow, "the thread that waits on host descriptors"),
    (libc::SYS_epoll_pwait2,      Allow, "the thread that waits on host descriptors"),
    (libc::SYS_eventfd2,          Allow, "wakes that thread"),
    (libc::SYS_sendto,            Allow, "messages to Gofer and command line: connected sockets only, none can be made"),
    (libc::SYS_recvfrom,          Allow, "messages from them"),
    (libc::SYS_sendmsg,           Allow, "messages with descriptors to the Gofer"),
    (libc::SYS_recvmsg,           Allow, "messages with donated descriptors"),
    (libc::SYS_shutdown,          Allow, "ends a connection"),
    (libc::SYS_setsockopt,        Only(2, SOCKET_TIMEOUTS), "who waits for the Gofer looks now and then whether it is to end"),
    (libc::SYS_getsockopt,        Allow, "sizes and errors of a standard stream that is a socket"),

    // Paths: nothing is there; libraries that look for a file are told so instead of killed.
    (libc::SYS_open,              Refuse(ENOENT), "the C library and Rust look under /proc and /sys, and do without"),
    (libc::SYS_openat,            Refuse(ENOENT), "the same; also bars the way from a directory given as a standard stream"),
    (libc::SYS_access,            Refuse(ENOENT), "the same"),
    (libc::SYS_faccessat,         Refuse(ENOENT), "the same"),
    (libc::SYS_readlink,          Refuse(ENOENT), "the same"),
    (libc::SYS_readlinkat,        Refuse(ENOENT), "the same"),
    (libc::SYS_getcwd,            Refuse(ENOENT), "Rust, for the text of a panic"),
];

fn program(platform: PlatformName, asked: Asked, sockets: Sockets, otherwise: Otherwise) -> Vec<Instruction> {
    let of_platform = match platform {
        PlatformName::Auto | PlatformName::Systrap | PlatformName::SystrapSignals => {
            platform::systrap::SENTRY_CALLS
        }
        PlatformName::Ptrace => platform::ptrace::SENTRY_CALLS,
    };
    // The first entry of a call counts.
    let listening = if asked == Asked::Listens { LISTENING } else { &[] };
    let bound = if sockets == Sockets::Bound { BOUND } else { &[] };
    let calls = CALLS
        .iter()
        .chain(listening)
        .chain(bound)
        .map(|&(number, verdict, _reason)| (number as u32, verdict));
    let more = of_platform.iter().map(|&(number, _reason)| (number as u32, Allow));
    seccomp_program::build(&calls.chain(more).collect::<Vec<_>>(), otherwise)
}

/// Installs the filter for this thread and all that it makes from now on. There is no way back.
pub fn install(
    platform: PlatformName,
    asked: Asked,
    sockets: Sockets,
    otherwise: Otherwise,
) -> Result<(), FilterError> {
    host::seccomp::install(&program(platform, asked, sockets, otherwise), Scope::Thread).map_err(FilterError)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_names_each_call_once() {
        let numbers: BTreeSet<_> = CALLS.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers.len(), CALLS.len());
        assert!(CALLS.iter().all(|(_, _, reason)| !reason.is_empty()));
    }

    #[test]
    fn what_must_never_be_allowed_is_not() {
        for number in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_socket,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_openat2,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_chdir,
            libc::SYS_fchdir,
            libc::SYS_keyctl,
        ] {
            assert!(CALLS.iter().all(|&(allowed, ..)| allowed != number), "call {number} is on the list");
        }
    }
}
