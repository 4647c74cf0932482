//! Processes: making them, waiting for them, becoming another program.

use std::ffi::{CStr, CString};
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::namespace::Namespaces;
use crate::{check, check_int, retry, thread};

/// A child process, with an fd that names it for good (its number may be used again).
#[derive(Debug)]
pub struct Child {
    pid: i32,
    pidfd: OwnedFd,
}

/// How a process ended or changed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Ended by itself with this status (0–255).
    Exited(i32),
    /// Ended by this signal; whether with a core dump.
    Signaled(i32, bool),
    /// Stopped by this signal.
    Stopped(i32),
    /// Running again.
    Continued,
}

impl Status {
    /// Decodes the status word of wait4(2).
    pub fn from_wait(status: i32) -> Status {
        if libc::WIFEXITED(status) {
            Status::Exited(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Status::Signaled(libc::WTERMSIG(status), libc::WCOREDUMP(status))
        } else if libc::WIFSTOPPED(status) {
            Status::Stopped(libc::WSTOPSIG(status))
        } else {
            Status::Continued
        }
    }

    /// As a shell puts it in `$?`: the status, or 128 + the signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Status::Exited(code) => code,
            Status::Signaled(signal, _) | Status::Stopped(signal) => 128 + signal,
            Status::Continued => 0,
        }
    }
}

impl Child {
    /// A child that this crate has made.
    pub(crate) fn new(pid: i32, pidfd: OwnedFd) -> Child {
        Child { pid, pidfd }
    }

    /// Process id, in the caller's PID namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Process id in the PID namespace that /proc shows, which may be an outer one of the caller's; `None` if that can't be
    /// told, or the process is gone from it.
    pub fn pid_in_proc(&self) -> Option<i32> {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd())).ok()?;
        let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
        (number > 0).then_some(number)
    }

    /// The pidfd: readable when the process has ended.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Sends a signal.
    pub fn kill(&self, signal: i32) -> Result<()> {
        pidfd_send_signal(&self.pidfd, signal)
    }

    /// Waits for the end and reaps.
    pub fn wait(&self) -> Result<Status> {
        let mut status = 0;
        // SAFETY: the integer is valid for the call.
        retry(|| check_int(unsafe { libc::waitpid(self.pid, &mut status, libc::__WALL) }))?;
        Ok(Status::from_wait(status))
    }

    /// Reaps if it has ended.
    pub fn try_wait(&self) -> Result<Option<Status>> {
        let mut status = 0;
        let options = libc::__WALL | libc::WNOHANG;
        // SAFETY: the integer is valid for the call.
        let pid = retry(|| check_int(unsafe { libc::waitpid(self.pid, &mut status, options) }))?;
        Ok((pid != 0).then(|| Status::from_wait(status)))
    }
}

/// Forks into new namespaces and runs `child` there; its value is the exit status. The child is a copy of the caller
/// (copy-on-write memory, own table of fds). Only for processes with one thread: with more, a lock that another thread held
/// would stay locked in the child for good, so that is refused (EBUSY).
pub fn fork(namespaces: Namespaces, child: impl FnOnce() -> i32) -> Result<Child> {
    if thread::count()? != 1 {
        return Err(Error::from_raw_os_error(libc::EBUSY));
    }
    let mut pidfd: i32 = -1;
    // SAFETY: an all-zero clone_args is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces.bits() | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM and a stack the child goes on with a copy of this one's, and there is no other thread
    // whose state the copy could have caught half-way.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        let run = std::panic::AssertUnwindSafe(child);
        exit_now(std::panic::catch_unwind(run).unwrap_or(101));
    }
    // SAFETY: the host made this fd for us.
    Ok(Child { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// _exit(2): no destructors, no buffers flushed.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: does not return, so nothing can be seen half-done.
    unsafe { libc::_exit(status) }
}

/// A pidfd for a process.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: numbers only.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the fd is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal to the process that a pidfd names.
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: no siginfo is passed; numbers only.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<u8>(), 0) })
        .map(drop)
}

/// Waits for a child of the caller, any when `pid` is -1. `options` are `W*` and `__W*`. `None`: WNOHANG, and nothing
/// to report.
pub fn wait(pid: i32, options: i32) -> Result<Option<(i32, Status)>> {
    let mut status = 0;
    // SAFETY: the integer is valid for the call.
    let found = retry(|| check_int(unsafe { libc::waitpid(pid, &mut status, options) }))?;
    Ok((found != 0).then(|| (found, Status::from_wait(status))))
}

/// How a child ended, without reaping it; `None` while it runs. An error when it is no child (any more).
fn peek_child(pid: i32) -> Result<Option<Status>> {
    // SAFETY: an all-zero siginfo_t is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: the structure is valid for the call.
    check_int(unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, options) })?;
    // SAFETY: waitid has filled in the fields of SIGCHLD, or left the structure as it was.
    let (found, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((found != 0).then_some(match info.si_code {
        libc::CLD_EXITED => Status::Exited(status),
        code => Status::Signaled(status, code == libc::CLD_DUMPED),
    }))
}

