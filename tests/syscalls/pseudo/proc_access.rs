//! /proc/PID/io, and who may look at which file of another process.

use std::ffi::{CStr, CString};

use crate::kit::prelude::*;

/// The first four figures, and how many bytes the read(2) for them brought: open, one read, close.
fn io(path: &CStr) -> ([u64; 4], u64) {
    let fd = open(path, O_RDONLY);
    let text = read(fd, 4000);
    close(fd);
    let len = text.len() as u64;
    let text = String::from_utf8_lossy(&text).into_owned();
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
        line.unwrap_or_else(|| fail(format_args!("no {name} in {text:?}")))
    };
    (["rchar", "wchar", "syscr", "syscw"].map(figure), len)
}

/// What `body` adds to the figures of a file.
fn added(path: &CStr, body: impl FnOnce()) -> [u64; 4] {
    let (before, len) = io(path);
    body();
    let (after, _) = io(path);
    let mut by = [0, 1, 2, 3].map(|n| after[n] - before[n]);
    // The first look is itself a read.
    by[0] -= len;
    by[2] -= 1;
    by
}

const OWN: &CStr = c"/proc/self/io";
const THREAD: &CStr = c"/proc/thread-self/io";

case!(reads_and_writes_are_counted: read, write, pread64, pwrite64, readv, writev, preadv, pwritev, preadv2, pwritev2; disk);
fn reads_and_writes_are_counted() {
    let fd = create(c"f", b"0123456789");
    let mut buf = [0u8; 100];
    let vec = |len: usize, buf: &mut [u8]| libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: len };
    let work = |buf: &mut [u8; 100]| {
        let (out, input) = (vec(3, buf), vec(4, buf));
        eq(ok(sys!(pread64, fd, &mut *buf, 100, 0)), 10);
        eq(ok(sys!(pwrite64, fd, b"abc", 3, 20)), 3);
        eq(ok(sys!(read, fd, &mut *buf, 100)), 13);
        eq(ok(sys!(write, fd, b"x", 1)), 1);
        eq(ok(sys!(preadv, fd, &input, 1, 0, 0)), 4);
        eq(ok(sys!(preadv2, fd, &input, 1, 0, 0, 0)), 4);
        eq(ok(sys!(readv, fd, &input, 1)), 0);
        eq(ok(sys!(pwritev, fd, &out, 1, 0, 0)), 3);
        eq(ok(sys!(pwritev2, fd, &out, 1, 0, 0, 0)), 3);
        eq(ok(sys!(writev, fd, &out, 1)), 3);
    };
    ok(sys!(lseek, fd, 10, SEEK_SET));
    eq(added(OWN, || work(&mut buf)), [31, 13, 5, 5]);
    ok(sys!(ftruncate, fd, 10));
    ok(sys!(lseek, fd, 10, SEEK_SET));
    eq(added(THREAD, || work(&mut buf)), [31, 13, 5, 5]);
}

case!(failed_reads_and_writes: read, write, readv, writev, pread64);
fn failed_reads_and_writes() {
    let fd = create(c"f", b"0123456789");
    let dir = open(c".", O_RDONLY);
    let only_written = open(c"f", O_WRONLY);
    let mut buf = [0u8; 10];
    let read_into = |fd: c_int, buf: &mut [u8; 10]| sys!(read, fd, &mut *buf, 10);
    // What fails before the file is asked is no call.
    eq(added(OWN, || fails(read_into(-1, &mut buf), EBADF)), [0; 4]);
    eq(added(OWN, || fails(read_into(only_written, &mut buf), EBADF)), [0; 4]);
    eq(added(OWN, || fails(sys!(pread64, fd, &mut buf, 10, -1), EINVAL)), [0; 4]);
    eq(added(OWN, || fails(read_into(dir, &mut buf), EISDIR)), [0, 0, 1, 0]);
    eq(added(OWN, || fails(sys!(read, fd, 8, 10), EFAULT)), [0, 0, 1, 0]);
    eq(added(OWN, || fails(sys!(write, fd, 8, 10), EFAULT)), [0, 0, 0, 1]);
    // Of vectors every call counts.
    eq(added(OWN, || fails(sys!(readv, -1, 0, 0), EBADF)), [0, 0, 1, 0]);
    eq(added(OWN, || fails(sys!(writev, -1, 0, 0), EBADF)), [0, 0, 0, 1]);
    eq(added(OWN, || eq(ok(sys!(read, fd, &mut buf, 0)), 0)), [0, 0, 1, 0]);
}

