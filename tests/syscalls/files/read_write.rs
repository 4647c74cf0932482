//! read, write and their relatives with positions and vectors.

use crate::kit::prelude::*;

/// One element of a vector.
fn vec_of(bytes: &mut [u8]) -> iovec {
    iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

case!(round_trip_moves_the_position: read, write, lseek; disk);
fn round_trip_moves_the_position() {
    let fd = create(c"f", b"");
    eq(ok(sys!(write, fd, c"hello", 5)), 5);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 5);
    eq(read(fd, 10), b"");
    ok(sys!(lseek, fd, 1, SEEK_SET));
    eq(read(fd, 2), b"el");
    eq(read(fd, 10), b"lo");
    eq(read(fd, 10), b"");
}

case!(access_mode_is_kept: read, write; disk);
fn access_mode_is_kept() {
    put(c"f", b"x");
    let (r, w) = (open(c"f", O_RDONLY), open(c"f", O_WRONLY));
    fails(sys!(write, r, c"x", 1), EBADF);
    fails(sys!(read, w, &mut [0u8; 1], 1), EBADF);
    fails(sys!(read, 999, &mut [0u8; 1], 1), EBADF);
    fails(sys!(write, -1, c"x", 1), EBADF);
    // The descriptor is looked at before the memory.
    fails(sys!(read, w, 8, 1), EBADF);
}

case!(directories_can_not_be_read: read, pread64, write; disk);
fn directories_can_not_be_read() {
    let fd = open(c".", O_RDONLY);
    fails(sys!(read, fd, &mut [0u8; 1], 1), EISDIR);
    fails(sys!(pread64, fd, &mut [0u8; 1], 1, 0), EISDIR);
    fails(sys!(write, fd, c"x", 1), EBADF);
}

case!(wild_memory: read, write; disk);
fn wild_memory() {
    let fd = create(c"f", b"content");
    fails(sys!(read, fd, 8, 4), EFAULT);
    fails(sys!(read, fd, u64::MAX, 4), EFAULT);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    fails(sys!(write, fd, 8, 4), EFAULT);
    eq(content(c"f"), b"content");
    // Nothing is touched where nothing is to be moved.
    eq(ok(sys!(read, fd, 8, 0)), 0);
    eq(ok(sys!(write, fd, 8, 0)), 0);
    // At the end there is nothing to put anywhere.
    ok(sys!(lseek, fd, 0, SEEK_END));
    eq(ok(sys!(read, fd, 8, 4)), 0);
}

case!(memory_with_a_hole: read, write; disk);
fn memory_with_a_hole() {
    let pages = map(2 * PAGE, RW);
    unmap(pages + PAGE, PAGE);
    let fd = create(c"f", &[7; 100]);
    // What lies before the hole is moved.
    eq(ok(sys!(read, fd, pages + PAGE - 10, 100)), 10);
    eq(peek(pages + PAGE - 1), 7);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 10);
    let fd = create(c"g", b"");
    eq(ok(sys!(write, fd, pages + PAGE - 10, 100)), 10);
    eq(fstat(fd).st_size, 10);
    fails(sys!(write, fd, pages + PAGE, 100), EFAULT);
}

case!(read_only_memory: read; disk);
fn read_only_memory() {
    let page = map(PAGE, PROT_READ);
    let fd = create(c"f", b"content");
    fails(sys!(read, fd, page, 4), EFAULT);
    eq(peek(page), 0);
}

case!(absurd_lengths: read, write, pread64; disk);
fn absurd_lengths() {
    let fd = create(c"f", b"content");
    let page = map(PAGE, RW);
    // More than a signed size is refused before anything, as is what wraps round the address space.
    fails(sys!(read, fd, page, u64::MAX), EFAULT);
    fails(sys!(write, fd, page, u64::MAX), EFAULT);
    // A length that leads beyond user space: no access is made.
    fails(sys!(read, fd, page, 1u64 << 62), EFAULT);
    // Less than that is cut at 2 GiB less a page, and ends at the end of the file.
    eq(ok(sys!(read, fd, page, 0x7fff_ffff)), 7);
    fails(sys!(pread64, fd, page, u64::MAX, 0), EFAULT);
}

