//! open_tree and move_mount.

use super::{bind, info, is_mounted, own_mounts, spread, the_info, tmpfs};
use crate::kit::prelude::*;

const CLONE: u32 = 1;
const RECURSIVE: u32 = 0x8000;
const F_SYMLINKS: u32 = 1;
const F_EMPTY_PATH: u32 = 4;
const T_SYMLINKS: u32 = 0x10;
const T_EMPTY_PATH: u32 = 0x40;
const SET_GROUP: u32 = 0x100;
const BENEATH: u32 = 0x200;

case!(open_tree_is_a_place: open_tree; disk);
fn open_tree_is_a_place() {
    mkdir(c"d");
    put(c"d/f", b"x");
    let fd = ok_i32(sys!(open_tree, AT_FDCWD, c"d", O_CLOEXEC));
    eq(ok_i32(sys!(fcntl, fd, F_GETFD)), FD_CLOEXEC);
    check(ok_i32(sys!(fcntl, fd, F_GETFL)) & O_PATH != 0, "as O_PATH");
    close(ok_i32(sys!(openat, fd, c"f", O_RDONLY, 0)));
    let again = ok_i32(sys!(open_tree, fd, c"", AT_EMPTY_PATH));
    eq(ok_i32(sys!(fcntl, again, F_GETFD)), 0);
    ok(sys!(symlinkat, c"d", AT_FDCWD, c"l"));
    let link = ok_i32(sys!(open_tree, AT_FDCWD, c"l", AT_SYMLINK_NOFOLLOW));
    eq(fstat(link).st_mode & S_IFMT, S_IFLNK);
}

case!(open_tree_errors: open_tree; root; disk);
fn open_tree_errors() {
    own_mounts();
    mkdir(c"d");
    fails(sys!(open_tree, AT_FDCWD, c"d", 0x40), EINVAL);
    fails(sys!(open_tree, AT_FDCWD, c"d", RECURSIVE), EINVAL);
    fails(sys!(open_tree, AT_FDCWD, c"missing", 0), ENOENT);
    fails(sys!(open_tree, AT_FDCWD, c"", 0), ENOENT);
    fails(sys!(open_tree, 999, c"d", 0), EBADF);
    tmpfs(c"m");
    spread(c"m", MS_UNBINDABLE);
    fails(sys!(open_tree, AT_FDCWD, c"m", CLONE), EINVAL);
}

case!(clone_a_tree_and_mount_it: open_tree, move_mount; root; disk);
fn clone_a_tree_and_mount_it() {
    own_mounts();
    mkdir(c"d");
    put(c"d/f", b"x");
    mkdir(c"to");
    let fd = ok_i32(sys!(open_tree, AT_FDCWD, c"d", CLONE));
    close(ok_i32(sys!(openat, fd, c"f", O_RDONLY, 0)));
    ok(sys!(move_mount, fd, c"", AT_FDCWD, c"to", F_EMPTY_PATH));
    eq(content(c"to/f"), b"x");
    // The descriptor still names it, now where it is: it can be moved on.
    mkdir(c"on");
    ok(sys!(move_mount, fd, c"", AT_FDCWD, c"on", F_EMPTY_PATH));
    check(is_mounted("on") && !is_mounted("to"), "moved on");
    close(fd);
    check(is_mounted("on"), "and stays");
}

case!(clone_a_tree_with_what_is_below: open_tree, move_mount; root; disk);
fn clone_a_tree_with_what_is_below() {
    own_mounts();
    tmpfs(c"m");
    tmpfs(c"m/sub");
    put(c"m/sub/f", b"x");
    mkdir(c"to");
    let fd = ok_i32(sys!(open_tree, AT_FDCWD, c"m", CLONE));
    fails(sys!(openat, fd, c"sub/f", O_RDONLY, 0), ENOENT);
    close(fd);
    let fd = ok_i32(sys!(open_tree, AT_FDCWD, c"m", CLONE | RECURSIVE));
    close(ok_i32(sys!(openat, fd, c"sub/f", O_RDONLY, 0)));
    ok(sys!(move_mount, fd, c"", AT_FDCWD, c"to", F_EMPTY_PATH));
    check(is_mounted("to") && is_mounted("to/sub"), "both");
}

case!(a_cloned_tree_ends_with_its_descriptor: open_tree, move_mount, umount2; root; disk);
fn a_cloned_tree_ends_with_its_descriptor() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"x");
    mkdir(c"to");
    let fd = ok_i32(sys!(open_tree, AT_FDCWD, c"m", CLONE));
    let inside = ok_i32(sys!(openat, fd, c".", O_PATH));
    // Mounts that are nowhere are not unmounted, nor mounted on by mount(2).
    fails(sys!(umount2, super::c(&format!("/proc/self/fd/{fd}")).as_c_str(), 0), EINVAL);
    close(fd);
    fails(sys!(move_mount, inside, c"", AT_FDCWD, c"to", F_EMPTY_PATH), EINVAL);
    close(inside);
    ok(sys!(umount2, c"m", 0));
}

