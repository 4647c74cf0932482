//! Changes in an overlay, as a program sees them.

use std::ffi::CString;

use super::{Layers, is_whiteout, names, set_xattr, simple, xattr, xattrs};
use crate::kit::prelude::*;

case!(writing_leaves_the_lower_layer_alone: openat, write; root);
fn writing_leaves_the_lower_layer_alone() {
    simple();
    let fd = open(c"m/f", O_RDWR);
    ok(sys!(pwrite64, fd, c"L", 1, 0));
    eq(content(c"m/f"), b"Lower");
    eq(content(c"l0/f"), b"lower");
    eq(content(c"u/f"), b"Lower");
}

case!(opening_for_writing_is_enough: openat; root);
fn opening_for_writing_is_enough() {
    simple();
    close(open(c"m/f", O_RDONLY));
    check(!exists(c"u/f"), "reading copies nothing");
    close(open(c"m/f", O_WRONLY));
    eq(content(c"u/f"), b"lower");
}

case!(truncating: openat, truncate; root);
fn truncating() {
    simple();
    close(open(c"m/d/a", O_WRONLY | O_TRUNC));
    eq(content(c"m/d/a"), b"");
    ok(sys!(truncate, c"m/f", 3));
    eq(content(c"m/f"), b"low");
    ok(sys!(truncate, c"m/d/b", 5));
    eq(content(c"m/d/b"), b"b\0\0\0\0");
    eq(
        (content(c"l0/f"), content(c"l0/d/a"), content(c"l0/d/b")),
        (b"lower".into(), b"a".into(), b"b".into()),
    );
}

/// A list that lets user 7 read and write, and the others nothing.
const LIST: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 7, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255, 16,
    0, 6, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

case!(a_copy_keeps_access_control_lists: write, openat, mkdirat; root);
fn a_copy_keeps_access_control_lists() {
    let (access, default) = (c"system.posix_acl_access", c"system.posix_acl_default");
    let layers = Layers::new(1);
    put(c"l0/f", b"text");
    mkdir(c"l0/d");
    if set_xattr(c"l0/f", access, &LIST) == Err(Errno(EOPNOTSUPP)) {
        skip("the file system has no access control lists");
    }
    ok(set_xattr(c"l0/d", default, &LIST));
    ok(sys!(chmod, c"l0", 0o755));
    layers.mount();
    ok(sys!(chmod, c".", 0o755));
    let readable = |user: u32, may: bool| {
        in_child(|| {
            become_user(user);
            eq(sys!(access, c"m/f", R_OK | W_OK).is_ok(), may);
        });
    };
    // Below and copied up it is the same.
    readable(7, true);
    readable(8, false);
    eq(xattr(c"m/f", access), Some(LIST.to_vec()));
    let fd = open(c"m/f", O_WRONLY);
    write_all(fd, b"T");
    eq((content(c"u/f"), xattr(c"u/f", access)), (b"Text".to_vec(), Some(LIST.to_vec())));
    readable(7, true);
    readable(8, false);
    eq((stat(c"u/f").st_mode & 0o7777, stat(c"m/f").st_mode & 0o7777), (0o660, 0o660));
    // What is made in a directory of the lower layer inherits from it.
    ok(sys!(umask, 0o077));
    close(ok_i32(sys!(openat, AT_FDCWD, c"m/d/new", O_CREAT | O_EXCL | O_WRONLY, 0o666)));
    eq((stat(c"m/d/new").st_mode & 0o7777, xattr(c"u/d", default)), (0o660, Some(LIST.to_vec())));
    eq(xattr(c"m/d/new", access), Some(LIST.to_vec()));
    ok(sys!(lremovexattr, c"m/f", access));
    eq((xattr(c"m/f", access), xattr(c"l0/f", access)), (None, Some(LIST.to_vec())));
    readable(7, false);
}

