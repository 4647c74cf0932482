//! rename, renameat2.

use crate::kit::prelude::*;

fn mv(from: &std::ffi::CStr, to: &std::ffi::CStr) -> Answer {
    sys!(renameat, AT_FDCWD, from, AT_FDCWD, to)
}

fn mv2(from: &std::ffi::CStr, to: &std::ffi::CStr, flags: u32) -> Answer {
    sys!(renameat2, AT_FDCWD, from, AT_FDCWD, to, flags)
}

case!(a_file: rename, renameat; disk);
fn a_file() {
    put(c"a", b"content");
    let inode = stat(c"a").st_ino;
    ok(sys!(rename, c"a", c"b"));
    check(!exists(c"a"), "the old name is gone");
    eq((stat(c"b").st_ino, content(c"b")), (inode, b"content".to_vec()));
    mkdir(c"d");
    ok(mv(c"b", c"d/c"));
    eq(stat(c"d/c").st_ino, inode);
    fails(mv(c"b", c"x"), ENOENT);
    fails(mv(c"d/c", c"missing/c"), ENOENT);
}

case!(replaces_a_file: rename; disk);
fn replaces_a_file() {
    put(c"a", b"new");
    put(c"b", b"old");
    let old = open(c"b", O_RDONLY);
    ok(mv(c"a", c"b"));
    eq(content(c"b"), b"new");
    // Who has the old one open keeps it.
    eq((read(old, 10), fstat(old).st_nlink), (b"old".to_vec(), 0));
}

case!(open_file_moves_along: rename, read, write; disk);
fn open_file_moves_along() {
    let fd = create(c"a", b"abc");
    ok(mv(c"a", c"b"));
    write_all(fd, b"X");
    eq(content(c"b"), b"Xbc");
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    check(link.ends_with("b"), link.display());
}

case!(kinds_must_agree: rename; disk);
fn kinds_must_agree() {
    put(c"f", b"");
    mkdir(c"d");
    mkdir(c"full");
    put(c"full/x", b"");
    mkdir(c"empty");
    fails(mv(c"f", c"d"), EISDIR);
    fails(mv(c"d", c"f"), ENOTDIR);
    fails(mv(c"d", c"full"), ENOTEMPTY);
    ok(mv(c"full", c"empty"));
    check(exists(c"empty/x") && !exists(c"full"), "over an empty directory");
    fails(mv(c"f/", c"g"), ENOTDIR);
    fails(mv(c"f", c"g/"), ENOTDIR);
    ok(mv(c"d", c"e/"));
    ok(mv(c"e/", c"d"));
}

case!(not_into_itself: rename; disk);
fn not_into_itself() {
    mkdir(c"d");
    mkdir(c"d/e");
    fails(mv(c"d", c"d/x"), EINVAL);
    fails(mv(c"d", c"d/e/x"), EINVAL);
    fails(mv(c"d", c"d/e"), EINVAL);
    // And not over what holds it.
    fails(mv(c"d/e", c"d"), ENOTEMPTY);
    ok(mv(c"d", c"d"));
}

case!(dots_and_roots: rename; disk);
fn dots_and_roots() {
    mkdir(c"d");
    fails(mv(c"d/.", c"e"), EBUSY);
    fails(mv(c"d/..", c"e"), EBUSY);
    fails(mv(c".", c"e"), EBUSY);
    fails(mv(c"d", c"."), EBUSY);
    fails(mv(c"d", c"d/.."), EBUSY);
    // The root is as a rule on another mount, which is found first.
    fails_any(mv(c"/", c"e"), &[EBUSY, EXDEV]);
}

case!(two_names_of_one_file: rename, link; disk);
fn two_names_of_one_file() {
    put(c"a", b"x");
    ok(sys!(link, c"a", c"b"));
    // Linux does nothing, and both stay.
    ok(mv(c"a", c"b"));
    check(exists(c"a") && exists(c"b"), "both names");
    eq(stat(c"a").st_nlink, 2);
}

case!(symbolic_links_are_not_followed: rename, symlink; disk);
fn symbolic_links_are_not_followed() {
    put(c"target", b"t");
    ok(sys!(symlink, c"target", c"link"));
    ok(mv(c"link", c"moved"));
    eq(lstat(c"moved").st_mode & S_IFMT, S_IFLNK);
    put(c"f", b"f");
    ok(mv(c"f", c"moved"));
    eq((content(c"moved"), content(c"target")), (b"f".to_vec(), b"t".to_vec()));
}

