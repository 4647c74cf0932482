//! What an overlay writes to its upper layer: Linux's format, so that each can read the other's.

use std::ffi::CString;

use super::{Layers, is_whiteout, names, set_xattr, simple, xattr, xattrs};
use crate::kit::prelude::*;

case!(a_removed_file_leaves_a_whiteout: unlink; root);
fn a_removed_file_leaves_a_whiteout() {
    simple();
    ok(sys!(unlink, c"m/f"));
    let st = lstat(c"u/f");
    eq((st.st_mode & S_IFMT, st.st_rdev), (S_IFCHR, 0));
    // What only the upper layer has leaves nothing.
    put(c"m/new", b"");
    ok(sys!(unlink, c"m/new"));
    eq(names(c"u"), ["f"]);
}

case!(a_new_directory_over_a_whiteout_is_opaque: rmdir, mkdirat; root);
fn a_new_directory_over_a_whiteout_is_opaque() {
    simple();
    ok(sys!(unlink, c"m/d/a"));
    ok(sys!(unlink, c"m/d/b"));
    ok(sys!(rmdir, c"m/d"));
    mkdir(c"m/d");
    eq(xattr(c"u/d", c"trusted.overlay.opaque"), Some(b"y".to_vec()));
    eq(xattrs(c"m/d"), [""; 0]);
    put(c"m/d/c", b"");
    eq(names(c"m/d"), ["c"]);
}

case!(a_new_directory_is_opaque_or_alone: mkdirat; root);
fn a_new_directory_is_opaque_or_alone() {
    simple();
    mkdir(c"m/new");
    mkdir(c"m/new/deep");
    eq(names(c"u"), ["new"]);
    put(c"m/new/deep/f", b"x");
    eq(content(c"u/new/deep/f"), b"x");
}

case!(the_work_directory_is_left_clean: openat, rename; root);
fn the_work_directory_is_left_clean() {
    simple();
    write_all(open(c"m/f", O_WRONLY), b"x");
    ok(sys!(unlink, c"m/d/a"));
    ok(sys!(rename, c"m/f", c"m/g"));
    eq(names(c"w"), ["work"]);
    eq(stat(c"w/work").st_mode & 0o7777, 0);
    eq(
        names(c"w/work")
            .into_iter()
            .filter(|n| {
                n.starts_with("#") && !is_whiteout(&CString::new(format!("w/work/{n}")).unwrap_or_default())
            })
            .count(),
        0,
    );
}

case!(marks_in_the_user_namespace: mount, rmdir, mkdirat; root);
fn marks_in_the_user_namespace() {
    let layers = Layers::new(2);
    mkdir(c"l1/d");
    put(c"l1/d/a", b"");
    mkdir(c"l0/d");
    mkdir(c"l1/e");
    ok(set_xattr(c"l0/d", c"user.overlay.opaque", b"y"));
    mkdir(c"l0/e");
    ok(set_xattr(c"l0/e", c"trusted.overlay.opaque", b"y"));
    put(c"l1/e/b", b"");
    layers.mount_with(",userxattr");
    eq(names(c"m/d"), [""; 0]);
    // The other kind of mark is an attribute as any.
    eq(names(c"m/e"), ["b"]);
    ok(sys!(rmdir, c"m/d"));
    mkdir(c"m/d");
    eq(xattr(c"u/d", c"user.overlay.opaque"), Some(b"y".to_vec()));
    eq(xattr(c"u/d", c"trusted.overlay.opaque"), None);
}

case!(attributes_of_the_overlays_own_name: setxattr, getxattr, listxattr, removexattr; root);
fn attributes_of_the_overlays_own_name() {
    simple();
    ok(set_xattr(c"m/f", c"trusted.overlay.opaque", b"mine"));
    eq(xattr(c"m/f", c"trusted.overlay.opaque"), Some(b"mine".to_vec()));
    eq(xattrs(c"m/f"), ["trusted.overlay.opaque"]);
    // In the layer it is escaped.
    eq(xattr(c"u/f", c"trusted.overlay.overlay.opaque"), Some(b"mine".to_vec()));
    ok(sys!(lremovexattr, c"m/f", c"trusted.overlay.opaque"));
    eq(xattrs(c"m/f"), [""; 0]);
}

case!(an_overlay_of_an_overlay: mount; root);
fn an_overlay_of_an_overlay() {
    simple();
    ok(sys!(unlink, c"m/f"));
    put(c"m/g", b"first");
    mkdir(c"l1");
    put(c"l1/h", b"lowest");
    for dir in [c"u2", c"w2", c"m2"] {
        mkdir(dir);
    }
    ok(sys!(mount, c"none", c"m2", c"overlay", 0, c"lowerdir=m:l1,upperdir=u2,workdir=w2"));
    eq(names(c"m2"), ["d", "g", "h"]);
    ok(sys!(unlink, c"m2/g"));
    put(c"m2/d/a", b"second");
    eq(content(c"m/d/a"), b"a");
    eq(names(c"m2"), ["d", "h"]);
    eq(names(c"m"), ["d", "g"]);
}
