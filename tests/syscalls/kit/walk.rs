//! Every system call with hostile arguments: wild pointers, absurd lengths, good descriptors beside bad memory.
//!
//! Nothing is expected of an answer but that there is one. What came out is recorded, so that host and sandbox can be
//! compared. All of it happens below a process that can do no harm: in namespaces of its own where those are to be had,
//! without privileges where not.

use std::ffi::CStr;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use libc::{AT_FDCWD, O_NONBLOCK, O_RDONLY, O_RDWR, SIGKILL, c_int};

use super::check::{exit_now, fail, ok};
use super::child::fork;
use super::files::{become_user, is_root, open, pipe, put};
use super::memory::{ANON, PAGE, RW, SHARED_ANON, poke};
use super::numbers::nr;
use super::sys::invoke;
use super::wait::{now_ns, state};
use crate::sys;

/// Highest number that the walk takes in a row; no kernel has given out all of them.
pub const LAST: i64 = 511;

/// Calls that take long or leave something behind, even when somebody without privileges makes them.
const LEFT_OUT: &[i64] = &[nr::sync, nr::syncfs, nr::msgget];

/// A user that nobody else is.
const STRANGER: u32 = 54_321;

/// A call that has not come back within this time, and whose process is asleep whenever one looks, waits. (A machine that is
/// busy elsewhere makes a call late, not asleep.)
const PATIENCE_MS: i64 = 150;
/// How often it has to be asleep, in turn, and how long between.
const LOOKS: u32 = 5;
const LOOK_MS: i64 = 10;
/// Nothing takes so long.
const NO_MORE_MS: i64 = 20_000;

/// What the processes share: a mark a list, and the number of the one that makes the calls, as /proc has it.
struct Marks {
    lists: [AtomicI64; VECTORS],
    pid: AtomicI64,
}

/// How often each call is made.
pub const VECTORS: usize = 22;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Success,
    /// It failed.
    Error(i32),
    /// It waited and was killed.
    Waited,
    /// The process ended in it.
    Ended(c_int),
    /// It was not made.
    LeftOut,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Success => write!(f, "ok"),
            Outcome::Error(e) => write!(f, "{:?}", super::errno::Errno(*e)),
            Outcome::Waited => write!(f, "waits"),
            Outcome::Ended(status) => write!(f, "{}", super::child::describe(*status).replace(' ', "-")),
            Outcome::LeftOut => write!(f, "left-out"),
        }
    }
}

/// Good things to hand over beside bad ones. Their numbers are no signals and no pids of anybody who matters.
const FILE: u64 = 200;
const DIRECTORY: u64 = 201;
const PIPE_READ: u64 = 202;
const PIPE_WRITE: u64 = 203;
const SOCKET: u64 = 204;
const EPOLL: u64 = 205;
const EVENT: u64 = 206;

/// Where the good pages are: always there, because addresses are numbers and flags to calls that take those.
const PAGES: usize = 0x2000_0000;

const HERE: u64 = AT_FDCWD as i64 as u64;
const MINUS: u64 = u64::MAX;
/// Not mapped, and not aligned.
const LOW: u64 = 0x1001;
/// The kernel's half.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// The first address that is not the user's.
const BEYOND: u64 = 0x8000_0000_0000;
const HUGE: u64 = 1 << 40;
const MOST: u64 = i64::MAX as u64;

/// The argument lists. `edge` is the last byte before a hole, `buffer` a page that can be written, `path` a file's name.
#[rustfmt::skip]
fn vectors(edge: u64, buffer: u64, path: u64) -> [[u64; 6]; VECTORS] {
    [
        [0; 6],
        [MINUS; 6],
        [LOW; 6],
        [KERNEL; 6],
        [BEYOND; 6],
        [edge; 6],
        [MOST; 6],
        [FILE, KERNEL, 16, KERNEL, 0, 0],
        [FILE, edge, HUGE, 0, 0, 0],
        [FILE, buffer, MINUS, MINUS, MINUS, MINUS],
        [DIRECTORY, path, KERNEL, 0, 0, 0],
        [DIRECTORY, path, edge, 1 << 31, KERNEL, KERNEL],
        [path, KERNEL, KERNEL, KERNEL, 0, 0],
        [path, edge, MINUS, edge, MINUS, edge],
        [HERE, path, KERNEL, MINUS, 0, 0],
        [SOCKET, KERNEL, 16, 0, KERNEL, KERNEL],
        [PIPE_READ, edge, 64, 0, edge, 64],
        [PIPE_WRITE, LOW, 64, 0, LOW, 64],
        [EPOLL, 1, EVENT, KERNEL, 0, 8],
        [buffer, MINUS, buffer, MINUS, buffer, MINUS],
        [1, KERNEL, KERNEL, KERNEL, KERNEL, KERNEL],
        [2, edge, MINUS, edge, MINUS, edge],
    ]
}

