//! Figures in /proc that follow what happens, and files of a process that have nothing to say.

use crate::kit::prelude::*;
use crate::kit::thread::{join, spawn};

/// How many open files there are.
fn open_files() -> i64 {
    let all = text(c"/proc/sys/fs/file-nr");
    let words: Vec<i64> = all.trim_end().split('\t').map(|word| word.parse().unwrap_or(-1)).collect();
    eq(words.len(), 3);
    eq(words[1], 0);
    eq(words[2], text(c"/proc/sys/fs/file-max").trim_end().parse().unwrap_or(-1));
    words[0]
}

case!(open_files_are_counted: openat, close, dup);
fn open_files_are_counted() {
    // Others open and close as well, and Linux does not count exactly: many of them stand out.
    const MANY: i64 = 3000;
    in_child(|| {
        let mut limit = [0u64; 2];
        ok(sys!(prlimit64, 0, libc::RLIMIT_NOFILE, 0, &mut limit));
        if limit[1] < MANY as u64 + 100 {
            skip("too few open files are allowed here");
        }
        ok(sys!(prlimit64, 0, libc::RLIMIT_NOFILE, &[limit[1], limit[1]], 0));
        let first = open(c"/dev/null", O_RDONLY);
        let before = open_files();
        for _ in 0..MANY {
            ok(sys!(dup, first));
        }
        check(open_files() < before + MANY / 2, "descriptors are no files");
        ok(sys!(close_range, first + 1, first + 100_000, 0));
        for _ in 0..MANY {
            open(c"/dev/null", O_RDONLY);
        }
        let opened = open_files();
        within("open files", opened - before, MANY / 2, 2 * MANY);
        ok(sys!(close_range, first + 1, first + 100_000, 0));
        eventually("they are closed", || open_files() < opened - MANY / 2);
    });
}

case!(security_modules_say_nothing: openat, read, write, getdents64);
fn security_modules_say_nothing() {
    let files = [c"current", c"exec", c"fscreate", c"keycreate", c"prev", c"sockcreate"];
    let dir = match sys!(openat, AT_FDCWD, c"/proc/self/attr", O_RDONLY) {
        Err(Errno(ENOENT)) => skip("this kernel has no security modules at all"),
        answer => ok_i32(answer),
    };
    let at = |name: &std::ffi::CStr, flags: i32| ok_i32(sys!(openat, dir, name, flags, 0));
    let mut buf = [0u8; 100];
    if sys!(read, at(c"current", O_RDONLY), &mut buf, buf.len()).is_ok() {
        skip("a security module names the processes here");
    }
    for name in files {
        fails(sys!(read, at(name, O_RDONLY), &mut buf, buf.len()), EINVAL);
        eq(fstat(at(name, O_RDONLY)).st_mode, S_IFREG | if name == c"prev" { 0o444 } else { 0o666 });
        if name != c"prev" {
            fails(sys!(write, at(name, O_WRONLY), b"x", 1), EINVAL);
        }
    }
    fails(sys!(openat, dir, c"none", O_RDONLY), ENOENT);
    // Nobody can set it for others.
    let other = fork(|| sleep_ms(100_000));
    let name = std::ffi::CString::new(format!("/proc/{}/attr/current", other.pid)).unwrap_or_default();
    fails(sys!(write, open(&name, O_WRONLY), b"x", 1), EPERM);
    other.end();
    let (_, handle) = spawn(|| {
        let name = c"/proc/self/attr/current";
        fails(sys!(write, open(name, O_WRONLY), b"x", 1), EACCES);
        fails(sys!(write, open(c"/proc/thread-self/attr/current", O_WRONLY), b"x", 1), EINVAL);
    });
    join(handle);
}
