//! Flags of mounts and what they forbid, remounts.

use super::{bind, own_mounts, the_info, tmpfs};
use crate::kit::prelude::*;

case!(new_tmpfs: mount; root; disk);
fn new_tmpfs() {
    own_mounts();
    put(c"outside", b"");
    mkdir(c"m");
    ok(sys!(mount, c"a source", c"m", c"tmpfs", 0, c"size=64k,mode=700"));
    eq(stat(c"m").st_mode, S_IFDIR | 0o700);
    let line = the_info("m");
    eq((line.kind.as_str(), line.source.as_str()), ("tmpfs", "a\\040source"));
    check(stat(c"m").st_dev != stat(c".").st_dev, "a device of its own");
    put(c"m/f", b"x");
    fails(sys!(renameat2, AT_FDCWD, c"outside", AT_FDCWD, c"m/g", 0), EXDEV);
    fails(sys!(linkat, AT_FDCWD, c"outside", AT_FDCWD, c"m/g", 0), EXDEV);
    let mut fs: libc::statfs = zeroed();
    ok(sys!(statfs, c"m", &mut fs));
    eq((fs.f_type, fs.f_blocks * fs.f_bsize as u64), (TMPFS_MAGIC, 64 * 1024));
    ok(sys!(umount2, c"m", 0));
    check(!exists(c"m/f"), "it is gone");
}

case!(mount_errors: mount; root; disk);
fn mount_errors() {
    own_mounts();
    mkdir(c"m");
    put(c"f", b"");
    fails(sys!(mount, c"none", c"m", c"no-such-kind", 0, 0), ENODEV);
    fails(sys!(mount, c"none", c"m", 0, 0, 0), EINVAL);
    fails(sys!(mount, c"none", c"missing", c"tmpfs", 0, 0), ENOENT);
    fails(sys!(mount, c"none", c"f", c"tmpfs", 0, 0), ENOTDIR);
    fails(sys!(mount, c"none", c"f/x", c"tmpfs", 0, 0), ENOTDIR);
    fails(sys!(mount, c"none", c"m", c"tmpfs", 0, c"no-such-option=1"), EINVAL);
    fails(sys!(mount, c"none", c"m", c"tmpfs", 0, c"size=nonsense"), EINVAL);
    fails(sys!(mount, 8, c"m", c"tmpfs", 0, 0), EFAULT);
    fails(sys!(mount, c"none", 8, c"tmpfs", 0, 0), EFAULT);
    fails(sys!(mount, c"none", c"m", 8, 0, 0), EFAULT);
    fails(sys!(mount, c"none", c"m", c"tmpfs", 0, 8), EFAULT);
}

case!(mount_needs_a_capability: mount, umount2, pivot_root, fsopen, open_tree, mount_setattr; root);
fn mount_needs_a_capability() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"n");
    unprivileged(|| {
        fails(sys!(mount, c"none", c"n", c"tmpfs", 0, 0), EPERM);
        fails(sys!(mount, c"m", c"n", 0, MS_BIND, 0), EPERM);
        fails(sys!(umount2, c"m", 0), EPERM);
        fails(sys!(pivot_root, c"m", c"m"), EPERM);
        fails(sys!(fsopen, c"tmpfs", 0), EPERM);
        fails(sys!(open_tree, AT_FDCWD, c"m", 1), EPERM);
        fails(sys!(move_mount, AT_FDCWD, c"m", AT_FDCWD, c"n", 0), EPERM);
        fails(sys!(fspick, AT_FDCWD, c"m", 0), EPERM);
        let attr = [1u64, 0, 0, 0];
        fails(sys!(mount_setattr, AT_FDCWD, c"m", 0, &attr, 32), EPERM);
        // Without a copy it is only an O_PATH.
        close(ok_i32(sys!(open_tree, AT_FDCWD, c"m", 0)));
    });
}

