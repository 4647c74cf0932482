//! fsopen, fsconfig, fsmount, fspick.

use super::{is_mounted, own_mounts, the_info, tmpfs};
use crate::kit::prelude::*;

const SET_FLAG: u32 = 0;
const SET_STRING: u32 = 1;
const SET_BINARY: u32 = 2;
const SET_PATH: u32 = 3;
const SET_FD: u32 = 5;
const CREATE: u32 = 6;
const RECONFIGURE: u32 = 7;

const F_EMPTY_PATH: u32 = 4;

fn context() -> i32 {
    ok_i32(sys!(fsopen, c"tmpfs", 1))
}

fn made() -> i32 {
    let fd = context();
    ok(sys!(fsconfig, fd, CREATE, 0, 0, 0));
    fd
}

case!(mount_in_steps: fsopen, fsconfig, fsmount, move_mount; root; disk);
fn mount_in_steps() {
    own_mounts();
    mkdir(c"m");
    let fd = context();
    eq(ok_i32(sys!(fcntl, fd, F_GETFD)), FD_CLOEXEC);
    ok(sys!(fsconfig, fd, SET_STRING, c"source", c"here", 0));
    ok(sys!(fsconfig, fd, SET_STRING, c"size", c"64k", 0));
    ok(sys!(fsconfig, fd, SET_STRING, c"mode", c"750", 0));
    ok(sys!(fsconfig, fd, CREATE, 0, 0, 0));
    let tree = ok_i32(sys!(fsmount, fd, 1, 0x2 | 0x8));
    // It works before it has a place.
    eq(fstat(tree).st_mode, S_IFDIR | 0o750);
    let file = ok_i32(sys!(openat, tree, c"f", O_CREAT | O_RDWR, 0o600));
    write_all(file, b"x");
    ok(sys!(move_mount, tree, c"", AT_FDCWD, c"m", F_EMPTY_PATH));
    eq(content(c"m/f"), b"x");
    let line = the_info("m");
    eq((line.options.as_str(), line.kind.as_str()), ("rw,nosuid,noexec,relatime", "tmpfs"));
    eq(line.source, "here");
    close(tree);
    close(fd);
    check(is_mounted("m"), "it stays when the descriptors go");
}

case!(fsopen_errors: fsopen; root);
fn fsopen_errors() {
    fails(sys!(fsopen, c"no-such-kind", 0), ENODEV);
    fails(sys!(fsopen, c"tmpfs", 2), EINVAL);
    fails(sys!(fsopen, 8, 0), EFAULT);
    let fd = ok_i32(sys!(fsopen, c"tmpfs", 0));
    eq(ok_i32(sys!(fcntl, fd, F_GETFD)), 0);
}

case!(fsconfig_arguments: fsconfig; root);
fn fsconfig_arguments() {
    let fd = context();
    put(c"f", b"");
    let file = open(c"f", O_RDWR);
    fails(sys!(fsconfig, fd, 99, c"x", c"y", 0), EOPNOTSUPP);
    fails(sys!(fsconfig, -1, SET_FLAG, c"ro", 0, 0), EINVAL);
    fails(sys!(fsconfig, 999, SET_FLAG, c"ro", 0, 0), EBADF);
    fails(sys!(fsconfig, file, SET_FLAG, c"ro", 0, 0), EINVAL);
    fails(sys!(fsconfig, fd, SET_FLAG, 0, 0, 0), EINVAL);
    fails(sys!(fsconfig, fd, SET_FLAG, c"ro", c"x", 0), EINVAL);
    fails(sys!(fsconfig, fd, SET_FLAG, c"ro", 0, 1), EINVAL);
    fails(sys!(fsconfig, fd, SET_STRING, c"size", 0, 0), EINVAL);
    fails(sys!(fsconfig, fd, SET_STRING, c"size", c"1k", 1), EINVAL);
    fails(sys!(fsconfig, fd, SET_BINARY, c"size", c"1k", 0), EINVAL);
    fails(sys!(fsconfig, fd, SET_PATH, c"size", c"1k", -1), EINVAL);
    fails(sys!(fsconfig, fd, SET_FD, c"size", c"1k", 0), EINVAL);
    fails(sys!(fsconfig, fd, SET_FD, c"size", 0, -1), EINVAL);
    fails(sys!(fsconfig, fd, CREATE, c"x", 0, 0), EINVAL);
    fails(sys!(fsconfig, fd, CREATE, 0, 0, 1), EINVAL);
    fails(sys!(fsconfig, fd, SET_FLAG, 8, 0, 0), EFAULT);
    fails(sys!(fsconfig, fd, SET_STRING, c"size", 8, 0), EFAULT);
    fails(sys!(fsconfig, fd, SET_FD, c"size", 0, 999), EBADF);
    let long = std::ffi::CString::new(vec![b'a'; 300]).unwrap_or_default();
    fails(sys!(fsconfig, fd, SET_FLAG, long.as_c_str(), 0, 0), EINVAL);
    fails(sys!(fsconfig, fd, SET_STRING, c"size", long.as_c_str(), 0), EINVAL);
}

