//! Bind mounts and moves.

use super::{bind, info, is_mounted, own_mounts, spread, the_info, tmpfs};
use crate::kit::prelude::*;

case!(bind_shows_the_same: mount; root; disk);
fn bind_shows_the_same() {
    own_mounts();
    mkdir(c"d");
    put(c"d/f", b"x");
    bind(c"d", c"e");
    eq(content(c"e/f"), b"x");
    eq((stat(c"e/f").st_ino, stat(c"e/f").st_dev), (stat(c"d/f").st_ino, stat(c"d/f").st_dev));
    put(c"e/g", b"y");
    eq(content(c"d/g"), b"y");
    // One file system, but two mounts.
    fails(sys!(linkat, AT_FDCWD, c"d/f", AT_FDCWD, c"e/h", 0), EXDEV);
    fails(sys!(renameat2, AT_FDCWD, c"d/f", AT_FDCWD, c"e/h", 0), EXDEV);
    check(the_info("e").root.ends_with("/d"), "where it begins");
    ok(sys!(umount2, c"e", 0));
    check(!exists(c"e/f"), "gone");
    eq(content(c"d/g"), b"y");
}

case!(bind_a_file: mount; root; disk);
fn bind_a_file() {
    own_mounts();
    put(c"f", b"f");
    put(c"g", b"g");
    ok(sys!(mount, c"f", c"g", 0, MS_BIND, 0));
    eq(content(c"g"), b"f");
    fails(sys!(unlinkat, AT_FDCWD, c"g", 0), EBUSY);
    fails(sys!(renameat2, AT_FDCWD, c"g", AT_FDCWD, c"h", 0), EBUSY);
    fails(sys!(renameat2, AT_FDCWD, c"f", AT_FDCWD, c"g", 0), EBUSY);
    ok(sys!(umount2, c"g", 0));
    eq(content(c"g"), b"g");
}

case!(bind_errors: mount; root; disk);
fn bind_errors() {
    own_mounts();
    mkdir(c"d");
    put(c"f", b"");
    fails(sys!(mount, c"d", c"f", 0, MS_BIND, 0), ENOTDIR);
    fails(sys!(mount, c"f", c"d", 0, MS_BIND, 0), ENOTDIR);
    fails(sys!(mount, c"missing", c"d", 0, MS_BIND, 0), ENOENT);
    fails(sys!(mount, 0, c"d", 0, MS_BIND, 0), EINVAL);
    fails(sys!(mount, c"", c"d", 0, MS_BIND, 0), EINVAL);
}

case!(bind_without_and_with_what_is_below: mount; root; disk);
fn bind_without_and_with_what_is_below() {
    own_mounts();
    tmpfs(c"m");
    tmpfs(c"m/sub");
    put(c"m/sub/f", b"x");
    bind(c"m", c"one");
    check(exists(c"one/sub") && !exists(c"one/sub/f"), "the mount below was left out");
    mkdir(c"all");
    ok(sys!(mount, c"m", c"all", 0, MS_BIND | MS_REC, 0));
    eq(content(c"all/sub/f"), b"x");
    eq(the_info("all/sub").parent, the_info("all").id);
    fails(sys!(umount2, c"all", 0), EBUSY);
    ok(sys!(umount2, c"all/sub", 0));
    ok(sys!(umount2, c"all", 0));
    eq(content(c"m/sub/f"), b"x");
}

