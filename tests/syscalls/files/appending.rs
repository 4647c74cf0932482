//! O_APPEND, RWF_APPEND and RWF_NOAPPEND.

use crate::kit::prelude::*;

const RWF_DSYNC: i32 = 2;
const RWF_SYNC: i32 = 4;
const RWF_NOWAIT: i32 = 8;
const RWF_APPEND: i32 = 0x10;
const RWF_NOAPPEND: i32 = 0x20;
const RWF_ATOMIC: i32 = 0x40;
const RWF_DONTCACHE: i32 = 0x80;

fn write2(fd: i32, bytes: &[u8], at: i64, flags: i32) -> Answer {
    let vector = [iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: bytes.len() }];
    sys!(pwritev2, fd, &vector, 1, at, 0, flags)
}

fn read2(fd: i32, len: usize, at: i64, flags: i32) -> Answer {
    let mut buf = vec![0u8; len];
    let vector = [iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: len }];
    sys!(preadv2, fd, &vector, 1, at, 0, flags)
}

case!(appends_whole: write, openat; disk);
fn appends_whole() {
    put(c"f", b"");
    let children: Vec<_> = (0..4u8)
        .map(|who| {
            fork(|| {
                let fd = open(c"f", O_WRONLY | O_APPEND);
                for _ in 0..100 {
                    write_all(fd, &[b'a' + who; 16]);
                }
            })
        })
        .collect();
    children.into_iter().for_each(|child| child.succeeds());
    let all = content(c"f");
    eq(all.len(), 4 * 100 * 16);
    check(all.chunks(16).all(|line| line.iter().all(|b| *b == line[0])), "no write is torn");
}

case!(position_after_an_append: write, lseek, pwrite64; disk);
fn position_after_an_append() {
    put(c"f", b"12345");
    let fd = open(c"f", O_RDWR | O_APPEND);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    write_all(fd, b"67");
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 7);
    ok(sys!(lseek, fd, 2, SEEK_SET));
    // Linux appends even where an offset is given, and the position stays.
    eq(ok(sys!(pwrite64, fd, c"8", 1, 0)), 1);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 2);
    eq(content(c"f"), b"12345678");
    eq(read(fd, 3), b"345");
}

case!(append_for_one_write: pwritev2; disk);
fn append_for_one_write() {
    let fd = create(c"f", b"12345");
    eq(ok(write2(fd, b"67", 0, RWF_APPEND)), 2);
    eq(content(c"f"), b"1234567");
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    eq(ok(write2(fd, b"8", -1, RWF_APPEND)), 1);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 8);
}

case!(no_append_for_one_write: pwritev2; disk);
fn no_append_for_one_write() {
    put(c"f", b"12345");
    let fd = open(c"f", O_RDWR | O_APPEND);
    match write2(fd, b"ab", 1, RWF_NOAPPEND) {
        Err(Errno(EOPNOTSUPP)) => skip("no RWF_NOAPPEND in this kernel"),
        answer => eq(ok(answer), 2),
    }
    eq(content(c"f"), b"1ab45");
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    eq(ok(write2(fd, b"x", -1, RWF_NOAPPEND)), 1);
    eq(content(c"f"), b"xab45");
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 1);
    fails(write2(fd, b"x", 0, RWF_NOAPPEND | RWF_APPEND), EINVAL);
}

case!(flags_of_one_transfer: preadv2, pwritev2; disk);
fn flags_of_one_transfer() {
    let fd = create(c"f", b"12345");
    for flags in [RWF_DSYNC, RWF_SYNC, RWF_DSYNC | RWF_SYNC] {
        eq(ok(write2(fd, b"ab", 0, flags)), 2);
    }
    eq(ok(read2(fd, 8, 0, 0)), 5);
    // What is in memory is there at once, or the file system can't say.
    let answer = read2(fd, 8, 0, RWF_NOWAIT);
    check(matches!(answer, Ok(5) | Err(Errno(EOPNOTSUPP | EAGAIN))), "RWF_NOWAIT");
    fails(read2(fd, 8, 0, 0x4000), EOPNOTSUPP);
    fails(write2(fd, b"x", 0, 0x4000), EOPNOTSUPP);
    // What is only about writes is accepted.
    eq(ok(read2(fd, 8, 0, RWF_APPEND)), 5);
    fails_any(read2(fd, 8, 0, RWF_ATOMIC), &[EOPNOTSUPP]);
    let answer = write2(fd, b"x", 0, RWF_DONTCACHE);
    check(matches!(answer, Ok(1) | Err(Errno(EOPNOTSUPP))), "RWF_DONTCACHE");
}

case!(positions_of_vectors: preadv2, pwritev2, preadv, pwritev; disk);
fn positions_of_vectors() {
    let fd = create(c"f", b"0123456789");
    eq(ok(read2(fd, 4, 2, 0)), 4);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    eq(ok(read2(fd, 4, -1, 0)), 4);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 4);
    fails(read2(fd, 4, -2, 0), EINVAL);
    let [r, w] = pipe(0);
    write_all(w, b"abc");
    fails(read2(r, 4, 0, 0), ESPIPE);
    eq(ok(read2(r, 2, -1, 0)), 2);
    eq(ok(read2(r, 2, -1, RWF_NOWAIT)), 1);
    fails(read2(r, 2, -1, RWF_NOWAIT), EAGAIN);
}
