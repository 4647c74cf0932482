//! Starting a process: this program again, with exactly the descriptors it was given, in new namespaces on request.
//!
//! Like posix_spawn(3), but with what that lacks: new user and PID namespaces for the child (so that it is process 1
//! without one more process in between) and capabilities that survive the exec inside the new user namespace.
//! The child shares this process's memory until it execs (`CLONE_VM | CLONE_VFORK`): nothing is copied.

use std::ffi::{CStr, CString, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::capabilities;
use crate::process::Child;
use crate::signal::{self, SignalSet};

/// Descriptors of a child lie below this number; what is given to it is first moved above.
const CHILD_FDS: RawFd = 32;

/// Bytes of stack for the child's way to the exec.
const CHILD_STACK: usize = 64 * 1024;

/// Why a process was not started.
#[derive(Debug)]
pub struct SpawnError {
    /// The call that failed.
    pub step: &'static str,
    /// The host's error.
    pub error: io::Error,
}

impl std::fmt::Display for SpawnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.step, self.error)
    }
}

// Its text says all: no source of its own.
impl std::error::Error for SpawnError {}

/// Which namespaces a child starts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Those of this process.
    Inherited,
    /// A new PID namespace whose process 1 it is.
    Pid,
    /// A new user namespace, with no ids mapped yet, and a new PID namespace whose process 1 it is. In the user
    /// namespace it holds all capabilities, also after the exec.
    UserAndPid,
}

/// What to start.
#[derive(Debug)]
pub struct Spawn {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    fds: Vec<(OwnedFd, RawFd)>,
    isolation: Isolation,
}

impl Spawn {
    /// Starts `program` (an absolute path) with `args`, the first of which is its name. No environment, no
    /// descriptors, no new namespaces until the other methods say so.
    pub fn new(program: &CStr, args: impl IntoIterator<Item = CString>) -> Spawn {
        Spawn {
            program: program.to_owned(),
            args: args.into_iter().collect(),
            env: Vec::new(),
            fds: Vec::new(),
            isolation: Isolation::Inherited,
        }
    }

    /// Adds `NAME=value` to the environment.
    pub fn env(&mut self, entry: CString) -> &mut Spawn {
        self.env.push(entry);
        self
    }

    /// Gives the child a duplicate of `fd` as its descriptor `number`, below 32. All other descriptors are closed.
    pub fn fd(&mut self, fd: BorrowedFd<'_>, number: RawFd) -> Result<&mut Spawn, SpawnError> {
        if !(0..CHILD_FDS).contains(&number) {
            return Err(SpawnError { step: "descriptor number", error: io::ErrorKind::InvalidInput.into() });
        }
        let high = rustix::io::fcntl_dupfd_cloexec(fd, CHILD_FDS)
            .map_err(|errno| SpawnError { step: "fcntl(F_DUPFD_CLOEXEC)", error: errno.into() })?;
        self.fds.push((high, number));
        Ok(self)
    }

    /// Starts it in these namespaces.
    pub fn isolation(&mut self, isolation: Isolation) -> &mut Spawn {
        self.isolation = isolation;
        self
    }

    /// Starts it. Returns when the program has been executed, or with the step that failed. The child begins with
    /// no signal blocked.
    pub fn start(&self) -> Result<Child, SpawnError> {
        let args: Vec<*const libc::c_char> =
            self.args.iter().map(|a| a.as_ptr()).chain([ptr::null()]).collect();
        let env: Vec<*const libc::c_char> =
            self.env.iter().map(|e| e.as_ptr()).chain([ptr::null()]).collect();
        let fds: Vec<(RawFd, RawFd)> =
            self.fds.iter().map(|(fd, number)| (fd.as_raw_fd(), *number)).collect();
        let mut plan = Plan {
            program: self.program.as_ptr(),
            args: args.as_ptr(),
            env: env.as_ptr(),
            fds: &fds,
            keep_capabilities: self.isolation == Isolation::UserAndPid,
            failed: None,
        };
        let namespaces = match self.isolation {
            Isolation::Inherited => 0,
            Isolation::Pid => libc::CLONE_NEWPID,
            Isolation::UserAndPid => libc::CLONE_NEWUSER | libc::CLONE_NEWPID,
        };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | namespaces;
        let mut stack = vec![0u128; CHILD_STACK / size_of::<u128>()];
        let mut pidfd: c_int = -1;
        // Signals stay blocked in the child until it has its own memory: a handler of this process must not run
        // there.
        let old =
            signal::block(&SignalSet::all()).map_err(|error| SpawnError { step: "sigprocmask", error })?;
        // SAFETY: the stack is ours, 16-byte aligned, and outlives the child's use of it: CLONE_VFORK suspends this
        // thread until the child has executed or exited. `plan` and `pidfd` live as long. The child only makes
        // raw calls on data prepared here, see `child`.
        let pid = unsafe {
            let top = stack.as_mut_ptr().add(stack.len());
            libc::clone(child, top.cast(), flags, (&raw mut plan).cast::<c_void>(), &raw mut pidfd)
        };
        let clone_error = io::Error::last_os_error();
        let _ = signal::set_mask(&old);
        drop(stack);
        if pid < 0 {
            return Err(SpawnError { step: "clone", error: clone_error });
        }
        // SAFETY: clone(2) stored a new descriptor there, and nobody else has it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let child = Child::new(pid, pidfd);
        if let Some((step, errno)) = plan.failed {
            let _ = child.wait();
            return Err(SpawnError { step, error: io::Error::from_raw_os_error(errno) });
        }
        Ok(child)
    }
}

