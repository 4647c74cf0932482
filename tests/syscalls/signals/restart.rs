//! What happens to a waiting call when a signal comes.

use crate::kit::prelude::*;

/// Runs `call` while a child sends this signal as soon as we sleep, and then `after` in the child.
#[track_caller]
fn disturbed<T>(signal: c_int, after: impl FnOnce(), call: impl FnOnce() -> T) -> T {
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, signal));
        after();
    });
    let result = call();
    child.succeeds();
    result
}

/// Stops us as soon as we sleep, and continues us.
#[track_caller]
fn stopped_for_a_while<T>(after: impl FnOnce(), call: impl FnOnce() -> T) -> T {
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGSTOP));
        until_state(me, 'T');
        ok(sys!(kill, me, SIGCONT));
        after();
    });
    let result = call();
    child.succeeds();
    result
}

case!(read_is_interrupted: read, rt_sigaction);
fn read_is_interrupted() {
    sig::on(SIGUSR1, sig::record, 0);
    let [r, _w] = pipe(0);
    let mut byte = 0u8;
    fails(disturbed(SIGUSR1, || {}, || sys!(read, r, &mut byte, 1)), EINTR);
    eq(sig::count(), 1);
}

case!(read_is_restarted: read, rt_sigaction);
fn read_is_restarted() {
    sig::on(SIGUSR1, sig::record, SA_RESTART);
    let [r, w] = pipe(0);
    let mut byte = 0u8;
    let me = ok_i32(sys!(getpid));
    let after = || {
        until_asleep(me);
        write_all(w, b"x");
    };
    eq(ok(disturbed(SIGUSR1, after, || sys!(read, r, &mut byte, 1))), 1);
    eq((byte, sig::count()), (b'x', 1));
}

case!(read_survives_a_stop: read, kill);
fn read_survives_a_stop() {
    let [r, w] = pipe(0);
    let mut byte = 0u8;
    eq(ok(stopped_for_a_while(|| write_all(w, b"x"), || sys!(read, r, &mut byte, 1))), 1);
}

case!(nanosleep_is_interrupted_and_tells_the_rest: nanosleep, rt_sigaction);
fn nanosleep_is_interrupted_and_tells_the_rest() {
    for flags in [0, SA_RESTART] {
        sig::on(SIGUSR1, sig::record, flags);
        let t = timespec { tv_sec: 100, tv_nsec: 0 };
        let mut left = timespec { tv_sec: 0, tv_nsec: 0 };
        fails(disturbed(SIGUSR1, || {}, || sys!(nanosleep, &t, &mut left)), EINTR);
        within("seconds left", left.tv_sec, 80, 99);
    }
}

case!(nanosleep_goes_on_after_a_stop: nanosleep, restart_syscall, kill);
fn nanosleep_goes_on_after_a_stop() {
    let t = timespec { tv_sec: 0, tv_nsec: 150_000_000 };
    let start = now_ns(CLOCK_MONOTONIC);
    ok(stopped_for_a_while(|| {}, || sys!(nanosleep, &t, 0)));
    let took = now_ns(CLOCK_MONOTONIC) - start;
    check(took >= 150_000_000, format_args!("the whole time passed: {took} ns"));
}

case!(clock_nanosleep_absolute: clock_nanosleep);
fn clock_nanosleep_absolute() {
    sig::on(SIGUSR1, sig::record, SA_RESTART);
    let end = now_ns(CLOCK_MONOTONIC) + 100_000_000_000;
    let t = timespec { tv_sec: end / 1_000_000_000, tv_nsec: 0 };
    let mut left = timespec { tv_sec: 7, tv_nsec: 7 };
    let call = || sys!(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, &mut left);
    fails(disturbed(SIGUSR1, || {}, call), EINTR);
    eq_of("the rest is not told", (left.tv_sec, left.tv_nsec), (7, 7));
}

