//! Processor time: clocks of processes and threads, times, getrusage.

use crate::kit::prelude::*;

/// Uses the processor for some milliseconds.
fn work(ms: i64) {
    let end = now_ns(CLOCK_THREAD_CPUTIME_ID) + ms * 1_000_000;
    while now_ns(CLOCK_THREAD_CPUTIME_ID) < end {
        std::hint::spin_loop();
    }
}

fn usage(who: i32) -> rusage {
    let mut usage: rusage = zeroed();
    ok(sys!(getrusage, who, &mut usage));
    usage
}

fn micros(usage: &rusage) -> i64 {
    (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000
        + usage.ru_utime.tv_usec
        + usage.ru_stime.tv_usec
}

case!(sleeping_costs_nothing: clock_gettime);
fn sleeping_costs_nothing() {
    let before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    sleep_ms(200);
    let used = now_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
    check(used < 100_000_000, format_args!("{used} ns"));
}

case!(work_counts: clock_gettime);
fn work_counts() {
    let (process, thread) = (now_ns(CLOCK_PROCESS_CPUTIME_ID), now_ns(CLOCK_THREAD_CPUTIME_ID));
    work(30);
    check(now_ns(CLOCK_PROCESS_CPUTIME_ID) - process >= 25_000_000, "of the process");
    check(now_ns(CLOCK_THREAD_CPUTIME_ID) - thread >= 30_000_000, "of the thread");
}

case!(threads_add_up: clock_gettime);
fn threads_add_up() {
    let (process, thread) = (now_ns(CLOCK_PROCESS_CPUTIME_ID), now_ns(CLOCK_THREAD_CPUTIME_ID));
    let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(|| work(30))).collect();
    threads.into_iter().for_each(thread::join);
    check(now_ns(CLOCK_PROCESS_CPUTIME_ID) - process >= 50_000_000, "both count");
    check(now_ns(CLOCK_THREAD_CPUTIME_ID) - thread < 30_000_000, "not for this one");
}

case!(clock_of_another_process: clock_gettime);
fn clock_of_another_process() {
    let child = fork(|| {
        work(30);
        sleep_ms(10_000);
    });
    let clock = !child.pid << 3 | 2;
    eventually("it has worked", || now_ns(clock) >= 25_000_000);
    child.end();
    fails(sys!(clock_gettime, clock, &mut zeroed::<timespec>()), EINVAL);
}

case!(usage_of_self_and_thread: getrusage);
fn usage_of_self_and_thread() {
    let before = micros(&usage(RUSAGE_SELF));
    work(60);
    check(micros(&usage(RUSAGE_SELF)) - before >= 40_000, "of the process");
    check(micros(&usage(RUSAGE_THREAD)) >= 40_000, "of the thread");
    check(usage(RUSAGE_SELF).ru_maxrss > 0, "memory");
    fails(sys!(getrusage, 99, &mut zeroed::<rusage>()), EINVAL);
    fails(sys!(getrusage, RUSAGE_SELF, 8), EFAULT);
}

case!(usage_of_children: getrusage, times, wait4);
fn usage_of_children() {
    eq(micros(&usage(RUSAGE_CHILDREN)), 0);
    let child = fork(|| work(60));
    until_state(child.pid, 'Z');
    // Counted when it has been waited for.
    eq(micros(&usage(RUSAGE_CHILDREN)), 0);
    child.succeeds();
    check(micros(&usage(RUSAGE_CHILDREN)) >= 40_000, "counted");
    let mut ticks = [0i64; 4];
    ok(sys!(times, &mut ticks));
    check(ticks[2] + ticks[3] >= 4, "in ticks too");
}

case!(ticks_go_on: times);
fn ticks_go_on() {
    let first = ok(sys!(times, 0));
    sleep_ms(50);
    let mut ticks = [-1i64; 4];
    let after = ok(sys!(times, &mut ticks));
    within("ticks", after - first, 4, 500);
    check(ticks.iter().all(|t| *t >= 0), "no negative time");
    fails(sys!(times, 8), EFAULT);
}

case!(faults_and_switches_are_counted: getrusage);
fn faults_and_switches_are_counted() {
    let before = usage(RUSAGE_SELF);
    let pages = map(64 * PAGE, RW);
    for i in 0..64 {
        poke(pages + i * PAGE, 1);
    }
    sleep_ms(5);
    let after = usage(RUSAGE_SELF);
    check(after.ru_nvcsw > before.ru_nvcsw, "a sleep is a switch");
    check(after.ru_maxrss >= before.ru_maxrss, "never less");
}

/// Works until the clock shows `end`.
fn work_until(end: i64) {
    while now_ns(CLOCK_MONOTONIC) < end {
        std::hint::black_box((0..10_000u64).sum::<u64>());
    }
}

case!(no_more_than_there_is: fork, wait4, getrusage);
fn no_more_than_there_is() {
    // More processes than processors, all at work at the same time: one that has to wait for a processor uses none.
    let mut set = [0u64; 16];
    ok(sys!(sched_getaffinity, 0, 128, &mut set));
    let cpus: i64 = set.iter().map(|word| i64::from(word.count_ones())).sum();
    if cpus > 16 {
        skip("so many processors that more processes than those are too many");
    }
    let start = now_ns(CLOCK_MONOTONIC);
    let workers: Vec<Child> = (0..2 * cpus + 2).map(|_| fork(|| work_until(start + 600_000_000))).collect();
    let mut used = 0;
    for worker in workers {
        let (mut one, mut status) = (zeroed::<rusage>(), 0);
        eq(ok(sys!(wait4, worker.pid, &mut status, 0, &mut one)), i64::from(worker.pid));
        used += micros(&one) * 1000;
    }
    let passed = now_ns(CLOCK_MONOTONIC) - start;
    let most = passed * cpus + passed * cpus / 5;
    check(used > 0 && used < most, format_args!("{used} ns of {most}"));
    // It is the children's now.
    within("of children", micros(&usage(RUSAGE_CHILDREN)) * 1000, used - 50_000_000, used + 50_000_000);
}

case!(clocks_only_go_forward: clock_gettime, getrusage);
fn clocks_only_go_forward() {
    let mut last = [0; 3];
    for _ in 0..200 {
        work_until(now_ns(CLOCK_MONOTONIC) + 200_000);
        let now =
            [now_ns(CLOCK_THREAD_CPUTIME_ID), now_ns(CLOCK_PROCESS_CPUTIME_ID), micros(&usage(RUSAGE_SELF))];
        check(now.iter().zip(&last).all(|(now, last)| now >= last), format_args!("{last:?} {now:?}"));
        last = now;
    }
    check(last[0] > 0, "it has worked");
}
