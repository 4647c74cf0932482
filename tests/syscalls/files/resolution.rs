//! Path resolution: openat2's rules in corners, links, long names.

use crate::kit::prelude::*;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const NO_XDEV: u64 = 1;
const NO_MAGICLINKS: u64 = 2;
const NO_SYMLINKS: u64 = 4;
const BENEATH: u64 = 8;
const IN_ROOT: u64 = 16;
const CACHED: u64 = 32;

fn open2(dir: i32, path: &std::ffi::CStr, flags: i32, resolve: u64) -> Answer {
    let mode = if flags & (O_CREAT | O_TMPFILE) & !O_DIRECTORY != 0 { 0o600 } else { 0 };
    sys!(openat2, dir, path, &How { flags: flags as u64, mode, resolve }, 24)
}

fn link(text: &std::ffi::CStr, name: &std::ffi::CStr) {
    ok(sys!(symlinkat, text, AT_FDCWD, name));
}

case!(create_beneath: openat2; disk);
fn create_beneath() {
    mkdir(c"d");
    mkdir(c"d/e");
    link(c"e/new", c"d/in");
    link(c"../outside", c"d/out");
    let d = open(c"d", O_PATH);
    close(ok_i32(open2(d, c"f", O_CREAT | O_RDWR, BENEATH)));
    close(ok_i32(open2(d, c"in", O_CREAT | O_RDWR, BENEATH)));
    check(exists(c"d/e/new"), "through a link that stays beneath");
    fails(open2(d, c"out", O_CREAT | O_RDWR, BENEATH), EXDEV);
    fails(open2(d, c"../outside", O_CREAT | O_RDWR, BENEATH), EXDEV);
    check(!exists(c"outside"), "nothing outside");
    close(ok_i32(open2(d, c"out", O_CREAT | O_RDWR, IN_ROOT)));
    check(exists(c"d/outside") && !exists(c"outside"), "the root stops it");
    fails(open2(d, c"in", O_CREAT | O_EXCL | O_RDWR, BENEATH), EEXIST);
    close(ok_i32(open2(d, c"e", O_TMPFILE | O_RDWR, BENEATH)));
}

case!(chains_of_links_beneath: openat2; disk);
fn chains_of_links_beneath() {
    mkdir(c"d");
    mkdir(c"d/a");
    put(c"d/f", b"x");
    link(c"two", c"d/one");
    link(c"a/../f", c"d/two");
    link(c"a/../../d/f", c"d/leaves");
    let d = open(c"d", O_PATH);
    let fd = ok_i32(open2(d, c"one", O_RDONLY, BENEATH));
    eq(read(fd, 4), b"x");
    fails(open2(d, c"leaves", O_RDONLY, BENEATH), EXDEV);
    fails(open2(d, c"leaves", O_RDONLY, IN_ROOT), ENOENT);
    fails(open2(d, c"one", O_RDONLY, BENEATH | NO_SYMLINKS), ELOOP);
    // The link itself is no following.
    close(ok_i32(open2(d, c"one", O_PATH | O_NOFOLLOW, NO_SYMLINKS)));
    fails(open2(d, c"one", O_RDONLY | O_NOFOLLOW, 0), ELOOP);
}

case!(rules_and_mounts: openat2; root; disk);
fn rules_and_mounts() {
    crate::mounts::own_mounts();
    crate::mounts::tmpfs(c"m");
    put(c"m/f", b"x");
    put(c"g", b"y");
    mkdir(c"m/d");
    let here = open(c".", O_PATH);
    let inside = open(c"m", O_PATH);
    fails(open2(here, c"m", O_PATH, NO_XDEV), EXDEV);
    fails(open2(here, c"m/f", O_RDONLY, NO_XDEV), EXDEV);
    fails(open2(inside, c"..", O_PATH, NO_XDEV), EXDEV);
    fails(open2(inside, c"../g", O_RDONLY, NO_XDEV), EXDEV);
    close(ok_i32(open2(inside, c"d/../f", O_RDONLY, NO_XDEV)));
    close(ok_i32(open2(here, c"m/f", O_RDONLY, BENEATH)));
    close(ok_i32(open2(here, c"m/../g", O_RDONLY, BENEATH)));
    ok(sys!(symlinkat, absolute("g").as_c_str(), AT_FDCWD, c"m/absolute"));
    fails(open2(inside, c"absolute", O_RDONLY, NO_XDEV), EXDEV);
    // A bind of the same file system is another mount all the same.
    crate::mounts::bind(c".", c"b");
    fails(open2(here, c"b/g", O_RDONLY, NO_XDEV), EXDEV);
}

