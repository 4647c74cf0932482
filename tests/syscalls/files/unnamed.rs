//! O_TMPFILE, and files whose last name is gone.

use crate::kit::prelude::*;

#[track_caller]
fn unnamed(flags: i32) -> i32 {
    match sys!(openat, AT_FDCWD, c".", O_TMPFILE | O_RDWR | flags, 0o640) {
        Err(Errno(EOPNOTSUPP)) => skip("the file system makes no files without a name"),
        answer => ok_i32(answer),
    }
}

#[track_caller]
fn give_name(fd: i32, name: &std::ffi::CStr) -> Answer {
    let link = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    sys!(linkat, AT_FDCWD, link.as_c_str(), AT_FDCWD, name, AT_SYMLINK_FOLLOW)
}

case!(a_file_gets_its_name_later: openat, linkat; disk);
fn a_file_gets_its_name_later() {
    let fd = unnamed(0);
    eq((fstat(fd).st_nlink, fstat(fd).st_mode), (0, S_IFREG | 0o640));
    write_all(fd, b"x");
    ok(give_name(fd, c"f"));
    eq(fstat(fd).st_nlink, 1);
    eq(content(c"f"), b"x");
    ok(give_name(fd, c"g"));
    eq(fstat(fd).st_nlink, 2);
    fails(give_name(fd, c"g"), EEXIST);
}

case!(a_name_by_an_empty_path: openat, linkat; root; disk);
fn a_name_by_an_empty_path() {
    let fd = unnamed(0);
    ok(sys!(linkat, fd, c"", AT_FDCWD, c"f", AT_EMPTY_PATH));
    eq(fstat(fd).st_nlink, 1);
}

case!(exclusive_means_never_named: openat, linkat; disk);
fn exclusive_means_never_named() {
    let fd = unnamed(O_EXCL);
    write_all(fd, b"x");
    fails(give_name(fd, c"f"), ENOENT);
}

case!(unnamed_arguments: openat; disk);
fn unnamed_arguments() {
    unnamed(0);
    put(c"f", b"");
    fails(sys!(openat, AT_FDCWD, c".", O_TMPFILE | O_RDONLY, 0o600), EINVAL);
    fails(sys!(openat, AT_FDCWD, c"f", O_TMPFILE | O_RDWR, 0o600), ENOTDIR);
    fails(sys!(openat, AT_FDCWD, c"missing", O_TMPFILE | O_RDWR, 0o600), ENOENT);
    // The umask counts.
    ok(sys!(umask, 0o077));
    eq(fstat(unnamed(0)).st_mode & 0o777, 0o600);
}

case!(unnamed_needs_a_writable_directory: openat; root; disk);
fn unnamed_needs_a_writable_directory() {
    mkdir(c"d");
    unnamed(0);
    unprivileged(|| {
        fails(sys!(openat, AT_FDCWD, c"d", O_TMPFILE | O_RDWR, 0o600), EACCES);
        unnamed(0);
    });
}

case!(unlinked_but_open: unlinkat, read, write, fstat; disk);
fn unlinked_but_open() {
    let fd = create(c"f", b"old");
    let other = open(c"f", O_RDONLY);
    ok(sys!(unlinkat, AT_FDCWD, c"f", 0));
    eq(fstat(fd).st_nlink, 0);
    put(c"f", b"new");
    eq(read(other, 8), b"old");
    ok(sys!(pwrite64, fd, c"OLD", 3, 0));
    ok(sys!(ftruncate, fd, 2));
    eq(fstat(other).st_size, 2);
    eq(content(c"f"), b"new");
    ok(sys!(fchmod, fd, 0o600));
    // It does not come back.
    fails(give_name(fd, c"g"), ENOENT);
    let name = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    let again = open(&name, O_RDWR);
    eq(read(again, 8), b"OL");
    let mut buf = [0u8; 4096];
    let n = ok(sys!(readlinkat, AT_FDCWD, name.as_c_str(), &mut buf, 4096)) as usize;
    check(buf[..n].ends_with(b"/f (deleted)"), "its name is told as deleted");
}

case!(replaced_but_open: renameat2, read; disk);
fn replaced_but_open() {
    let old = create(c"f", b"old");
    put(c"g", b"new");
    ok(sys!(renameat2, AT_FDCWD, c"g", AT_FDCWD, c"f", 0));
    eq(read(old, 8), b"old");
    eq(fstat(old).st_nlink, 0);
    eq(content(c"f"), b"new");
}

case!(removed_but_current: rmdir, getcwd, openat; disk);
fn removed_but_current() {
    mkdir(c"d");
    let back = open(c".", O_PATH);
    ok(sys!(chdir, c"d"));
    ok(sys!(unlinkat, back, c"d", AT_REMOVEDIR));
    fails(sys!(getcwd, &mut [0u8; 64], 64), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"f", O_CREAT | O_RDWR, 0o600), ENOENT);
    fails(sys!(mkdirat, AT_FDCWD, c"e", 0o700), ENOENT);
    close(open(c".", O_PATH));
    eq(fstat(open(c".", O_PATH)).st_nlink, 0);
    close(open(c"..", O_PATH));
}
