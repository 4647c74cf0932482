//! Scheduling: affinity, policies, nice values.

use crate::kit::prelude::*;

case!(affinity: sched_getaffinity, sched_setaffinity);
fn affinity() {
    let mut set = [0u64; 16];
    let size = ok(sys!(sched_getaffinity, 0, 128, &mut set));
    check(size > 0 && size % 8 == 0, "a whole number of words");
    let count: u32 = set.iter().map(|w| w.count_ones()).sum();
    check(count > 0, "one processor at least");
    let first = set.iter().position(|w| *w != 0).unwrap_or(0);
    let mut one = [0u64; 16];
    one[first] = set[first] & set[first].wrapping_neg();
    ok(sys!(sched_setaffinity, 0, 128, &one));
    let mut now = [0u64; 16];
    ok(sys!(sched_getaffinity, 0, 128, &mut now));
    eq(now, one);
    in_child(|| {
        let mut child = [0u64; 16];
        ok(sys!(sched_getaffinity, 0, 128, &mut child));
        eq_of("inherited", child, one);
    });
}

case!(affinity_errors: sched_getaffinity, sched_setaffinity);
fn affinity_errors() {
    let mut set = [0u64; 16];
    fails(sys!(sched_getaffinity, 0, 0, &mut set), EINVAL);
    fails(sys!(sched_getaffinity, 0, 12, &mut set), EINVAL);
    fails(sys!(sched_getaffinity, 0, 128, 8), EFAULT);
    fails(sys!(sched_getaffinity, 0x3fff_fff0, 128, &mut set), ESRCH);
    fails(sys!(sched_setaffinity, 0, 128, &[0u64; 16]), EINVAL);
    fails(sys!(sched_setaffinity, 0, 128, 8), EFAULT);
    fails(sys!(sched_setaffinity, 0x3fff_fff0, 128, &[1u64; 16]), ESRCH);
}

case!(policy: sched_getscheduler, sched_setscheduler, sched_getparam, sched_setparam);
fn policy() {
    let mut param: c_int = 9;
    eq(ok(sys!(sched_getscheduler, 0)), i64::from(SCHED_OTHER));
    ok(sys!(sched_getparam, 0, &mut param));
    eq(param, 0);
    ok(sys!(sched_setscheduler, 0, SCHED_BATCH, &0i32));
    eq(ok(sys!(sched_getscheduler, 0)), i64::from(SCHED_BATCH));
    in_child(|| eq(ok(sys!(sched_getscheduler, 0)), i64::from(SCHED_BATCH)));
    ok(sys!(sched_setparam, 0, &0i32));
    fails(sys!(sched_setparam, 0, &1i32), EINVAL);
}

case!(policy_errors: sched_getscheduler, sched_setscheduler, sched_getparam);
fn policy_errors() {
    fails(sys!(sched_getscheduler, -1), EINVAL);
    fails(sys!(sched_getscheduler, 0x3fff_fff0), ESRCH);
    fails(sys!(sched_setscheduler, 0, -1, &0i32), EINVAL);
    fails(sys!(sched_setscheduler, 0, 99, &0i32), EINVAL);
    fails(sys!(sched_setscheduler, 0, SCHED_OTHER, 0), EINVAL);
    fails(sys!(sched_setscheduler, 0, SCHED_OTHER, &1i32), EINVAL);
    fails(sys!(sched_setscheduler, 0, SCHED_FIFO, &0i32), EINVAL);
    fails(sys!(sched_setscheduler, 0, SCHED_FIFO, &100i32), EINVAL);
    fails(sys!(sched_getparam, 0, 0), EINVAL);
    fails(sys!(sched_getparam, 0, 8), EFAULT);
}

case!(real_time_needs_a_privilege: sched_setscheduler);
fn real_time_needs_a_privilege() {
    unprivileged(|| fails(sys!(sched_setscheduler, 0, SCHED_FIFO, &1i32), EPERM));
}

case!(priority_ranges: sched_get_priority_max, sched_get_priority_min);
fn priority_ranges() {
    eq(ok(sys!(sched_get_priority_max, SCHED_FIFO)), 99);
    eq(ok(sys!(sched_get_priority_min, SCHED_RR)), 1);
    eq(ok(sys!(sched_get_priority_max, SCHED_OTHER)), 0);
    eq(ok(sys!(sched_get_priority_min, SCHED_IDLE)), 0);
    fails(sys!(sched_get_priority_max, 99), EINVAL);
    fails(sys!(sched_get_priority_min, -1), EINVAL);
}