case!(link_counts_of_directories: rename, fstat);
fn link_counts_of_directories() {
    needs_tmpfs();
    mkdir(c"a");
    mkdir(c"b");
    mkdir(c"a/sub");
    eq((stat(c"a").st_nlink, stat(c"b").st_nlink), (3, 2));
    ok(mv(c"a/sub", c"b/sub"));
    eq((stat(c"a").st_nlink, stat(c"b").st_nlink), (2, 3));
    // The parent's entry has followed.
    eq(stat(c"b/sub/..").st_ino, stat(c"b").st_ino);
}

case!(no_replacing: renameat2; disk);
fn no_replacing() {
    put(c"a", b"a");
    put(c"b", b"b");
    fails(mv2(c"a", c"b", RENAME_NOREPLACE), EEXIST);
    ok(mv2(c"a", c"c", RENAME_NOREPLACE));
    eq(content(c"c"), b"a");
    fails(mv2(c"c", c"c", RENAME_NOREPLACE), EEXIST);
    mkdir(c"d");
    fails(mv2(c"c", c"d", RENAME_NOREPLACE), EEXIST);
}

case!(exchange: renameat2; disk);
fn exchange() {
    put(c"a", b"a");
    mkdir(c"d");
    put(c"d/inside", b"");
    ok(mv2(c"a", c"d", RENAME_EXCHANGE));
    eq(content(c"d"), b"a");
    check(exists(c"a/inside"), "the directory has the file's name");
    fails(mv2(c"a", c"missing", RENAME_EXCHANGE), ENOENT);
    fails(mv2(c"missing", c"a", RENAME_EXCHANGE), ENOENT);
    fails(mv2(c"a", c"a/inside", RENAME_EXCHANGE), EINVAL);
    fails(mv2(c"a/inside", c"a", RENAME_EXCHANGE), EINVAL);
}

case!(flags_that_do_not_mix: renameat2; disk);
fn flags_that_do_not_mix() {
    put(c"a", b"a");
    put(c"b", b"b");
    fails(mv2(c"a", c"b", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
    fails(mv2(c"a", c"b", 8), EINVAL);
    fails(mv2(c"missing", c"b", 8), EINVAL);
    fails(mv2(c"a", c"b", RENAME_EXCHANGE | RENAME_WHITEOUT), EINVAL);
}

case!(permissions: rename; disk);
fn permissions() {
    mkdir(c"closed");
    put(c"closed/f", b"");
    ok(sys!(fchmodat, AT_FDCWD, c"closed", 0o555));
    unprivileged(|| {
        put(c"mine", b"");
        fails(mv(c"closed/f", c"g"), EACCES);
        fails(mv(c"mine", c"closed/g"), EACCES);
        fails(mv(c"closed/missing", c"g"), ENOENT);
        // A directory that changes its parent is itself written to.
        mkdir(c"mydir");
        mkdir(c"other");
        ok(sys!(fchmodat, AT_FDCWD, c"mydir", 0o555));
        ok(mv(c"mydir", c"renamed"));
        fails(mv(c"renamed", c"other/renamed"), EACCES);
    });
}

case!(at_descriptors: renameat, renameat2; disk);
fn at_descriptors() {
    mkdir(c"a");
    mkdir(c"b");
    put(c"a/f", b"x");
    let (a, b) = (open(c"a", O_PATH), open(c"b", O_RDONLY));
    ok(sys!(renameat, a, c"f", b, c"g"));
    eq(content(c"b/g"), b"x");
    fails(sys!(renameat, 999, c"f", b, c"g"), EBADF);
    fails(sys!(renameat, b, c"g", 999, c"f"), EBADF);
    fails(sys!(renameat, b, c"", b, c"f"), ENOENT);
    fails(sys!(renameat, b, c"g", b, c""), ENOENT);
    fails(sys!(renameat, b, 8, b, c"f"), EFAULT);
}

case!(across_mounts: rename);
fn across_mounts() {
    put(c"f", b"");
    if stat(c".").st_dev == stat(c"/proc").st_dev {
        skip("nothing is mounted");
    }
    fails(mv(c"f", c"/proc/f"), EXDEV);
    fails(mv(c"/proc/version", c"g"), EXDEV);
}

case!(current_directory_moves_along: rename, getcwd; disk);
fn current_directory_moves_along() {
    mkdir(c"d");
    let top = absolute("renamed");
    ok(sys!(chdir, c"d"));
    ok(mv(c"../d", c"../renamed"));
    let mut buf = [0u8; 4096];
    let n = ok(sys!(getcwd, &mut buf, 4096)) as usize;
    eq(&buf[..n - 1], top.to_bytes());
}
