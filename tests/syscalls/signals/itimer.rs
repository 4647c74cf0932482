//! alarm and setitimer.

use crate::kit::prelude::*;

/// interval and value, in microseconds
fn timer(interval: i64, value: i64) -> [i64; 4] {
    [interval / 1_000_000, interval % 1_000_000, value / 1_000_000, value % 1_000_000]
}

case!(alarm_returns_the_rest: alarm);
fn alarm_returns_the_rest() {
    eq(ok(sys!(alarm, 100)), 0);
    within("seconds", ok(sys!(alarm, 50)), 99, 100);
    within("seconds", ok(sys!(alarm, 0)), 49, 50);
    eq(ok(sys!(alarm, 0)), 0);
}

case!(alarm_kills: alarm);
fn alarm_kills() {
    fork(|| {
        ok(sys!(setitimer, ITIMER_REAL, &timer(0, 3000), 0));
        sleep_ms(10_000);
    })
    .dies_of(SIGALRM);
}

case!(alarm_and_the_real_timer_are_one: alarm, setitimer, getitimer);
fn alarm_and_the_real_timer_are_one() {
    ok(sys!(setitimer, ITIMER_REAL, &timer(0, 100_000_000), 0));
    let mut now = [0i64; 4];
    ok(sys!(getitimer, ITIMER_REAL, &mut now));
    within("seconds", now[2], 98, 100);
    within("seconds", ok(sys!(alarm, 30)), 99, 100);
    ok(sys!(getitimer, ITIMER_REAL, &mut now));
    within("seconds", now[2], 28, 30);
}

case!(interval: setitimer);
fn interval() {
    sig::on(SIGALRM, sig::record, 0);
    ok(sys!(setitimer, ITIMER_REAL, &timer(2000, 2000), 0));
    eventually("five of them", || sig::count() >= 5);
    let mut old = [0i64; 4];
    ok(sys!(setitimer, ITIMER_REAL, &timer(0, 0), &mut old));
    eq(old[..2].to_vec(), vec![0, 2000]);
    let count = sig::count();
    sleep_ms(20);
    eq_of("stopped", sig::count(), count);
}

case!(errors: setitimer, getitimer);
fn errors() {
    fails(sys!(setitimer, 3, &timer(0, 0), 0), EINVAL);
    fails(sys!(getitimer, 3, &mut [0i64; 4]), EINVAL);
    fails(sys!(getitimer, 0, 8), EFAULT);
    fails(sys!(setitimer, 0, 8, 0), EFAULT);
    fails(sys!(setitimer, 0, &[0i64, 0, 0, 1_000_000], 0), EINVAL);
    fails(sys!(setitimer, 0, &[0i64, 0, 0, -1], 0), EINVAL);
    fails(sys!(setitimer, 0, &[0i64, 0, -1, 0], 0), EINVAL);
}

case!(virtual_time_runs_with_the_process: setitimer);
fn virtual_time_runs_with_the_process() {
    sig::on(SIGVTALRM, sig::record, 0);
    ok(sys!(setitimer, ITIMER_VIRTUAL, &timer(0, 30_000), 0));
    sleep_ms(80);
    eq_of("asleep it stands still", sig::count(), 0);
    let end = now_ns(CLOCK_MONOTONIC) + 8_000_000_000;
    while sig::count() == 0 && now_ns(CLOCK_MONOTONIC) < end {
        std::hint::black_box((0..1000u64).sum::<u64>());
    }
    eq(sig::log_signals(), vec![SIGVTALRM]);
}

case!(profiling_time_counts_the_kernel_too: setitimer);
fn profiling_time_counts_the_kernel_too() {
    sig::on(SIGPROF, sig::record, 0);
    ok(sys!(setitimer, ITIMER_PROF, &timer(0, 20_000), 0));
    let end = now_ns(CLOCK_MONOTONIC) + 8_000_000_000;
    while sig::count() == 0 && now_ns(CLOCK_MONOTONIC) < end {
        let _ = sys!(getppid);
    }
    eq(sig::log_signals(), vec![SIGPROF]);
}