case!(move_mount_moves: move_mount; root; disk);
fn move_mount_moves() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"x");
    mkdir(c"n");
    let id = the_info("m").id;
    ok(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"n", 0));
    eq((the_info("n").id, is_mounted("m")), (id, false));
    let (from, to) = (open(c"n", O_PATH), open(c"m", O_PATH));
    ok(sys!(move_mount, from, c"", to, c"", F_EMPTY_PATH | T_EMPTY_PATH));
    check(is_mounted("m"), "by descriptors");
}

case!(move_mount_errors: move_mount; root; disk);
fn move_mount_errors() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"m/d");
    mkdir(c"n");
    put(c"f", b"");
    fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"n", 0x1000), EINVAL);
    fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"n", BENEATH | SET_GROUP), EINVAL);
    fails(sys!(move_mount, AT_FDCWD, c"n", AT_FDCWD, c"m", 0), EINVAL);
    fails(sys!(move_mount, AT_FDCWD, c"m/d", AT_FDCWD, c"n", 0), EINVAL);
    fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"f", 0), EINVAL);
    fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"m/d", 0), ELOOP);
    fails(sys!(move_mount, AT_FDCWD, c"missing", AT_FDCWD, c"n", 0), ENOENT);
    fails(sys!(move_mount, AT_FDCWD, c"", AT_FDCWD, c"n", 0), ENOENT);
    fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"n", BENEATH), EINVAL);
}

case!(move_mount_and_links: move_mount; root; disk);
fn move_mount_and_links() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"n");
    ok(sys!(symlinkat, c"m", AT_FDCWD, c"from"));
    ok(sys!(symlinkat, c"n", AT_FDCWD, c"to"));
    fails(sys!(move_mount, AT_FDCWD, c"from", AT_FDCWD, c"n", 0), EINVAL);
    fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"to", 0), EINVAL);
    ok(sys!(move_mount, AT_FDCWD, c"from", AT_FDCWD, c"to", F_SYMLINKS | T_SYMLINKS));
    check(is_mounted("n"), "there");
}

case!(move_mount_beneath: move_mount, umount2; root; disk);
fn move_mount_beneath() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/top", b"");
    tmpfs(c"n");
    put(c"n/new", b"");
    match sys!(move_mount, AT_FDCWD, c"n", AT_FDCWD, c"m", BENEATH) {
        Err(Errno(EINVAL)) => skip("no MOVE_MOUNT_BENEATH in this kernel"),
        answer => done(answer),
    }
    check(exists(c"m/top"), "the top stays on top");
    eq(info("m").len(), 2);
    ok(sys!(umount2, c"m", 0));
    check(exists(c"m/new"), "the new one is below it");
    ok(sys!(umount2, c"m", 0));
    check(!is_mounted("m"), "nothing else");
}

case!(set_group_joins_a_group: move_mount; root; disk);
fn set_group_joins_a_group() {
    own_mounts();
    tmpfs(c"m");
    bind(c"m", c"n");
    mkdir(c"m/d");
    fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"n", SET_GROUP), EINVAL);
    spread(c"m", MS_SHARED);
    ok(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"n", SET_GROUP));
    eq(the_info("m").fields, the_info("n").fields);
    ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
    check(is_mounted("n/d"), "peers");
    // It has one already.
    fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"n", SET_GROUP), EINVAL);
    tmpfs(c"other");
    fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"other", SET_GROUP), EINVAL);
}

case!(move_mount_spreads: move_mount, open_tree; root; disk);
fn move_mount_spreads() {
    own_mounts();
    tmpfs(c"m");
    spread(c"m", MS_SHARED);
    bind(c"m", c"n");
    mkdir(c"m/d");
    tmpfs(c"x");
    put(c"x/f", b"x");
    let fd = ok_i32(sys!(open_tree, AT_FDCWD, c"x", CLONE));
    ok(sys!(move_mount, fd, c"", AT_FDCWD, c"m/d", F_EMPTY_PATH));
    eq(content(c"n/d/f"), b"x");
    // Out of a shared mount nothing moves.
    mkdir(c"to");
    fails(sys!(move_mount, AT_FDCWD, c"m/d", AT_FDCWD, c"to", 0), EINVAL);
}

case!(open_tree_attr_changes_the_copy: open_tree_attr, open_tree; root; disk);
fn open_tree_attr_changes_the_copy() {
    own_mounts();
    tmpfs(c"m");
    let attr = [1u64, 0, 0, 0];
    let fd = match sys!(open_tree_attr, AT_FDCWD, c"m", CLONE, &attr, 32) {
        Err(Errno(ENOSYS)) => skip("no open_tree_attr in this kernel"),
        answer => ok_i32(answer),
    };
    fails(sys!(openat, fd, c"f", O_CREAT | O_RDWR, 0o600), EROFS);
    put(c"m/f", b"x");
    close(ok_i32(sys!(openat, fd, c"f", O_RDONLY, 0)));
    fails(sys!(open_tree_attr, AT_FDCWD, c"m", CLONE, &attr, 8), EINVAL);
    fails(sys!(open_tree_attr, AT_FDCWD, c"m", CLONE, 0, 32), EINVAL);
    close(ok_i32(sys!(open_tree_attr, AT_FDCWD, c"m", CLONE, 0, 0)));
}
