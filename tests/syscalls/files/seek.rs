//! lseek: positions, holes, shared positions.

use crate::kit::prelude::*;

case!(from_start_here_and_end: lseek; disk);
fn from_start_here_and_end() {
    let fd = create(c"f", b"0123456789");
    eq(ok(sys!(lseek, fd, 4, SEEK_SET)), 4);
    eq(ok(sys!(lseek, fd, -1, SEEK_CUR)), 3);
    eq(ok(sys!(lseek, fd, -2, SEEK_END)), 8);
    eq(ok(sys!(lseek, fd, 100, SEEK_END)), 110);
    eq(read(fd, 1), b"");
    fails(sys!(lseek, fd, -1, SEEK_SET), EINVAL);
    fails(sys!(lseek, fd, -11, SEEK_END), EINVAL);
    fails(sys!(lseek, fd, 0, 17), EINVAL);
    fails(sys!(lseek, fd, 0, -1), EINVAL);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 110);
    // The sum does not fit.
    fails_any(sys!(lseek, fd, i64::MAX, SEEK_CUR), &[EOVERFLOW, EINVAL]);
}

case!(what_has_no_position: lseek);
fn what_has_no_position() {
    let [r, w] = pipe(0);
    fails(sys!(lseek, r, 0, SEEK_SET), ESPIPE);
    fails(sys!(lseek, w, 0, SEEK_CUR), ESPIPE);
    // Which of the two is wrong is found in this order.
    fails(sys!(lseek, 999, 0, 17), EBADF);
    fails(sys!(lseek, r, 0, 17), EINVAL);
    let mut pair = [0i32; 2];
    ok(sys!(socketpair, AF_UNIX, SOCK_STREAM, 0, &mut pair));
    fails(sys!(lseek, pair[0], 0, SEEK_SET), ESPIPE);
}

case!(holes_and_data: lseek, ftruncate);
fn holes_and_data() {
    needs_tmpfs();
    let fd = create(c"f", b"");
    ok(sys!(ftruncate, fd, 64 * PAGE));
    ok(sys!(pwrite64, fd, c"x", 1, 16 * PAGE));
    eq(ok(sys!(lseek, fd, 0, SEEK_DATA)), 16 * PAGE as i64);
    eq(ok(sys!(lseek, fd, 0, SEEK_HOLE)), 0);
    eq(ok(sys!(lseek, fd, 16 * PAGE + 1, SEEK_DATA)), 16 * PAGE as i64 + 1);
    eq(ok(sys!(lseek, fd, 16 * PAGE, SEEK_HOLE)), 17 * PAGE as i64);
    fails(sys!(lseek, fd, 17 * PAGE, SEEK_DATA), ENXIO);
    eq(ok(sys!(lseek, fd, 63 * PAGE, SEEK_HOLE)), 63 * PAGE as i64);
    fails(sys!(lseek, fd, 64 * PAGE, SEEK_HOLE), ENXIO);
    fails(sys!(lseek, fd, -1, SEEK_DATA), ENXIO);
}

case!(file_without_holes_ends_in_one: lseek; disk);
fn file_without_holes_ends_in_one() {
    let fd = create(c"f", &[1; 5000]);
    eq(ok(sys!(lseek, fd, 100, SEEK_DATA)), 100);
    eq(ok(sys!(lseek, fd, 100, SEEK_HOLE)), 5000);
    fails(sys!(lseek, fd, 5000, SEEK_DATA), ENXIO);
}

case!(shared_with_duplicates_and_children: lseek, dup, fork; disk);
fn shared_with_duplicates_and_children() {
    let fd = create(c"f", b"0123456789");
    let twin = ok_i32(sys!(dup, fd));
    eq(read(twin, 2), b"01");
    in_child(|| eq(read(fd, 2), b"23"));
    eq(read(fd, 2), b"45");
    // Opening again gives a position of its own.
    let other = open(c"f", O_RDONLY);
    eq(read(other, 2), b"01");
    eq(read(fd, 2), b"67");
}

case!(directories_start_again: lseek, getdents64; disk);
fn directories_start_again() {
    mkdir(c"d");
    let fd = open(c"d", O_RDONLY);
    let mut buf = [0u64; 64];
    let first = ok(sys!(getdents64, fd, &mut buf, 512));
    check(first > 0, "two entries");
    eq(ok(sys!(getdents64, fd, &mut buf, 512)), 0);
    eq(ok(sys!(lseek, fd, 0, SEEK_SET)), 0);
    eq(ok(sys!(getdents64, fd, &mut buf, 512)), first);
}
