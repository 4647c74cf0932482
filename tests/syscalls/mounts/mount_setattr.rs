//! mount_setattr: flags and propagation of mounts, of one or of a whole tree.

use super::{own_mounts, spread, the_info, tmpfs};
use crate::kit::prelude::*;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;
const NOEXEC: u64 = 8;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const ATIME: u64 = 0x70;
const NODIRATIME: u64 = 0x80;
const IDMAP: u64 = 0x100000;
const NOSYMFOLLOW: u64 = 0x200000;
const RECURSIVE: u32 = 0x8000;

fn change(path: &std::ffi::CStr, flags: u32, set: u64, clear: u64) -> Answer {
    sys!(mount_setattr, AT_FDCWD, path, flags, &Attr { set, clear, ..Attr::default() }, 32)
}

case!(sets_and_clears: mount_setattr; root; disk);
fn sets_and_clears() {
    own_mounts();
    tmpfs(c"m");
    ok(change(c"m", 0, RDONLY | NOSUID | NODEV, 0));
    eq(the_info("m").options, "ro,nosuid,nodev,relatime");
    fails(sys!(mkdirat, AT_FDCWD, c"m/d", 0o700), EROFS);
    // What is both cleared and set is set.
    ok(change(c"m", 0, NOEXEC | NOSUID, RDONLY | NOSUID));
    eq(the_info("m").options, "rw,nosuid,nodev,noexec,relatime");
    ok(change(c"m", 0, 0, NOEXEC | NOSUID | NODEV));
    eq(the_info("m").options, "rw,relatime");
    ok(change(c"m", 0, NOSYMFOLLOW | NODIRATIME, 0));
    eq(the_info("m").options, "rw,nodiratime,relatime,nosymfollow");
}

case!(the_time_mode_is_replaced_whole: mount_setattr; root; disk);
fn the_time_mode_is_replaced_whole() {
    own_mounts();
    tmpfs(c"m");
    ok(change(c"m", 0, NOATIME, ATIME));
    eq(the_info("m").options, "rw,noatime");
    ok(change(c"m", 0, STRICTATIME, ATIME));
    eq(the_info("m").options, "rw");
    ok(change(c"m", 0, 0, ATIME));
    eq(the_info("m").options, "rw,relatime");
    fails(change(c"m", 0, NOATIME, 0), EINVAL);
    fails(change(c"m", 0, 0, NOATIME), EINVAL);
    fails(change(c"m", 0, NOATIME | STRICTATIME, ATIME), EINVAL);
}

case!(of_a_whole_tree: mount_setattr; root; disk);
fn of_a_whole_tree() {
    own_mounts();
    tmpfs(c"m");
    tmpfs(c"m/sub");
    ok(change(c"m", 0, NOSUID, 0));
    eq(the_info("m/sub").options, "rw,relatime");
    ok(change(c"m", RECURSIVE, NODEV, 0));
    eq(the_info("m").options, "rw,nosuid,nodev,relatime");
    eq(the_info("m/sub").options, "rw,nodev,relatime");
    // All or nothing.
    let fd = create(c"m/sub/f", b"");
    fails(change(c"m", RECURSIVE, RDONLY, 0), EBUSY);
    eq(the_info("m").options, "rw,nosuid,nodev,relatime");
    close(fd);
    ok(change(c"m", RECURSIVE, RDONLY, 0));
    eq(the_info("m/sub").options, "ro,nodev,relatime");
}

case!(propagation_by_setattr: mount_setattr; root; disk);
fn propagation_by_setattr() {
    own_mounts();
    tmpfs(c"m");
    let make = |propagation: u64| {
        sys!(mount_setattr, AT_FDCWD, c"m", 0, &Attr { propagation, ..Attr::default() }, 32)
    };
    ok(make(MS_SHARED));
    eq(the_info("m").fields.len(), 1);
    ok(make(MS_PRIVATE));
    eq(the_info("m").fields.len(), 0);
    ok(make(MS_UNBINDABLE));
    eq(the_info("m").fields, ["unbindable".to_owned()]);
    fails(make(MS_SHARED | MS_PRIVATE), EINVAL);
    fails(make(MS_RDONLY), EINVAL);
}

case!(setattr_arguments: mount_setattr; root; disk);
fn setattr_arguments() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"m/d");
    fails(change(c"m", 0x40, NOSUID, 0), EINVAL);
    fails(change(c"m/d", 0, NOSUID, 0), EINVAL);
    fails(change(c"missing", 0, NOSUID, 0), ENOENT);
    fails(change(c"m", 0, 1 << 40, 0), EINVAL);
    fails(change(c"m", 0, 0, IDMAP), EINVAL);
    let attr = Attr { set: NOSUID, ..Attr::default() };
    fails(sys!(mount_setattr, AT_FDCWD, c"m", 0, &attr, 8), EINVAL);
    fails(sys!(mount_setattr, AT_FDCWD, c"m", 0, &attr, 8192), E2BIG);
    fails(sys!(mount_setattr, AT_FDCWD, c"m", 0, 8, 32), EFAULT);
    let longer = [NOSUID, 0, 0, 0, 0, 0];
    ok(sys!(mount_setattr, AT_FDCWD, c"m", 0, &longer, 48));
    let longer = [NOSUID, 0, 0, 0, 0, 1];
    fails(sys!(mount_setattr, AT_FDCWD, c"m", 0, &longer, 48), E2BIG);
    // Nothing is asked for: not even the path is looked at.
    ok(change(c"missing", 0, 0, 0));
    let fd = open(c"m", O_PATH);
    ok(sys!(mount_setattr, fd, c"", AT_EMPTY_PATH, &Attr { set: NODEV, ..Attr::default() }, 32));
    eq(the_info("m").options, "rw,nosuid,nodev,relatime");
}

case!(setattr_of_a_tree_that_is_nowhere: mount_setattr, open_tree, move_mount; root; disk);
fn setattr_of_a_tree_that_is_nowhere() {
    own_mounts();
    tmpfs(c"m");
    spread(c"m", MS_SHARED);
    mkdir(c"to");
    let fd = ok_i32(sys!(open_tree, AT_FDCWD, c"m", 1));
    let attr = Attr { set: RDONLY, propagation: MS_PRIVATE, ..Attr::default() };
    ok(sys!(mount_setattr, fd, c"", AT_EMPTY_PATH, &attr, 32));
    ok(sys!(move_mount, fd, c"", AT_FDCWD, c"to", 4));
    let line = the_info("to");
    eq((line.options.as_str(), line.fields.len()), ("ro,relatime", 0));
    eq(the_info("m").options, "rw,relatime");
}
