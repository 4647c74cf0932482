//! Path resolution: long names, wrong kinds, dots and slashes.

use std::ffi::CString;

use crate::kit::prelude::*;

fn c(bytes: Vec<u8>) -> CString {
    CString::new(bytes).unwrap_or_default()
}

case!(longest_name: openat, mkdirat, newfstatat; disk);
fn longest_name() {
    let fits = c(vec![b'a'; 255]);
    let long = c(vec![b'a'; 256]);
    put(&fits, b"x");
    eq(content(&fits), b"x");
    fails(sys!(openat, AT_FDCWD, long.as_c_str(), O_CREAT | O_RDWR, 0o600), ENAMETOOLONG);
    fails(sys!(openat, AT_FDCWD, long.as_c_str(), O_RDONLY, 0), ENAMETOOLONG);
    fails(sys!(mkdirat, AT_FDCWD, long.as_c_str(), 0o755), ENAMETOOLONG);
    fails(sys!(newfstatat, AT_FDCWD, long.as_c_str(), &mut [0u64; 18], 0), ENAMETOOLONG);
    fails(sys!(unlinkat, AT_FDCWD, long.as_c_str(), 0), ENAMETOOLONG);
    fails(sys!(renameat, AT_FDCWD, fits.as_c_str(), AT_FDCWD, long.as_c_str()), ENAMETOOLONG);
    fails(sys!(symlinkat, c"x", AT_FDCWD, long.as_c_str()), ENAMETOOLONG);
}

case!(longest_path: openat; disk);
fn longest_path() {
    put(c"f", b"x");
    // 4095 bytes and the end.
    let fits = c([b"./".repeat(2047), b"f".to_vec()].concat());
    eq(fits.as_bytes().len(), 4095);
    eq(content(&fits), b"x");
    let long = c([b"./".repeat(2047), b"/f".to_vec()].concat());
    fails(sys!(openat, AT_FDCWD, long.as_c_str(), O_RDONLY, 0), ENAMETOOLONG);
    // That is found before anything on the way is looked at.
    let wrong = c([b"missing/".to_vec(), vec![b'a'; 5000]].concat());
    fails(sys!(openat, AT_FDCWD, wrong.as_c_str(), O_RDONLY, 0), ENAMETOOLONG);
}

case!(dots_and_slashes: newfstatat; disk);
fn dots_and_slashes() {
    mkdir(c"d");
    mkdir(c"d/e");
    let here = stat(c".").st_ino;
    for same in [c"./", c".//", c"d/..", c"d/e/../..", c"./d/./e/.././..", c"d//..", c"d/../", c".///d///.."]
    {
        eq_of(same.to_string_lossy(), stat(same).st_ino, here);
    }
    let root = stat(c"/");
    for same in [c"//", c"///", c"/..", c"/../..", c"/.", c"/proc/.."] {
        eq_of(same.to_string_lossy(), stat(same).st_ino, root.st_ino);
    }
    fails(sys!(newfstatat, AT_FDCWD, c"missing/..", &mut [0u64; 18], 0), ENOENT);
    fails(sys!(newfstatat, AT_FDCWD, c"d/missing/../e", &mut [0u64; 18], 0), ENOENT);
}

case!(file_in_the_middle: openat, newfstatat, unlinkat; disk);
fn file_in_the_middle() {
    put(c"f", b"");
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    for path in [c"f/x", c"f/.", c"f/..", c"f/", c"l/x", c"l/"] {
        fails(sys!(newfstatat, AT_FDCWD, path, &mut [0u64; 18], 0), ENOTDIR);
    }
    fails(sys!(newfstatat, AT_FDCWD, c"f//", &mut [0u64; 18], AT_SYMLINK_NOFOLLOW), ENOTDIR);
    fails(sys!(unlinkat, AT_FDCWD, c"f/x", 0), ENOTDIR);
}

