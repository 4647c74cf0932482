//! Holes: SEEK_DATA, SEEK_HOLE, and all modes of fallocate.

use crate::kit::prelude::*;

const KEEP_SIZE: i32 = 1;
const PUNCH_HOLE: i32 = 2;
const COLLAPSE: i32 = 8;
const ZERO: i32 = 0x10;
const INSERT: i32 = 0x20;
const UNSHARE: i32 = 0x40;

const BLOCK: usize = 4096;

/// A file of blocks filled with these bytes; 0 is a hole.
fn blocks(fill: &[u8]) -> i32 {
    let fd = create(c"f", b"");
    ok(sys!(ftruncate, fd, fill.len() * BLOCK));
    for (i, byte) in fill.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        ok(sys!(pwrite64, fd, &[*byte; BLOCK], BLOCK, i * BLOCK));
    }
    fd
}

/// The first byte of every block; the whole block must be the same.
fn fills(fd: i32) -> Vec<u8> {
    let size = fstat(fd).st_size as usize;
    let mut bytes = vec![0u8; size];
    eq(ok(sys!(pread64, fd, bytes.as_mut_ptr(), size, 0)) as usize, size);
    bytes
        .chunks(BLOCK)
        .map(|block| {
            check(block.iter().all(|b| *b == block[0]), "a block of one kind");
            block[0]
        })
        .collect()
}

/// Skips where the file system does not do this.
fn allocate(fd: i32, mode: i32, at: usize, len: usize) {
    match sys!(fallocate, fd, mode, at, len) {
        Err(Errno(EOPNOTSUPP)) => skip("the file system does not do that"),
        answer => done(answer),
    }
}

case!(data_and_holes: lseek; disk);
fn data_and_holes() {
    let fd = blocks(&[0, b'a', 0, 0, b'b', 0]);
    let seek = |at: usize, how: i32| ok(sys!(lseek, fd, at, how)) as usize / BLOCK;
    if seek(0, SEEK_HOLE) == 6 {
        skip("the file system does not tell of holes");
    }
    eq([seek(0, SEEK_DATA), seek(BLOCK, SEEK_DATA), seek(2 * BLOCK, SEEK_DATA)], [1, 1, 4]);
    eq([seek(0, SEEK_HOLE), seek(BLOCK, SEEK_HOLE), seek(4 * BLOCK, SEEK_HOLE)], [0, 2, 5]);
    // In the middle of a block.
    eq(ok(sys!(lseek, fd, BLOCK + 7, SEEK_DATA)) as usize, BLOCK + 7);
    eq(ok(sys!(lseek, fd, 7, SEEK_HOLE)) as usize, 7);
    fails(sys!(lseek, fd, 5 * BLOCK, SEEK_DATA), ENXIO);
    fails(sys!(lseek, fd, 6 * BLOCK, SEEK_HOLE), ENXIO);
    fails(sys!(lseek, fd, -1, SEEK_DATA), ENXIO);
    // The seek has moved the position.
    ok(sys!(lseek, fd, 2 * BLOCK, SEEK_DATA));
    eq(read(fd, 1), b"b");
}

case!(allocate_more: fallocate; disk);
fn allocate_more() {
    let fd = create(c"f", b"x");
    allocate(fd, 0, 0, 3 * BLOCK);
    eq(fstat(fd).st_size as usize, 3 * BLOCK);
    check(fstat(fd).st_blocks >= 3 * 8, "it has its blocks");
    allocate(fd, KEEP_SIZE, 0, 8 * BLOCK);
    eq(fstat(fd).st_size as usize, 3 * BLOCK);
    check(fstat(fd).st_blocks >= 8 * 8, "more than its size");
    eq(&content(c"f")[..2], b"x\0");
}

case!(punch_a_hole: fallocate; disk);
fn punch_a_hole() {
    let fd = blocks(b"abcd");
    allocate(fd, PUNCH_HOLE | KEEP_SIZE, BLOCK, 2 * BLOCK);
    eq(fills(fd), b"a\0\0d");
    eq(ok(sys!(lseek, fd, 0, SEEK_HOLE)) as usize, BLOCK);
    eq(ok(sys!(lseek, fd, BLOCK, SEEK_DATA)) as usize, 3 * BLOCK);
    // Within a block it is only zeroed.
    allocate(fd, PUNCH_HOLE | KEEP_SIZE, 10, 20);
    let all = content(c"f");
    check(all[10..30].iter().all(|b| *b == 0) && all[9] == b'a' && all[30] == b'a', "just that");
    // Beyond the end nothing happens.
    allocate(fd, PUNCH_HOLE | KEEP_SIZE, 3 * BLOCK, 100 * BLOCK);
    eq(fstat(fd).st_size as usize, 4 * BLOCK);
    fails(sys!(fallocate, fd, PUNCH_HOLE, 0, BLOCK), EOPNOTSUPP);
}

