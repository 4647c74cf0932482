//! sendfile, copy_file_range, splice, tee, vmsplice.

use crate::kit::prelude::*;

case!(file_to_pipe: sendfile; disk);
fn file_to_pipe() {
    let fd = create(c"f", b"0123456789");
    let [r, w] = pipe(0);
    eq(ok(sys!(sendfile, w, fd, 0, 4)), 4);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 4);
    let mut offset = 7i64;
    eq(ok(sys!(sendfile, w, fd, &mut offset, 100)), 3);
    eq((offset, ok(sys!(lseek, fd, 0, SEEK_CUR))), (10, 4));
    eq(read(r, 100), b"0123789");
    eq(ok(sys!(sendfile, w, fd, &mut offset, 100)), 0);
}

case!(file_to_file: sendfile; disk);
fn file_to_file() {
    let data: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let (a, b) = (create(c"a", &data), create(c"b", b""));
    let mut left = data.len();
    while left > 0 {
        left -= ok(sys!(sendfile, b, a, 0, left)) as usize;
    }
    check(content(c"b") == data, "the same bytes");
}

case!(sendfile_errors: sendfile; disk);
fn sendfile_errors() {
    let fd = create(c"f", b"x");
    let [r, w] = pipe(0);
    fails(sys!(sendfile, w, 999, 0, 1), EBADF);
    fails(sys!(sendfile, 999, fd, 0, 1), EBADF);
    fails(sys!(sendfile, r, fd, 0, 1), EBADF);
    fails(sys!(sendfile, w, open(c"f", O_WRONLY), 0, 1), EBADF);
    fails(sys!(sendfile, w, fd, 8, 1), EFAULT);
    fails(sys!(sendfile, w, fd, &mut -1i64, 1), EINVAL);
    fails(sys!(sendfile, open(c"f", O_WRONLY | O_APPEND), fd, 0, 1), EINVAL);
    fails(sys!(sendfile, w, r, &mut 0i64, 1), ESPIPE);
}

case!(range_copies: copy_file_range; disk);
fn range_copies() {
    let (a, b) = (create(c"a", b"0123456789"), create(c"b", b"abcdefghij"));
    eq(ok(sys!(copy_file_range, a, 0, b, 0, 3, 0)), 3);
    let (mut from, mut to) = (5i64, 8i64);
    eq(ok(sys!(copy_file_range, a, &mut from, b, &mut to, 100, 0)), 5);
    eq((from, to), (10, 13));
    eq(content(c"b"), b"012defgh56789");
    eq((ok(sys!(lseek, a, 0, SEEK_CUR)), ok(sys!(lseek, b, 0, SEEK_CUR))), (3, 3));
    eq(ok(sys!(copy_file_range, a, &mut from, b, &mut to, 100, 0)), 0);
}

case!(range_copy_errors: copy_file_range; disk);
fn range_copy_errors() {
    let (a, b) = (create(c"a", b"0123456789"), create(c"b", b""));
    let [r, w] = pipe(0);
    fails(sys!(copy_file_range, a, 0, b, 0, 1, 1), EINVAL);
    fails(sys!(copy_file_range, 999, 0, b, 0, 1, 0), EBADF);
    fails(sys!(copy_file_range, open(c"a", O_WRONLY), 0, b, 0, 1, 0), EBADF);
    fails(sys!(copy_file_range, a, 0, open(c"b", O_RDONLY), 0, 1, 0), EBADF);
    fails(sys!(copy_file_range, a, 0, open(c"b", O_WRONLY | O_APPEND), 0, 1, 0), EBADF);
    fails(sys!(copy_file_range, r, 0, b, 0, 1, 0), EINVAL);
    fails(sys!(copy_file_range, a, 0, w, 0, 1, 0), EINVAL);
    fails(sys!(copy_file_range, open(c".", O_RDONLY), 0, b, 0, 1, 0), EISDIR);
    // Ranges of one file must not meet.
    fails(sys!(copy_file_range, a, &mut 0i64, a, &mut 2i64, 4, 0), EINVAL);
    eq(ok(sys!(copy_file_range, a, &mut 0i64, a, &mut 5i64, 4, 0)), 4);
    eq(content(c"a"), b"0123401239");
}

