//! Pipes: capacity, whole writes, end of file, SIGPIPE, waiting.

use crate::kit::prelude::*;

fn capacity(fd: i32) -> i64 {
    ok(sys!(fcntl, fd, F_GETPIPE_SZ))
}

fn readable(fd: i32) -> i32 {
    let mut n = 0i32;
    ok(sys!(ioctl, fd, FIONREAD, &mut n));
    n
}

case!(bytes_go_through_in_order: pipe, read, write);
fn bytes_go_through_in_order() {
    let mut ends = [0i32; 2];
    ok(sys!(pipe, &mut ends));
    let [r, w] = ends;
    write_all(w, b"abc");
    write_all(w, b"def");
    eq(readable(r), 6);
    eq(readable(w), 6);
    eq(read(r, 4), b"abcd");
    eq(read(r, 100), b"ef");
}

case!(ends_and_flags: pipe2, fcntl, fstat);
fn ends_and_flags() {
    let [r, w] = pipe(O_CLOEXEC | O_NONBLOCK);
    eq(ok_i32(sys!(fcntl, r, F_GETFD)), FD_CLOEXEC);
    eq(ok_i32(sys!(fcntl, r, F_GETFL)), O_NONBLOCK);
    eq(ok_i32(sys!(fcntl, w, F_GETFL)), O_WRONLY | O_NONBLOCK);
    let st = fstat(r);
    eq((st.st_mode & S_IFMT, st.st_mode & 0o777, st.st_size, st.st_nlink), (S_IFIFO, 0o600, 0, 1));
    eq(fstat(w).st_ino, st.st_ino);
    fails(sys!(write, r, c"x", 1), EBADF);
    fails(sys!(read, w, &mut [0u8; 1], 1), EBADF);
    fails(sys!(pipe2, &mut [0i32; 2], 1 << 4), EINVAL);
    fails(sys!(pipe2, 8, 0), EFAULT);
    fails(sys!(fsync, r), EINVAL);
    fails(sys!(ftruncate, w, 0), EINVAL);
}

case!(failed_pipe_takes_no_number: pipe2);
fn failed_pipe_takes_no_number() {
    let free = ok_i32(sys!(dup, 0));
    close(free);
    fails(sys!(pipe2, 8, 0), EFAULT);
    eq(ok_i32(sys!(dup, 0)), free);
}

case!(end_of_file_after_the_last_writer: read, close);
fn end_of_file_after_the_last_writer() {
    let [r, w] = pipe(0);
    let twin = ok_i32(sys!(dup, w));
    write_all(w, b"x");
    close(w);
    eq(read(r, 10), b"x");
    ok(sys!(fcntl, r, F_SETFL, O_NONBLOCK));
    fails(sys!(read, r, &mut [0u8; 1], 1), EAGAIN);
    close(twin);
    eq(read(r, 10), b"");
    eq(read(r, 10), b"");
}

case!(broken_pipe: write);
fn broken_pipe() {
    let [r, w] = pipe(0);
    close(r);
    fork(|| {
        let _ = sys!(write, w, c"x", 1);
    })
    .dies_of(SIGPIPE);
    sig::ignore(SIGPIPE);
    fails(sys!(write, w, c"x", 1), EPIPE);
    sig::on(SIGPIPE, sig::record, 0);
    fails(sys!(write, w, c"x", 1), EPIPE);
    eq(sig::log_signals(), vec![SIGPIPE]);
    // Nothing to write is no error.
    eq(ok(sys!(write, w, c"x", 0)), 0);
}

case!(signal_of_a_broken_pipe_is_for_the_thread: write);
fn signal_of_a_broken_pipe_is_for_the_thread() {
    let [r, w] = pipe(0);
    close(r);
    sig::on(SIGPIPE, sig::record, 0);
    sig::block(sig::bit(SIGPIPE));
    fails(sys!(write, w, c"x", 1), EPIPE);
    eq(sig::pending(), sig::bit(SIGPIPE));
    // Another thread does not see it.
    thread::join(std::thread::spawn(|| eq(sig::pending(), 0)));
}

case!(capacity_is_sixteen_pages: fcntl, write);
fn capacity_is_sixteen_pages() {
    let [r, w] = pipe(O_NONBLOCK);
    eq(capacity(r), 65_536);
    let big = vec![1u8; 100_000];
    eq(ok(sys!(write, w, big.as_slice(), big.len())), 65_536);
    fails(sys!(write, w, c"x", 1), EAGAIN);
    eq(read(r, 4096).len(), 4096);
    eq(ok(sys!(write, w, big.as_slice(), 4096)), 4096);
    fails(sys!(write, w, c"x", 1), EAGAIN);
}

