//! dup, fcntl, close_range.

use crate::kit::prelude::*;

case!(duplicates_share_status_not_flags: dup, dup2, dup3, fcntl);
fn duplicates_share_status_not_flags() {
    let fd = create(c"f", b"x");
    let twin = ok_i32(sys!(dup, fd));
    eq(ok_i32(sys!(fcntl, fd, F_GETFD)), FD_CLOEXEC);
    eq(ok(sys!(fcntl, twin, F_GETFD)), 0);
    ok(sys!(fcntl, twin, F_SETFL, O_APPEND | O_NONBLOCK));
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)) & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);
    eq(ok_i32(sys!(dup2, fd, 50)), 50);
    eq(ok(sys!(fcntl, 50, F_GETFD)), 0);
    eq(ok_i32(sys!(dup3, fd, 51, O_CLOEXEC)), 51);
    eq(ok_i32(sys!(fcntl, 51, F_GETFD)), FD_CLOEXEC);
}

case!(dup2_of_itself: dup2, dup3);
fn dup2_of_itself() {
    let fd = create(c"f", b"x");
    // Nothing happens: the flag stays.
    eq(ok_i32(sys!(dup2, fd, fd)), fd);
    eq(ok_i32(sys!(fcntl, fd, F_GETFD)), FD_CLOEXEC);
    fails(sys!(dup3, fd, fd, 0), EINVAL);
    fails(sys!(dup2, 999, 999), EBADF);
    fails(sys!(dup3, 999, 999, 0), EINVAL);
}

case!(dup_errors: dup, dup2, dup3);
fn dup_errors() {
    fails(sys!(dup, 999), EBADF);
    fails(sys!(dup2, 999, 5), EBADF);
    fails(sys!(dup2, 0, -1), EBADF);
    fails(sys!(dup2, 0, 1 << 30), EBADF);
    fails(sys!(dup3, 0, 5, 1), EINVAL);
    fails(sys!(dup3, 0, 5, O_CLOEXEC | O_NONBLOCK), EINVAL);
}

case!(dup2_closes_what_was_there: dup2, read);
fn dup2_closes_what_was_there() {
    let [r, w] = pipe(0);
    let other = create(c"f", b"");
    ok(sys!(dup2, other, w));
    // The pipe's only writer has gone.
    eq(read(r, 1), b"");
}

case!(fcntl_dup_from_a_number: fcntl);
fn fcntl_dup_from_a_number() {
    eq(ok(sys!(fcntl, 0, F_DUPFD, 100)), 100);
    eq(ok(sys!(fcntl, 0, F_DUPFD, 100)), 101);
    eq(ok(sys!(fcntl, 0, F_DUPFD_CLOEXEC, 100)), 102);
    eq(ok_i32(sys!(fcntl, 102, F_GETFD)), FD_CLOEXEC);
    fails(sys!(fcntl, 0, F_DUPFD, -1), EINVAL);
    fails(sys!(fcntl, 0, F_DUPFD, 1 << 30), EINVAL);
    fails(sys!(fcntl, 999, F_DUPFD, 0), EBADF);
}

case!(status_flags_that_can_change: fcntl; disk);
fn status_flags_that_can_change() {
    let fd = create(c"f", b"");
    let before = ok_i32(sys!(fcntl, fd, F_GETFL));
    // The access mode and the flags of creation are not among them.
    ok(sys!(fcntl, fd, F_SETFL, O_WRONLY | O_NONBLOCK | O_TRUNC | O_SYNC));
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)), before | O_NONBLOCK);
    ok(sys!(fcntl, fd, F_SETFL, 0));
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)), before);
    fails(sys!(fcntl, fd, 12_345, 0), EINVAL);
    fails(sys!(fcntl, 999, F_GETFL), EBADF);
    // A descriptor flag other than the one is forgotten.
    ok(sys!(fcntl, fd, F_SETFD, 0xfe));
    eq(ok(sys!(fcntl, fd, F_GETFD)), 0);
}

