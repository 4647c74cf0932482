//! What a tmpfs holds at most.

use std::ffi::{CStr, CString};

use super::{mount_at, own_mounts, set_xattr, xattr, xattrs};
use crate::kit::prelude::*;

fn fs(path: &CStr) -> (u64, u64) {
    let mut st: statfs = zeroed();
    ok(sys!(statfs, path, &mut st));
    (st.f_bfree, st.f_ffree)
}

case!(no_room_for_more_bytes: mount, write, ftruncate; root);
fn no_room_for_more_bytes() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"size=64k");
    let fd = create(c"a/f", b"");
    eq(ok(sys!(write, fd, &[1u8; 100_000], 100_000)), 65_536);
    fails(sys!(write, fd, c"x", 1), ENOSPC);
    eq(fs(c"a").0, 0);
    ok(sys!(ftruncate, fd, 4096));
    eq(fs(c"a").0, 15);
    eq(ok(sys!(pwrite64, fd, c"x", 1, 4096)), 1);
    // The size alone takes no room.
    ok(sys!(ftruncate, fd, 1 << 30));
    eq(fs(c"a").0, 14);
}

case!(room_comes_back: unlink, close; root);
fn room_comes_back() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"size=64k");
    let before = fs(c"a");
    let fd = create(c"a/f", &[1; 65_536]);
    ok(sys!(unlink, c"a/f"));
    eq(fs(c"a").0, 0);
    close(fd);
    eq(fs(c"a"), before);
}

case!(reserving_room: fallocate; root);
fn reserving_room() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"size=64k");
    let fd = create(c"a/f", b"");
    fails(sys!(fallocate, fd, 0, 0, 100_000), ENOSPC);
    eq((fs(c"a").0, fstat(fd).st_size), (16, 0));
    ok(sys!(fallocate, fd, 0, 0, 65_536));
    eq((fs(c"a").0, fstat(fd).st_size), (0, 65_536));
    ok(sys!(fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 32_768));
    eq(fs(c"a").0, 8);
}

case!(no_room_for_a_mapping: mmap; root);
fn no_room_for_a_mapping() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"size=16k");
    let fd = create(c"a/f", b"");
    ok(sys!(ftruncate, fd, 8 * PAGE));
    let at = map_file(fd, 0, 8 * PAGE, RW, MAP_SHARED);
    fork(|| {
        for page in 0..8 {
            poke(at + page * PAGE, 1);
        }
    })
    .dies_of(SIGBUS);
    eq(fs(c"a").0, 0);
}

case!(inodes_are_counted: mount, mkdir, symlinkat, mknodat, link; root);
fn inodes_are_counted() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"nr_inodes=6");
    eq(fs(c"a").1, 5);
    put(c"a/f", b"");
    mkdir(c"a/d");
    ok(sys!(symlinkat, c"x", AT_FDCWD, c"a/l"));
    ok(sys!(mknodat, AT_FDCWD, c"a/p", S_IFIFO | 0o600, 0));
    eq(fs(c"a").1, 1);
    // So is each further name.
    ok(sys!(link, c"a/f", c"a/g"));
    eq(fs(c"a").1, 0);
    fails(sys!(link, c"a/f", c"a/h"), ENOSPC);
    fails(sys!(openat, AT_FDCWD, c"a/h", O_CREAT | O_WRONLY, 0o644), ENOSPC);
    fails(sys!(mkdirat, AT_FDCWD, c"a/h", 0o755), ENOSPC);
    fails(sys!(symlinkat, c"x", AT_FDCWD, c"a/h"), ENOSPC);
    fails(sys!(openat, AT_FDCWD, c"a", O_TMPFILE | O_RDWR, 0o644), ENOSPC);
    ok(sys!(unlink, c"a/g"));
    ok(sys!(rmdir, c"a/d"));
    eq(fs(c"a").1, 2);
    // What is there already can be opened.
    close(open(c"a/f", O_CREAT | O_RDWR));
}

case!(attributes_are_bounded: setxattr; root);
fn attributes_are_bounded() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"nr_inodes=20,size=1m");
    put(c"a/f", b"");
    let value = [7u8; 4096];
    let mut set = 0;
    let errno = loop {
        let name = CString::new(format!("user.n{set}")).unwrap_or_default();
        match set_xattr(c"a/f", &name, &value) {
            Ok(_) if set < 10_000 => set += 1,
            Ok(_) => fail("it never ends"),
            Err(e) => break e.0,
        }
    };
    eq(errno, ENOSPC);
    check(set >= 1, "some fit");
}

case!(kinds_of_attributes: setxattr, listxattr; root);
fn kinds_of_attributes() {
    own_mounts();
    mount_at(c"a", c"tmpfs", c"");
    put(c"a/f", b"");
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"a/l"));
    for name in [c"user.x", c"trusted.x", c"security.x"] {
        ok(set_xattr(c"a/f", name, b"value"));
    }
    eq(xattrs(c"a/f"), ["security.x", "trusted.x", "user.x"]);
    ok(set_xattr(c"a/l", c"trusted.y", b"link"));
    eq(xattr(c"a/l", c"trusted.y"), Some(b"link".to_vec()));
    fails(set_xattr(c"a/l", c"user.y", b""), EPERM);
    // Who has no privilege sees the trusted ones not even by name.
    unprivileged(|| {
        eq(xattrs(c"a/f"), ["security.x", "user.x"]);
        fails(sys!(getxattr, c"a/f", c"trusted.x", 0, 0), ENODATA);
    });
    eq(xattr(c"a/f", c"trusted.x"), Some(b"value".to_vec()));
}