/// Kills a child that may have been reaped already: its number is not used when it no longer is a child's.
pub fn kill_child(pid: i32) -> Result<()> {
    peek_child(pid)?;
    // SAFETY: numbers only.
    check_int(unsafe { libc::kill(pid, libc::SIGKILL) }).map(drop)
}

/// Whether a child has not ended yet.
pub fn is_running(pid: i32) -> bool {
    matches!(peek_child(pid), Ok(None))
}

/// The signal that a child ended by. It stays to be reaped.
pub fn killed_by(pid: i32) -> Option<i32> {
    match peek_child(pid) {
        Ok(Some(Status::Signaled(signal, _))) => Some(signal),
        _ => None,
    }
}

/// Processor time that all threads of a process have used.
pub fn cpu_time_ns(pid: i32) -> Result<u64> {
    // The id of a process's clock is made from its pid (clock_getcpuclockid(3)).
    const SCHEDULER_CLOCK: i32 = 2;
    read_clock_ns((!pid << 3) | SCHEDULER_CLOCK)
}

/// What a clock shows.
pub(crate) fn read_clock_ns(clock: libc::clockid_t) -> Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for the call.
    check_int(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// execve(2). Returns only with an error.
pub fn exec(path: &Path, args: &[CString], env: &[CString]) -> Error {
    match CString::new(path.as_os_str().as_bytes()) {
        Ok(path) => {
            let (args, env) = (pointers(args), pointers(env));
            // SAFETY: both lists are null-terminated and valid.
            unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
            Error::last_os_error()
        }
        Err(_) => Error::from_raw_os_error(libc::EINVAL),
    }
}

/// execveat(2) with AT_EMPTY_PATH: the program that `fd` is open on. Returns only with an error.
pub fn exec_fd(fd: impl AsFd, args: &[CString], env: &[CString]) -> Error {
    let (args, env) = (pointers(args), pointers(env));
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: both lists are null-terminated and valid.
    unsafe {
        libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), args.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH)
    };
    Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| CStr::as_ptr(s)).chain([std::ptr::null()]).collect()
}

/// Closes all fds from `first` to `last`. Whatever Rust value owned one of them must not
/// be used or dropped afterwards, which is why this is for a process that is about to exec or has just begun.
pub fn close_range(first: i32, last: i32) -> Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_close_range, first as u32, last as u32, 0) }).map(drop)
}

/// Sets close-on-exec on all fds from `first` to `last`.
pub fn close_range_on_exec(first: i32, last: i32) -> Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first as u32, last as u32, libc::CLOSE_RANGE_CLOEXEC)
    })
    .map(drop)
}

/// Descriptors that a process which will hold many makes room for.
const DESCRIPTORS: u64 = 4096;

/// Makes room in the table of descriptors, as far as the limit goes. To be called before there are other threads, or processes that
/// share the table: whenever Linux makes a shared one larger, it waits until all processors have seen that, some 8 ms (`expand_fdtable`
/// in fs/file.c), and it does so at 64, 128, 256 … descriptors. The room takes 8 bytes a descriptor.
pub fn reserve_descriptors() -> Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let last = limit.min(DESCRIPTORS).saturating_sub(1) as i32;
    let one = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    // The table stays as large as it is now.
    Ok(rustix::io::fcntl_dupfd_cloexec(&one, last).map(drop)?)
}

/// A new session, of which the caller is leader.
pub fn setsid() -> Result<i32> {
    // SAFETY: no arguments, no memory.
    check_int(unsafe { libc::setsid() })
}

/// Sets all three user ids of the process.
pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: numbers only (glibc's wrapper, which changes all threads).
    check_int(unsafe { libc::setresuid(uid, uid, uid) }).map(drop)
}

/// Sets all three group ids of the process.
pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: as for `set_uid`.
    check_int(unsafe { libc::setresgid(gid, gid, gid) }).map(drop)
}

/// Sets the supplementary groups of the process.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: the list is valid for its length.
    check_int(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }).map(drop)
}

/// Takes over the fd that the parent put at `number`, and marks it close-on-exec. To be called once a number: what this
/// program opens itself is close-on-exec from the start, so an fd with that mark is not (or no longer) an inherited one and
/// is refused (EEXIST).
pub fn inherited_fd(number: i32) -> Result<OwnedFd> {
    // SAFETY: numbers only.
    let flags = check_int(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 || number <= libc::STDERR_FILENO {
        return Err(Error::from_raw_os_error(libc::EEXIST));
    }
    // SAFETY: numbers only.
    check_int(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the fd is open, nobody in this program opened it, and it is handed out once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// What the CPU can do, as the host tells every program: AT_HWCAP and AT_HWCAP2 of the auxiliary vector.
pub fn hardware_capabilities() -> (u64, u64) {
    let (first, second) = rustix::param::linux_hwcap();
    (first as u64, second as u64)
}
