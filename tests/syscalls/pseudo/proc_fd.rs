//! /proc/self/fd and fdinfo.

use std::ffi::CString;

use crate::kit::prelude::*;

fn of(what: &str, fd: i32) -> CString {
    CString::new(format!("/proc/self/{what}/{fd}")).unwrap_or_default()
}

fn link(fd: i32) -> String {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default().display().to_string()
}

case!(lists_what_is_open: getdents64, openat);
fn lists_what_is_open() {
    let fd = ok_i32(sys!(dup3, 0, 77, 0));
    let mut names: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .map(|d| d.flatten().filter_map(|e| e.file_name().to_string_lossy().parse().ok()).collect())
        .unwrap_or_default();
    names.sort_unstable();
    // The directory itself is in its own list.
    eq(names, vec![0, 1, 2, 3, fd]);
}

case!(links_say_what_it_is: readlinkat, rename, unlink; disk);
fn links_say_what_it_is() {
    let fd = create(c"f", b"");
    let here = absolute("f").to_string_lossy().into_owned();
    eq(link(fd), here.as_str());
    ok(sys!(rename, c"f", c"g"));
    eq(link(fd), absolute("g").to_string_lossy().into_owned());
    ok(sys!(unlink, c"g"));
    eq(link(fd), format!("{} (deleted)", absolute("g").to_string_lossy()));
    let [r, _w] = pipe(0);
    eq(link(r), format!("pipe:[{}]", fstat(r).st_ino));
    eq(link(ok_i32(sys!(epoll_create1, 0))), "anon_inode:[eventpoll]");
    eq(link(ok_i32(sys!(timerfd_create, 0, 0))), "anon_inode:[timerfd]");
    eq(link(ok_i32(sys!(signalfd4, -1, &0u64, 8, 0))), "anon_inode:[signalfd]");
    eq(link(ok_i32(sys!(pidfd_open, ok(sys!(getpid)), 0))), "anon_inode:[pidfd]");
}

case!(link_modes_are_the_access: newfstatat);
fn link_modes_are_the_access() {
    put(c"f", b"");
    for (flags, mode) in [(O_RDONLY, 0o500), (O_WRONLY, 0o300), (O_RDWR, 0o700)] {
        let fd = open(c"f", flags);
        eq(lstat(&of("fd", fd)).st_mode, S_IFLNK | mode);
    }
}

case!(opening_again_is_new: openat, lseek);
fn opening_again_is_new() {
    let fd = create(c"f", b"0123456789");
    ok(sys!(lseek, fd, 5, SEEK_SET));
    let again = open(&of("fd", fd), O_RDONLY);
    eq(read(again, 2), b"01");
    eq(read(fd, 2), b"56");
    // With a mode that the first never had, if the file allows it.
    let reader = open(c"f", O_RDONLY);
    write_all(open(&of("fd", reader), O_WRONLY), b"X");
    fails(sys!(openat, AT_FDCWD, of("fd", 999).as_c_str(), O_RDONLY, 0), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"/proc/self/fd/x", O_RDONLY, 0), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"/proc/self/fd/-1", O_RDONLY, 0), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"/proc/self/fd/01", O_RDONLY, 0), ENOENT);
}

case!(details: openat, lseek, fcntl);
fn details() {
    let fd = create(c"f", b"0123456789");
    ok(sys!(lseek, fd, 5, SEEK_SET));
    let info = text(&of("fdinfo", fd));
    let field = |name: &str| {
        info.lines().find_map(|l| l.strip_prefix(name)).map(str::trim).unwrap_or("missing").to_string()
    };
    eq((field("pos:"), field("flags:")), ("5".to_string(), "02100002".to_string()));
    let fd = ok_i32(sys!(eventfd2, 0x2a, 0));
    check(text(&of("fdinfo", fd)).contains("eventfd-count:               2a"), "the counter");
}

case!(directory_has_a_size: newfstatat);
fn directory_has_a_size() {
    let st = stat(c"/proc/self/fd");
    eq(st.st_mode & S_IFMT, S_IFDIR);
    fails(sys!(unlink, c"/proc/self/fd/0"), EPERM);
    fails(sys!(mkdir, c"/proc/self/fd/x", 0o755), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"/proc/self/fd/new", O_CREAT | O_RDWR, 0o600), ENOENT);
}
