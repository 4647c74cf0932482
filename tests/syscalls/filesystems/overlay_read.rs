//! What an overlay shows of its layers.

use std::ffi::CString;

use super::{Layers, names, set_xattr, simple, xattrs};
use crate::kit::prelude::*;

case!(a_lower_file_shows: mount, openat, read; root);
fn a_lower_file_shows() {
    simple();
    eq(content(c"m/f"), b"lower");
    eq(names(c"m"), ["d", "f"]);
    eq(names(c"m/d"), ["a", "b"]);
    eq(names(c"u"), [""; 0]);
}

case!(the_upper_file_wins: mount, openat; root);
fn the_upper_file_wins() {
    let layers = Layers::new(2);
    put(c"l0/f", b"middle");
    put(c"l1/f", b"lowest");
    put(c"l1/g", b"lowest");
    put(c"l0/h", b"middle");
    put(c"u/h", b"upper");
    layers.mount();
    eq(
        (content(c"m/f"), content(c"m/g"), content(c"m/h")),
        (b"middle".into(), b"lowest".into(), b"upper".into()),
    );
    eq(names(c"m"), ["f", "g", "h"]);
}

case!(directories_are_merged: mount, getdents64; root);
fn directories_are_merged() {
    let layers = Layers::new(3);
    for (dir, file) in [(c"l0/d", c"l0/d/x"), (c"l1/d", c"l1/d/y"), (c"l2/d", c"l2/d/z"), (c"u/d", c"u/d/x")]
    {
        mkdir(dir);
        put(file, dir.to_bytes());
    }
    layers.mount();
    eq(names(c"m/d"), ["x", "y", "z"]);
    eq(content(c"m/d/x"), b"u/d");
    eq(content(c"m/d/z"), b"l2/d");
}

case!(a_file_hides_a_directory: mount; root);
fn a_file_hides_a_directory() {
    let layers = Layers::new(3);
    mkdir(c"l2/x");
    put(c"l2/x/f", b"");
    put(c"l1/x", b"file");
    mkdir(c"l0/x");
    put(c"l0/x/g", b"");
    layers.mount();
    // What is below the file does not take part.
    eq(names(c"m/x"), ["g"]);
}

case!(a_directory_hides_a_file: mount; root);
fn a_directory_hides_a_file() {
    let layers = Layers::new(1);
    put(c"l0/x", b"file");
    mkdir(c"u/x");
    layers.mount();
    eq(names(c"m/x"), [""; 0]);
    eq(stat(c"m/x").st_mode & S_IFMT, S_IFDIR);
}

case!(whiteouts_of_lower_layers: mount, mknodat; root);
fn whiteouts_of_lower_layers() {
    let layers = Layers::new(3);
    put(c"l2/f", b"");
    put(c"l2/g", b"");
    mkdir(c"l2/d");
    put(c"l2/d/a", b"");
    put(c"l2/d/b", b"");
    ok(sys!(mknodat, AT_FDCWD, c"l1/f", S_IFCHR, 0));
    mkdir(c"l1/d");
    ok(sys!(mknodat, AT_FDCWD, c"l1/d/a", S_IFCHR, 0));
    ok(sys!(mknodat, AT_FDCWD, c"u/g", S_IFCHR, 0));
    layers.mount();
    eq(names(c"m"), ["d"]);
    eq(names(c"m/d"), ["b"]);
    fails(sys!(openat, AT_FDCWD, c"m/f", O_RDONLY, 0), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"m/d/a", O_RDONLY, 0), ENOENT);
    fails(sys!(unlink, c"m/g"), ENOENT);
}

case!(a_whiteout_hides_a_directory: mount, mknodat; root);
fn a_whiteout_hides_a_directory() {
    let layers = Layers::new(3);
    mkdir(c"l2/d");
    put(c"l2/d/a", b"");
    ok(sys!(mknodat, AT_FDCWD, c"l1/d", S_IFCHR, 0));
    mkdir(c"l0/d");
    put(c"l0/d/b", b"");
    layers.mount();
    eq(names(c"m/d"), ["b"]);
}

case!(opaque_directories_of_lower_layers: mount, setxattr; root);
fn opaque_directories_of_lower_layers() {
    let layers = Layers::new(2);
    mkdir(c"l1/d");
    put(c"l1/d/a", b"");
    mkdir(c"l0/d");
    put(c"l0/d/b", b"");
    ok(set_xattr(c"l0/d", c"trusted.overlay.opaque", b"y"));
    layers.mount();
    eq(names(c"m/d"), ["b"]);
    check(!exists(c"m/d/a"), "it is hidden");
    // The mark itself is not shown.
    eq(xattrs(c"m/d"), [""; 0]);
    fails(sys!(lgetxattr, c"m/d", c"trusted.overlay.opaque", 0, 0), ENODATA);
}

case!(other_values_of_the_mark_mean_nothing: mount, setxattr; root);
fn other_values_of_the_mark_mean_nothing() {
    let layers = Layers::new(2);
    mkdir(c"l1/d");
    put(c"l1/d/a", b"");
    mkdir(c"l0/d");
    ok(set_xattr(c"l0/d", c"trusted.overlay.opaque", b"n"));
    layers.mount();
    eq(names(c"m/d"), ["a"]);
}