case!(a_copy_keeps_attributes: chmod, fchownat, utimensat; root);
fn a_copy_keeps_attributes() {
    let layers = Layers::new(1);
    put(c"l0/f", b"text");
    ok(sys!(fchownat, AT_FDCWD, c"l0/f", 5, 6, 0));
    ok(sys!(fchmodat, AT_FDCWD, c"l0/f", 0o4751));
    ok(set_xattr(c"l0/f", c"user.a", b"1"));
    ok(set_xattr(c"l0/f", c"trusted.b", b"2"));
    ok(set_xattr(c"l0/f", c"security.c", b"3"));
    let times = [timespec { tv_sec: 1000, tv_nsec: 7 }, timespec { tv_sec: 2000, tv_nsec: 8 }];
    ok(sys!(utimensat, AT_FDCWD, c"l0/f", &times, 0));
    layers.mount();
    // A link is the smallest change.
    ok(sys!(link, c"m/f", c"m/g"));
    let st = stat(c"u/f");
    eq((st.st_mode & 0o7777, st.st_uid, st.st_gid), (0o4751, 5, 6));
    eq((st.st_atime, st.st_atime_nsec, st.st_mtime, st.st_mtime_nsec), (1000, 7, 2000, 8));
    eq(xattr(c"u/f", c"user.a"), Some(b"1".to_vec()));
    eq(xattr(c"u/f", c"trusted.b"), Some(b"2".to_vec()));
    eq(xattr(c"u/f", c"security.c"), Some(b"3".to_vec()));
    eq(xattrs(c"m/f"), ["security.c", "trusted.b", "user.a"]);
    eq(stat(c"m/g").st_nlink, 2);
}

case!(a_directory_keeps_attributes: openat; root);
fn a_directory_keeps_attributes() {
    let layers = Layers::new(1);
    mkdir(c"l0/d");
    mkdir(c"l0/d/e");
    ok(sys!(fchownat, AT_FDCWD, c"l0/d", 5, 6, 0));
    ok(sys!(fchmodat, AT_FDCWD, c"l0/d", 0o3770));
    ok(set_xattr(c"l0/d", c"user.a", b"1"));
    let times = [timespec { tv_sec: 1000, tv_nsec: 7 }, timespec { tv_sec: 2000, tv_nsec: 8 }];
    ok(sys!(utimensat, AT_FDCWD, c"l0/d", &times, 0));
    layers.mount();
    put(c"m/d/e/f", b"");
    let st = stat(c"u/d");
    eq((st.st_mode & 0o7777, st.st_uid, st.st_gid), (0o3770, 5, 6));
    eq((st.st_mtime, st.st_mtime_nsec), (2000, 8));
    eq(stat(c"m/d").st_mtime, 2000);
    eq(xattr(c"u/d", c"user.a"), Some(b"1".to_vec()));
    eq(xattr(c"u/d", c"trusted.overlay.opaque"), None);
}

case!(changing_attributes_copies: fchmodat, fchownat, utimensat, setxattr; root);
fn changing_attributes_copies() {
    simple();
    ok(sys!(fchmodat, AT_FDCWD, c"m/f", 0o600));
    eq(stat(c"l0/f").st_mode & 0o777, 0o644);
    eq(stat(c"u/f").st_mode & 0o777, 0o600);
    ok(sys!(fchownat, AT_FDCWD, c"m/d", 1, 2, 0));
    eq((stat(c"u/d").st_uid, stat(c"u/d").st_gid, stat(c"l0/d").st_uid), (1, 2, 0));
    ok(set_xattr(c"m/d/a", c"user.x", b"y"));
    eq(xattr(c"u/d/a", c"user.x"), Some(b"y".to_vec()));
    eq(xattr(c"l0/d/a", c"user.x"), None);
    let times = [timespec { tv_sec: 1, tv_nsec: 0 }, timespec { tv_sec: 2, tv_nsec: 0 }];
    ok(sys!(utimensat, AT_FDCWD, c"m/d/b", &times, 0));
    eq((stat(c"m/d/b").st_mtime, stat(c"u/d/b").st_mtime), (2, 2));
}

