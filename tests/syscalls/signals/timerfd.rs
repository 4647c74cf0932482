//! timerfd.

use crate::kit::prelude::*;

fn spec(interval: i64, value: i64) -> [i64; 4] {
    let split = |t: i64| [t / 1_000_000_000, t % 1_000_000_000];
    let ([a, b], [c, d]) = (split(interval), split(value));
    [a, b, c, d]
}

#[track_caller]
fn make(clock: c_int, flags: c_int) -> c_int {
    ok_i32(sys!(timerfd_create, clock, flags))
}

case!(expires_once: timerfd_create, timerfd_settime, read);
fn expires_once() {
    let fd = make(CLOCK_MONOTONIC, TFD_CLOEXEC);
    eq(ok(sys!(fcntl, fd, F_GETFD)), i64::from(FD_CLOEXEC));
    let start = now_ns(CLOCK_MONOTONIC);
    ok(sys!(timerfd_settime, fd, 0, &spec(0, 10_000_000), 0));
    let mut count = 0u64;
    eq(ok(sys!(read, fd, &mut count, 8)), 8);
    eq(count, 1);
    check(now_ns(CLOCK_MONOTONIC) - start >= 10_000_000, "not too early");
    let mut now = [9i64; 4];
    ok(sys!(timerfd_gettime, fd, &mut now));
    eq(now, [0; 4]);
}

case!(counts_expirations: timerfd_settime, read);
fn counts_expirations() {
    let fd = make(CLOCK_MONOTONIC, 0);
    ok(sys!(timerfd_settime, fd, 0, &spec(1_000_000, 1_000_000), 0));
    sleep_ms(30);
    let mut count = 0u64;
    ok(sys!(read, fd, &mut count, 8));
    check(count >= 10, format_args!("{count} expirations"));
}

case!(nonblocking_and_poll: timerfd_create, poll);
fn nonblocking_and_poll() {
    let fd = make(CLOCK_MONOTONIC, TFD_NONBLOCK);
    let mut count = 0u64;
    fails(sys!(read, fd, &mut count, 8), EAGAIN);
    fails(sys!(read, fd, &mut count, 7), EINVAL);
    fails(sys!(write, fd, &count, 8), EINVAL);
    ok(sys!(timerfd_settime, fd, 0, &spec(0, 2_000_000), 0));
    let mut poll = pollfd { fd, events: POLLIN, revents: 0 };
    eq(ok(sys!(poll, &mut poll, 1, 8000)), 1);
    eq(poll.revents, POLLIN);
    ok(sys!(read, fd, &mut count, 8));
    eq(ok(sys!(poll, &mut poll, 1, 0)), 0);
}

case!(absolute_and_past: timerfd_settime);
fn absolute_and_past() {
    let fd = make(CLOCK_REALTIME, 0);
    let at = now_ns(CLOCK_REALTIME) + 5_000_000;
    ok(sys!(timerfd_settime, fd, TFD_TIMER_ABSTIME, &spec(0, at), 0));
    let mut count = 0u64;
    ok(sys!(read, fd, &mut count, 8));
    check(now_ns(CLOCK_REALTIME) >= at, "not too early");
    ok(sys!(timerfd_settime, fd, TFD_TIMER_ABSTIME, &spec(0, 1), 0));
    eq(ok(sys!(read, fd, &mut count, 8)), 8);
}

case!(old_value_and_disarm: timerfd_settime, timerfd_gettime);
fn old_value_and_disarm() {
    let fd = make(CLOCK_MONOTONIC, TFD_NONBLOCK);
    ok(sys!(timerfd_settime, fd, 0, &spec(7_000_000_000, 100_000_000_000), 0));
    let mut now = [0i64; 4];
    ok(sys!(timerfd_gettime, fd, &mut now));
    eq(now[0], 7);
    within("seconds", now[2], 98, 100);
    let mut old = [0i64; 4];
    ok(sys!(timerfd_settime, fd, 0, &spec(0, 0), &mut old));
    within("seconds", old[2], 98, 100);
    ok(sys!(timerfd_gettime, fd, &mut now));
    eq(now, [0; 4]);
}

case!(setting_forgets_expirations: timerfd_settime);
fn setting_forgets_expirations() {
    let fd = make(CLOCK_MONOTONIC, TFD_NONBLOCK);
    ok(sys!(timerfd_settime, fd, 0, &spec(0, 1_000_000), 0));
    sleep_ms(10);
    ok(sys!(timerfd_settime, fd, 0, &spec(0, 100_000_000_000), 0));
    fails(sys!(read, fd, &mut 0u64, 8), EAGAIN);
}

case!(errors: timerfd_create, timerfd_settime, timerfd_gettime);
fn errors() {
    fails(sys!(timerfd_create, CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
    fails(sys!(timerfd_create, 99, 0), EINVAL);
    fails(sys!(timerfd_create, CLOCK_MONOTONIC, 1), EINVAL);
    let fd = make(CLOCK_BOOTTIME, 0);
    fails(sys!(timerfd_settime, fd, 8, &spec(0, 0), 0), EINVAL);
    fails(sys!(timerfd_settime, fd, 0, &[0i64, 0, 0, 1_000_000_000], 0), EINVAL);
    fails(sys!(timerfd_settime, fd, 0, 8, 0), EFAULT);
    fails(sys!(timerfd_settime, 999, 0, &spec(0, 0), 0), EBADF);
    fails(sys!(timerfd_settime, 2, 0, &spec(0, 0), 0), EINVAL);
    fails(sys!(timerfd_gettime, 2, &mut [0i64; 4]), EINVAL);
    fails(sys!(timerfd_gettime, fd, 8), EFAULT);
}

case!(shared_after_fork: timerfd_create, fork);
fn shared_after_fork() {
    let fd = make(CLOCK_MONOTONIC, 0);
    ok(sys!(timerfd_settime, fd, 0, &spec(0, 5_000_000), 0));
    in_child(|| {
        let mut count = 0u64;
        ok(sys!(read, fd, &mut count, 8));
        eq(count, 1);
    });
    ok(sys!(fcntl, fd, F_SETFL, O_NONBLOCK));
    fails(sys!(read, fd, &mut 0u64, 8), EAGAIN);
}