case!(redirects_are_followed: mount, setxattr; root);
fn redirects_are_followed() {
    let layers = Layers::new(1);
    mkdir(c"l0/old");
    put(c"l0/old/a", b"a");
    mkdir(c"l0/older");
    put(c"l0/older/b", b"b");
    mkdir(c"u/new");
    mkdir(c"u/dir");
    mkdir(c"u/dir/deep");
    ok(set_xattr(c"u/new", c"trusted.overlay.redirect", b"old"));
    ok(set_xattr(c"u/dir/deep", c"trusted.overlay.redirect", b"/older"));
    ok(sys!(mknodat, AT_FDCWD, c"u/old", S_IFCHR, 0));
    layers.mount();
    eq(names(c"m/new"), ["a"]);
    eq(names(c"m/dir/deep"), ["b"]);
    check(!exists(c"m/old"), "it was moved");
}

case!(redirects_can_be_refused: mount, setxattr; root);
fn redirects_can_be_refused() {
    let layers = Layers::new(1);
    mkdir(c"l0/old");
    put(c"l0/old/a", b"a");
    mkdir(c"u/new");
    ok(set_xattr(c"u/new", c"trusted.overlay.redirect", b"old"));
    layers.mount_with(",redirect_dir=nofollow");
    fails(sys!(openat, AT_FDCWD, c"m/new", O_RDONLY, 0), EPERM);
}

case!(an_old_descriptor_shows_the_copy: openat, read, write, mmap; root);
fn an_old_descriptor_shows_the_copy() {
    simple();
    let old = open(c"m/f", O_RDONLY);
    let mapped = map_file(old, 0, PAGE, PROT_READ, MAP_PRIVATE);
    eq(peek(mapped), b'l');
    let new = open(c"m/f", O_RDWR);
    write_all(new, b"UPPER and more");
    eq(read(old, 100), b"UPPER and more");
    eq(ok(sys!(lseek, old, 0, SEEK_END)), 14);
    // What is mapped stays what it was.
    eq(peek(mapped), b'l');
    eq(peek(map_file(old, 0, PAGE, PROT_READ, MAP_PRIVATE)), b'l');
    eq(content(c"l0/f"), b"lower");
}

case!(the_kind_and_its_numbers: statfs, fstat; root);
fn the_kind_and_its_numbers() {
    simple();
    let mut st: statfs = zeroed();
    ok(sys!(statfs, c"m/d", &mut st));
    eq((st.f_type, st.f_namelen), (0x794c_7630, 255));
    // A directory tells no links below, and belongs to the overlay.
    eq(stat(c"m/d").st_dev, stat(c"m").st_dev);
    eq(stat(c"m").st_nlink, 1);
    check(stat(c"m").st_dev != stat(c"u").st_dev, "another device");
}

case!(numbers_stay_over_a_copy_up: fstat, write; root);
fn numbers_stay_over_a_copy_up() {
    simple();
    let before = (stat(c"m/f").st_ino, stat(c"m/d").st_ino, stat(c"m/f").st_dev);
    write_all(open(c"m/f", O_WRONLY | O_APPEND), b"x");
    put(c"m/d/new", b"");
    eq((stat(c"m/f").st_ino, stat(c"m/d").st_ino, stat(c"m/f").st_dev), before);
}

case!(a_listing_has_no_duplicates: getdents64; root);
fn a_listing_has_no_duplicates() {
    let layers = Layers::new(2);
    for n in 0..300 {
        for dir in ["l0", "l1", "u"] {
            put(&CString::new(format!("{dir}/file{n}")).unwrap_or_default(), b"");
        }
    }
    layers.mount();
    eq(names(c"m").len(), 300);
}

case!(positions_of_a_merged_listing: getdents64, lseek; root);
fn positions_of_a_merged_listing() {
    let layers = Layers::new(1);
    for n in 0..40 {
        let dir = if n % 2 == 0 { "l0" } else { "u" };
        put(&CString::new(format!("{dir}/{n}")).unwrap_or_default(), b"");
    }
    layers.mount();
    let fd = open(c"m", O_RDONLY | O_DIRECTORY);
    let mut buf = [0u8; 200];
    let first = ok(sys!(getdents64, fd, &mut buf, buf.len())) as usize;
    let position = ok(sys!(lseek, fd, 0, SEEK_CUR));
    let mut next = [0u8; 200];
    let n = ok(sys!(getdents64, fd, &mut next, next.len())) as usize;
    ok(sys!(lseek, fd, position, SEEK_SET));
    let mut again = [0u8; 200];
    eq(ok(sys!(getdents64, fd, &mut again, again.len())) as usize, n);
    eq(next.to_vec(), again.to_vec());
    ok(sys!(lseek, fd, 0, SEEK_SET));
    eq(ok(sys!(getdents64, fd, &mut again, again.len())) as usize, first);
    eq(buf.to_vec(), again.to_vec());
}