case!(copies_are_counted: sendfile, copy_file_range, splice, tee, recvfrom, sendto; disk);
fn copies_are_counted() {
    let (from, to) = (create(c"f", b"0123456789"), create(c"t", b""));
    let [r, w] = pipe(0);
    ok(sys!(lseek, from, 0, SEEK_SET));
    eq(added(OWN, || eq(ok(sys!(sendfile, w, from, 0, 4)), 4)), [4, 4, 1, 1]);
    eq(added(OWN, || eq(ok(sys!(copy_file_range, from, 0, to, 0, 5, 0)), 5)), [5, 5, 1, 1]);
    eq(added(OWN, || eq(ok(sys!(copy_file_range, from, 0, to, 0, 0, 0)), 0)), [0; 4]);
    // Neither does splice(2) count, nor what only sockets have.
    eq(added(OWN, || eq(ok(sys!(splice, r, 0, to, 0, 2, 0)), 2)), [0; 4]);
    let mut ends = [0i32; 2];
    ok(sys!(socketpair, AF_UNIX, SOCK_STREAM, 0, &mut ends));
    eq(added(OWN, || eq(ok(sys!(sendto, ends[0], b"abc", 3, 0, 0, 0)), 3)), [0; 4]);
    eq(added(OWN, || eq(ok(sys!(recvfrom, ends[1], &mut [0u8; 8], 1, 0, 0, 0)), 1)), [0; 4]);
    eq(added(OWN, || eq(ok(sys!(read, ends[1], &mut [0u8; 8], 8)), 2)), [2, 0, 1, 0]);
}

case!(children_count_once_waited_for: write, fork, wait4);
fn children_count_once_waited_for() {
    let fd = create(c"f", b"");
    let [r, w] = pipe(0);
    let run = || {
        let child = fork(|| eq(ok(sys!(write, fd, b"12345", 5)), 5));
        child.succeeds();
    };
    eq(added(OWN, run), [0, 5, 0, 1]);
    eq(added(THREAD, run), [0; 4]);
    let child = fork(|| {
        write_all(fd, b"1234567");
        eq(read(r, 1), b"x");
    });
    until_asleep(child.pid);
    let of_child = CString::new(format!("/proc/{}/io", child.pid)).unwrap_or_default();
    let (figures, _) = io(&of_child);
    eq((figures[1], figures[3]), (7, 1));
    write_all(w, b"x");
    child.succeeds();
}

/// Gives up all capabilities, and stays who it is.
fn drop_capabilities() {
    const VERSION_3: u32 = 0x2008_0522;
    ok(sys!(capset, &[VERSION_3, 0], &[0u32; 6]));
}

case!(fewer_capabilities_see_less: openat, readlinkat, read, capset; root);
fn fewer_capabilities_see_less() {
    let parent = ok_i32(sys!(getpid));
    let of = |what: &str| CString::new(format!("/proc/{parent}/{what}")).unwrap_or_default();
    let held = create(c"f", b"1");
    in_child(|| {
        drop_capabilities();
        for name in ["environ", "auxv", "maps", "smaps", "smaps_rollup", "mem", "exe", "cwd/", "root/"] {
            fails(sys!(openat, AT_FDCWD, of(name).as_c_str(), O_RDONLY, 0), EACCES);
        }
        for name in ["exe", "cwd", "root", "ns/mnt", &format!("fd/{held}")] {
            fails(sys!(readlinkat, AT_FDCWD, of(name).as_c_str(), &mut [0u8; 64], 64), EACCES);
        }
        fails(sys!(openat, AT_FDCWD, of(&format!("fd/{held}")).as_c_str(), O_RDONLY, 0), EACCES);
        fails(sys!(openat, AT_FDCWD, of("fdinfo").as_c_str(), O_RDONLY, 0), EACCES);
        // These are opened, and read by nobody.
        for (name, errno) in [("io", EACCES), ("personality", EPERM)] {
            let fd = open(&of(name), O_RDONLY);
            fails(sys!(read, fd, &mut [0u8; 64], 64), errno);
        }
        let stat = text(&of("stat"));
        let fields: Vec<&str> = stat.trim_end().rsplit_once(") ").map_or("", |s| s.1).split(' ').collect();
        eq(fields[42..49].to_vec(), vec!["0"; 7]);
        check(fields[20] != "0", "its size is for all");
        for name in ["status", "limits", "cmdline", "cgroup", "mountinfo", "comm", "statm"] {
            text(&of(name));
        }
    });
}