case!(magic_links: openat2; disk);
fn magic_links() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDONLY);
    let name = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    close(ok_i32(open2(AT_FDCWD, &name, O_RDONLY, 0)));
    fails(open2(AT_FDCWD, &name, O_RDONLY, NO_MAGICLINKS), ELOOP);
    fails(open2(AT_FDCWD, &name, O_RDONLY, NO_SYMLINKS), ELOOP);
    close(ok_i32(open2(AT_FDCWD, &name, O_PATH | O_NOFOLLOW, NO_MAGICLINKS)));
    fails(open2(AT_FDCWD, c"/proc/self/cwd/f", O_RDONLY, NO_MAGICLINKS), ELOOP);
    let proc = open(c"/proc", O_PATH);
    fails(open2(proc, c"self/root/etc", O_PATH, BENEATH), EXDEV);
    fails(open2(proc, c"self/cwd", O_PATH, IN_ROOT), EXDEV);
    close(ok_i32(open2(proc, c"self/status", O_RDONLY, BENEATH)));
}

case!(only_what_is_cached: openat2; disk);
fn only_what_is_cached() {
    put(c"f", b"x");
    eq(content(c"f"), b"x");
    // It has just been used.
    let answer = open2(AT_FDCWD, c"f", O_RDONLY, CACHED);
    check(matches!(answer, Ok(_) | Err(Errno(EAGAIN))), "there or not in the cache");
    fails(open2(AT_FDCWD, c"f", O_RDWR | O_CREAT, CACHED), EAGAIN);
    fails(open2(AT_FDCWD, c"f", O_RDWR | O_TRUNC, CACHED), EAGAIN);
    fails(open2(AT_FDCWD, c".", O_RDWR | O_TMPFILE, CACHED), EAGAIN);
}

case!(empty_paths: openat2, openat; disk);
fn empty_paths() {
    let here = open(c".", O_PATH);
    fails(open2(here, c"", O_RDONLY, 0), ENOENT);
    fails(open2(here, c"", O_RDONLY, BENEATH), ENOENT);
    fails(sys!(openat, here, c"", O_RDONLY, 0), ENOENT);
    fails(open2(999, c"f", O_RDONLY, 0), EBADF);
    put(c"f", b"");
    fails(open2(open(c"f", O_RDONLY), c"f", O_RDONLY, 0), ENOTDIR);
    close(ok_i32(open2(999, c"/", O_PATH, 0)));
    fails(open2(999, c"/", O_PATH, IN_ROOT), EBADF);
}

case!(forty_links: openat, stat; disk);
fn forty_links() {
    put(c"l0", b"x");
    for i in 1..=41 {
        let (to, name) = (format!("l{}", i - 1), format!("l{i}"));
        link(&crate::mounts::c(&to), &crate::mounts::c(&name));
    }
    eq(content(c"l40"), b"x");
    fails(sys!(openat, AT_FDCWD, c"l41", O_RDONLY, 0), ELOOP);
    link(c"loop", c"loop");
    fails(sys!(openat, AT_FDCWD, c"loop", O_RDONLY, 0), ELOOP);
    fails(sys!(openat, AT_FDCWD, c"loop/x", O_RDONLY, 0), ELOOP);
    close(open(c"loop", O_PATH | O_NOFOLLOW));
}

case!(long_names_and_paths: openat, mkdirat, symlinkat; disk);
fn long_names_and_paths() {
    let name = |n: usize| std::ffi::CString::new(vec![b'a'; n]).unwrap_or_default();
    put(&name(255), b"x");
    eq(content(&name(255)), b"x");
    fails(sys!(openat, AT_FDCWD, name(256).as_c_str(), O_RDONLY, 0), ENAMETOOLONG);
    fails(sys!(openat, AT_FDCWD, name(256).as_c_str(), O_CREAT | O_RDWR, 0o600), ENAMETOOLONG);
    fails(sys!(mkdirat, AT_FDCWD, name(256).as_c_str(), 0o700), ENAMETOOLONG);
    // 4095 bytes are a path, 4096 are not.
    let path =
        |n: usize| std::ffi::CString::new([vec![b'.'; 1], vec![b'/'; n - 1]].concat()).unwrap_or_default();
    close(open(&path(4095), O_PATH));
    fails(sys!(openat, AT_FDCWD, path(4096).as_c_str(), O_PATH, 0), ENAMETOOLONG);
    fails(sys!(symlinkat, path(4096).as_c_str(), AT_FDCWD, c"l"), ENAMETOOLONG);
    ok(sys!(symlinkat, path(4095).as_c_str(), AT_FDCWD, c"l"));
    close(open(c"l", O_PATH | O_DIRECTORY));
}