case!(read_only_mount: mount; root; disk);
fn read_only_mount() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"x");
    bind(c"m", c"n");
    ok(sys!(mount, 0, c"n", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
    fails(sys!(openat, AT_FDCWD, c"n/f", O_RDWR, 0), EROFS);
    fails(sys!(openat, AT_FDCWD, c"n/f", O_RDONLY | O_TRUNC, 0), EROFS);
    fails(sys!(openat, AT_FDCWD, c"n/g", O_CREAT | O_RDWR, 0o600), EROFS);
    fails(sys!(mkdirat, AT_FDCWD, c"n/d", 0o700), EROFS);
    fails(sys!(unlinkat, AT_FDCWD, c"n/f", 0), EROFS);
    fails(sys!(fchmodat, AT_FDCWD, c"n/f", 0o600), EROFS);
    fails(sys!(fchownat, AT_FDCWD, c"n/f", 1, 1, 0), EROFS);
    fails(sys!(truncate, c"n/f", 0), EROFS);
    fails(sys!(renameat2, AT_FDCWD, c"n/f", AT_FDCWD, c"n/g", 0), EROFS);
    fails(sys!(linkat, AT_FDCWD, c"n/f", AT_FDCWD, c"n/g", 0), EROFS);
    fails(sys!(symlinkat, c"f", AT_FDCWD, c"n/l"), EROFS);
    fails(sys!(setxattr, c"n/f", c"trusted.x", c"v", 1, 0), EROFS);
    fails(sys!(utimensat, AT_FDCWD, c"n/f", 0, 0), EROFS);
    fails(sys!(access, c"n/f", W_OK), EROFS);
    // The other mount of it can be written, and what is written shows.
    put(c"m/g", b"y");
    eq(content(c"n/g"), b"y");
    eq(the_info("n").options, "ro,relatime");
    eq(the_info("m").options, "rw,relatime");
}

case!(read_only_file_system: mount; root; disk);
fn read_only_file_system() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"x");
    bind(c"m", c"n");
    // Without MS_BIND it is the file system, with all of its mounts.
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_RDONLY, 0));
    fails(sys!(openat, AT_FDCWD, c"m/f", O_RDWR, 0), EROFS);
    fails(sys!(openat, AT_FDCWD, c"n/f", O_RDWR, 0), EROFS);
    fails(sys!(access, c"n/f", W_OK), EROFS);
    ok(sys!(mount, 0, c"n", 0, MS_REMOUNT, 0));
    close(open(c"n/f", O_RDWR));
}

case!(no_read_only_while_written: mount, mount_setattr; root; disk);
fn no_read_only_while_written() {
    own_mounts();
    tmpfs(c"m");
    bind(c"m", c"n");
    let fd = create(c"m/f", b"x");
    fails(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0), EBUSY);
    fails(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_RDONLY, 0), EBUSY);
    fails(sys!(mount, 0, c"n", 0, MS_REMOUNT | MS_RDONLY, 0), EBUSY);
    fails(sys!(mount_setattr, AT_FDCWD, c"m", 0, &[1u64, 0, 0, 0], 32), EBUSY);
    // It is open through the other mount.
    ok(sys!(mount, 0, c"n", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
    close(fd);
    let fd = open(c"m/f", O_RDONLY);
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
    close(fd);
}

case!(noexec_mount: mount, execve, mmap; root; disk);
fn noexec_mount() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/p", &content(c"/proc/self/exe"));
    ok(sys!(fchmodat, AT_FDCWD, c"m/p", 0o755));
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NOEXEC, 0));
    in_child(|| fails(sys!(execve, c"m/p", &[0u64], &[0u64]), EACCES));
    fails(sys!(access, c"m/p", X_OK), EACCES);
    let fd = open(c"m/p", O_RDONLY);
    fails(sys!(mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0), EPERM);
    let at = ok(sys!(mmap, 0, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
    fails(sys!(mprotect, at, 4096, PROT_READ | PROT_EXEC), EACCES);
    eq(the_info("m").options, "rw,noexec,relatime");
}

case!(nodev_mount: mount, mknodat; root; disk);
fn nodev_mount() {
    own_mounts();
    tmpfs(c"m");
    ok(sys!(mknodat, AT_FDCWD, c"m/null", S_IFCHR | 0o666, makedev(1, 3)));
    close(open(c"m/null", O_RDWR));
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NODEV, 0));
    fails(sys!(openat, AT_FDCWD, c"m/null", O_RDWR, 0), EACCES);
    close(open(c"m/null", O_PATH));
    ok(sys!(mknodat, AT_FDCWD, c"m/fifo", S_IFIFO | 0o600, 0));
    close(open(c"m/fifo", O_RDWR));
}