case!(splice_file_and_pipe: splice; disk);
fn splice_file_and_pipe() {
    let (a, b) = (create(c"a", b"0123456789"), create(c"b", b""));
    let [r, w] = pipe(0);
    eq(ok(sys!(splice, a, 0, w, 0, 6, 0)), 6);
    eq(ok(sys!(splice, a, &mut 8i64, w, 0, 6, 0)), 2);
    eq(ok(sys!(splice, r, 0, b, 0, 4, 0)), 4);
    eq(ok(sys!(splice, r, 0, b, &mut 10i64, 100, 0)), 4);
    eq(content(c"b"), b"0123\x00\x00\x00\x00\x00\x004589");
    eq(ok(sys!(lseek, a, 0, SEEK_CUR)), 6);
}

case!(splice_between_pipes: splice, tee);
fn splice_between_pipes() {
    let ([r1, w1], [r2, w2]) = (pipe(0), pipe(0));
    write_all(w1, b"hello");
    eq(ok(sys!(tee, r1, w2, 3, 0)), 3);
    eq(ok(sys!(splice, r1, 0, w2, 0, 100, 0)), 5);
    eq(read(r2, 100), b"helhello");
    fails(sys!(splice, r1, 0, w2, 0, 1, SPLICE_F_NONBLOCK), EAGAIN);
    fails(sys!(tee, r1, w2, 1, SPLICE_F_NONBLOCK), EAGAIN);
    close(w1);
    eq(ok(sys!(splice, r1, 0, w2, 0, 1, 0)), 0);
    eq(ok(sys!(tee, r1, w2, 1, 0)), 0);
}

case!(splice_errors: splice, tee, vmsplice);
fn splice_errors() {
    let fd = create(c"f", b"xyz");
    let [r, w] = pipe(0);
    fails(sys!(splice, fd, 0, create(c"g", b""), 0, 1, 0), EINVAL);
    fails(sys!(splice, r, &mut 0i64, fd, 0, 1, 0), ESPIPE);
    fails(sys!(splice, r, 0, w, 0, 1, 0), EINVAL);
    fails(sys!(splice, fd, 0, w, 0, 1, 0x100), EINVAL);
    fails(sys!(splice, 999, 0, w, 0, 1, 0), EBADF);
    eq(ok(sys!(splice, fd, 0, w, 0, 0, 0)), 0);
    fails(sys!(tee, fd, w, 1, 0), EINVAL);
    fails(sys!(tee, r, w, 1, 0), EINVAL);
    let none = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    fails(sys!(vmsplice, 999, &none, 1, 0), EBADF);
    write_all(w, b"x");
    fails(sys!(splice, r, 0, open(c"f", O_WRONLY | O_APPEND), 0, 1, 0), EINVAL);
}

case!(memory_into_a_pipe: vmsplice);
fn memory_into_a_pipe() {
    let [r, w] = pipe(0);
    let mut bytes = *b"memory";
    let part = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 6 };
    eq(ok(sys!(vmsplice, w, &part, 1, 0)), 6);
    eq(read(r, 10), b"memory");
    write_all(w, b"back");
    eq(ok(sys!(vmsplice, r, &part, 1, 0)), 4);
    eq(&bytes, b"backry");
}

case!(splice_from_a_stream_loses_nothing: splice);
fn splice_from_a_stream_loses_nothing() {
    let ([r, w], mut pair) = (pipe(0), [0i32; 2]);
    ok(sys!(socketpair, AF_UNIX, SOCK_STREAM, 0, &mut pair));
    // A pipe with little room: the rest stays in the socket.
    ok(sys!(fcntl, w, F_SETPIPE_SZ, 4096));
    let data: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
    write_all(pair[0], &data);
    close(pair[0]);
    let mut seen = Vec::new();
    loop {
        let moved = ok(sys!(splice, pair[1], 0, w, 0, 20_000, 0)) as usize;
        if moved == 0 {
            break;
        }
        check(moved <= 4096, "what there is room for");
        fails(sys!(splice, pair[1], 0, w, 0, 1, SPLICE_F_NONBLOCK), EAGAIN);
        seen.extend(read(r, 4096));
    }
    check(seen == data, "the same bytes");
}