case!(zero_a_range: fallocate; disk);
fn zero_a_range() {
    let fd = blocks(b"abcd");
    allocate(fd, ZERO, BLOCK, 2 * BLOCK);
    eq(fills(fd), b"a\0\0d");
    allocate(fd, ZERO | KEEP_SIZE, 3 * BLOCK, 4 * BLOCK);
    eq(fills(fd), b"a\0\0\0");
    allocate(fd, ZERO, 3 * BLOCK, 4 * BLOCK);
    eq(fills(fd), b"a\0\0\0\0\0\0");
    allocate(fd, ZERO, 5, 10);
    let all = content(c"f");
    check(all[5..15].iter().all(|b| *b == 0) && all[4] == b'a' && all[15] == b'a', "just that");
}

case!(collapse_a_range: fallocate; disk);
fn collapse_a_range() {
    let fd = blocks(b"abcdef");
    allocate(fd, COLLAPSE, BLOCK, 2 * BLOCK);
    eq(fills(fd), b"adef");
    fails(sys!(fallocate, fd, COLLAPSE, 5, BLOCK), EINVAL);
    fails(sys!(fallocate, fd, COLLAPSE, 0, 5), EINVAL);
    // Not up to the end, which would be a truncation.
    fails(sys!(fallocate, fd, COLLAPSE, BLOCK, 3 * BLOCK), EINVAL);
    fails(sys!(fallocate, fd, COLLAPSE | KEEP_SIZE, 0, BLOCK), EOPNOTSUPP);
    allocate(fd, COLLAPSE, 0, BLOCK);
    eq(fills(fd), b"def");
}

case!(insert_a_range: fallocate; disk);
fn insert_a_range() {
    let fd = blocks(b"abc");
    allocate(fd, INSERT, BLOCK, 2 * BLOCK);
    eq(fills(fd), b"a\0\0bc");
    fails(sys!(fallocate, fd, INSERT, 5, BLOCK), EINVAL);
    fails(sys!(fallocate, fd, INSERT, 5 * BLOCK, BLOCK), EINVAL);
    fails(sys!(fallocate, fd, INSERT | KEEP_SIZE, 0, BLOCK), EOPNOTSUPP);
    allocate(fd, INSERT, 0, BLOCK);
    eq(fills(fd), b"\0a\0\0bc");
}

case!(fallocate_arguments: fallocate; disk);
fn fallocate_arguments() {
    let fd = create(c"f", b"x");
    fails(sys!(fallocate, fd, 0, 0, 0), EINVAL);
    fails(sys!(fallocate, fd, 0, -1, 1), EINVAL);
    fails(sys!(fallocate, fd, 0, 0, -1), EINVAL);
    fails(sys!(fallocate, fd, 0x4000, 0, 1), EOPNOTSUPP);
    fails(sys!(fallocate, fd, PUNCH_HOLE | ZERO | KEEP_SIZE, 0, 1), EOPNOTSUPP);
    fails(sys!(fallocate, fd, COLLAPSE | INSERT, 0, 4096), EOPNOTSUPP);
    fails(sys!(fallocate, fd, 0, i64::MAX, 10), EFBIG);
    fails_any(sys!(fallocate, fd, UNSHARE | PUNCH_HOLE, 0, 1), &[EOPNOTSUPP]);
    fails(sys!(fallocate, 999, 0, 0, 1), EBADF);
    fails(sys!(fallocate, open(c"f", O_RDONLY), 0, 0, 1), EBADF);
    fails(sys!(fallocate, pipe(0)[1], 0, 0, 1), ESPIPE);
    mkdir(c"d");
    fails(sys!(fallocate, open(c"d", O_RDONLY), 0, 0, 1), EBADF);
}

case!(writes_far_out_are_sparse: pwrite64, ftruncate; disk);
fn writes_far_out_are_sparse() {
    let fd = create(c"f", b"");
    let far = 1i64 << 30;
    ok(sys!(pwrite64, fd, c"x", 1, far));
    eq(fstat(fd).st_size, far + 1);
    check(fstat(fd).st_blocks < 1000, "no blocks for the hole");
    let mut buf = [1u8; 64];
    eq(ok(sys!(pread64, fd, &mut buf, 64, far / 2)), 64);
    eq(buf, [0u8; 64]);
    ok(sys!(ftruncate, fd, far * 2));
    eq(fstat(fd).st_size, far * 2);
    ok(sys!(ftruncate, fd, 0));
    eq(fstat(fd).st_blocks, 0);
}
