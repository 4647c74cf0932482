//! clock_gettime, clock_getres, gettimeofday, time.

use crate::kit::prelude::*;

case!(clocks_that_go_on: clock_gettime);
fn clocks_that_go_on() {
    for clock in [
        CLOCK_REALTIME,
        CLOCK_MONOTONIC,
        CLOCK_MONOTONIC_RAW,
        CLOCK_BOOTTIME,
        CLOCK_TAI,
        CLOCK_REALTIME_COARSE,
        CLOCK_MONOTONIC_COARSE,
    ] {
        let first = now_ns(clock);
        sleep_ms(15);
        let after = now_ns(clock);
        check(
            after > first && after - first < 10_000_000_000,
            format_args!("clock {clock}: {first} {after}"),
        );
    }
}

case!(monotonic_never_goes_back: clock_gettime, fork);
fn monotonic_never_goes_back() {
    let mut last = 0;
    for _ in 0..1000 {
        let now = now_ns(CLOCK_MONOTONIC);
        check(now >= last, "not back");
        last = now;
    }
    // The same for all processes.
    in_child(|| check(now_ns(CLOCK_MONOTONIC) >= last, "not back in a child"));
    within("coarse", now_ns(CLOCK_MONOTONIC_COARSE), last - 20_000_000, now_ns(CLOCK_MONOTONIC));
}

case!(clock_errors: clock_gettime, clock_getres);
fn clock_errors() {
    let mut t: timespec = zeroed();
    for clock in [12, 17, 99, i32::MAX] {
        fails(sys!(clock_gettime, clock, &mut t), EINVAL);
        fails(sys!(clock_getres, clock, &mut t), EINVAL);
    }
    fails(sys!(clock_gettime, CLOCK_REALTIME, 8), EFAULT);
    fails(sys!(clock_getres, CLOCK_REALTIME, 8), EFAULT);
    fails(sys!(clock_gettime, 99, 8), EINVAL);
    // A descriptor that is no clock.
    fails(sys!(clock_gettime, !999 << 3 | 3, &mut t), EINVAL);
}

case!(resolutions: clock_getres);
fn resolutions() {
    let mut t: timespec = zeroed();
    for clock in
        [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_PROCESS_CPUTIME_ID]
    {
        ok(sys!(clock_getres, clock, &mut t));
        eq_of(clock, (t.tv_sec, t.tv_nsec), (0, 1));
    }
    ok(sys!(clock_getres, CLOCK_REALTIME_COARSE, &mut t));
    within("coarse", t.tv_nsec, 1_000_000, 10_000_000);
    ok(sys!(clock_getres, CLOCK_REALTIME, 0));
}

case!(time_of_day_agrees: gettimeofday, time, clock_gettime);
fn time_of_day_agrees() {
    let before = now_ns(CLOCK_REALTIME) / 1000;
    let mut t: timeval = zeroed();
    let mut zone = [9i32; 2];
    ok(sys!(gettimeofday, &mut t, &mut zone));
    let got = t.tv_sec * 1_000_000 + t.tv_usec;
    check(before <= got && got <= now_ns(CLOCK_REALTIME) / 1000, "between two looks");
    let mut also = 0i64;
    let seconds = ok(sys!(time, &mut also));
    eq(seconds, also);
    within("seconds", seconds, before / 1_000_000 - 1, before / 1_000_000 + 1);
    ok(sys!(gettimeofday, 0, 0));
    fails(sys!(gettimeofday, 8, 0), EFAULT);
    fails(sys!(gettimeofday, 0, 8), EFAULT);
    fails(sys!(time, 8), EFAULT);
}

case!(setting_needs_privileges: clock_settime, settimeofday, adjtimex, clock_adjtime);
fn setting_needs_privileges() {
    unprivileged(|| {
        let t = timespec { tv_sec: 0, tv_nsec: 0 };
        fails(sys!(clock_settime, CLOCK_REALTIME, &t), EPERM);
        fails(sys!(clock_settime, CLOCK_MONOTONIC, &t), EINVAL);
        fails(sys!(settimeofday, &timeval { tv_sec: 0, tv_usec: 0 }, 0), EPERM);
        let mut state = [0u64; 26];
        state[0] = 1;
        fails(sys!(adjtimex, &mut state), EPERM);
        fails(sys!(clock_adjtime, CLOCK_REALTIME, &mut state), EPERM);
    });
    fails(sys!(clock_settime, CLOCK_MONOTONIC, &timespec { tv_sec: 0, tv_nsec: 0 }), EINVAL);
    fails(sys!(clock_settime, CLOCK_REALTIME, 8), EFAULT);
    fails(sys!(clock_settime, CLOCK_REALTIME, &timespec { tv_sec: 0, tv_nsec: -1 }), EINVAL);
}

case!(file_times_come_from_the_clock: clock_gettime, write; disk);
fn file_times_come_from_the_clock() {
    let before = now_ns(CLOCK_REALTIME) - 20_000_000;
    put(c"f", b"x");
    let st = stat(c"f");
    let time = st.st_mtime * 1_000_000_000 + st.st_mtime_nsec;
    within("time of the file", time, before, now_ns(CLOCK_REALTIME));
}