case!(owner_of_signals: fcntl);
fn owner_of_signals() {
    let [r, _w] = pipe(0);
    eq(ok(sys!(fcntl, r, F_GETOWN)), 0);
    let me = ok(sys!(getpid));
    ok(sys!(fcntl, r, F_SETOWN, me));
    eq(ok(sys!(fcntl, r, F_GETOWN)), me);
    let mut owner = [0i32; 2];
    ok(sys!(fcntl, r, 16, &mut owner));
    eq(owner, [1, me as i32]);
    ok(sys!(fcntl, r, 15, &[2i32, ok_i32(sys!(getpgid, 0))]));
    ok(sys!(fcntl, r, 16, &mut owner));
    eq(owner, [2, ok_i32(sys!(getpgid, 0))]);
    fails(sys!(fcntl, r, 15, &[9i32, 1]), EINVAL);
    fails(sys!(fcntl, r, F_SETOWN, 3_000_000), ESRCH);
    fails(sys!(fcntl, r, 10, 65), EINVAL);
    ok(sys!(fcntl, r, 10, SIGRTMIN()));
    eq(ok_i32(sys!(fcntl, r, 11)), SIGRTMIN());
}

case!(input_signal: fcntl, write);
fn input_signal() {
    let [r, w] = pipe(0);
    sig::on(SIGIO, sig::record, 0);
    ok(sys!(fcntl, r, F_SETOWN, ok(sys!(getpid))));
    ok(sys!(fcntl, r, F_SETFL, O_ASYNC));
    eq(ok_i32(sys!(fcntl, r, F_GETFL)) & O_ASYNC, O_ASYNC);
    write_all(w, b"x");
    eventually("SIGIO has come", || sig::count() > 0);
    eq(sig::log_signals()[0], SIGIO);
}

case!(input_signal_with_details: fcntl, write);
fn input_signal_with_details() {
    let [r, w] = pipe(0);
    let number = SIGRTMIN() + 2;
    sig::on(number, sig::record, 0);
    ok(sys!(fcntl, r, F_SETOWN, ok(sys!(getpid))));
    ok(sys!(fcntl, r, 10, number));
    ok(sys!(fcntl, r, F_SETFL, O_ASYNC));
    write_all(w, b"x");
    eventually("the signal has come", || sig::count() > 0);
    let info = sig::log()[0];
    // POLL_IN, the band, and the descriptor.
    eq((info.signal(), info.code(), info.addr() as i64, info.status()), (number, 1, 0x41, r));
}

case!(output_signal: fcntl, write, read);
fn output_signal() {
    let [r, w] = pipe(0);
    let number = SIGRTMIN() + 2;
    sig::on(number, sig::record, 0);
    ok(sys!(fcntl, w, F_SETOWN, ok(sys!(getpid))));
    ok(sys!(fcntl, w, 10, number));
    ok(sys!(fcntl, w, F_SETFL, O_ASYNC));
    // The end that writes is told of room, not of its own bytes.
    write_all(w, b"x");
    sleep_ms(20);
    eq(sig::count(), 0);
    eq(read(r, 1), b"x");
    eventually("the signal has come", || sig::count() > 0);
    let info = sig::log()[0];
    eq((info.signal(), info.code(), info.addr() as i64, info.status()), (number, 2, 0x304, w));
}

case!(input_signal_to_another_user: fcntl, write, setresuid; root);
fn input_signal_to_another_user() {
    let [r, w] = pipe(0);
    let ready = pipe(0);
    let child = fork(|| {
        sig::on(SIGIO, sig::record, 0);
        ok(sys!(setresuid, 1001, 1001, 1001));
        write_all(ready[1], b"r");
        sleep_ms(100);
        eq(sig::count(), 0);
    });
    eq(read(ready[0], 1), b"r");
    in_child(|| {
        ok(sys!(setresuid, 1002, 1002, 1002));
        // Naming somebody is allowed; the signal is not sent.
        ok(sys!(fcntl, r, F_SETOWN, child.pid));
    });
    ok(sys!(fcntl, r, F_SETFL, O_ASYNC));
    write_all(w, b"x");
    child.succeeds();
}

