//! link, symlink, readlink, unlink.

use crate::kit::prelude::*;

case!(hard_links: link, linkat, unlink; disk);
fn hard_links() {
    put(c"a", b"x");
    ok(sys!(link, c"a", c"b"));
    eq((stat(c"a").st_ino, stat(c"a").st_nlink), (stat(c"b").st_ino, 2));
    put(c"b", b"through b");
    eq(content(c"a"), b"through b");
    ok(sys!(unlink, c"a"));
    eq(stat(c"b").st_nlink, 1);
    eq(content(c"b"), b"through b");
}

case!(link_errors: link, linkat; disk);
fn link_errors() {
    put(c"a", b"");
    mkdir(c"d");
    fails(sys!(link, c"a", c"d"), EEXIST);
    fails(sys!(link, c"a", c"a"), EEXIST);
    fails(sys!(link, c"missing", c"b"), ENOENT);
    fails(sys!(link, c"d", c"b"), EPERM);
    fails(sys!(link, c"a", c"missing/b"), ENOENT);
    fails(sys!(link, c"a/x", c"b"), ENOTDIR);
    fails(sys!(link, c"a", c"b/"), ENOENT);
    fails(sys!(link, c"", c"b"), ENOENT);
    fails(sys!(linkat, AT_FDCWD, c"a", AT_FDCWD, c"b", 1), EINVAL);
    fails(sys!(linkat, 999, c"a", AT_FDCWD, c"b", 0), EBADF);
}

case!(link_of_a_symbolic_link: link, linkat; disk);
fn link_of_a_symbolic_link() {
    put(c"target", b"t");
    ok(sys!(symlinkat, c"target", AT_FDCWD, c"sym"));
    // The link itself, unless told to follow.
    ok(sys!(link, c"sym", c"a"));
    eq(lstat(c"a").st_mode & S_IFMT, S_IFLNK);
    ok(sys!(linkat, AT_FDCWD, c"sym", AT_FDCWD, c"b", AT_SYMLINK_FOLLOW));
    eq(lstat(c"b").st_ino, stat(c"target").st_ino);
}

case!(link_by_descriptor: linkat; disk);
fn link_by_descriptor() {
    let fd = create(c"a", b"x");
    if is_root() {
        ok(sys!(linkat, fd, c"", AT_FDCWD, c"b", AT_EMPTY_PATH));
        eq(content(c"b"), b"x");
    }
    // A file whose last name has gone can't come back.
    ok(sys!(unlinkat, AT_FDCWD, c"a", 0));
    let _ = sys!(unlinkat, AT_FDCWD, c"b", 0);
    let name = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    fails(sys!(linkat, AT_FDCWD, name.as_c_str(), AT_FDCWD, c"c", AT_SYMLINK_FOLLOW), ENOENT);
}

case!(symbolic_link_is_its_text: symlink, symlinkat, readlink, readlinkat; disk);
fn symbolic_link_is_its_text() {
    ok(sys!(symlink, c"some/where", c"l"));
    let mut buf = [0xffu8; 16];
    eq(ok(sys!(readlink, c"l", &mut buf, 16)), 10);
    eq(&buf[..11], b"some/where\xff");
    eq(ok(sys!(readlinkat, AT_FDCWD, c"l", &mut buf, 4)), 4);
    let st = lstat(c"l");
    eq((st.st_mode, st.st_size), (S_IFLNK | 0o777, 10));
    fails(sys!(readlink, c"l", &mut buf, 0), EINVAL);
    fails(sys!(readlink, c"l", &mut buf, -1), EINVAL);
    fails(sys!(readlink, c"l", 8, 16), EFAULT);
    fails(sys!(readlink, c".", &mut buf, 16), EINVAL);
    fails(sys!(readlink, c"missing", &mut buf, 16), ENOENT);
}

case!(symlink_errors: symlink, symlinkat; disk);
fn symlink_errors() {
    put(c"f", b"");
    fails(sys!(symlink, c"", c"l"), ENOENT);
    fails(sys!(symlink, c"x", c""), ENOENT);
    fails(sys!(symlink, c"x", c"f"), EEXIST);
    fails(sys!(symlink, c"x", c"missing/l"), ENOENT);
    fails(sys!(symlink, c"x", c"f/l"), ENOTDIR);
    fails(sys!(symlink, c"x", c"l/"), ENOENT);
    fails(sys!(symlink, 8, c"l"), EFAULT);
    fails(sys!(symlinkat, c"x", 999, c"l"), EBADF);
    let long = std::ffi::CString::new(vec![b'a'; 4096]).unwrap_or_default();
    fails(sys!(symlink, long.as_c_str(), c"l"), ENAMETOOLONG);
    let longest = std::ffi::CString::new(vec![b'a'; 4095]).unwrap_or_default();
    // What fits into a path need not fit into a link of every file system.
    let _ = sys!(symlink, longest.as_c_str(), c"l");
}