/// The child's marks: not begun, begun.
const NOT_YET: i64 = i64::MIN;
const BEGUN: i64 = i64::MIN + 1;

/// Walks the numbers and hands over what became of each call, in the process that does the calls' parent.
pub fn walk(numbers: &[i64], mut found: impl FnMut(i64, usize, Outcome)) {
    let shared = ok(sys!(mmap, 0, size_of::<Marks>(), RW, SHARED_ANON, -1, 0)) as usize;
    // SAFETY: fresh pages that are never unmapped here; a child that unmaps them does so for itself.
    let shared: &Marks = unsafe { &*(shared as *const Marks) };
    let marks = &shared.lists;
    // Not with a dot at the end: that needs the right to search in it.
    let here = super::files::absolute("");
    for number in numbers {
        prepare(&here);
        let mut next = 0;
        marks.iter().for_each(|m| m.store(NOT_YET, Ordering::SeqCst));
        while next < VECTORS {
            if LEFT_OUT.contains(number) {
                found(*number, next, Outcome::LeftOut);
                next += 1;
                continue;
            }
            let begun_with = next;
            let child = fork(|| make_calls(*number, next, shared));
            let status = patiently(child.pid, shared);
            while next < VECTORS {
                let mark = marks[next].load(Ordering::SeqCst);
                let outcome = match mark {
                    NOT_YET => break,
                    BEGUN if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == SIGKILL => {
                        Outcome::Waited
                    }
                    BEGUN => Outcome::Ended(status),
                    -4095..0 => Outcome::Error(-mark as i32),
                    _ => Outcome::Success,
                };
                found(*number, next, outcome);
                next += 1;
                if mark == BEGUN {
                    break;
                }
            }
            if next == begun_with {
                let how = super::child::describe(status);
                fail(format_args!("call {number}, list {next}: the child {how} before it"));
            }
        }
    }
}

/// What calls may have spoiled.
fn prepare(here: &CStr) {
    // Without rights to the directory an ordinary user could not go on.
    let _ = sys!(fchmodat, AT_FDCWD, here, 0o777);
    let _ = sys!(unlinkat, AT_FDCWD, c"path", 0);
    let _ = sys!(unlinkat, AT_FDCWD, c"path", libc::AT_REMOVEDIR);
    put(c"path", b"content");
}

/// In the child.
fn make_calls(number: i64, first: usize, shared: &Marks) {
    let pid = ok(sys!(getpid));
    let seen = std::fs::read_link("/proc/self").ok().and_then(|pid| pid.to_str()?.parse().ok());
    shared.pid.store(seen.unwrap_or(0), Ordering::SeqCst);
    let dup = |fd: c_int, to: u64| {
        ok(sys!(dup3, fd, to, 0));
        ok(sys!(close, fd));
    };
    dup(open(c"path", O_RDWR), FILE);
    dup(open(c".", O_RDONLY), DIRECTORY);
    let [r, w] = pipe(O_NONBLOCK);
    dup(r, PIPE_READ);
    dup(w, PIPE_WRITE);
    // Where there are no sockets yet, a pipe has to do.
    let socket = sys!(socket, libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0);
    match socket {
        Ok(fd) => dup(fd as c_int, SOCKET),
        Err(_) => drop(sys!(dup3, PIPE_READ, SOCKET, 0)),
    }
    dup(ok(sys!(epoll_create1, 0)) as c_int, EPOLL);
    dup(ok(sys!(eventfd2, 0, libc::EFD_NONBLOCK)) as c_int, EVENT);
    let page = |at: usize| ok(sys!(mmap, at, PAGE, RW, ANON | libc::MAP_FIXED_NOREPLACE, -1, 0)) as usize;
    let (edge, buffer, path) = (page(PAGES) + PAGE - 1, page(PAGES + 2 * PAGE), page(PAGES + 4 * PAGE));
    b"path".iter().enumerate().for_each(|(i, byte)| poke(path + i, *byte));
    let lists = vectors(edge as u64, buffer as u64, path as u64);
    // Neither the machine's memory nor whoever reads this process's output is to suffer.
    for (resource, most) in
        [(libc::RLIMIT_AS, 1u64 << 32), (libc::RLIMIT_FSIZE, 1 << 20), (libc::RLIMIT_CORE, 0)]
    {
        ok(sys!(prlimit64, 0, resource, &[most, most], 0));
    }
    let null = open(c"/dev/null", O_RDWR);
    for standard in 0..3 {
        ok(sys!(dup3, null, standard, 0));
    }
    // What children of clone send when they end: the low byte of its flags, which is one of the numbers above.
    for signal in [libc::SIGHUP, libc::SIGINT] {
        super::signal::ignore(signal);
    }
    for (mark, list) in shared.lists.iter().zip(&lists).skip(first) {
        mark.store(BEGUN, Ordering::SeqCst);
        // SAFETY: none for this process, on purpose: whatever the call does to its memory, nobody else shares it but the
        // marks, and the process ends soon.
        let result = unsafe { invoke(number, list) };
        if sys!(getpid) != Ok(pid) {
            // The call has made a process, and this is it.
            exit_now(0);
        }
        mark.store(result, Ordering::SeqCst);
    }
}

