//! Mounting an overlay: options and errors.

use std::ffi::{CStr, CString};

use super::{Layers, mountinfo, names, simple};
use crate::kit::prelude::*;

fn mount(options: &CStr) -> Answer {
    sys!(mount, c"none", c"m", c"overlay", 0, options)
}

case!(options_that_are_wrong: mount; root);
fn options_that_are_wrong() {
    let _layers = Layers::new(2);
    put(c"file", b"");
    for (options, errno) in [
        (c"", EINVAL),
        (c"upperdir=u,workdir=w", EINVAL),
        (c"lowerdir=", EINVAL),
        (c"lowerdir=l0", EINVAL),
        (c"lowerdir=l0,upperdir=u", EINVAL),
        (c"lowerdir=l0,upperdir=u,workdir=u", EINVAL),
        (c"lowerdir=l0,upperdir=u,workdir=u/x", ENOENT),
        (c"lowerdir=l0:none,upperdir=u,workdir=w", ENOENT),
        (c"lowerdir=l0,upperdir=none,workdir=w", ENOENT),
        (c"lowerdir=l0,upperdir=u,workdir=none", ENOENT),
        (c"lowerdir=l0:l1,nonsense", EINVAL),
        (c"lowerdir=l0:l1,nonsense=1", EINVAL),
        (c"lowerdir=l0:l1,redirect_dir=perhaps", EINVAL),
    ] {
        match mount(options) {
            Err(e) if e.0 == errno => {}
            other => fail(format_args!("{options:?}: expected {:?}, got {other:?}", Errno(errno))),
        }
    }
    fails_any(mount(c"lowerdir=file:l0"), &[ENOTDIR, EINVAL]);
}

case!(upper_and_work_lie_apart: mount; root);
fn upper_and_work_lie_apart() {
    let _layers = Layers::new(1);
    mkdir(c"u/inside");
    mkdir(c"w/inside");
    fails(mount(c"lowerdir=l0,upperdir=u,workdir=u/inside"), EINVAL);
    fails(mount(c"lowerdir=l0,upperdir=w/inside,workdir=w"), EINVAL);
    mkdir(c"other");
    ok(sys!(mount, c"none", c"other", c"tmpfs", 0, 0));
    mkdir(c"other/w");
    fails(mount(c"lowerdir=l0,upperdir=u,workdir=other/w"), EINVAL);
}

case!(without_an_upper_layer_nothing_changes: mount, openat, unlink, fchmodat; root);
fn without_an_upper_layer_nothing_changes() {
    let _layers = Layers::new(2);
    put(c"l0/f", b"f");
    put(c"l1/g", b"g");
    ok(mount(c"lowerdir=l0:l1"));
    eq(names(c"m"), ["f", "g"]);
    fails(sys!(openat, AT_FDCWD, c"m/f", O_WRONLY, 0), EROFS);
    fails(sys!(openat, AT_FDCWD, c"m/new", O_WRONLY | O_CREAT, 0o644), EROFS);
    fails(sys!(unlink, c"m/f"), EROFS);
    fails(sys!(fchmodat, AT_FDCWD, c"m/f", 0o600), EROFS);
    fails(sys!(mkdirat, AT_FDCWD, c"m/d", 0o755), EROFS);
    fails(sys!(rename, c"m/f", c"m/h"), EROFS);
    check(mountinfo("m").3.starts_with("ro"), "it is shown as read-only");
}

case!(what_mountinfo_shows: mount; root);
fn what_mountinfo_shows() {
    let layers = Layers::new(2);
    layers.mount();
    let (_, kind, source, options) = mountinfo("m");
    eq((kind.as_str(), source.as_str()), ("overlay", "none"));
    check(options.contains("lowerdir=l0:l1"), &options);
    check(options.contains("upperdir=u,workdir=w"), &options);
}

case!(separators_can_be_escaped: mount; root);
fn separators_can_be_escaped() {
    let _layers = Layers::new(1);
    mkdir(c"a:b");
    mkdir(c"c\\d");
    put(c"a:b/f", b"f");
    put(c"c\\d/g", b"g");
    ok(mount(c"lowerdir=a\\:b:c\\\\d:l0,upperdir=u,workdir=w"));
    eq(names(c"m"), ["f", "g"]);
}

case!(many_lower_layers: mount; root);
fn many_lower_layers() {
    let layers = Layers::new(60);
    for n in 0..60 {
        put(&CString::new(format!("l{n}/f{n}")).unwrap_or_default(), b"");
        put(&CString::new(format!("l{n}/same")).unwrap_or_default(), n.to_string().as_bytes());
    }
    layers.mount();
    eq(names(c"m").len(), 61);
    eq(content(c"m/same"), b"0");
}

case!(read_only_and_back: mount; root);
fn read_only_and_back() {
    simple();
    ok(sys!(mount, c"none", c"m", 0, MS_REMOUNT | MS_RDONLY, 0));
    fails(sys!(openat, AT_FDCWD, c"m/f", O_RDWR, 0), EROFS);
    ok(sys!(mount, c"none", c"m", 0, MS_REMOUNT, 0));
    close(open(c"m/f", O_RDWR));
}

case!(an_overlay_is_no_upper_layer: mount; root);
fn an_overlay_is_no_upper_layer() {
    simple();
    for dir in [c"m/u", c"m/w", c"m2", c"l1"] {
        mkdir(dir);
    }
    fails(sys!(mount, c"none", c"m2", c"overlay", 0, c"lowerdir=l1,upperdir=m/u,workdir=m/w"), EINVAL);
}

case!(permission_in_an_overlay: openat, unlink; root);
fn permission_in_an_overlay() {
    simple();
    ok(sys!(fchmodat, AT_FDCWD, c"m/d", 0o777));
    ok(sys!(fchmodat, AT_FDCWD, c"m/d/a", 0o600));
    unprivileged(|| {
        fails(sys!(openat, AT_FDCWD, c"m/d/a", O_RDONLY, 0), EACCES);
        fails(sys!(openat, AT_FDCWD, c"m/f", O_WRONLY, 0), EACCES);
        fails(sys!(openat, AT_FDCWD, c"m/new", O_WRONLY | O_CREAT, 0o644), EACCES);
        // Who may write the directory may take away what is in it, and leave a whiteout.
        ok(sys!(unlink, c"m/d/b"));
        put(c"m/d/b", b"mine");
        eq(stat(c"m/d/b").st_uid, NOBODY);
    });
    eq(stat(c"u/d/b").st_uid, NOBODY);
}

case!(mounting_needs_a_privilege: mount; root);
fn mounting_needs_a_privilege() {
    let layers = Layers::new(1);
    unprivileged(|| {
        fails(sys!(mount, c"none", c"m", c"overlay", 0, layers.options("").as_c_str()), EPERM);
    });
}