case!(fsconfig_values: fsconfig, read; root);
fn fsconfig_values() {
    let fd = context();
    // No message yet.
    fails(sys!(read, fd, &mut [0u8; 256], 256), ENODATA);
    fails(sys!(fsconfig, fd, SET_STRING, c"no-such", c"1", 0), EINVAL);
    let said = read(fd, 256);
    check(said.starts_with(b"e "), "a message of an error");
    check(said.windows(7).any(|w| w == b"no-such"), "that names the key");
    fails(sys!(read, fd, &mut [0u8; 256], 256), ENODATA);
    fails(sys!(fsconfig, fd, SET_FLAG, c"no-such", 0, 0), EINVAL);
    fails(sys!(read, fd, &mut [0u8; 2], 2), EMSGSIZE);
    fails(sys!(fsconfig, fd, SET_STRING, c"size", c"nonsense", 0), EINVAL);
    ok(sys!(fsconfig, fd, SET_STRING, c"source", c"a", 0));
    fails(sys!(fsconfig, fd, SET_STRING, c"source", c"b", 0), EINVAL);
    ok(sys!(fsconfig, fd, SET_FLAG, c"ro", 0, 0));
    ok(sys!(fsconfig, fd, SET_FLAG, c"rw", 0, 0));
    ok(sys!(fsconfig, fd, SET_STRING, c"size", c"1m", 0));
    ok(sys!(fsconfig, fd, CREATE, 0, 0, 0));
}

case!(fsconfig_in_order: fsconfig, fsmount; root);
fn fsconfig_in_order() {
    own_mounts();
    let fd = context();
    fails(sys!(fsmount, fd, 0, 0), EINVAL);
    fails(sys!(fsconfig, fd, RECONFIGURE, 0, 0, 0), EBUSY);
    ok(sys!(fsconfig, fd, CREATE, 0, 0, 0));
    fails(sys!(fsconfig, fd, CREATE, 0, 0, 0), EBUSY);
    fails(sys!(fsconfig, fd, SET_STRING, c"size", c"1m", 0), EBUSY);
    let tree = ok_i32(sys!(fsmount, fd, 0, 0));
    fails(sys!(fsmount, fd, 0, 0), EBUSY);
    // From now on it configures what is mounted.
    ok(sys!(fsconfig, fd, SET_STRING, c"size", c"128k", 0));
    ok(sys!(fsconfig, fd, RECONFIGURE, 0, 0, 0));
    let mut fs: libc::statfs = zeroed();
    ok(sys!(fstatfs, tree, &mut fs));
    eq(fs.f_blocks * fs.f_bsize as u64, 128 * 1024);
}

case!(fsmount_attributes: fsmount; root);
fn fsmount_attributes() {
    own_mounts();
    let fd = made();
    fails(sys!(fsmount, fd, 2, 0), EINVAL);
    fails(sys!(fsmount, fd, 0, 1 << 30), EINVAL);
    fails(sys!(fsmount, fd, 0, 0x100000), EINVAL);
    fails(sys!(fsmount, fd, 0, 0x30), EINVAL);
    fails(sys!(fsmount, 999, 0, 0), EBADF);
    let tree = ok_i32(sys!(fsmount, fd, 0, 0x1));
    eq(ok_i32(sys!(fcntl, tree, F_GETFD)), 0);
    fails(sys!(openat, tree, c"f", O_CREAT | O_RDWR, 0o600), EROFS);
    check(ok_i32(sys!(fcntl, tree, F_GETFL)) & O_PATH != 0, "a place only");
    fails(sys!(read, tree, &mut [0u8; 1], 1), EBADF);
    fails(sys!(fsmount, tree, 0, 0), EBADF);
    let times = [(0u64, "rw,relatime"), (0x10, "rw,noatime"), (0x20, "rw"), (0x80, "rw,nodiratime,relatime")];
    for (i, (attributes, want)) in times.iter().enumerate() {
        let tree = ok_i32(sys!(fsmount, made(), 0, *attributes));
        let name = format!("m{i}");
        let at = super::c(&name);
        mkdir(&at);
        ok(sys!(move_mount, tree, c"", AT_FDCWD, at.as_c_str(), F_EMPTY_PATH));
        eq(the_info(&name).options, *want);
    }
}

case!(a_mount_nowhere_ends_with_its_descriptor: fsmount; root);
fn a_mount_nowhere_ends_with_its_descriptor() {
    own_mounts();
    let tree = ok_i32(sys!(fsmount, made(), 0, 0));
    let file = ok_i32(sys!(openat, tree, c"f", O_CREAT | O_RDWR, 0o600));
    let dir = ok_i32(sys!(openat, tree, c".", O_PATH));
    close(tree);
    // What is open goes on.
    write_all(file, b"x");
    mkdir(c"m");
    fails(sys!(move_mount, dir, c"", AT_FDCWD, c"m", F_EMPTY_PATH), EINVAL);
}

case!(fspick_reconfigures: fspick, fsconfig; root; disk);
fn fspick_reconfigures() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"m/d");
    fails(sys!(fspick, AT_FDCWD, c"m/d", 0), EINVAL);
    fails(sys!(fspick, AT_FDCWD, c"missing", 0), ENOENT);
    fails(sys!(fspick, AT_FDCWD, c"m", 0x100), EINVAL);
    let fd = ok_i32(sys!(fspick, AT_FDCWD, c"m", 1));
    eq(ok_i32(sys!(fcntl, fd, F_GETFD)), FD_CLOEXEC);
    fails(sys!(fsconfig, fd, CREATE, 0, 0, 0), EBUSY);
    ok(sys!(fsconfig, fd, SET_FLAG, c"ro", 0, 0));
    ok(sys!(fsconfig, fd, RECONFIGURE, 0, 0, 0));
    fails(sys!(mkdirat, AT_FDCWD, c"m/e", 0o700), EROFS);
    ok(sys!(fsconfig, fd, SET_FLAG, c"rw", 0, 0));
    ok(sys!(fsconfig, fd, RECONFIGURE, 0, 0, 0));
    mkdir(c"m/e");
    let place = open(c"m", O_PATH);
    close(ok_i32(sys!(fspick, place, c"", 8)));
    fails(sys!(fspick, place, c"", 0), ENOENT);
}