case!(removing_what_is_not_there_copies_nothing: removexattr, unlink; root);
fn removing_what_is_not_there_copies_nothing() {
    simple();
    fails(sys!(removexattr, c"m/f", c"user.none"), ENODATA);
    fails(sys!(unlink, c"m/none"), ENOENT);
    fails(sys!(unlink, c"m/d"), EISDIR);
    fails(sys!(rmdir, c"m/f"), ENOTDIR);
    eq(names(c"u"), [""; 0]);
}

case!(links_and_nodes_are_copied: fchownat, linkat; root);
fn links_and_nodes_are_copied() {
    let layers = Layers::new(1);
    ok(sys!(symlinkat, c"target", AT_FDCWD, c"l0/l"));
    ok(sys!(mknodat, AT_FDCWD, c"l0/p", S_IFIFO | 0o640, 0));
    ok(sys!(mknodat, AT_FDCWD, c"l0/n", S_IFCHR | 0o666, 0x103));
    layers.mount();
    for name in [c"m/l", c"m/p", c"m/n"] {
        ok(sys!(fchownat, AT_FDCWD, name, 3, 4, AT_SYMLINK_NOFOLLOW));
    }
    eq(std::fs::read_link("u/l").ok(), Some("target".into()));
    eq((lstat(c"u/l").st_uid, lstat(c"u/l").st_mode), (3, S_IFLNK | 0o777));
    eq((lstat(c"u/p").st_uid, lstat(c"u/p").st_mode), (3, S_IFIFO | 0o640));
    eq((lstat(c"u/n").st_uid, lstat(c"u/n").st_rdev), (3, 0x103));
    eq(lstat(c"l0/l").st_uid, 0);
}

case!(hard_links_stay_together: link, write; root);
fn hard_links_stay_together() {
    let layers = Layers::new(1);
    put(c"l0/a", b"one");
    ok(sys!(link, c"l0/a", c"l0/b"));
    // Without an index overlayfs takes them apart.
    layers.mount_with(",index=on");
    eq(stat(c"m/a").st_ino, stat(c"m/b").st_ino);
    let fd = open(c"m/a", O_WRONLY);
    write_all(fd, b"two");
    eq(content(c"m/b"), b"two");
    eq(content(c"l0/b"), b"one");
    eq(stat(c"m/a").st_ino, stat(c"m/b").st_ino);
    eq((stat(c"m/a").st_nlink, stat(c"m/b").st_nlink), (2, 2));
    ok(sys!(unlink, c"m/a"));
    eq((content(c"m/b"), stat(c"m/b").st_nlink), (b"two".to_vec(), 1));
}

case!(removing_and_making_again: unlink, openat; root);
fn removing_and_making_again() {
    simple();
    ok(sys!(unlink, c"m/f"));
    check(!exists(c"m/f"), "it is gone");
    eq(names(c"m"), ["d"]);
    put(c"m/f", b"new");
    eq(content(c"m/f"), b"new");
    check(!is_whiteout(c"u/f"), "the whiteout has gone");
    ok(sys!(unlink, c"m/f"));
    check(is_whiteout(c"u/f"), "and comes back");
}

case!(directories_with_lower_contents: rmdir, unlink; root);
fn directories_with_lower_contents() {
    simple();
    fails(sys!(rmdir, c"m/d"), ENOTEMPTY);
    ok(sys!(unlink, c"m/d/a"));
    fails(sys!(rmdir, c"m/d"), ENOTEMPTY);
    ok(sys!(unlink, c"m/d/b"));
    eq(names(c"m/d"), [""; 0]);
    ok(sys!(rmdir, c"m/d"));
    check(!exists(c"m/d"), "it is gone");
    check(is_whiteout(c"u/d"), "a whiteout is in its place");
    mkdir(c"m/d");
    eq(names(c"m/d"), [""; 0]);
}