case!(modes_of_directories: newfstatat);
fn modes_of_directories() {
    let mode = |name: &CStr| stat(name).st_mode & 0o7777;
    eq(mode(c"/proc/self/fd"), 0o500);
    eq(mode(c"/proc/self/ns"), 0o511);
    eq(mode(c"/proc/self/task"), 0o555);
    eq(mode(c"/proc/self/io"), 0o400);
}

/// What a write(2) of this to a file gives.
fn put_in(name: &CStr, text: &str) -> Answer {
    let fd = open(name, O_WRONLY);
    let answer = sys!(write, fd, text.as_ptr(), text.len());
    close(fd);
    answer
}

/// Who has changed its ids owns its files in /proc no more, until it says that others may look.
fn own_again() {
    let owner = || stat(ADJ).st_uid;
    if is_root() {
        return;
    }
    if ok(sys!(prctl, libc::PR_GET_DUMPABLE, 0, 0, 0, 0)) != 1 {
        eq(owner(), 0);
        fails(sys!(openat, AT_FDCWD, ADJ, O_WRONLY, 0), EACCES);
        ok(sys!(prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0));
    }
    eq(i64::from(owner()), ok(sys!(geteuid)));
}

const ADJ: &CStr = c"/proc/self/oom_score_adj";

case!(how_likely_to_be_killed: openat, write, fork);
fn how_likely_to_be_killed() {
    unprivileged(|| {
        own_again();
        let least: i32 = text(ADJ).trim().parse().unwrap_or_else(|_| fail("no number"));
        let higher = least.max(0) + 300;
        for wrong in ["", "x", "1001", "-1001", "1 2"] {
            fails(put_in(ADJ, wrong), EINVAL);
        }
        done(put_in(ADJ, &format!(" {higher}\n")));
        eq(text(ADJ), format!("{higher}\n"));
        in_child(move || {
            eq(text(ADJ), format!("{higher}\n"));
            // Back to where it was, and no further.
            done(put_in(ADJ, &least.to_string()));
            fails(put_in(ADJ, &(least - 1).to_string()), EACCES);
        });
        eq(text(ADJ), format!("{higher}\n"));
        done(put_in(ADJ, &least.to_string()));
    });
}

case!(who_would_be_killed_first: openat, write);
fn who_would_be_killed_first() {
    const SCORE: &CStr = c"/proc/self/oom_score";
    let score = || text(SCORE).trim_end().parse().unwrap_or(-1);
    let set = |adj: i32| done(put_in(ADJ, &adj.to_string()));
    in_child(|| {
        let least: i32 = text(ADJ).trim().parse().unwrap_or_else(|_| fail("no number"));
        if least > 400 {
            skip("nothing is likelier to be killed than this");
        }
        let first = least.max(0);
        set(first);
        // Two thirds of what it takes of the memory and of what it was set to, a thousand above its least.
        let before = score();
        within("at first", before, (1000 + first) * 2 / 3 - 1, (1000 + first) * 2 / 3 + 100);
        set(first + 300);
        within("higher", score() - before, 198, 202);
        set(1000);
        within("the highest", score(), 1331, 1433);
        if put_in(ADJ, "-1000").is_ok() {
            eq(score(), 0);
        }
    });
}

