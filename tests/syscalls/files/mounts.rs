//! Mounts, in a mount namespace of the case's own.

use std::ffi::CStr;

use crate::kit::prelude::*;

/// A mount namespace that nobody else sees.
fn own_namespace() {
    ok(sys!(unshare, CLONE_NEWNS));
    ok(sys!(mount, c"none", c"/", 0, MS_REC | MS_PRIVATE, 0));
}

fn mount_tmpfs(at: &CStr, flags: u64, options: &CStr) {
    mkdir(at);
    ok(sys!(mount, c"tmpfs", at, c"tmpfs", flags, options));
}

fn bind(from: &CStr, to: &CStr) {
    ok(sys!(mount, from, to, 0, MS_BIND, 0));
}

fn is_mounted(name: &str) -> bool {
    let here = std::env::current_dir().unwrap_or_default();
    let path = here.join(name).display().to_string();
    text(c"/proc/self/mountinfo").lines().any(|line| line.split(' ').nth(4) == Some(&path))
}

case!(a_mount_hides_what_was_there: mount, umount2; root);
fn a_mount_hides_what_was_there() {
    own_namespace();
    mkdir(c"m");
    put(c"m/below", b"");
    let before = stat(c"m");
    ok(sys!(mount, c"tmpfs", c"m", c"tmpfs", 0, c"mode=711,size=64k"));
    let inside = stat(c"m");
    check(inside.st_dev != before.st_dev, "another device");
    eq(inside.st_mode & 0o7777, 0o711);
    check(!exists(c"m/below"), "it is hidden");
    check(is_mounted("m"), "it is listed");
    // Up again one comes to where it is mounted.
    eq(stat(c"m/..").st_ino, stat(c".").st_ino);
    put(c"m/f", b"");
    fails(sys!(rmdir, c"m"), EBUSY);
    fails(sys!(renameat, AT_FDCWD, c"m", AT_FDCWD, c"n"), EBUSY);
    fails(sys!(renameat, AT_FDCWD, c"m/f", AT_FDCWD, c"f"), EXDEV);
    fails(sys!(linkat, AT_FDCWD, c"m/f", AT_FDCWD, c"f", 0), EXDEV);
    let fd = open(c"m/f", O_RDONLY);
    fails(sys!(umount2, c"m", 0), EBUSY);
    close(fd);
    ok(sys!(umount2, c"m", 0));
    check(exists(c"m/below"), "it is there again");
    fails(sys!(umount2, c"m", 0), EINVAL);
}

case!(a_full_tmpfs: mount, write, statfs; root);
fn a_full_tmpfs() {
    own_namespace();
    mount_tmpfs(c"m", 0, c"size=64k,nr_inodes=4");
    let mut fs: statfs = zeroed();
    ok(sys!(statfs, c"m", &mut fs));
    eq((fs.f_type, fs.f_blocks, fs.f_bfree, fs.f_files, fs.f_ffree), (0x0102_1994, 16, 16, 4, 3));
    let fd = create(c"m/f", b"");
    eq(ok(sys!(write, fd, &[1u8; 100_000], 100_000)), 65_536);
    fails(sys!(write, fd, c"x", 1), ENOSPC);
    ok(sys!(ftruncate, fd, 4096));
    eq(ok(sys!(pwrite64, fd, c"x", 1, 4096)), 1);
    mkdir(c"m/d");
    ok(sys!(symlinkat, c"x", AT_FDCWD, c"m/l"));
    fails(sys!(mkdir, c"m/e", 0o755), ENOSPC);
    ok(sys!(unlink, c"m/l"));
    mkdir(c"m/e");
}