case!(at_a_position: pread64, pwrite64; disk);
fn at_a_position() {
    let fd = create(c"f", b"0123456789");
    ok(sys!(lseek, fd, 3, SEEK_SET));
    let mut buf = [0u8; 4];
    eq(ok(sys!(pread64, fd, &mut buf, 4, 6)), 4);
    eq(&buf, b"6789");
    eq(ok(sys!(pread64, fd, &mut buf, 4, 8)), 2);
    eq(ok(sys!(pread64, fd, &mut buf, 4, 10)), 0);
    eq(ok(sys!(pread64, fd, &mut buf, 4, 1000)), 0);
    eq(ok(sys!(pwrite64, fd, c"ab", 2, 0)), 2);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 3);
    fails(sys!(pread64, fd, &mut buf, 4, -1), EINVAL);
    fails(sys!(pwrite64, fd, &buf, 4, -1), EINVAL);
    let [r, w] = pipe(0);
    fails(sys!(pread64, r, &mut buf, 4, 0), ESPIPE);
    fails(sys!(pwrite64, w, &buf, 4, 0), ESPIPE);
    eq(content(c"f"), b"ab23456789");
}

case!(writing_beyond_the_end_leaves_zeros: pwrite64, read; disk);
fn writing_beyond_the_end_leaves_zeros() {
    let fd = create(c"f", b"ab");
    eq(ok(sys!(pwrite64, fd, c"z", 1, 10_000)), 1);
    eq(fstat(fd).st_size, 10_001);
    let all = content(c"f");
    check(all[2..10_000].iter().all(|b| *b == 0) && all[10_000] == b'z', "zeros between");
}

case!(vectors: readv, writev; disk);
fn vectors() {
    let fd = create(c"f", b"");
    let (mut a, mut b, mut none) = (*b"one", *b"three", [0u8; 0]);
    eq(ok(sys!(writev, fd, &[vec_of(&mut a), vec_of(&mut none), vec_of(&mut b)], 3)), 8);
    eq(content(c"f"), b"onethree");
    ok(sys!(lseek, fd, 0, SEEK_SET));
    let (mut a, mut b) = ([0u8; 5], [0u8; 9]);
    eq(ok(sys!(readv, fd, &[vec_of(&mut a), vec_of(&mut b)], 2)), 8);
    eq((&a, &b[..3]), (b"oneth", &b"ree"[..]));
    eq(ok(sys!(readv, fd, 0, 0)), 0);
}

case!(bad_vectors: readv, writev, preadv; disk);
fn bad_vectors() {
    let fd = create(c"f", b"content");
    let mut buf = [0u8; 4];
    let good = vec_of(&mut buf);
    fails(sys!(readv, fd, 8, 1), EFAULT);
    fails(sys!(readv, fd, &good, -1), EINVAL);
    fails(sys!(readv, fd, &good, 1025), EINVAL);
    fails(sys!(writev, fd, &good, 1025), EINVAL);
    fails(sys!(preadv, fd, &good, 1025, 0), EINVAL);
    // A negative length anywhere spoils all, before anything moves.
    let negative = iovec { iov_base: good.iov_base, iov_len: usize::MAX };
    fails(sys!(readv, fd, &[good, negative], 2), EINVAL);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    fails(sys!(preadv, fd, &good, 1, -1), EINVAL);
    // What comes before wild memory is moved.
    let wild = iovec { iov_base: 8 as *mut _, iov_len: 4 };
    eq(ok(sys!(readv, fd, &[good, wild], 2)), 4);
    eq(&buf, b"cont");
    let many = vec![good; 1024];
    eq(ok(sys!(readv, fd, many.as_slice(), 1024)), 3);
}

case!(vectors_at_a_position: preadv, pwritev, preadv2, pwritev2; disk);
fn vectors_at_a_position() {
    let fd = create(c"f", b"0123456789");
    let (mut a, mut b) = ([0u8; 2], [0u8; 3]);
    eq(ok(sys!(preadv, fd, &[vec_of(&mut a), vec_of(&mut b)], 2, 4, 0)), 5);
    eq((&a, &b), (b"45", b"678"));
    eq(ok(sys!(pwritev, fd, &[vec_of(&mut a)], 1, 0, 0)), 2);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    // Position -1 means the file's own.
    eq(ok(sys!(preadv2, fd, &[vec_of(&mut a)], 1, -1, -1, 0)), 2);
    eq(&a, b"45");
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 2);
    eq(ok(sys!(pwritev2, fd, &[vec_of(&mut b)], 1, -1, -1, 0)), 3);
    eq(content(c"f"), b"4567856789");
    fails(sys!(preadv2, fd, &[vec_of(&mut a)], 1, -2, -1, 0), EINVAL);
}