case!(capacity_can_change: fcntl, write);
fn capacity_can_change() {
    let [r, w] = pipe(O_NONBLOCK);
    eq(ok(sys!(fcntl, w, F_SETPIPE_SZ, 5000)), 8192);
    eq(capacity(r), 8192);
    eq(ok(sys!(fcntl, w, F_SETPIPE_SZ, 1)), 4096);
    eq(ok(sys!(write, w, vec![1u8; 10_000].as_slice(), 10_000)), 4096);
    eq(ok(sys!(fcntl, w, F_SETPIPE_SZ, 1 << 20)), 1 << 20);
    eq(ok(sys!(write, w, vec![1u8; 10_000].as_slice(), 10_000)), 10_000);
    // Not below what is inside.
    fails(sys!(fcntl, w, F_SETPIPE_SZ, 4096), EBUSY);
    fails(sys!(fcntl, w, F_SETPIPE_SZ, -1), EINVAL);
    fails(sys!(fcntl, w, F_SETPIPE_SZ, 0x8000_0001u64), EINVAL);
    eq(read(r, 100_000).len(), 14_096);
    let file = create(c"f", b"");
    fails(sys!(fcntl, file, F_GETPIPE_SZ), EBADF);
}

case!(capacity_limit_without_privileges: fcntl);
fn capacity_limit_without_privileges() {
    let max: i64 = text(c"/proc/sys/fs/pipe-max-size").trim().parse().unwrap_or(0);
    eq(max, 1 << 20);
    unprivileged(|| {
        let [_r, w] = pipe(0);
        fails(sys!(fcntl, w, F_SETPIPE_SZ, 2 << 20), EPERM);
        eq(ok(sys!(fcntl, w, F_SETPIPE_SZ, 1 << 20)), 1 << 20);
    });
}

case!(small_writes_are_whole: write);
fn small_writes_are_whole() {
    let [r, w] = pipe(O_NONBLOCK);
    eq(ok(sys!(write, w, vec![1u8; 65_536].as_slice(), 65_536)), 65_536);
    eq(read(r, 4000).len(), 4000);
    // The first page is not free yet: nothing of a small write goes in.
    fails(sys!(write, w, vec![2u8; 4096].as_slice(), 4096), EAGAIN);
    eq(read(r, 96).len(), 96);
    eq(ok(sys!(write, w, vec![2u8; 4096].as_slice(), 4096)), 4096);
    // A large one goes in as far as there is room.
    eq(read(r, 8192).len(), 8192);
    eq(ok(sys!(write, w, vec![3u8; 20_000].as_slice(), 20_000)), 8192);
}

case!(small_writes_do_not_mix: write, read, fork);
fn small_writes_do_not_mix() {
    let [r, w] = pipe(0);
    let children: Vec<Child> = (0..4u8)
        .map(|i| {
            fork(|| {
                for _ in 0..20 {
                    eq(ok(sys!(write, w, vec![i + 1; 3000].as_slice(), 3000)), 3000);
                }
            })
        })
        .collect();
    close(w);
    let all = read_to_end(r);
    eq(all.len(), 240_000);
    check(all.chunks(3000).all(|c| c.iter().all(|b| *b == c[0])), "no write is torn");
    children.into_iter().for_each(Child::succeeds);
}

case!(reader_waits_for_a_writer: read, write);
fn reader_waits_for_a_writer() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        close(w);
        eq(read(r, 10), b"late");
        eq(read(r, 10), b"");
    });
    until_asleep(child.pid);
    write_all(w, b"late");
    close(w);
    child.succeeds();
}

case!(writer_waits_for_room: write, read);
fn writer_waits_for_room() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        close(r);
        // One call, until all is in.
        eq(ok(sys!(write, w, vec![5u8; 200_000].as_slice(), 200_000)), 200_000);
    });
    close(w);
    until_asleep(child.pid);
    eq(read_to_end(r).len(), 200_000);
    child.succeeds();
}

case!(waiting_writer_sees_the_reader_go: write, close);
fn waiting_writer_sees_the_reader_go() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        close(r);
        let _ = sys!(write, w, vec![5u8; 200_000].as_slice(), 200_000);
    });
    until_asleep(child.pid);
    close(r);
    child.dies_of(SIGPIPE);
    // With the signal ignored, what went in is reported.
    let [r, w] = pipe(0);
    let child = fork(|| {
        close(r);
        sig::ignore(SIGPIPE);
        eq(ok(sys!(write, w, vec![5u8; 200_000].as_slice(), 200_000)), 65_536);
    });
    until_asleep(child.pid);
    close(r);
    child.succeeds();
}

