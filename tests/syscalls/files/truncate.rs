//! truncate, ftruncate, fallocate.

use crate::kit::prelude::*;

case!(shorter_and_longer: truncate, ftruncate; disk);
fn shorter_and_longer() {
    let fd = create(c"f", b"0123456789");
    ok(sys!(truncate, c"f", 4));
    eq(content(c"f"), b"0123");
    // What was cut off does not come back.
    ok(sys!(ftruncate, fd, 8));
    eq(content(c"f"), b"0123\0\0\0\0");
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    ok(sys!(ftruncate, fd, 1i64 << 33));
    eq(fstat(fd).st_size, 1i64 << 33);
    ok(sys!(ftruncate, fd, 0));
    eq(fstat(fd).st_size, 0);
}

case!(truncate_errors: truncate, ftruncate; disk);
fn truncate_errors() {
    put(c"f", b"x");
    mkdir(c"d");
    fails(sys!(truncate, c"d", 0), EISDIR);
    fails(sys!(truncate, c"missing", 0), ENOENT);
    fails(sys!(truncate, c"f", -1), EINVAL);
    fails(sys!(truncate, c"f/x", 0), ENOTDIR);
    fails(sys!(ftruncate, open(c"f", O_RDONLY), 0), EINVAL);
    fails(sys!(ftruncate, open(c"d", O_RDONLY), 0), EINVAL);
    fails(sys!(ftruncate, 999, 0), EBADF);
    fails(sys!(ftruncate, open(c"f", O_RDWR), -1), EINVAL);
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    ok(sys!(truncate, c"l", 0));
    eq(stat(c"f").st_size, 0);
}

case!(permission_to_truncate: truncate, ftruncate; root; disk);
fn permission_to_truncate() {
    put(c"f", b"x");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o644));
    let fd = open(c"f", O_RDWR);
    unprivileged(|| {
        fails(sys!(truncate, c"f", 0), EACCES);
        // The descriptor carries its permission.
        ok(sys!(ftruncate, fd, 0));
    });
}

case!(page_tail_is_wiped: ftruncate, mmap; disk);
fn page_tail_is_wiped() {
    let fd = create(c"f", &[7; 3000]);
    let at = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    ok(sys!(ftruncate, fd, 1000));
    eq((peek(at + 999), peek(at + 1000)), (7, 0));
    ok(sys!(ftruncate, fd, 2000));
    eq((peek(at + 1000), content(c"f")[1999]), (0, 0));
}

case!(allocate: fallocate; disk);
fn allocate() {
    let fd = create(c"f", b"abc");
    ok(sys!(fallocate, fd, 0, 0, 10_000));
    eq(fstat(fd).st_size, 10_000);
    check(fstat(fd).st_blocks >= 20, "room is there");
    eq(&content(c"f")[..4], b"abc\0");
    ok(sys!(fallocate, fd, FALLOC_FL_KEEP_SIZE, 0, 50_000));
    eq(fstat(fd).st_size, 10_000);
}

case!(punch_a_hole: fallocate; disk);
fn punch_a_hole() {
    let fd = create(c"f", &[5; 4 * PAGE]);
    let hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    ok(sys!(fallocate, fd, hole, PAGE - 10, 2 * PAGE));
    let all = content(c"f");
    eq(
        (all.len(), all[PAGE - 11], all[PAGE - 10], all[3 * PAGE - 11], all[3 * PAGE - 10]),
        (4 * PAGE, 5, 0, 0, 5),
    );
    fails(sys!(fallocate, fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE), EOPNOTSUPP);
}

case!(hole_under_a_mapping: fallocate, mmap; disk);
fn hole_under_a_mapping() {
    let fd = create(c"f", &[5; 2 * PAGE]);
    let at = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    eq(peek(at + PAGE), 5);
    ok(sys!(fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE));
    eq((peek(at), peek(at + PAGE)), (5, 0));
    poke(at + PAGE, 6);
    eq(content(c"f")[PAGE], 6);
}

case!(allocate_errors: fallocate; disk);
fn allocate_errors() {
    let fd = create(c"f", b"");
    fails(sys!(fallocate, fd, 0, -1, 10), EINVAL);
    fails(sys!(fallocate, fd, 0, 0, 0), EINVAL);
    fails(sys!(fallocate, fd, 0, 0, -1), EINVAL);
    fails(sys!(fallocate, fd, 0x1000, 0, 10), EOPNOTSUPP);
    fails(sys!(fallocate, open(c"f", O_RDONLY), 0, 0, 10), EBADF);
    fails(sys!(fallocate, 999, 0, 0, 10), EBADF);
    fails(sys!(fallocate, fd, 0, i64::MAX, 10), EFBIG);
    let [_r, w] = pipe(0);
    fails(sys!(fallocate, w, 0, 0, 10), ESPIPE);
    fails(sys!(fallocate, open(c".", O_RDONLY), 0, 0, 10), EBADF);
}