case!(maps_of_ids: unshare, openat, write, setgroups);
fn maps_of_ids() {
    unprivileged(|| {
        own_again();
        let (uid, gid) = (ok(sys!(geteuid)), ok(sys!(getegid)));
        if sys!(unshare, CLONE_NEWUSER).is_err() {
            skip("user namespaces are not for everyone here");
        }
        eq(text(c"/proc/self/uid_map"), "");
        eq(text(c"/proc/self/gid_map"), "");
        eq(text(c"/proc/self/setgroups"), "allow\n");
        let own = |id: i64| format!("7 {id} 1\n");
        for wrong in ["7", "7 x 1", "7 0 0", "-1 0 1"] {
            fails(put_in(c"/proc/self/uid_map", wrong), EINVAL);
        }
        fails(put_in(c"/proc/self/uid_map", &format!("0 {} 1", uid + 1)), EPERM);
        // Groups could be given up by it.
        fails(put_in(c"/proc/self/gid_map", &own(gid)), EPERM);
        fails(put_in(c"/proc/self/setgroups", "no"), EINVAL);
        done(put_in(c"/proc/self/setgroups", "deny"));
        done(put_in(c"/proc/self/gid_map", &own(gid)));
        done(put_in(c"/proc/self/uid_map", &own(uid)));
        fails(put_in(c"/proc/self/uid_map", &own(uid)), EPERM);
        fails(put_in(c"/proc/self/setgroups", "allow"), EPERM);
        eq(text(c"/proc/self/uid_map"), format!("{:>10} {uid:>10} {:>10}\n", 7, 1));
        eq(text(c"/proc/self/gid_map"), format!("{:>10} {gid:>10} {:>10}\n", 7, 1));
        eq((ok(sys!(geteuid)), ok(sys!(getegid))), (7, 7));
        fails(sys!(setgroups, 0, 0), EPERM);
    });
}

case!(resident_memory: openat, mmap, madvise);
fn resident_memory() {
    const PAGE: usize = 4096;
    let resident =
        || text(c"/proc/self/statm").split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0u64);
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let at = ok(sys!(mmap, 0, 64 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0)) as usize;
    ok(sys!(madvise, at, 64 * PAGE, libc::MADV_NOHUGEPAGE));
    let before = resident();
    // What is touched is read from a file into it.
    let zero = open(c"/dev/zero", O_RDONLY);
    for page in 0..10 {
        eq(ok(sys!(read, zero, at + page * PAGE, 8)), 8);
    }
    check(resident() >= before + 10, "they are counted");
    let all = text(c"/proc/self/smaps");
    let mine = all.split_inclusive('\n').skip_while(|line| !line.starts_with(&format!("{at:08x}-")));
    let figure = |name: &str| {
        let line = mine.clone().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| fail(format_args!("no {name}"))).trim().to_owned()
    };
    let figures = ["Size", "Rss", "Private_Dirty", "Anonymous", "KernelPageSize"].map(figure);
    eq(figures, ["256 kB", "40 kB", "40 kB", "40 kB", "4 kB"].map(String::from));
    ok(sys!(munmap, at, 64 * PAGE));
}

case!(owners_follow_dumpable: prctl, newfstatat, openat);
fn owners_follow_dumpable() {
    unprivileged(|| {
        let owner = |name: &CStr| {
            // SAFETY: a structure of integers.
            let mut st: libc::stat = unsafe { std::mem::zeroed() };
            ok(sys!(newfstatat, AT_FDCWD, name, &mut st, libc::AT_SYMLINK_NOFOLLOW));
            i64::from(st.st_uid)
        };
        let me = ok(sys!(geteuid));
        open(c"/dev/null", O_RDONLY);
        let files =
            [c"fd", c"fd/0", c"fdinfo", c"mem", c"exe", c"ns", c"ns/user", c"maps", c"comm", c"net", c"cwd"];
        for (dumpable, told) in [(0, 0), (1, me), (0, 0), (1, me)] {
            ok(sys!(prctl, libc::PR_SET_DUMPABLE, dumpable, 0, 0, 0));
            for name in files {
                let file = CString::new([b"/proc/self/", name.to_bytes()].concat()).unwrap_or_default();
                // Directories that all may list are of the user whatever happens.
                let all_may = [c"fdinfo", c"net"].contains(&name);
                eq((name, owner(&file)), (name, if all_may { me } else { told }));
            }
            eq(owner(c"/proc/self/."), me);
            // Permissions go by the owner of now, whether or not somebody has asked for it.
            let opened = sys!(openat, AT_FDCWD, c"/proc/self/mem", O_RDONLY, 0);
            check(is_root() || opened.is_ok() == (dumpable == 1), "mem opens for its owner");
        }
    });
}