case!(nosuid_mount: mount, statfs; root; disk);
fn nosuid_mount() {
    own_mounts();
    tmpfs(c"m");
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NOSUID, 0));
    eq(the_info("m").options, "rw,nosuid,relatime");
    // f_flags is the eleventh word.
    let mut fs = [0u64; 15];
    ok(sys!(statfs, c"m", &mut fs));
    check(fs[10] & ST_NOSUID != 0, "statfs tells");
}

case!(nosymfollow_mount: mount, openat, readlinkat; root; disk);
fn nosymfollow_mount() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"x");
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"m/l"));
    eq(content(c"m/l"), b"x");
    const MS_NOSYMFOLLOW: u64 = 256;
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NOSYMFOLLOW, 0));
    fails(sys!(openat, AT_FDCWD, c"m/l", O_RDONLY, 0), ELOOP);
    let mut buf = [0u8; 8];
    eq(ok(sys!(readlinkat, AT_FDCWD, c"m/l", &mut buf, 8)), 1);
    check(lstat(c"m/l").st_mode & S_IFMT == S_IFLNK, "it is still there");
}

fn atime(name: &std::ffi::CStr) -> (i64, i64) {
    let st = stat(name);
    (st.st_atime, st.st_atime_nsec)
}

/// Sets the time of access to long before the others.
#[track_caller]
fn age(name: &std::ffi::CStr) -> (i64, i64) {
    let times = [timespec { tv_sec: 1000, tv_nsec: 5 }, timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }];
    ok(sys!(utimensat, AT_FDCWD, name, &times, 0));
    atime(name)
}

case!(noatime_mount: mount, read, getdents64; root; disk);
fn noatime_mount() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"m/d");
    put(c"m/d/f", b"x");
    let list = || {
        let fd = open(c"m/d", O_RDONLY);
        ok(sys!(getdents64, fd, &mut [0u8; 512], 512));
        close(fd);
    };
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NOATIME, 0));
    let (file, dir) = (age(c"m/d/f"), age(c"m/d"));
    eq(content(c"m/d/f"), b"x");
    list();
    eq((atime(c"m/d/f"), atime(c"m/d")), (file, dir));
    // Only those of directories stay.
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NODIRATIME | MS_STRICTATIME, 0));
    eq(content(c"m/d/f"), b"x");
    list();
    check(atime(c"m/d/f") > file, "the file was read");
    eq(atime(c"m/d"), dir);
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_STRICTATIME, 0));
    list();
    check(atime(c"m/d") > dir, "the directory was read");
    eq(the_info("m").options, "rw");
}

case!(relatime_mount: mount, read; root; disk);
fn relatime_mount() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"x");
    // Older than the last change: kept up.
    let before = age(c"m/f");
    eq(content(c"m/f"), b"x");
    let read_at = atime(c"m/f");
    check(read_at > before, "kept up once");
    sleep_ms(20);
    eq(content(c"m/f"), b"x");
    eq(atime(c"m/f"), read_at);
    let fd = open(c"m/f", O_WRONLY);
    write_all(fd, b"y");
    close(fd);
    eq(content(c"m/f"), b"y");
    check(atime(c"m/f") > read_at, "changed since");
}