case!(nothing_is_made_in_a_dead_directory: rmdir, openat; root);
fn nothing_is_made_in_a_dead_directory() {
    let layers = Layers::new(1);
    mkdir(c"l0/d");
    layers.mount();
    let fd = open(c"m/d", O_RDONLY | O_DIRECTORY);
    ok(sys!(rmdir, c"m/d"));
    fails(sys!(openat, fd, c"f", O_CREAT | O_WRONLY, 0o644), ENOENT);
    fails(sys!(mkdirat, fd, c"e", 0o755), ENOENT);
}

case!(renaming_files: rename, renameat2; root);
fn renaming_files() {
    simple();
    ok(sys!(rename, c"m/f", c"m/g"));
    eq((content(c"m/g"), exists(c"m/f")), (b"lower".to_vec(), false));
    check(is_whiteout(c"u/f"), "a whiteout is in its place");
    ok(sys!(rename, c"m/g", c"m/d/a"));
    eq(content(c"m/d/a"), b"lower");
    check(!exists(c"u/g"), "nothing was below");
    fails(sys!(renameat2, AT_FDCWD, c"m/d/b", AT_FDCWD, c"m/d/a", RENAME_NOREPLACE), EEXIST);
    ok(sys!(renameat2, AT_FDCWD, c"m/d/b", AT_FDCWD, c"m/d/a", RENAME_EXCHANGE));
    eq((content(c"m/d/a"), content(c"m/d/b")), (b"b".to_vec(), b"lower".to_vec()));
    ok(sys!(renameat2, AT_FDCWD, c"m/d/b", AT_FDCWD, c"m/f", RENAME_NOREPLACE));
    eq((content(c"m/f"), names(c"m/d")), (b"lower".to_vec(), vec!["a".to_owned()]));
}

case!(directories_of_lower_layers_stay: rename; root);
fn directories_of_lower_layers_stay() {
    simple();
    // As across file systems: mv copies then.
    fails(sys!(rename, c"m/d", c"m/e"), EXDEV);
    eq(names(c"m"), ["d", "f"]);
    // One that is new can move.
    mkdir(c"m/new");
    put(c"m/new/x", b"x");
    ok(sys!(rename, c"m/new", c"m/d/moved"));
    eq(content(c"m/d/moved/x"), b"x");
}

case!(directories_move_with_redirects: rename; root);
fn directories_move_with_redirects() {
    let layers = Layers::new(1);
    mkdir(c"l0/d");
    put(c"l0/d/a", b"a");
    mkdir(c"l0/e");
    layers.mount_with(",redirect_dir=on");
    ok(sys!(rename, c"m/d", c"m/moved"));
    eq(content(c"m/moved/a"), b"a");
    check(is_whiteout(c"u/d"), "a whiteout is in its place");
    ok(sys!(rename, c"m/moved", c"m/e/deep"));
    eq(content(c"m/e/deep/a"), b"a");
    eq(xattr(c"u/e/deep", c"trusted.overlay.redirect"), Some(b"/d".to_vec()));
    ok(sys!(umount2, c"m", 0));
    layers.mount();
    eq(content(c"m/e/deep/a"), b"a");
    check(!exists(c"m/d"), "it was moved");
}

case!(moving_a_directory_over_another: rename; root);
fn moving_a_directory_over_another() {
    let layers = Layers::new(1);
    mkdir(c"l0/d");
    put(c"l0/d/a", b"a");
    mkdir(c"l0/empty");
    layers.mount();
    mkdir(c"m/new");
    put(c"m/new/x", b"x");
    fails(sys!(rename, c"m/new", c"m/d"), ENOTEMPTY);
    ok(sys!(rename, c"m/new", c"m/empty"));
    eq(names(c"m/empty"), ["x"]);
    ok(sys!(unlink, c"m/d/a"));
    mkdir(c"m/new");
    put(c"m/new/y", b"y");
    ok(sys!(rename, c"m/new", c"m/d"));
    eq(names(c"m/d"), ["y"]);
}