case!(files_without_input_signals: fcntl, ioctl);
fn files_without_input_signals() {
    let fd = create(c"f", b"x");
    ok(sys!(fcntl, fd, F_SETFL, O_ASYNC));
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)) & O_ASYNC, 0);
    fails(sys!(ioctl, fd, 0x5452, &1i32), ENOTTY);
    ok(sys!(ioctl, fd, 0x5452, &0i32));
    let [r, _w] = pipe(0);
    ok(sys!(ioctl, r, 0x5452, &1i32));
    eq(ok_i32(sys!(fcntl, r, F_GETFL)) & O_ASYNC, O_ASYNC);
    fails(sys!(ioctl, r, 0x8901, &1i32), ENOTTY);
}

case!(range_is_closed: close_range, fcntl);
fn range_is_closed() {
    for fd in 20..30 {
        ok(sys!(dup3, 0, fd, 0));
    }
    ok(sys!(close_range, 22, 25, 0));
    let open: Vec<i32> = (20..30).filter(|fd| sys!(fcntl, *fd, F_GETFD).is_ok()).collect();
    eq(open, vec![20, 21, 26, 27, 28, 29]);
    // Holes don't matter, nor does an end beyond every number.
    ok(sys!(close_range, 21, u32::MAX, 0));
    let open: Vec<i32> = (20..30).filter(|fd| sys!(fcntl, *fd, F_GETFD).is_ok()).collect();
    eq(open, vec![20]);
    fails(sys!(close_range, 5, 4, 0), EINVAL);
    fails(sys!(close_range, 5, 6, 8), EINVAL);
    ok(sys!(close_range, 1000, 2000, 0));
}

case!(range_is_marked: close_range, fcntl);
fn range_is_marked() {
    for fd in 20..24 {
        ok(sys!(dup3, 0, fd, 0));
    }
    ok(sys!(close_range, 21, 22, 4));
    let flags: Vec<i64> = (20..24).map(|fd| ok(sys!(fcntl, fd, F_GETFD))).collect();
    eq(flags, vec![0, 1, 1, 0]);
}

case!(range_with_a_table_of_its_own: close_range, clone);
fn range_with_a_table_of_its_own() {
    ok(sys!(dup3, 0, 20, 0));
    ok(sys!(dup3, 0, 21, 0));
    clone_child((CLONE_FILES | SIGCHLD) as u64, || {
        ok(sys!(close_range, 21, u32::MAX, 2));
        fails(sys!(fcntl, 21, F_GETFD), EBADF);
        ok(sys!(fcntl, 20, F_GETFD));
        // Shared no more.
        close(20);
    })
    .succeeds();
    ok(sys!(fcntl, 20, F_GETFD));
    ok(sys!(fcntl, 21, F_GETFD));
}

case!(close_errors: close);
fn close_errors() {
    fails(sys!(close, -1), EBADF);
    fails(sys!(close, 999), EBADF);
    let fd = create(c"f", b"");
    close(fd);
    fails(sys!(close, fd), EBADF);
}

case!(closing_while_another_thread_reads: close, read);
fn closing_while_another_thread_reads() {
    // The reader keeps the file; the number is free at once.
    let [r, w] = pipe(0);
    let (tid, handle) = thread::spawn(move || {
        let mut byte = [0u8; 1];
        eq(ok(sys!(read, r, &mut byte, 1)), 1);
        eq(byte[0], b'x');
    });
    until_asleep(tid);
    close(r);
    fails(sys!(fcntl, r, F_GETFD), EBADF);
    write_all(w, b"x");
    thread::join(handle);
}

case!(unshared_table: unshare, close);
fn unshared_table() {
    let fd = create(c"f", b"x");
    let handle = std::thread::spawn(move || {
        ok(sys!(unshare, CLONE_FILES));
        close(fd);
    });
    thread::join(handle);
    eq(read(fd, 1), b"x");
}

case!(compare_with_kcmp: kcmp, dup);
fn compare_with_kcmp() {
    let me = ok(sys!(getpid));
    let fd = create(c"f", b"");
    let twin = ok_i32(sys!(dup, fd));
    let other = open(c"f", O_RDONLY);
    let Ok(same) = sys!(kcmp, me, me, 0, fd, twin) else { skip("no kcmp here") };
    eq(same, 0);
    check(ok(sys!(kcmp, me, me, 0, fd, other)) != 0, "another description");
    fails(sys!(kcmp, me, me, 0, fd, 999), EBADF);
    fails(sys!(kcmp, me, me, 99, 0, 0), EINVAL);
}
