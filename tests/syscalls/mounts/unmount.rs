//! umount2: what is busy, lazily, by expiry.

use super::{bind, is_mounted, own_mounts, tmpfs};
use crate::kit::prelude::*;

case!(umount_errors: umount2; root; disk);
fn umount_errors() {
    own_mounts();
    mkdir(c"d");
    fails(sys!(umount2, c"d", 0), EINVAL);
    fails(sys!(umount2, c"missing", 0), ENOENT);
    fails(sys!(umount2, 8, 0), EFAULT);
    tmpfs(c"m");
    fails(sys!(umount2, c"m", 0x100), EINVAL);
    fails(sys!(umount2, c"m", MNT_EXPIRE | MNT_DETACH), EINVAL);
    fails(sys!(umount2, c"m", MNT_EXPIRE | MNT_FORCE), EINVAL);
    mkdir(c"m/d");
    fails(sys!(umount2, c"m/d", 0), EINVAL);
    ok(sys!(umount2, c"m", MNT_FORCE));
}

case!(umount_busy: umount2, chdir; root; disk);
fn umount_busy() {
    own_mounts();
    tmpfs(c"m");
    let fd = create(c"m/f", b"x");
    fails(sys!(umount2, c"m", 0), EBUSY);
    close(fd);
    let fd = open(c"m", O_PATH);
    fails(sys!(umount2, c"m", 0), EBUSY);
    close(fd);
    let back = open(c".", O_PATH);
    ok(sys!(chdir, c"m"));
    fails(sys!(umount2, c".", 0), EBUSY);
    ok(sys!(fchdir, back));
    tmpfs(c"m/sub");
    fails(sys!(umount2, c"m", 0), EBUSY);
    ok(sys!(umount2, c"m/sub", 0));
    ok(sys!(umount2, c"m", 0));
}

case!(a_mapping_keeps_a_mount_busy: umount2, mmap; root; disk);
fn a_mapping_keeps_a_mount_busy() {
    own_mounts();
    tmpfs(c"m");
    let fd = create(c"m/f", &[1; 4096]);
    let at = ok(sys!(mmap, 0, 4096, PROT_READ, MAP_SHARED, fd, 0)) as u64;
    close(fd);
    fails(sys!(umount2, c"m", 0), EBUSY);
    ok(sys!(munmap, at, 4096));
    ok(sys!(umount2, c"m", 0));
}

case!(umount_lazily: umount2; root; disk);
fn umount_lazily() {
    own_mounts();
    tmpfs(c"m");
    tmpfs(c"m/sub");
    let fd = create(c"m/sub/f", b"x");
    let dir = open(c"m", O_PATH);
    ok(sys!(umount2, c"m", MNT_DETACH));
    check(!is_mounted("m") && !is_mounted("m/sub"), "both have gone from the tree");
    check(!exists(c"m/sub"), "and from sight");
    // Who has it open goes on.
    write_all(fd, b"y");
    let file = ok_i32(sys!(openat, dir, c"new", O_CREAT | O_RDWR, 0o600));
    write_all(file, b"z");
    // It fell apart.
    fails(sys!(openat, dir, c"sub/f", O_RDONLY, 0), ENOENT);
}

case!(umount_expired: umount2; root; disk);
fn umount_expired() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"x");
    fails(sys!(umount2, c"m", MNT_EXPIRE), EAGAIN);
    // Used since: not yet.
    eq(content(c"m/f"), b"x");
    fails(sys!(umount2, c"m", MNT_EXPIRE), EAGAIN);
    ok(sys!(umount2, c"m", MNT_EXPIRE));
    check(!is_mounted("m"), "gone");
    tmpfs(c"n");
    let fd = open(c"n", O_PATH);
    fails(sys!(umount2, c"n", MNT_EXPIRE), EBUSY);
    close(fd);
}

case!(umount_without_following: umount2; root; disk);
fn umount_without_following() {
    own_mounts();
    tmpfs(c"m");
    ok(sys!(symlinkat, c"m", AT_FDCWD, c"l"));
    fails(sys!(umount2, c"l", UMOUNT_NOFOLLOW), EINVAL);
    ok(sys!(umount2, c"l", 0));
    check(!is_mounted("m"), "the link was followed");
}

case!(the_file_system_ends_with_its_last_mount: umount2, mount; root; disk);
fn the_file_system_ends_with_its_last_mount() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"x");
    bind(c"m", c"n");
    ok(sys!(umount2, c"m", 0));
    eq(content(c"n/f"), b"x");
    ok(sys!(umount2, c"n", 0));
    check(!exists(c"n/f"), "gone");
}

case!(a_namespace_ends_with_its_last_process: unshare, umount2; root; disk);
fn a_namespace_ends_with_its_last_process() {
    own_mounts();
    tmpfs(c"m");
    in_child(|| {
        own_mounts();
        mkdir(c"m/d");
        ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
        put(c"m/d/f", b"");
    });
    check(exists(c"m/d") && !exists(c"m/d/f"), "its mounts were its own");
    ok(sys!(umount2, c"m", 0));
}
