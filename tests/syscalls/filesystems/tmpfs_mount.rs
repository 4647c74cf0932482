//! Options of tmpfs.

use std::ffi::CStr;

use super::{mount_at, mountinfo, own_mounts};
use crate::kit::prelude::*;

fn fs(path: &CStr) -> statfs {
    let mut st: statfs = zeroed();
    ok(sys!(statfs, path, &mut st));
    st
}

case!(owner_and_mode_of_the_root: mount; root);
fn owner_and_mode_of_the_root() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"mode=2751,uid=12,gid=34");
    let st = stat(c"a");
    eq((st.st_mode & 0o7777, st.st_uid, st.st_gid), (0o2751, 12, 34));
    mount_at(c"b", c"tmpfs", c"");
    let st = stat(c"b");
    eq((st.st_mode & 0o7777, st.st_uid, st.st_gid, st.st_nlink), (0o1777, 0, 0, 2));
}

case!(size_in_bytes_and_pages: mount, statfs; root);
fn size_in_bytes_and_pages() {
    own_mounts();
    for (dir, options, blocks) in [
        (c"a", c"size=1m", 256),
        (c"b", c"size=4097", 2),
        (c"c", c"nr_blocks=7", 7),
        (c"d", c"size=0x10000", 16),
        (c"e", c"size=2M,size=8k", 2),
        (c"f", c"nr_blocks=1k", 1024),
    ] {
        mount_at(dir, c"tmpfs", options);
        let st = fs(dir);
        eq_of(
            options.to_string_lossy(),
            (st.f_blocks, st.f_bfree, st.f_bavail, st.f_bsize),
            (blocks, blocks, blocks, 4096),
        );
    }
}

case!(no_limit: mount, statfs; root);
fn no_limit() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"size=0,nr_inodes=0");
    let st = fs(c"a");
    eq((st.f_blocks, st.f_files), (0, 0));
    put(c"a/f", b"x");
}

case!(options_that_tmpfs_does_not_take: mount; root);
fn options_that_tmpfs_does_not_take() {
    own_mounts();
    mkdir(c"a");
    for options in [
        c"nonsense",
        c"nonsense=1",
        c"size=abc",
        c"size=1x",
        c"size=",
        c"size",
        c"nr_inodes=x",
        c"mode=9",
        c"uid=-2x",
        c"gid=",
        c"huge=perhaps",
    ] {
        match sys!(mount, c"none", c"a", c"tmpfs", 0, options) {
            Err(e) if e.0 == EINVAL => {}
            other => fail(format_args!("{options:?}: {other:?}")),
        }
    }
}

case!(a_share_of_the_memory: mount, statfs; root);
fn a_share_of_the_memory() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"size=50%");
    mount_at(c"b", c"tmpfs", c"size=25%");
    mount_at(c"c", c"tmpfs", c"");
    let (half, quarter, default) = (fs(c"a").f_blocks, fs(c"b").f_blocks, fs(c"c").f_blocks);
    check(half.abs_diff(2 * quarter) <= 2, "twice as much");
    check(half.abs_diff(default) <= 2, "half of the memory is the default");
}

case!(shown_in_mountinfo: mount; root);
fn shown_in_mountinfo() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"size=1m,nr_inodes=9,mode=700,uid=1,gid=2");
    let (own, kind, source, options) = mountinfo("a");
    eq((own.as_str(), kind.as_str(), source.as_str()), ("rw,relatime", "tmpfs", "none"));
    check(options.starts_with("rw,size=1024k,nr_inodes=9,mode=700,uid=1,gid=2"), &options);
    mount_at(c"b", c"tmpfs", c"");
    check(!mountinfo("b").3.contains("size="), "the default is not shown");
}

case!(remounting_with_other_limits: mount, statfs; root);
fn remounting_with_other_limits() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"size=1m,nr_inodes=10");
    write_all(create(c"a/f", b""), &[1; 100_000]);
    ok(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"size=2m"));
    let st = fs(c"a");
    eq((st.f_blocks, st.f_files), (512, 10));
    ok(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"nr_inodes=20"));
    eq((fs(c"a").f_blocks, fs(c"a").f_files), (512, 20));
    // Less than is in use.
    fails(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"size=64k"), EINVAL);
    fails(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"nr_inodes=1"), EINVAL);
    fails(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"nonsense"), EINVAL);
    eq((fs(c"a").f_blocks, fs(c"a").f_files), (512, 20));
    ok(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"size=128k"));
    eq(content(c"a/f").len(), 100_000);
}

case!(a_limit_that_was_not_there: mount; root);
fn a_limit_that_was_not_there() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"size=0,nr_inodes=0");
    fails(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"size=1m"), EINVAL);
    fails(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"nr_inodes=100"), EINVAL);
    mount_at(c"b", c"tmpfs", c"size=1m");
    ok(sys!(mount, c"none", c"b", 0, MS_REMOUNT, c"size=0"));
    eq(fs(c"b").f_blocks, 0);
}

case!(mode_and_owner_stay_over_a_remount: mount; root);
fn mode_and_owner_stay_over_a_remount() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"mode=700,uid=1");
    ok(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"mode=755,uid=2"));
    let st = stat(c"a");
    eq((st.st_mode & 0o7777, st.st_uid), (0o700, 1));
}

case!(read_only_by_remount: mount, openat; root);
fn read_only_by_remount() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"");
    put(c"a/f", b"x");
    let fd = open(c"a/f", O_RDWR);
    fails(sys!(mount, c"none", c"a", 0, MS_REMOUNT | MS_RDONLY, 0), EBUSY);
    close(fd);
    ok(sys!(mount, c"none", c"a", 0, MS_REMOUNT | MS_RDONLY, 0));
    fails(sys!(openat, AT_FDCWD, c"a/f", O_RDWR, 0), EROFS);
    eq(content(c"a/f"), b"x");
    check(mountinfo("a").3.starts_with("ro"), "the file system is read-only");
    ok(sys!(mount, c"none", c"a", 0, MS_REMOUNT, 0));
    put(c"a/g", b"");
}

case!(each_mount_is_its_own: mount; root);
fn each_mount_is_its_own() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"");
    mount_at(c"b", c"tmpfs", c"");
    put(c"a/f", b"");
    check(!exists(c"b/f"), "another file system");
    check(stat(c"a").st_dev != stat(c"b").st_dev, "another device");
    eq((stat(c"a").st_ino, major(stat(c"a").st_dev)), (1, 0));
}

case!(files_without_limits: mount, statfs; root);
fn files_without_limits() {
    own_mounts();
    mount_at(c"a", c"ramfs", c"mode=711");
    eq((stat(c"a").st_mode & 0o7777, fs(c"a").f_type, fs(c"a").f_blocks), (0o711, 0x8584_58f6, 0));
    put(c"a/f", b"x");
    eq(content(c"a/f"), b"x");
    eq(mountinfo("a").1, "ramfs");
}
