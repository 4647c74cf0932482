//! Signals for what happens in directories: fcntl(F_NOTIFY).

use crate::kit::prelude::*;

const F_SETSIG: i32 = 10;
const F_GETOWN: i32 = 9;
const DN_ACCESS: u32 = 0x01;
const DN_MODIFY: u32 = 0x02;
const DN_CREATE: u32 = 0x04;
const DN_DELETE: u32 = 0x08;
const DN_RENAME: u32 = 0x10;
const DN_ATTRIB: u32 = 0x20;
const DN_MULTISHOT: u32 = 0x8000_0000;

/// An open directory that tells of `what` with `signal`, which is blocked.
#[track_caller]
fn told(dir: &std::ffi::CStr, what: u32, signal: i32) -> i32 {
    sig::block(sig::bit(signal));
    let fd = open(dir, O_RDONLY | O_DIRECTORY);
    ok(sys!(fcntl, fd, F_SETSIG, signal));
    ok(sys!(fcntl, fd, F_NOTIFY, what));
    fd
}

/// How often a blocked signal waits; takes them. Those of real time wait each.
fn taken(signal: i32) -> usize {
    let none = timespec { tv_sec: 0, tv_nsec: 0 };
    (0..).take_while(|_| sys!(rt_sigtimedwait, &sig::bit(signal), 0, &none, 8).is_ok()).count()
}

const EACH: [u32; 6] = [DN_ACCESS, DN_MODIFY, DN_CREATE, DN_DELETE, DN_RENAME, DN_ATTRIB];

/// Which kinds of events `act` makes in the directory `d`.
fn seen_of(act: impl FnOnce()) -> u32 {
    let signal = |at: usize| SIGRTMIN() + 2 + at as i32;
    let fds: Vec<i32> =
        EACH.iter().enumerate().map(|(at, what)| told(c"d", what | DN_MULTISHOT, signal(at))).collect();
    act();
    let seen =
        EACH.iter().enumerate().filter(|(at, _)| taken(signal(*at)) > 0).fold(0, |all, (_, what)| all | what);
    fds.into_iter().for_each(close);
    seen
}

case!(what_happens_in_a_directory: fcntl, openat, write, unlink, rename; disk);
fn what_happens_in_a_directory() {
    mkdir(c"d");
    mkdir(c"d/sub");
    mkdir(c"e");
    put(c"d/f", b"x");
    let rename = |from: &'static std::ffi::CStr, to: &'static std::ffi::CStr| {
        move || done(sys!(renameat, AT_FDCWD, from, AT_FDCWD, to))
    };
    eq(seen_of(|| drop(content(c"d/f"))), DN_ACCESS);
    eq(seen_of(|| write_all(open(c"d/f", O_WRONLY), b"y")), DN_MODIFY);
    eq(seen_of(|| done(sys!(truncate, c"d/f", 0))), DN_MODIFY);
    eq(seen_of(|| close(create(c"d/g", b""))), DN_CREATE);
    eq(seen_of(|| done(sys!(linkat, AT_FDCWD, c"d/g", AT_FDCWD, c"d/l", 0))), DN_CREATE);
    eq(seen_of(|| done(sys!(unlink, c"d/g"))), DN_DELETE);
    eq(seen_of(rename(c"d/f", c"d/h")), DN_CREATE | DN_DELETE | DN_RENAME);
    eq(seen_of(rename(c"d/h", c"e/h")), DN_DELETE);
    eq(seen_of(rename(c"e/h", c"d/f")), DN_CREATE);
    eq(seen_of(|| done(sys!(fchmodat, AT_FDCWD, c"d/f", 0o600))), DN_ATTRIB);
    eq(seen_of(|| done(sys!(fchmodat, AT_FDCWD, c"d", 0o700))), DN_ATTRIB);
    let list = |path| move || done(sys!(getdents64, open(path, O_RDONLY), &mut [0u8; 500], 500));
    eq(seen_of(list(c"d")), DN_ACCESS);
    eq(seen_of(list(c"d/sub")), DN_ACCESS);
    eq(seen_of(|| mkdir(c"d/m")), DN_CREATE);
    eq(seen_of(|| done(sys!(rmdir, c"d/m"))), DN_DELETE);
    eq(seen_of(|| close(open(c"d/f", O_RDONLY))), 0);
}

case!(once_or_more_often: fcntl);
fn once_or_more_often() {
    mkdir(c"d");
    let signal = SIGRTMIN() + 2;
    let fd = told(c"d", DN_CREATE, signal);
    close(create(c"d/a", b""));
    close(create(c"d/b", b""));
    eq(taken(signal), 1);
    // Requests of one file add up.
    ok(sys!(fcntl, fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    ok(sys!(fcntl, fd, F_NOTIFY, DN_DELETE | DN_MULTISHOT));
    close(create(c"d/c", b""));
    ok(sys!(unlink, c"d/c"));
    eq(taken(signal), 2);
    ok(sys!(fcntl, fd, F_NOTIFY, 0));
    close(create(c"d/c", b""));
    eq(taken(signal), 0);
}

case!(the_signal_of_a_directory: fcntl, rt_sigtimedwait);
fn the_signal_of_a_directory() {
    mkdir(c"d");
    let signal = SIGRTMIN() + 2;
    let fd = told(c"d", DN_CREATE, signal);
    eq(ok(sys!(fcntl, fd, F_GETOWN)), ok(sys!(getpid)));
    mkdir(c"d/a");
    let mut info = [0i32; 32];
    let soon = timespec { tv_sec: 10, tv_nsec: 0 };
    eq(ok_i32(sys!(rt_sigtimedwait, &sig::bit(signal), &mut info, &soon, 8)), signal);
    // si_code is POLL_MSG; si_band, of two words, and si_fd.
    eq((info[2], info[4], info[5], info[6]), (3, 0x441, 0, fd));
    // Without F_SETSIG it is SIGIO.
    sig::block(sig::bit(SIGIO));
    let fd = open(c"d", O_RDONLY);
    ok(sys!(fcntl, fd, F_NOTIFY, DN_DELETE));
    ok(sys!(rmdir, c"d/a"));
    eq(taken(SIGIO), 1);
}

case!(requests_end_with_a_close: fcntl, close, dup);
fn requests_end_with_a_close() {
    mkdir(c"d");
    let signal = SIGRTMIN() + 2;
    let fd = told(c"d", DN_CREATE | DN_MULTISHOT, signal);
    let other = ok_i32(sys!(dup, fd));
    // Any descriptor of the file will do.
    close(other);
    mkdir(c"d/a");
    eq(taken(signal), 0);
    // That of another process is another's.
    ok(sys!(fcntl, fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    fork(|| close(fd)).succeeds();
    mkdir(c"d/b");
    eq(taken(signal), 1);
}

case!(requests_that_fail: fcntl);
fn requests_that_fail() {
    put(c"f", b"");
    let f = open(c"f", O_RDONLY);
    fails(sys!(fcntl, f, F_NOTIFY, DN_ACCESS), ENOTDIR);
    ok(sys!(fcntl, f, F_NOTIFY, 0));
    ok(sys!(fcntl, f, F_NOTIFY, DN_MULTISHOT));
    fails(sys!(fcntl, open(c".", O_PATH), F_NOTIFY, DN_ACCESS), EBADF);
    ok(sys!(fcntl, open(c".", O_RDONLY), F_NOTIFY, 0x40));
}