case!(attributes: sched_getattr, sched_setattr);
fn attributes() {
    needs_nice_0();
    // size, policy, flags, nice, priority, runtime, deadline, period
    let mut attr = [0u32; 14];
    ok(sys!(sched_getattr, 0, &mut attr, 56, 0));
    eq([attr[0], attr[1]], [56, 0]);
    fails(sys!(sched_getattr, 0, &mut attr, 47, 0), EINVAL);
    fails(sys!(sched_getattr, 0, &mut attr, 56, 1), EINVAL);
    fails(sys!(sched_getattr, 0, 0, 56, 0), EINVAL);
    fails(sys!(sched_setattr, 0, 0, 0), EINVAL);
    let mut set = [0u32; 14];
    set[0] = 48;
    set[4] = 3;
    ok(sys!(sched_setattr, 0, &set, 0));
    eq(ok(sys!(getpriority, 0, 0)), 17);
}

case!(nice_values: getpriority, setpriority);
fn nice_values() {
    needs_nice_0();
    eq(ok(sys!(getpriority, PRIO_PROCESS, 0)), 20);
    ok(sys!(setpriority, PRIO_PROCESS, 0, 7));
    eq(ok(sys!(getpriority, PRIO_PROCESS, 0)), 13);
    // Beyond the range is clamped.
    ok(sys!(setpriority, PRIO_PROCESS, 0, 100));
    eq(ok(sys!(getpriority, PRIO_PROCESS, 0)), 1);
    fails(sys!(getpriority, 3, 0), EINVAL);
    fails(sys!(getpriority, -1, 0), EINVAL);
    fails(sys!(getpriority, PRIO_PROCESS, 0x3fff_fff0), ESRCH);
    fails(sys!(setpriority, PRIO_PROCESS, 0x3fff_fff0, 0), ESRCH);
}

case!(raising_needs_a_privilege: setpriority, prlimit64);
fn raising_needs_a_privilege() {
    needs_nice_0();
    unprivileged(|| {
        ok(sys!(setpriority, PRIO_PROCESS, 0, 5));
        fails(sys!(setpriority, PRIO_PROCESS, 0, 0), EACCES);
    });
}

case!(group_takes_the_best: getpriority, setpriority, setpgid);
fn group_takes_the_best() {
    needs_nice_0();
    in_child(|| {
        ok(sys!(setpgid, 0, 0));
        let child = fork(|| {
            ok(sys!(setpriority, PRIO_PROCESS, 0, 10));
            sleep_ms(10_000);
        });
        until_asleep(child.pid);
        ok(sys!(setpriority, PRIO_PROCESS, 0, 3));
        eq(ok(sys!(getpriority, PRIO_PGRP, 0)), 17);
        ok(sys!(setpriority, PRIO_PGRP, 0, 12));
        eq(ok(sys!(getpriority, PRIO_PROCESS, child.pid)), 8);
        child.end();
    });
}

case!(yield_and_interval: sched_yield, sched_rr_get_interval);
fn yield_and_interval() {
    eq(ok(sys!(sched_yield)), 0);
    let mut t: timespec = zeroed();
    ok(sys!(sched_rr_get_interval, 0, &mut t));
    fails(sys!(sched_rr_get_interval, -1, &mut t), EINVAL);
    fails(sys!(sched_rr_get_interval, 0x3fff_fff0, &mut t), ESRCH);
}

case!(cpu_and_node: getcpu);
fn cpu_and_node() {
    let (mut cpu, mut node) = (u32::MAX, u32::MAX);
    ok(sys!(getcpu, &mut cpu, &mut node, 0));
    check(cpu < 4096 && node < 1024, "plausible numbers");
    ok(sys!(getcpu, 0, 0, 0));
    fails(sys!(getcpu, 8, 0, 0), EFAULT);
}

const WHO_PROCESS: c_int = 1;

/// A class and a level.
fn io(class: i64, level: i64) -> i64 {
    class << 13 | level
}

case!(io_priority: ioprio_set, ioprio_get);
fn io_priority() {
    eq(ok(sys!(ioprio_get, WHO_PROCESS, 0)), 0);
    ok(sys!(ioprio_set, WHO_PROCESS, 0, io(2, 6)));
    eq(ok(sys!(ioprio_get, WHO_PROCESS, 0)), io(2, 6));
    in_child(|| eq(ok(sys!(ioprio_get, WHO_PROCESS, 0)), io(2, 6)));
    ok(sys!(ioprio_set, WHO_PROCESS, 0, io(3, 0)));
    eq(ok(sys!(ioprio_get, WHO_PROCESS, 0)), io(3, 0));
    fails(sys!(ioprio_set, WHO_PROCESS, 0, io(0, 1)), EINVAL);
    fails(sys!(ioprio_set, WHO_PROCESS, 0, io(5, 0)), EINVAL);
    fails(sys!(ioprio_set, 9, 0, io(2, 0)), EINVAL);
    fails(sys!(ioprio_get, 9, 0), EINVAL);
    fails(sys!(ioprio_get, WHO_PROCESS, 0x3fff_fff0), ESRCH);
    fails(sys!(ioprio_set, WHO_PROCESS, 0x3fff_fff0, io(2, 0)), ESRCH);
    unprivileged(|| fails(sys!(ioprio_set, WHO_PROCESS, 0, io(1, 0)), EPERM));
}