case!(flags_of_one_call: preadv2, pwritev2; disk);
fn flags_of_one_call() {
    let fd = create(c"f", b"0123");
    let mut buf = *b"ab";
    let (append, high) = (0x10, 0x2);
    eq(ok(sys!(pwritev2, fd, &[vec_of(&mut buf)], 1, 0, 0, append)), 2);
    eq(content(c"f"), b"0123ab");
    eq(ok(sys!(preadv2, fd, &[vec_of(&mut buf)], 1, 0, 0, high)), 2);
    eq(ok(sys!(pwritev2, fd, &[vec_of(&mut buf)], 1, 0, 0, 0x2 | 0x4)), 2);
    fails(sys!(preadv2, fd, &[vec_of(&mut buf)], 1, 0, 0, 0x4000_0000), EOPNOTSUPP);
    let [r, w] = pipe(0);
    // RWF_NOWAIT on an empty pipe.
    fails(sys!(preadv2, r, &[vec_of(&mut buf)], 1, -1, -1, 0x8), EAGAIN);
    write_all(w, b"x");
    eq(ok(sys!(preadv2, r, &[vec_of(&mut buf)], 1, -1, -1, 0x8)), 1);
}

case!(file_size_limit: write, prlimit64, ftruncate; disk);
fn file_size_limit() {
    let limit = rlimit { rlim_cur: 100, rlim_max: 100 };
    let fd = create(c"f", b"");
    fork(|| {
        ok(sys!(prlimit64, 0, RLIMIT_FSIZE, &limit, 0));
        // What fits is written; the next byte is the signal.
        eq(ok(sys!(write, fd, &[1u8; 200], 200)), 100);
        let _ = sys!(write, fd, &[1u8; 200], 200);
    })
    .dies_of(SIGXFSZ);
    eq(fstat(fd).st_size, 100);
    in_child(|| {
        ok(sys!(prlimit64, 0, RLIMIT_FSIZE, &limit, 0));
        sig::ignore(SIGXFSZ);
        fails(sys!(pwrite64, fd, &[1u8; 4], 4, 100), EFBIG);
        fails(sys!(ftruncate, fd, 101), EFBIG);
        ok(sys!(ftruncate, fd, 50));
        // No limit to pipes.
        let [_r, w] = pipe(0);
        eq(ok(sys!(write, w, &[1u8; 200], 200)), 200);
    });
}

case!(offset_beyond_what_files_hold: pwrite64, lseek; disk);
fn offset_beyond_what_files_hold() {
    let fd = create(c"f", b"");
    fails(sys!(pwrite64, fd, c"x", 1, i64::MAX), EINVAL);
    fails(sys!(pread64, fd, &mut [0u8; 2], 2, i64::MAX), EINVAL);
}

case!(appenders_do_not_overwrite: write; disk);
fn appenders_do_not_overwrite() {
    put(c"f", b"");
    let children: Vec<Child> = (0..4u8)
        .map(|i| {
            fork(|| {
                let fd = open(c"f", O_WRONLY | O_APPEND);
                for _ in 0..25 {
                    write_all(fd, &[b'a' + i; 10]);
                }
            })
        })
        .collect();
    children.into_iter().for_each(Child::succeeds);
    let all = content(c"f");
    eq(all.len(), 1000);
    check(all.chunks(10).all(|c| c.iter().all(|b| *b == c[0])), "every write is whole");
}

case!(file_is_seen_through_every_descriptor: read, write, mmap; disk);
fn file_is_seen_through_every_descriptor() {
    let a = create(c"f", b"first");
    let b = open(c"f", O_RDWR);
    let page = map_file(a, 0, PAGE, RW, MAP_SHARED);
    write_all(b, b"secon");
    eq(peek(page), b's');
    poke(page, b'S');
    eq(read(a, 5), b"Secon");
    // Bytes beyond the end are zero, and not kept.
    poke(page + 10, 9);
    eq(fstat(a).st_size, 5);
}

case!(large_transfers: read, write; disk);
fn large_transfers() {
    let data: Vec<u8> = (0..3_000_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let fd = create(c"f", b"");
    eq(ok(sys!(write, fd, data.as_slice(), data.len())), data.len() as i64);
    ok(sys!(lseek, fd, 0, SEEK_SET));
    let mut back = vec![0u8; data.len() + 5];
    eq(ok(sys!(read, fd, back.as_mut_slice(), back.len())), data.len() as i64);
    check(back[..data.len()] == data[..], "the same bytes");
}