/// Waits for the child, and kills it when a call waits.
fn patiently(pid: c_int, shared: &Marks) -> c_int {
    let now_ms = || now_ns(libc::CLOCK_MONOTONIC) / 1_000_000;
    let (mut at, mut since, mut looked, mut asleep) = (None, now_ms(), 0, 0);
    loop {
        let mut status = 0;
        match sys!(wait4, pid, &mut status, libc::WNOHANG, 0) {
            Ok(0) => {}
            Ok(_) if libc::WIFSTOPPED(status) => break,
            Ok(_) => return status,
            Err(_) => break,
        }
        // Most are done within this.
        let _ = sys!(nanosleep, &[0i64, 300_000], 0);
        let now = now_ms();
        let current = shared.lists.iter().position(|mark| mark.load(Ordering::SeqCst) == BEGUN);
        if current != at {
            (at, since, asleep) = (current, now, 0);
        }
        if now - since > PATIENCE_MS && now - looked >= LOOK_MS {
            looked = now;
            asleep = if state(shared.pid.load(Ordering::SeqCst) as c_int) != 'R' { asleep + 1 } else { 0 };
        }
        if asleep >= LOOKS || now - since > NO_MORE_MS {
            break;
        }
    }
    let _ = sys!(kill, pid, SIGKILL);
    super::child::wait_for(pid, 0).1
}

/// Runs `body` where it can do no harm.
#[track_caller]
pub fn harmlessly(body: impl FnOnce()) {
    const NAMESPACES: c_int = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    const ESSENTIAL: c_int =
        libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWPID;
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o777));
    fork(|| {
        let (uid, gid) = (ok(sys!(getuid)), ok(sys!(getgid)));
        let apart = match sys!(unshare, NAMESPACES) {
            // A sandbox does not have all kinds of them, and its walls stand instead.
            Err(errno) if errno.0 == libc::EINVAL => sys!(unshare, ESSENTIAL),
            done => done,
        };
        if apart.is_ok() {
            let _ = std::fs::write("/proc/self/setgroups", "deny");
            let _ = std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"));
            let _ = std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"));
            // The first process of the new PID namespace.
            fork(body).succeeds();
        } else if is_root() {
            as_stranger(body);
        } else {
            fail("neither namespaces nor another user to be had");
        }
    })
    .succeeds();
}

#[track_caller]
fn as_stranger(body: impl FnOnce()) {
    fork(|| {
        if is_root() {
            become_user(STRANGER);
        }
        body();
    })
    .succeeds();
}

/// Starts this program again with its heap at one place: some lists are addresses and lengths that might reach it.
fn without_randomness(first: i64, last: i64) {
    const NO_RANDOMIZE: i64 = libc::ADDR_NO_RANDOMIZE as i64;
    let now = ok(sys!(personality, u32::MAX));
    if now & NO_RANDOMIZE == 0 {
        ok(sys!(personality, now | NO_RANDOMIZE));
        let number = |n: i64| std::ffi::CString::new(n.to_string()).unwrap_or_default();
        let program = super::probe::program();
        ok(super::child::exec(program, &[program, c"run-walk", &number(first), &number(last)], &[]));
    }
}

/// Prints a line a call: number, list, outcome. The calls are made without privileges and namespaces, so that it is the
/// same everywhere.
pub fn record(first: i64, last: i64) -> c_int {
    without_randomness(first, last);
    // Whoever started this may have been nice.
    let _ = sys!(setpriority, 0, 0, 0);
    let Some(dir) = super::runner::scratch() else { fail("no directory for scratch files") };
    let name = std::ffi::CString::new(dir.as_str()).unwrap_or_default();
    ok(sys!(chdir, name.as_c_str()));
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o777));
    let numbers: Vec<i64> = (first..=last.min(LAST)).collect();
    as_stranger(|| {
        let mut lines = String::new();
        walk(&numbers, |number, list, outcome| lines.push_str(&format!("{number} {list} {outcome}\n")));
        super::files::write_all(1, lines.as_bytes());
    });
    super::files::remove_tree(&dir);
    0
}