case!(search_permission: openat, newfstatat, chdir, getdents64; disk);
fn search_permission() {
    mkdir(c"r");
    mkdir(c"x");
    mkdir(c"r/sub");
    put(c"r/f", b"r");
    put(c"x/f", b"x");
    ok(sys!(fchmodat, AT_FDCWD, c"r", 0o444));
    ok(sys!(fchmodat, AT_FDCWD, c"x", 0o111));
    unprivileged(|| {
        // Names may be read, nothing behind them.
        check(ok(sys!(getdents64, open(c"r", O_RDONLY), &mut [0u64; 64], 512)) > 0, "names");
        fails(sys!(openat, AT_FDCWD, c"r/f", O_RDONLY, 0), EACCES);
        fails(sys!(openat, AT_FDCWD, c"r/missing", O_RDONLY, 0), EACCES);
        fails(sys!(openat, AT_FDCWD, c"r/sub/../../x", O_RDONLY, 0), EACCES);
        fails(sys!(newfstatat, AT_FDCWD, c"r/f", &mut [0u64; 18], 0), EACCES);
        fails(sys!(newfstatat, AT_FDCWD, c"r/.", &mut [0u64; 18], 0), EACCES);
        fails(sys!(chdir, c"r"), EACCES);
        // The other way round.
        eq(content(c"x/f"), b"x");
        fails(sys!(openat, AT_FDCWD, c"x", O_RDONLY, 0), EACCES);
        ok(sys!(chdir, c"x"));
    });
}

case!(empty_path: newfstatat, fchownat, utimensat, readlinkat; disk);
fn empty_path() {
    let fd = create(c"f", b"abc");
    let mut st: stat = zeroed();
    ok(sys!(newfstatat, fd, c"", &mut st, AT_EMPTY_PATH));
    eq(st.st_size, 3);
    // Since Linux 6.11 the path may be a null pointer as well.
    ok(sys!(newfstatat, fd, 0, &mut st, AT_EMPTY_PATH));
    fails(sys!(newfstatat, fd, c"", &mut st, 0), ENOENT);
    ok(sys!(newfstatat, AT_FDCWD, c"", &mut st, AT_EMPTY_PATH));
    eq(st.st_mode & S_IFMT, S_IFDIR);
    fails(sys!(newfstatat, 999, c"", &mut st, AT_EMPTY_PATH), EBADF);
    ok(sys!(fchownat, fd, c"", -1, -1, AT_EMPTY_PATH));
    ok(sys!(utimensat, fd, 0, &[0i64, 0, 0, 0], 0));
    eq(fstat(fd).st_mtime, 0);
    fails(sys!(readlinkat, fd, c"", &mut [0u8; 8], 8), ENOENT);
}

case!(relative_to_a_descriptor: openat, mkdirat, newfstatat, unlinkat, readlinkat, symlinkat; disk);
fn relative_to_a_descriptor() {
    mkdir(c"d");
    let dir = open(c"d", O_RDONLY | O_DIRECTORY);
    ok(sys!(mkdirat, dir, c"e", 0o755));
    close(ok_i32(sys!(openat, dir, c"e/f", O_CREAT | O_RDWR, 0o644)));
    ok(sys!(symlinkat, c"e/f", dir, c"l"));
    let mut buf = [0u8; 8];
    eq(ok(sys!(readlinkat, dir, c"l", &mut buf, 8)), 3);
    // It goes on where the directory goes.
    ok(sys!(renameat, AT_FDCWD, c"d", AT_FDCWD, c"moved"));
    let mut st: stat = zeroed();
    ok(sys!(newfstatat, dir, c"e/f", &mut st, 0));
    ok(sys!(unlinkat, dir, c"e/f", 0));
    ok(sys!(unlinkat, dir, c"e", AT_REMOVEDIR));
    eq(ok(sys!(newfstatat, dir, c"..", &mut st, 0)), 0);
    eq(st.st_ino, stat(c".").st_ino);
}

case!(magic_links: openat, readlink, newfstatat; disk);
fn magic_links() {
    let fd = create(c"f", b"still");
    ok(sys!(unlinkat, AT_FDCWD, c"f", 0));
    let name = c(format!("/proc/self/fd/{fd}").into_bytes());
    // The link leads to the file, though its text leads nowhere.
    let mut buf = [0u8; 4096];
    let n = ok(sys!(readlink, name.as_c_str(), &mut buf, 4096)) as usize;
    check(buf[..n].ends_with(b"/f (deleted)"), String::from_utf8_lossy(&buf[..n]));
    let again = open(&name, O_RDONLY);
    eq(read(again, 10), b"still");
    eq(stat(&name).st_ino, fstat(fd).st_ino);
    fails(sys!(openat, AT_FDCWD, name.as_c_str(), O_RDONLY | O_NOFOLLOW, 0), ELOOP);
    mkdir(c"d");
    put(c"d/inside", b"x");
    let dir = open(c"d", O_PATH);
    eq(content(&c(format!("/proc/self/fd/{dir}/inside").into_bytes())), b"x");
    eq(stat(c"/proc/self/cwd").st_ino, stat(c".").st_ino);
    eq(stat(c"/proc/self/root").st_ino, stat(c"/").st_ino);
}