case!(flags_of_rename_that_it_does_not_know: renameat2; root);
fn flags_of_rename_that_it_does_not_know() {
    simple();
    fails(sys!(renameat2, AT_FDCWD, c"m/f", AT_FDCWD, c"m/g", RENAME_WHITEOUT), EINVAL);
    fails(sys!(mknodat, AT_FDCWD, c"m/w", S_IFCHR, 0), EPERM);
}

case!(files_without_names: openat, linkat; root);
fn files_without_names() {
    simple();
    let fd = open(c"m/d", O_TMPFILE | O_RDWR);
    write_all(fd, b"unnamed");
    eq(fstat(fd).st_nlink, 0);
    eq(names(c"m/d"), ["a", "b"]);
    let from = CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    ok(sys!(linkat, AT_FDCWD, from.as_c_str(), AT_FDCWD, c"m/d/named", AT_SYMLINK_FOLLOW));
    eq(content(c"m/d/named"), b"unnamed");
    eq(content(c"u/d/named"), b"unnamed");
}

case!(unlinked_but_open: unlink, write; root);
fn unlinked_but_open() {
    simple();
    let fd = open(c"m/f", O_RDWR);
    ok(sys!(unlink, c"m/f"));
    ok(sys!(pwrite64, fd, c"XYZ", 3, 0));
    eq(read(fd, 10), b"XYZer");
    eq(fstat(fd).st_nlink, 0);
    let lower = open(c"m/d/a", O_RDONLY);
    ok(sys!(unlink, c"m/d/a"));
    eq(read(lower, 10), b"a");
}

case!(shared_mappings_write_the_copy: mmap, msync; root);
fn shared_mappings_write_the_copy() {
    simple();
    let fd = open(c"m/f", O_RDWR);
    let at = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    poke(at, b'L');
    ok(sys!(msync, at, PAGE, MS_SYNC));
    eq(content(c"m/f"), b"Lower");
    eq(content(c"l0/f"), b"lower");
}

case!(holes_stay_holes: openat, fstat; root);
fn holes_stay_holes() {
    let layers = Layers::new(1);
    let fd = create(c"l0/f", b"begin");
    ok(sys!(pwrite64, fd, c"end", 3, 8 << 20));
    layers.mount();
    close(open(c"m/f", O_WRONLY));
    let st = stat(c"u/f");
    eq(st.st_size, (8 << 20) + 3);
    check(st.st_blocks * 512 < 4 << 20, "the hole takes no room");
    let mut tail = [0u8; 3];
    eq(ok(sys!(pread64, open(c"m/f", O_RDONLY), &mut tail, 3, 8 << 20)), 3);
    eq(&tail, b"end");
}

case!(a_tree_is_removed_while_it_is_listed: getdents64, unlinkat; root);
fn a_tree_is_removed_while_it_is_listed() {
    let layers = Layers::new(2);
    for n in 0..200 {
        put(&CString::new(format!("l{}/f{n}", n % 2)).unwrap_or_default(), b"");
    }
    layers.mount();
    eq(std::fs::remove_dir_all("m").map_err(|e| e.raw_os_error()), Err(Some(EBUSY)));
    eq(names(c"m"), [""; 0]);
    eq(names(c"u").len(), 200);
}

case!(changes_outlive_the_mount: umount2, mount; root);
fn changes_outlive_the_mount() {
    let layers = Layers::new(1);
    put(c"l0/f", b"lower");
    put(c"l0/g", b"lower");
    layers.mount();
    ok(sys!(unlink, c"m/f"));
    let fd = open(c"m/g", O_WRONLY | O_TRUNC);
    write_all(fd, b"upper");
    close(fd);
    mkdir(c"m/d");
    ok(sys!(umount2, c"m", 0));
    eq(names(c"m"), [""; 0]);
    layers.mount();
    eq(names(c"m"), ["d", "g"]);
    eq(content(c"m/g"), b"upper");
}