case!(bind_mounts_show_the_same: mount; root);
fn bind_mounts_show_the_same() {
    own_namespace();
    mkdir(c"a");
    mkdir(c"b");
    put(c"a/f", b"x");
    bind(c"a", c"b");
    eq(stat(c"a/f").st_ino, stat(c"b/f").st_ino);
    put(c"b/g", b"y");
    eq(content(c"a/g"), b"y");
    // Its own flags.
    ok(sys!(mount, c"none", c"b", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
    fails(sys!(openat, AT_FDCWD, c"b/h", O_CREAT | O_WRONLY, 0o644), EROFS);
    fails(sys!(unlink, c"b/f"), EROFS);
    fails(sys!(unlink, c"b/none"), EROFS);
    fails(sys!(mkdir, c"b/g", 0o755), EEXIST);
    fails(sys!(fchmodat, AT_FDCWD, c"b/f", 0o600), EROFS);
    fails(sys!(faccessat, AT_FDCWD, c"b/f", W_OK), EROFS);
    put(c"a/h", b"");
    check(exists(c"b/h"), "through the other mount it can be written");
    // A file on a file.
    put(c"c", b"c");
    bind(c"c", c"a/f");
    eq(content(c"a/f"), b"c");
    eq(content(c"b/f"), b"x");
    fails(sys!(mount, c"a", c"c", 0, MS_BIND, 0), ENOTDIR);
    fails(sys!(mount, c"c", c"a", 0, MS_BIND, 0), ENOTDIR);
}

case!(flags_of_a_mount: mount, execve, openat; root);
fn flags_of_a_mount() {
    own_namespace();
    mount_tmpfs(c"m", MS_NOEXEC | MS_NODEV | MS_NOSUID, c"");
    put(c"m/copy", &content(program()));
    ok(sys!(fchmodat, AT_FDCWD, c"m/copy", 0o4755));
    fails(exec(c"m/copy", &[c"copy"], &[]), EACCES);
    fails(sys!(faccessat, AT_FDCWD, c"m/copy", X_OK), EACCES);
    ok(sys!(mknodat, AT_FDCWD, c"m/null", S_IFCHR | 0o666, 0x103));
    fails(sys!(openat, AT_FDCWD, c"m/null", O_RDWR, 0), EACCES);
    // `f_flags` is the eleventh word.
    let mut fs = [0u64; 15];
    ok(sys!(statfs, c"m", &mut fs));
    eq(fs[10] & 0xf, 2 | 4 | 8);
    ok(sys!(mount, c"none", c"m", 0, MS_REMOUNT | MS_BIND, 0));
    close(open(c"m/null", O_RDWR));
    fork(|| done(exec(c"m/copy", &[c"copy", c"list"], &[]))).succeeds();
}

case!(busy_mounts_can_be_detached: umount2; root);
fn busy_mounts_can_be_detached() {
    own_namespace();
    mount_tmpfs(c"m", 0, c"");
    mount_tmpfs(c"m/n", 0, c"");
    put(c"m/n/f", b"still there");
    let fd = open(c"m/n/f", O_RDONLY);
    fails(sys!(umount2, c"m", 0), EBUSY);
    ok(sys!(umount2, c"m", MNT_DETACH));
    check(!exists(c"m/n"), "it is gone from the tree");
    eq(read(fd, 100), b"still there");
}

case!(mounting_errors: mount, umount2; root);
fn mounting_errors() {
    own_namespace();
    mkdir(c"m");
    put(c"f", b"");
    fails(sys!(mount, c"x", c"none", c"tmpfs", 0, 0), ENOENT);
    fails(sys!(mount, c"x", c"m", c"nosuchfs", 0, 0), ENODEV);
    fails(sys!(mount, c"x", c"f", c"tmpfs", 0, 0), ENOTDIR);
    fails(sys!(mount, c"x", c"m", c"tmpfs", 0, c"nonsense=1"), EINVAL);
    fails(sys!(mount, c"x", c"m", 0, 0, 0), EINVAL);
    fails(sys!(mount, c"none", c"m", 0, MS_BIND, 0), ENOENT);
    fails(sys!(mount, c"none", c"m", 0, MS_REMOUNT, 0), EINVAL);
    fails(sys!(mount, c"none", c"m", 0, MS_PRIVATE, 0), EINVAL);
    fails(sys!(umount2, c"m", 0x100), EINVAL);
    fails(sys!(umount2, c"none", 0), ENOENT);
    unprivileged(|| {
        fails(sys!(mount, c"x", c"m", c"tmpfs", 0, 0), EPERM);
        fails(sys!(umount2, c"/proc", 0), EPERM);
        fails(sys!(unshare, CLONE_NEWNS), EPERM);
    });
}

case!(a_namespace_is_a_copy: unshare, clone, mount; root);
fn a_namespace_is_a_copy() {
    own_namespace();
    mount_tmpfs(c"m", 0, c"");
    put(c"m/f", b"");
    mkdir(c"n");
    let child = clone_child((CLONE_NEWNS | SIGCHLD) as u64, || {
        check(exists(c"m/f"), "what was mounted is mounted");
        ok(sys!(umount2, c"m", 0));
        check(!exists(c"m/f"), "it has gone here");
        ok(sys!(mount, c"x", c"n", c"tmpfs", 0, 0));
        put(c"n/g", b"");
    });
    child.succeeds();
    check(exists(c"m/f") && !exists(c"n/g"), "and not there");
    fails(sys!(clone, CLONE_NEWNS | CLONE_FS, 0, 0, 0, 0), EINVAL);
}

case!(the_root_is_exchanged: pivot_root, chroot, umount2; root);
fn the_root_is_exchanged() {
    own_namespace();
    mount_tmpfs(c"m", 0, c"");
    mkdir(c"m/old");
    put(c"m/inside", b"");
    mkdir(c"plain");
    fails(sys!(pivot_root, c"plain", c"plain"), EINVAL);
    fails(sys!(pivot_root, c"m", c"plain"), EINVAL);
    fails(sys!(pivot_root, c"/", c"/tmp"), EBUSY);
    ok(sys!(chdir, c"m"));
    ok(sys!(pivot_root, c".", c"old"));
    check(exists(c"/inside"), "the new root");
    check(exists(c"/old/proc"), "the old root");
    ok(sys!(umount2, c"/old", MNT_DETACH));
    check(!exists(c"/old/proc"), "it is gone");
    eq(ok(sys!(getcwd, &mut [0u8; 10], 10)), 2);
}

case!(mounts_can_be_moved: mount; root);
fn mounts_can_be_moved() {
    own_namespace();
    mount_tmpfs(c"a", 0, c"");
    put(c"a/f", b"");
    mkdir(c"b");
    mkdir(c"a/sub");
    ok(sys!(mount, c"a", c"b", 0, MS_MOVE, 0));
    check(exists(c"b/f") && !exists(c"a/f"), "it has moved");
    check(is_mounted("b") && !is_mounted("a"), "and is listed there");
    fails(sys!(mount, c"b", c"b/sub", 0, MS_MOVE, 0), ELOOP);
    fails(sys!(mount, c"a", c"b/sub", 0, MS_MOVE, 0), EINVAL);
}

case!(trees_are_bound_with_what_is_below: mount; root);
fn trees_are_bound_with_what_is_below() {
    own_namespace();
    mkdir(c"a");
    mount_tmpfs(c"a/m", 0, c"");
    put(c"a/m/f", b"");
    for to in [c"b", c"c"] {
        mkdir(to);
    }
    bind(c"a", c"b");
    check(!exists(c"b/m/f"), "alone");
    ok(sys!(mount, c"a", c"c", 0, MS_BIND | MS_REC, 0));
    check(exists(c"c/m/f"), "with what is below");
    ok(sys!(umount2, c"a/m", 0));
    check(exists(c"c/m/f"), "which does not depend on the original");
}

case!(layers: mount, openat, unlink, rename; root);
fn layers() {
    own_namespace();
    mount_tmpfs(c"t", 0, c"");
    for dir in [c"t/l1", c"t/l2", c"t/u", c"t/w", c"t/m", c"t/l1/d", c"t/l2/d"] {
        mkdir(dir);
    }
    put(c"t/l1/both", b"one");
    put(c"t/l2/both", b"two");
    put(c"t/l1/d/x", b"");
    put(c"t/l2/d/y", b"");
    let options = c"lowerdir=t/l1:t/l2,upperdir=t/u,workdir=t/w";
    ok(sys!(mount, c"overlay", c"t/m", c"overlay", 0, options));
    eq(content(c"t/m/both"), b"one");
    check(exists(c"t/m/d/x") && exists(c"t/m/d/y"), "directories are merged");
    let ino = stat(c"t/m/both").st_ino;
    put(c"t/m/both", b"new");
    eq((stat(c"t/m/both").st_ino, content(c"t/l1/both")), (ino, b"one".to_vec()));
    eq(content(c"t/u/both"), b"new");
    ok(sys!(unlink, c"t/m/both"));
    check(!exists(c"t/m/both"), "it is gone");
    let mark = lstat(c"t/u/both");
    eq((mark.st_mode & S_IFMT, mark.st_rdev), (S_IFCHR, 0));
    ok(sys!(unlink, c"t/m/d/x"));
    ok(sys!(unlink, c"t/m/d/y"));
    ok(sys!(rmdir, c"t/m/d"));
    mkdir(c"t/m/d");
    check(!exists(c"t/m/d/x"), "a new directory is empty");
    // What looks like a mark can't be made.
    fails(sys!(mknodat, AT_FDCWD, c"t/m/w", S_IFCHR, 0), EPERM);
    ok(sys!(umount2, c"t/m", 0));
}
