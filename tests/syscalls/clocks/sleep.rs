//! nanosleep, clock_nanosleep, pause.

use crate::kit::prelude::*;

fn time(ns: i64) -> timespec {
    timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 }
}

case!(not_before_its_time: nanosleep, clock_nanosleep);
fn not_before_its_time() {
    let start = now_ns(CLOCK_MONOTONIC);
    ok(sys!(nanosleep, &time(20_000_000), 0));
    check(now_ns(CLOCK_MONOTONIC) - start >= 20_000_000, "20 ms");
    for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI] {
        let start = now_ns(clock);
        ok(sys!(clock_nanosleep, clock, 0, &time(5_000_000), 0));
        check(now_ns(clock) - start >= 5_000_000, clock);
    }
    ok(sys!(nanosleep, &time(0), 0));
}

case!(until_a_moment: clock_nanosleep);
fn until_a_moment() {
    for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC] {
        let goal = now_ns(clock) + 10_000_000;
        let mut left = timespec { tv_sec: 7, tv_nsec: 7 };
        ok(sys!(clock_nanosleep, clock, TIMER_ABSTIME, &time(goal), &mut left));
        check(now_ns(clock) >= goal, "not before");
        eq((left.tv_sec, left.tv_nsec), (7, 7));
        // The past is over at once.
        ok(sys!(clock_nanosleep, clock, TIMER_ABSTIME, &time(1), 0));
    }
}

case!(sleep_errors: nanosleep, clock_nanosleep);
fn sleep_errors() {
    for bad in [(0, 1_000_000_000), (0, -1), (-1, 0)] {
        let t = timespec { tv_sec: bad.0, tv_nsec: bad.1 };
        fails(sys!(nanosleep, &t, 0), EINVAL);
        fails(sys!(clock_nanosleep, CLOCK_MONOTONIC, 0, &t, 0), EINVAL);
    }
    fails(sys!(nanosleep, 8, 0), EFAULT);
    fails(sys!(clock_nanosleep, 99, 0, &time(0), 0), EINVAL);
    fails(sys!(clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &time(0), 0), EOPNOTSUPP);
    fails(sys!(clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &time(0), 0), EOPNOTSUPP);
    fails(sys!(clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &time(0), 0), EOPNOTSUPP);
}

case!(interrupted_tells_the_rest: nanosleep, kill);
fn interrupted_tells_the_rest() {
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, SA_RESTART);
        let mut left: timespec = zeroed();
        fails(sys!(nanosleep, &time(100_000_000_000), &mut left), EINTR);
        within("seconds left", left.tv_sec, 80, 100);
        // A bad place for the rest is found only then.
        fails(sys!(clock_nanosleep, CLOCK_MONOTONIC, 0, &time(100_000_000_000), 8), EFAULT);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    sleep_ms(20);
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(absolute_is_restarted_by_hand: clock_nanosleep, kill);
fn absolute_is_restarted_by_hand() {
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, 0);
        let goal = now_ns(CLOCK_MONOTONIC) + 100_000_000_000;
        fails(sys!(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &time(goal), 0), EINTR);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(stop_does_not_prolong: nanosleep, kill);
fn stop_does_not_prolong() {
    let start = now_ns(CLOCK_MONOTONIC);
    let child = fork(|| {
        // No signal handler runs: the call goes on by itself, to the moment it had in mind.
        ok(sys!(nanosleep, &time(150_000_000), 0));
    });
    until_asleep(child.pid);
    child.kill(SIGSTOP);
    wait_for(child.pid, WUNTRACED);
    sleep_ms(20);
    child.kill(SIGCONT);
    child.succeeds();
    let took = now_ns(CLOCK_MONOTONIC) - start;
    within("ns", took, 150_000_000, 5_000_000_000);
}

case!(pause_waits_for_a_handler: pause, kill);
fn pause_waits_for_a_handler() {
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, SA_RESTART);
        sig::ignore(SIGUSR2);
        fails(sys!(pause), EINTR);
        eq(sig::log_signals(), vec![SIGUSR1]);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR2);
    sleep_ms(20);
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(many_sleepers: nanosleep);
fn many_sleepers() {
    let start = now_ns(CLOCK_MONOTONIC);
    let threads: Vec<_> = (0..20).map(|_| std::thread::spawn(|| sleep_ms(50))).collect();
    threads.into_iter().for_each(thread::join);
    within("ns together", now_ns(CLOCK_MONOTONIC) - start, 50_000_000, 900_000_000);
}
