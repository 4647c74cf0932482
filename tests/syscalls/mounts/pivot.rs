//! pivot_root and chroot.

use super::{own_mounts, spread, tmpfs};
use crate::kit::prelude::*;

case!(pivot_exchanges_the_root: pivot_root, umount2; root; disk);
fn pivot_exchanges_the_root() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"m/old");
    put(c"m/f", b"x");
    let new = absolute("m");
    let inner = absolute("m/old");
    in_child(|| {
        let elsewhere = open(c".", O_PATH);
        ok(sys!(pivot_root, new.as_c_str(), inner.as_c_str()));
        eq(content(c"/f"), b"x");
        check(exists(c"/old/proc"), "the old root is below");
        // The working directory of who did not stand at the root stays.
        check(exists(c"m"), "here");
        ok(sys!(fchdir, elsewhere));
        ok(sys!(chdir, c"/"));
        ok(sys!(umount2, c"/old", MNT_DETACH));
        check(!exists(c"/old/proc"), "it is gone");
        let mut buf = [0u8; 64];
        eq(ok(sys!(getcwd, &mut buf, 64)), 2);
    });
}

case!(pivot_onto_itself: pivot_root, umount2; root; disk);
fn pivot_onto_itself() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"x");
    let new = absolute("m");
    in_child(|| {
        ok(sys!(chdir, new.as_c_str()));
        ok(sys!(pivot_root, c".", c"."));
        ok(sys!(umount2, c".", MNT_DETACH));
        ok(sys!(chdir, c"/"));
        eq(content(c"/f"), b"x");
        eq(content(c"/../f"), b"x");
    });
}

case!(pivot_moves_everybody: pivot_root; root; disk);
fn pivot_moves_everybody() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"m/old");
    put(c"m/f", b"x");
    let new = absolute("m");
    let inner = absolute("m/old");
    let [r, w] = pipe(0);
    let [r2, w2] = pipe(0);
    let other = fork(|| {
        ok(sys!(chdir, c"/"));
        write_all(w2, b"x");
        read(r, 1);
        eq(content(c"/f"), b"x");
        eq(content(c"f"), b"x");
    });
    read(r2, 1);
    ok(sys!(pivot_root, new.as_c_str(), inner.as_c_str()));
    write_all(w, b"x");
    other.succeeds();
}

case!(pivot_errors: pivot_root; root; disk);
fn pivot_errors() {
    own_mounts();
    mkdir(c"d");
    mkdir(c"d/e");
    put(c"f", b"");
    // No mount there, or that of the root itself.
    fails_any(sys!(pivot_root, c"d", c"d/e"), &[EBUSY, EINVAL]);
    tmpfs(c"m");
    mkdir(c"m/old");
    mkdir(c"m/in");
    fails(sys!(pivot_root, c"m/in", c"m/old"), EINVAL);
    fails(sys!(pivot_root, c"/", c"m"), EBUSY);
    fails_any(sys!(pivot_root, c"m", c"d"), &[EBUSY, EINVAL]);
    fails(sys!(pivot_root, c"missing", c"m/old"), ENOENT);
    fails(sys!(pivot_root, c"f", c"m/old"), ENOTDIR);
    fails(sys!(pivot_root, c"m", c"f"), ENOTDIR);
    fails(sys!(pivot_root, c"m", 8), EFAULT);
    tmpfs(c"n");
    // The old root must come below the new one.
    fails(sys!(pivot_root, c"m", c"n"), EINVAL);
    spread(c"m", MS_SHARED);
    fails(sys!(pivot_root, c"m", c"m/old"), EINVAL);
}

case!(chroot_and_back_out: chroot, fchdir; root; disk);
fn chroot_and_back_out() {
    mkdir(c"d");
    mkdir(c"d/e");
    put(c"d/f", b"x");
    put(c"out", b"o");
    in_child(|| {
        let dir = open(c".", O_PATH);
        ok(sys!(chroot, c"d"));
        eq(content(c"/f"), b"x");
        eq(content(c"/../f"), b"x");
        // The working directory is still outside.
        eq(content(c"out"), b"o");
        let mut buf = [0u8; 4096];
        let n = ok(sys!(getcwd, &mut buf, buf.len())) as usize;
        check(buf[..n].starts_with(b"(unreachable)/"), "outside");
        ok(sys!(chdir, c"/"));
        eq(content(c"../f"), b"x");
        ok(sys!(fchdir, dir));
        eq(content(c"out"), b"o");
        ok(sys!(symlinkat, c"/f", AT_FDCWD, c"/l"));
        eq(content(c"/l"), b"x");
    });
}

case!(chroot_errors: chroot; root; disk);
fn chroot_errors() {
    put(c"f", b"");
    mkdir(c"d");
    fails(sys!(chroot, c"f"), ENOTDIR);
    fails(sys!(chroot, c"missing"), ENOENT);
    fails(sys!(chroot, 8), EFAULT);
    unprivileged(|| fails(sys!(chroot, c"d"), EPERM));
}
