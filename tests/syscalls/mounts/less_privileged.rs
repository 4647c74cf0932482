//! Mount namespaces of a user namespace that has fewer rights than where the mounts come from.

use super::{own_mounts, spread, the_info, tmpfs};
use crate::kit::prelude::*;

/// A user and mount namespace of one's own, in a child.
fn inside(body: impl FnOnce()) {
    in_child(|| {
        match sys!(unshare, CLONE_NEWUSER | CLONE_NEWNS) {
            Ok(_) => {}
            Err(e) => skip(format_args!("no user namespace: {e:?}")),
        }
        body();
    });
}

case!(covered_things_stay_covered: unshare, umount2; root; disk);
fn covered_things_stay_covered() {
    own_mounts();
    mkdir(c"d");
    put(c"d/secret", b"");
    ok(sys!(mount, c"none", c"d", c"tmpfs", 0, 0));
    inside(|| {
        fails(sys!(umount2, c"d", 0), EINVAL);
        fails(sys!(umount2, c"d", MNT_DETACH), EINVAL);
        mkdir(c"to");
        fails(sys!(mount, c"d", c"to", 0, MS_MOVE, 0), EINVAL);
        fails(sys!(mount, c".", c"to", 0, MS_BIND, 0), EINVAL);
        // With all that is below it can be bound, and what is mounted here can go.
        ok(sys!(mount, c".", c"to", 0, MS_BIND | MS_REC, 0));
        check(!exists(c"to/d/secret"), "still covered");
        fails(sys!(umount2, c"to/d", 0), EINVAL);
        ok(sys!(umount2, c"to", MNT_DETACH));
    });
}

case!(flags_stay: unshare, mount; root; disk);
fn flags_stay() {
    own_mounts();
    tmpfs(c"m");
    ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV | MS_NOSUID, 0));
    inside(|| {
        fails(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND, 0), EPERM);
        fails(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV, 0), EPERM);
        fails(sys!(mount_setattr, AT_FDCWD, c"m", 0, &[0u64, 1, 0, 0], 32), EPERM);
        let kept = MS_RDONLY | MS_NODEV | MS_NOSUID;
        fails(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NOATIME | kept, 0), EPERM);
        // More may be forbidden.
        ok(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_BIND | MS_NOEXEC | kept, 0));
        // The file system is not theirs.
        fails(sys!(mount, 0, c"m", 0, MS_REMOUNT | MS_NOEXEC | kept, 0), EPERM);
        // A bind of it has them too.
        mkdir(c"to");
        ok(sys!(mount, c"m", c"to", 0, MS_BIND, 0));
        fails(sys!(mount, 0, c"to", 0, MS_REMOUNT | MS_BIND, 0), EPERM);
    });
}

case!(its_mounts_only_take: unshare, mount; root; disk);
fn its_mounts_only_take() {
    own_mounts();
    tmpfs(c"m");
    spread(c"m", MS_SHARED);
    mkdir(c"m/d");
    ok(sys!(fchmodat, AT_FDCWD, c"m", 0o777));
    let group = the_info("m").fields;
    inside(|| {
        eq(the_info("m").fields, [group[0].replace("shared", "master")]);
        ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
        check(super::is_mounted("m/d"), "here");
        ok(sys!(umount2, c"m/d", 0));
    });
    check(!super::is_mounted("m/d"), "not there");
}

case!(its_own_file_systems: unshare, mount; root; disk);
fn its_own_file_systems() {
    own_mounts();
    mkdir(c"d");
    inside(|| {
        ok(sys!(mount, c"none", c"d", c"tmpfs", 0, c"size=64k"));
        ok(sys!(mount, c"none", c"d", 0, MS_REMOUNT | MS_RDONLY, c"size=128k"));
        fails(sys!(mkdirat, AT_FDCWD, c"d/x", 0o700), EROFS);
        ok(sys!(umount2, c"d", 0));
        // Not every kind may be mounted there.
        fails(sys!(mount, c"none", c"d", c"devtmpfs", 0, 0), EPERM);
    });
}