case!(remount_keeps_time_mode: mount; root; disk);
fn remount_keeps_time_mode() {
    own_mounts();
    tmpfs(c"m");
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NOATIME | MS_NOSUID, 0));
    eq(the_info("m").options, "rw,nosuid,noatime");
    // Others are as given, the time mode stays when nothing is said of it.
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NODEV, 0));
    eq(the_info("m").options, "rw,nodev,noatime");
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_RELATIME, 0));
    eq(the_info("m").options, "rw,relatime");
}

case!(remount_changes_options: mount, statfs; root; disk);
fn remount_changes_options() {
    own_mounts();
    mkdir(c"m");
    ok(sys!(mount, c"none", c"m", c"tmpfs", 0, c"size=64k"));
    put(c"m/f", &[1; 40000]);
    let size = || {
        let mut fs: libc::statfs = zeroed();
        ok(sys!(statfs, c"m", &mut fs));
        fs.f_blocks * fs.f_bsize as u64
    };
    ok(sys!(mount, c"none", c"m", 0, MS_REMOUNT, c"size=128k"));
    eq(size(), 128 * 1024);
    // Not below what is used.
    fails(sys!(mount, c"none", c"m", 0, MS_REMOUNT, c"size=4k"), EINVAL);
    fails(sys!(mount, c"none", c"m", 0, MS_REMOUNT, c"nonsense=1"), EINVAL);
    eq(size(), 128 * 1024);
    eq(content(c"m/f").len(), 40000);
}

case!(remount_errors: mount; root; disk);
fn remount_errors() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"m/d");
    fails(sys!(mount, 0, c"m/d", 0, MS_REMOUNT | MS_RDONLY, 0), EINVAL);
    fails(sys!(mount, 0, c"m/d", 0, MS_REMOUNT | MS_BIND, 0), EINVAL);
    fails(sys!(mount, 0, c"missing", 0, MS_REMOUNT | MS_BIND, 0), ENOENT);
}

case!(old_magic_is_ignored: mount; root);
fn old_magic_is_ignored() {
    own_mounts();
    mkdir(c"m");
    ok(sys!(mount, c"none", c"m", c"tmpfs", 0xc0ed_0000u64 | MS_NOSUID, 0));
    eq(the_info("m").options, "rw,nosuid,relatime");
}

case!(tmpfs_limits: mount, write, mknodat; root; disk);
fn tmpfs_limits() {
    own_mounts();
    mkdir(c"m");
    ok(sys!(mount, c"none", c"m", c"tmpfs", 0, c"size=16k,nr_inodes=4"));
    let fd = create(c"m/f", b"");
    let buf = vec![7u8; 32 * 1024];
    eq(ok(sys!(write, fd, buf.as_ptr(), buf.len())), 16 * 1024);
    fails(sys!(write, fd, buf.as_ptr(), buf.len()), ENOSPC);
    ok(sys!(ftruncate, fd, 0));
    eq(ok(sys!(write, fd, buf.as_ptr(), 4096)), 4096);
    put(c"m/1", b"");
    put(c"m/2", b"");
    fails(sys!(mkdirat, AT_FDCWD, c"m/3", 0o700), ENOSPC);
    ok(sys!(unlinkat, AT_FDCWD, c"m/2", 0));
    mkdir(c"m/3");
}

case!(flags_that_are_the_kernels_own: mount; root);
fn flags_that_are_the_kernels_own() {
    own_mounts();
    mkdir(c"m");
    // MS_NOUSER, and what is above it.
    for bit in 31..64 {
        fails(sys!(mount, c"none", c"m", c"tmpfs", 1u64 << bit, 0), EINVAL);
        fails(sys!(mount, c"none", c"missing", c"tmpfs", 1u64 << bit, 0), ENOENT);
        fails(sys!(mount, c"none", c"m", c"no-such-kind", MS_REMOUNT | 1u64 << bit, 0), EINVAL);
    }
    unprivileged(|| {
        fails(sys!(mount, c"none", c"m", c"tmpfs", 1u64 << 31, 0), EINVAL);
        fails(sys!(mount, c"none", c"m", c"tmpfs", 0, 0), EPERM);
    });
}