case!(links_that_go_round: openat, symlinkat, newfstatat; disk);
fn links_that_go_round() {
    ok(sys!(symlinkat, c"b", AT_FDCWD, c"a"));
    ok(sys!(symlinkat, c"a", AT_FDCWD, c"b"));
    fails(sys!(openat, AT_FDCWD, c"a", O_RDONLY, 0), ELOOP);
    fails(sys!(openat, AT_FDCWD, c"a", O_RDWR | O_CREAT, 0o600), ELOOP);
    fails(sys!(newfstatat, AT_FDCWD, c"a/x", &mut [0u64; 18], 0), ELOOP);
    lstat(c"a");
    ok(sys!(unlinkat, AT_FDCWD, c"a", 0));
}

case!(forty_links_and_no_more: openat, symlinkat; disk);
fn forty_links_and_no_more() {
    put(c"l0", b"end");
    for i in 1..=41 {
        let name = |i: i32| std::ffi::CString::new(format!("l{i}")).unwrap_or_default();
        ok(sys!(symlinkat, name(i - 1).as_c_str(), AT_FDCWD, name(i).as_c_str()));
    }
    close(open(c"l40", O_RDONLY));
    fails(sys!(openat, AT_FDCWD, c"l41", O_RDONLY, 0), ELOOP);
}

case!(links_inside_a_path: openat, symlinkat; disk);
fn links_inside_a_path() {
    mkdir(c"d");
    mkdir(c"d/e");
    put(c"d/f", b"found");
    ok(sys!(symlinkat, c"e/..", AT_FDCWD, c"d/up"));
    eq(content(c"d/up/f"), b"found");
    ok(sys!(symlinkat, absolute("d").as_c_str(), AT_FDCWD, c"abs"));
    eq(content(c"abs/e/../f"), b"found");
    ok(sys!(symlinkat, c"d/f", AT_FDCWD, c"file"));
    fails(sys!(openat, AT_FDCWD, c"file/", O_RDONLY, 0), ENOTDIR);
    // A link with a slash at its end.
    ok(sys!(symlinkat, c"d/", AT_FDCWD, c"slash"));
    eq(content(c"slash/f"), b"found");
}

case!(unlink_while_open: unlink, read, write, fstat; disk);
fn unlink_while_open() {
    let fd = create(c"f", b"kept");
    ok(sys!(unlink, c"f"));
    check(!exists(c"f"), "no name");
    eq(fstat(fd).st_nlink, 0);
    eq(read(fd, 10), b"kept");
    write_all(fd, b" and more");
    // The name is free for another.
    put(c"f", b"other");
    ok(sys!(lseek, fd, 0, SEEK_SET));
    eq(read(fd, 100), b"kept and more");
}

case!(unlink_errors: unlink, unlinkat; disk);
fn unlink_errors() {
    mkdir(c"d");
    put(c"f", b"");
    fails(sys!(unlink, c"missing"), ENOENT);
    fails(sys!(unlink, c""), ENOENT);
    fails(sys!(unlink, c"d"), EISDIR);
    fails(sys!(unlink, c"f/"), ENOTDIR);
    fails(sys!(unlink, c"d/"), EISDIR);
    fails(sys!(unlink, c"f/x"), ENOTDIR);
    fails(sys!(unlink, c"."), EISDIR);
    fails(sys!(unlink, c"/"), EISDIR);
    fails(sys!(unlinkat, AT_FDCWD, c"f", 1), EINVAL);
    fails(sys!(unlinkat, AT_FDCWD, c"f", AT_REMOVEDIR), ENOTDIR);
    fails(sys!(unlinkat, 999, c"f", 0), EBADF);
    fails(sys!(unlink, 8), EFAULT);
    ok(sys!(unlinkat, AT_FDCWD, c"d", AT_REMOVEDIR));
}

case!(unlink_takes_the_link_not_the_target: unlink, symlinkat; disk);
fn unlink_takes_the_link_not_the_target() {
    put(c"f", b"x");
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    ok(sys!(unlink, c"l"));
    check(!exists(c"l") && exists(c"f"), "only the link");
    mkdir(c"d");
    ok(sys!(symlinkat, c"d", AT_FDCWD, c"l"));
    fails(sys!(unlink, c"l/"), ENOTDIR);
    ok(sys!(unlink, c"l"));
}