case!(interrupted_writer_reports_its_part: write, kill);
fn interrupted_writer_reports_its_part() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, SA_RESTART);
        eq(ok(sys!(write, w, vec![5u8; 200_000].as_slice(), 200_000)), 65_536);
        eq(sig::count(), 1);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
    close(r);
}

case!(packets: pipe2, read, write);
fn packets() {
    let [r, w] = pipe(O_DIRECT | O_NONBLOCK);
    write_all(w, b"one");
    write_all(w, b"second");
    eq(read(r, 100), b"one");
    // The rest of a packet is lost.
    eq(read(r, 3), b"sec");
    fails(sys!(read, r, &mut [0u8; 8], 8), EAGAIN);
}

case!(poll_of_both_ends: poll);
fn poll_of_both_ends() {
    let [r, w] = pipe(0);
    let look = |fd: i32, events: i16| {
        let mut p = pollfd { fd, events, revents: 0 };
        ok(sys!(poll, &mut p, 1, 0));
        p.revents
    };
    eq(look(r, POLLIN), 0);
    eq(look(w, POLLOUT), POLLOUT);
    write_all(w, b"x");
    eq(look(r, POLLIN | POLLRDNORM), POLLIN | POLLRDNORM);
    let [r2, w2] = pipe(O_NONBLOCK);
    ok(sys!(write, w2, vec![0u8; 65_536].as_slice(), 65_536));
    eq(look(w2, POLLOUT), 0);
    close(w2);
    eq(look(r2, POLLIN), POLLIN | POLLHUP);
    read(r2, 65_536);
    eq(look(r2, POLLIN), POLLHUP);
    close(r);
    eq(look(w, POLLOUT), POLLOUT | POLLERR);
}

case!(vectors_through_a_pipe: readv, writev);
fn vectors_through_a_pipe() {
    let [r, w] = pipe(0);
    let part = |b: &mut [u8]| iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() };
    eq(ok(sys!(writev, w, &[part(&mut [b'a'; 3]), part(&mut [b'b'; 3])], 2)), 6);
    let (mut x, mut y) = ([0u8; 2], [0u8; 10]);
    eq(ok(sys!(readv, r, &[part(&mut x), part(&mut y)], 2)), 6);
    eq((&x, &y[..4]), (b"aa", &b"abbb"[..]));
}

case!(opened_again_by_name: openat, read);
fn opened_again_by_name() {
    let [r, w] = pipe(0);
    let name = std::ffi::CString::new(format!("/proc/self/fd/{r}")).unwrap_or_default();
    let again = open(&name, O_RDWR | O_NONBLOCK);
    write_all(again, b"y");
    eq(read(r, 4), b"y");
    write_all(w, b"z");
    eq(read(again, 4), b"z");
    let link = std::fs::read_link(format!("/proc/self/fd/{r}")).unwrap_or_default();
    eq(link.display().to_string(), format!("pipe:[{}]", fstat(r).st_ino));
}

case!(wild_memory_in_a_pipe: read, write);
fn wild_memory_in_a_pipe() {
    let [r, w] = pipe(0);
    fails(sys!(write, w, 8, 1), EFAULT);
    write_all(w, b"x");
    fails(sys!(read, r, 8, 1), EFAULT);
    // It is still there.
    eq(read(r, 2), b"x");
}

case!(broken_without_a_signal: pwritev2, preadv2);
fn broken_without_a_signal() {
    const RWF_NOSIGNAL: i32 = 0x100;
    let [r, w] = pipe(0);
    let vector = [iovec { iov_base: c"x".as_ptr() as *mut c_void, iov_len: 1 }];
    let write2 = |fd: i32, flags: i32| sys!(pwritev2, fd, &vector, 1, -1, 0, flags);
    if write2(w, RWF_NOSIGNAL) == Err(Errno(EOPNOTSUPP)) {
        skip("RWF_NOSIGNAL came with Linux 6.18");
    }
    let mut byte = 0u8;
    let into = [iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 }];
    eq(ok(sys!(preadv2, r, &into, 1, -1, 0, RWF_NOSIGNAL)), 1);
    close(r);
    fails(write2(w, RWF_NOSIGNAL), EPIPE);
    let mut ends = [0i32; 2];
    ok(sys!(socketpair, AF_UNIX, SOCK_STREAM, 0, &mut ends));
    close(ends[1]);
    fails(write2(ends[0], RWF_NOSIGNAL), EPIPE);
    // And with one, as always.
    for fd in [w, ends[0]] {
        fork(|| {
            let _ = write2(fd, 0);
        })
        .dies_of(SIGPIPE);
    }
}