case!(bind_has_the_flags_of_its_source: mount; root; disk);
fn bind_has_the_flags_of_its_source() {
    own_mounts();
    mkdir(c"m");
    ok(sys!(mount, c"none", c"m", c"tmpfs", MS_NOSUID | MS_NODEV | MS_NOATIME, 0));
    mkdir(c"n");
    // Flags that go with MS_BIND mean nothing before a remount.
    ok(sys!(mount, c"m", c"n", 0, MS_BIND | MS_RDONLY | MS_NOEXEC, 0));
    eq(the_info("n").options, "rw,nosuid,nodev,noatime");
    ok(sys!(mount, 0, c"n", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
    eq(the_info("n").options, "ro,noatime");
    eq(the_info("m").options, "rw,nosuid,nodev,noatime");
}

case!(several_on_one_place: mount, umount2; root; disk);
fn several_on_one_place() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/first", b"");
    ok(sys!(mount, c"none", c"m", c"tmpfs", 0, 0));
    put(c"m/second", b"");
    check(!exists(c"m/first"), "covered");
    eq(info("m").len(), 2);
    let lines = info("m");
    eq(lines[1].parent, lines[0].id);
    ok(sys!(umount2, c"m", 0));
    check(exists(c"m/first"), "uncovered");
    ok(sys!(umount2, c"m", 0));
    check(!is_mounted("m"), "all gone");
}

case!(dot_dot_leaves_mounts: mount, openat; root; disk);
fn dot_dot_leaves_mounts() {
    own_mounts();
    mkdir(c"d");
    tmpfs(c"d/m");
    ok(sys!(mount, c"none", c"d/m", c"tmpfs", 0, 0));
    put(c"d/f", b"x");
    eq(content(c"d/m/../f"), b"x");
    let fd = open(c"d/m", O_PATH);
    close(ok_i32(sys!(openat, fd, c"../f", O_RDONLY, 0)));
    ok(sys!(fchdir, fd));
    eq(content(c"../f"), b"x");
}

case!(move_a_mount: mount; root; disk);
fn move_a_mount() {
    own_mounts();
    tmpfs(c"m");
    tmpfs(c"m/sub");
    put(c"m/sub/f", b"x");
    mkdir(c"n");
    let id = the_info("m").id;
    let fd = open(c"m/sub/f", O_RDONLY);
    ok(sys!(mount, c"m", c"n", 0, MS_MOVE, 0));
    eq(content(c"n/sub/f"), b"x");
    check(!is_mounted("m") && !exists(c"m/sub"), "moved away");
    eq(the_info("n").id, id);
    eq(read(fd, 4), b"x");
    fails(sys!(mount, c"n", c"n/sub", 0, MS_MOVE, 0), ELOOP);
    fails(sys!(mount, c"m", c"n", 0, MS_MOVE, 0), EINVAL);
    put(c"file", b"");
    fails(sys!(mount, c"n", c"file", 0, MS_MOVE, 0), EINVAL);
}

case!(nothing_moves_out_of_a_shared_mount: mount; root; disk);
fn nothing_moves_out_of_a_shared_mount() {
    own_mounts();
    tmpfs(c"m");
    spread(c"m", MS_SHARED);
    tmpfs(c"m/sub");
    mkdir(c"n");
    fails(sys!(mount, c"m/sub", c"n", 0, MS_MOVE, 0), EINVAL);
    spread(c"m", MS_PRIVATE);
    ok(sys!(mount, c"m/sub", c"n", 0, MS_MOVE, 0));
}

case!(bind_outlives_removal_of_its_name: mount, rename, rmdir; root; disk);
fn bind_outlives_removal_of_its_name() {
    own_mounts();
    mkdir(c"d");
    mkdir(c"d/in");
    put(c"d/in/f", b"x");
    bind(c"d/in", c"m");
    ok(sys!(renameat2, AT_FDCWD, c"d/in", AT_FDCWD, c"moved", 0));
    eq(content(c"m/f"), b"x");
    ok(sys!(unlinkat, AT_FDCWD, c"moved/f", 0));
    ok(sys!(unlinkat, AT_FDCWD, c"moved", AT_REMOVEDIR));
    fails(sys!(openat, AT_FDCWD, c"m/g", O_CREAT | O_RDWR, 0o600), ENOENT);
    check(the_info("m").root.ends_with("//deleted"), "mountinfo tells");
}

case!(a_directory_moved_out_of_a_bind_has_no_parent: mount, rename; root; disk);
fn a_directory_moved_out_of_a_bind_has_no_parent() {
    own_mounts();
    mkdir(c"d");
    mkdir(c"d/in");
    mkdir(c"d/in/deep");
    mkdir(c"other");
    bind(c"d", c"m");
    let fd = open(c"m/in/deep", O_PATH | O_DIRECTORY);
    close(ok_i32(sys!(openat, fd, c"..", O_PATH, 0)));
    ok(sys!(renameat2, AT_FDCWD, c"d/in", AT_FDCWD, c"other/in", 0));
    // The way up would lead out of what the mount shows.
    fails(sys!(openat, fd, c"..", O_PATH, 0), ENOENT);
}

case!(mount_points_are_busy: mount, rmdir, rename; root; disk);
fn mount_points_are_busy() {
    own_mounts();
    tmpfs(c"m");
    fails(sys!(rmdir, c"m"), EBUSY);
    fails(sys!(renameat2, AT_FDCWD, c"m", AT_FDCWD, c"n", 0), EBUSY);
    mkdir(c"n");
    fails(sys!(renameat2, AT_FDCWD, c"n", AT_FDCWD, c"m", 0), EBUSY);
    fails(sys!(renameat2, AT_FDCWD, c"n", AT_FDCWD, c"m", RENAME_EXCHANGE), EBUSY);
}

case!(a_mount_point_elsewhere_does_not_hold_a_name: mount, unshare, rmdir; root; disk);
fn a_mount_point_elsewhere_does_not_hold_a_name() {
    own_mounts();
    mkdir(c"m");
    mkdir(c"m/sub");
    let [r, w] = pipe(0);
    let [r2, w2] = pipe(0);
    let child = fork(|| {
        own_mounts();
        ok(sys!(mount, c"none", c"m/sub", c"tmpfs", 0, 0));
        put(c"m/sub/f", b"");
        write_all(w, b"x");
        read(r2, 1);
        // The name is gone, and the mount with it.
        check(!exists(c"m/sub"), "gone");
    });
    eq(read(r, 1), b"x");
    check(!exists(c"m/sub/f"), "only there");
    ok(sys!(rmdir, c"m/sub"));
    write_all(w2, b"x");
    child.succeeds();
}