/// What the child does, as plain pointers.
struct Plan<'a> {
    program: *const libc::c_char,
    args: *const *const libc::c_char,
    env: *const *const libc::c_char,
    fds: &'a [(RawFd, RawFd)],
    keep_capabilities: bool,
    failed: Option<(&'static str, i32)>,
}

/// The child's way to the exec. It runs in the parent's memory: no allocation, no lock, no return.
extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: `start` passed its plan, and waits.
    let plan = unsafe { &mut *plan.cast::<Plan<'_>>() };
    plan.failed = Some(match prepare(plan) {
        Err(step) => (step, errno()),
        Ok(()) => {
            // SAFETY: NUL-terminated strings and NULL-terminated arrays, made by `start`.
            unsafe { libc::execve(plan.program, plan.args, plan.env) };
            ("exec", errno())
        }
    });
    // SAFETY: leaves without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

fn prepare(plan: &Plan<'_>) -> Result<(), &'static str> {
    for &(from, to) in plan.fds {
        // SAFETY: the child's own descriptor table; the sources all lie above the targets.
        if unsafe { libc::dup2(from, to) } < 0 {
            return Err("dup2");
        }
    }
    for number in 0..CHILD_FDS {
        if !plan.fds.iter().any(|&(_, to)| to == number) {
            // SAFETY: as above; closing what is not open does nothing.
            unsafe { libc::close(number) };
        }
    }
    // SAFETY: as above.
    if unsafe { libc::syscall(libc::SYS_close_range, CHILD_FDS, u32::MAX, 0) } < 0 {
        return Err("close_range");
    }
    if plan.keep_capabilities {
        keep_capabilities()?;
    }
    signal::set_mask(&SignalSet::empty()).map(drop).map_err(|_| "sigprocmask")
}

/// Makes all capabilities inheritable and ambient, so that exec keeps them without a uid of 0.
fn keep_capabilities() -> Result<(), &'static str> {
    let mut sets = capabilities::get().map_err(|_| "capget")?;
    sets.inheritable = sets.permitted;
    capabilities::set(sets).map_err(|_| "capset")?;
    for capability in (0..64).filter(|capability| sets.permitted >> capability & 1 == 1) {
        // SAFETY: no pointers.
        let done = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0) };
        if done < 0 {
            return Err("prctl(PR_CAP_AMBIENT_RAISE)");
        }
    }
    Ok(())
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::process::Status;

    fn shell(script: &str) -> Spawn {
        let args = ["sh", "-c", script].map(|a| CString::new(a).expect("no NUL"));
        Spawn::new(c"/bin/sh", args)
    }

    #[test]
    fn exit_status_is_reported() {
        assert_eq!(shell("exit 7").start().unwrap().wait().unwrap(), Status::Exited(7));
        assert_eq!(shell("kill -9 $$").start().unwrap().wait().unwrap(), Status::Signaled(9, false));
    }

    #[test]
    fn only_the_given_descriptors_are_open() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        // Not close-on-exec, as a careless parent would leave it.
        let _stray = rustix::io::dup(&write).unwrap();
        let mut spawn =
            shell("for f in 0 1 2 3 4 5 9 40; do [ -e /proc/self/fd/$f ] && echo $f >&7; done; :");
        spawn.fd(write.as_fd(), 7).unwrap();
        assert_eq!(spawn.start().unwrap().wait().unwrap(), Status::Exited(0));
        drop((spawn, write, _stray));
        let mut buffer = [0u8; 64];
        let n = rustix::io::read(&read, &mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"");
    }

    #[test]
    fn a_failed_exec_is_an_error() {
        let error = Spawn::new(c"/nonexistent/program", [c"x".to_owned()]).start().unwrap_err();
        assert_eq!((error.step, error.error.raw_os_error()), ("exec", Some(libc::ENOENT)));
    }
}