case!(slashes_at_the_end: openat, stat, mkdirat, unlinkat; disk);
fn slashes_at_the_end() {
    put(c"f", b"");
    mkdir(c"d/");
    link(c"d", c"l");
    link(c"f", c"lf");
    fails(sys!(openat, AT_FDCWD, c"f/", O_RDONLY, 0), ENOTDIR);
    fails(sys!(openat, AT_FDCWD, c"lf/", O_RDONLY, 0), ENOTDIR);
    fails(sys!(openat, AT_FDCWD, c"new/", O_CREAT | O_RDWR, 0o600), EISDIR);
    close(open(c"l/", O_PATH | O_NOFOLLOW | O_DIRECTORY));
    eq(lstat(c"l/").st_mode & S_IFMT, S_IFDIR);
    eq(lstat(c"l").st_mode & S_IFMT, S_IFLNK);
    fails(sys!(unlinkat, AT_FDCWD, c"f/", 0), ENOTDIR);
    fails(sys!(unlinkat, AT_FDCWD, c"l/", AT_REMOVEDIR), ENOTDIR);
    fails(sys!(unlinkat, AT_FDCWD, c"d/.", AT_REMOVEDIR), EINVAL);
    fails(sys!(unlinkat, AT_FDCWD, c"d/..", AT_REMOVEDIR), ENOTEMPTY);
    ok(sys!(unlinkat, AT_FDCWD, c"d//", AT_REMOVEDIR));
    fails(sys!(symlinkat, c"x", AT_FDCWD, c"n/"), ENOENT);
}

case!(what_a_place_can_do: openat, read, fchdir, fstatfs; disk);
fn what_a_place_can_do() {
    mkdir(c"d");
    put(c"d/f", b"x");
    let place = open(c"d/f", O_PATH);
    for answer in [
        sys!(read, place, &mut [0u8; 1], 1),
        sys!(write, place, c"x", 1),
        sys!(lseek, place, 0, SEEK_CUR),
        sys!(fchmod, place, 0o600),
        sys!(fchown, place, 0, 0),
        sys!(ftruncate, place, 0),
        sys!(fsync, place),
        sys!(flock, place, LOCK_SH),
        sys!(ioctl, place, FIONREAD, &mut 0),
        sys!(mmap, 0, 4096, PROT_READ, MAP_PRIVATE, place, 0),
        sys!(fgetxattr, place, c"user.a", 0, 0),
        sys!(fallocate, place, 0, 0, 1),
    ] {
        fails(answer, EBADF);
    }
    eq(fstat(place).st_size, 1);
    ok(sys!(fstatfs, place, &mut [0u64; 15]));
    ok(sys!(fchmodat2, place, c"", 0o640, AT_EMPTY_PATH));
    eq(fstat(place).st_mode & 0o777, 0o640);
    // Reopened, it is a file.
    let name = std::ffi::CString::new(format!("/proc/self/fd/{place}")).unwrap_or_default();
    eq(content(&name), b"x");
    let dir = open(c"d", O_PATH);
    ok(sys!(fchdir, dir));
    eq(content(c"f"), b"x");
    ok(sys!(linkat, place, c"", AT_FDCWD, c"g", AT_EMPTY_PATH));
    eq(content(c"g"), b"x");
}

case!(search_permission_counts: openat, openat2, stat; root; disk);
fn search_permission_counts() {
    mkdir(c"d");
    mkdir(c"d/e");
    put(c"d/e/f", b"x");
    ok(sys!(fchmodat, AT_FDCWD, c"d/e/f", 0o644));
    ok(sys!(fchmodat, AT_FDCWD, c"d", 0o700));
    let inner = open(c"d/e", O_PATH);
    unprivileged(|| {
        fails(sys!(openat, AT_FDCWD, c"d/e/f", O_RDONLY, 0), EACCES);
        fails(sys!(openat, AT_FDCWD, c"d/missing", O_RDONLY, 0), EACCES);
        // A descriptor skips what lies above it, and going up does not ask there.
        close(ok_i32(sys!(openat, inner, c"f", O_RDONLY, 0)));
        close(ok_i32(sys!(openat, inner, c"..", O_PATH, 0)));
        fails(sys!(openat, inner, c"../e", O_PATH, 0), EACCES);
        fails(open2(inner, c"../e", O_PATH, IN_ROOT), ENOENT);
    });
}