case!(poll_is_interrupted_in_any_case: poll, ppoll);
fn poll_is_interrupted_in_any_case() {
    let [r, _w] = pipe(0);
    for flags in [0, SA_RESTART] {
        sig::on(SIGUSR1, sig::record, flags);
        let mut fd = pollfd { fd: r, events: POLLIN, revents: 0 };
        fails(disturbed(SIGUSR1, || {}, || sys!(poll, &mut fd, 1, 100_000)), EINTR);
        fails(disturbed(SIGUSR1, || {}, || sys!(ppoll, &mut fd, 1, 0, 0, 8)), EINTR);
    }
}

case!(poll_goes_on_after_a_stop: poll, restart_syscall);
fn poll_goes_on_after_a_stop() {
    let [r, w] = pipe(0);
    let mut fd = pollfd { fd: r, events: POLLIN, revents: 0 };
    eq(ok(stopped_for_a_while(|| write_all(w, b"x"), || sys!(poll, &mut fd, 1, 8000))), 1);
    let start = now_ns(CLOCK_MONOTONIC);
    read(r, 1);
    eq(ok(stopped_for_a_while(|| {}, || sys!(poll, &mut fd, 1, 120))), 0);
    check(now_ns(CLOCK_MONOTONIC) - start >= 120_000_000, "the whole time passed");
}

case!(epoll_wait_is_interrupted_in_any_case: epoll_wait);
fn epoll_wait_is_interrupted_in_any_case() {
    let epoll = ok_i32(sys!(epoll_create1, 0));
    let mut event: epoll_event = zeroed();
    for flags in [0, SA_RESTART] {
        sig::on(SIGUSR1, sig::record, flags);
        fails(disturbed(SIGUSR1, || {}, || sys!(epoll_wait, epoll, &mut event, 1, -1)), EINTR);
    }
}

case!(select_is_interrupted: select);
fn select_is_interrupted() {
    sig::on(SIGUSR1, sig::record, SA_RESTART);
    fails(disturbed(SIGUSR1, || {}, || sys!(select, 0, 0, 0, 0, 0)), EINTR);
}

case!(write_to_a_full_pipe: write, rt_sigaction);
fn write_to_a_full_pipe() {
    sig::on(SIGUSR1, sig::record, 0);
    let [_r, w] = pipe(0);
    let bytes = vec![0u8; 200_000];
    // Part of it went in: that is the result, not EINTR.
    let got = ok(disturbed(SIGUSR1, || {}, || sys!(write, w, bytes.as_slice(), bytes.len())));
    eq(got, 65536);
    fails(disturbed(SIGUSR1, || {}, || sys!(write, w, bytes.as_slice(), 1)), EINTR);
}

case!(handler_then_stop_then_data: read);
fn handler_then_stop_then_data() {
    sig::on(SIGUSR1, sig::record, SA_RESTART);
    let [r, w] = pipe(0);
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        for _ in 0..5 {
            until_asleep(me);
            ok(sys!(kill, me, SIGUSR1));
        }
        until_asleep(me);
        ok(sys!(kill, me, SIGSTOP));
        until_state(me, 'T');
        ok(sys!(kill, me, SIGUSR1));
        ok(sys!(kill, me, SIGCONT));
        until_asleep(me);
        write_all(w, b"x");
    });
    eq(read(r, 1), b"x");
    check(sig::count() >= 2, "handlers ran");
    child.succeeds();
}

case!(restart_syscall_without_a_reason: restart_syscall);
fn restart_syscall_without_a_reason() {
    fails(sys!(restart_syscall), EINTR);
}

case!(socket_timeouts_are_not_restarted: recvfrom, setsockopt);
fn socket_timeouts_are_not_restarted() {
    let mut pair = [0; 2];
    ok(sys!(socketpair, AF_UNIX, SOCK_STREAM, 0, &mut pair));
    sig::on(SIGUSR1, sig::record, SA_RESTART);
    let t = timeval { tv_sec: 100, tv_usec: 0 };
    ok(sys!(setsockopt, pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, 16));
    let mut byte = 0u8;
    fails(disturbed(SIGUSR1, || {}, || sys!(recvfrom, pair[0], &mut byte, 1, 0, 0, 0)), EINTR);
}
