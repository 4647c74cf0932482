//! semget(2), semop(2), semtimedop(2): values, waiting, errors.

use super::{NOWAIT, Op, Set, key, seconds};
use crate::kit::prelude::*;

case!(operations_are_all_or_nothing: semop, semget, semctl);
fn operations_are_all_or_nothing() {
    let set = Set::with(&[2, 0, 5]);
    let op = |number, op, flags| Op { number, op, flags };
    fails(set.op(&[op(0, -1, 0), op(2, -5, 0), op(1, -1, NOWAIT)]), EAGAIN);
    eq([0, 1, 2].map(|n| set.value(n)), [2, 0, 5]);
    ok(set.op(&[op(0, -2, NOWAIT), op(0, 0, NOWAIT), op(1, 3, NOWAIT), op(1, -1, NOWAIT)]));
    eq([0, 1, 2].map(|n| set.value(n)), [0, 2, 5]);
    // What comes earlier counts for what comes later.
    fails(set.op(&[op(0, 1, 0), op(0, 0, NOWAIT)]), EAGAIN);
    ok(set.op(&[op(0, 1, 0), op(0, -1, NOWAIT)]));
    fails(set.op(&[op(1, 32_766, 0)]), ERANGE);
    ok(set.op(&[op(1, 32_765, 0)]));
    eq(set.value(1), 32_767);
    fails(set.op(&[op(1, 1, 0)]), ERANGE);
}

case!(operations_have_bounds: semop, semtimedop);
fn operations_have_bounds() {
    let set = Set::new(2);
    let op = Op { number: 0, op: 1, flags: 0 };
    fails(sys!(semop, set.0, &op, 0), EINVAL);
    fails(sys!(semop, -1, &op, 0), EINVAL);
    fails(sys!(semop, -1, &op, 501), E2BIG);
    fails(sys!(semop, set.0, 8, 501), E2BIG);
    fails(sys!(semop, set.0, 8, 1), EFAULT);
    fails(sys!(semop, -1, 8, 1), EFAULT);
    fails(sys!(semop, -1, &op, 1), EINVAL);
    fails(sys!(semop, 0x7fff_ffff, &op, 1), EINVAL);
    fails(set.op(&[Op { number: 2, op: 1, flags: 0 }]), EFBIG);
    fails(set.op(&[op, Op { number: 2, op: 1, flags: 0 }]), EFBIG);
    eq(set.value(0), 0);
    let many = vec![op; 500];
    ok(set.op(&many));
    eq(set.value(0), 500);
    // The time-out is read first.
    fails(sys!(semtimedop, -1, 8, 501, 8), EFAULT);
    let odd = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails(sys!(semtimedop, set.0, &op, 1, &odd), EINVAL);
    fails(sys!(semtimedop, set.0, 8, 1, &odd), EFAULT);
    ok(sys!(semtimedop, set.0, &op, 1, 0));
    eq(set.value(0), 501);
}

case!(a_decrement_waits: semop);
fn a_decrement_waits() {
    let set = Set::new(1);
    let child = fork(|| done(set.one(0, -2, 0)));
    until_asleep(child.pid);
    eq(set.waiting(0, GETNCNT), 1);
    eq(set.waiting(0, GETZCNT), 0);
    ok(set.one(0, 1, 0));
    eq(set.waiting(0, GETNCNT), 1);
    ok(set.one(0, 1, 0));
    let pid = child.pid;
    child.succeeds();
    eq(set.value(0), 0);
    eq(set.waiting(0, GETPID), i64::from(pid));
}

case!(zero_is_waited_for: semop);
fn zero_is_waited_for() {
    let set = Set::with(&[2]);
    let child =
        fork(|| done(set.op(&[Op { number: 0, op: 0, flags: 0 }, Op { number: 0, op: 5, flags: 0 }])));
    until_asleep(child.pid);
    eq(set.waiting(0, GETZCNT), 1);
    eq(set.waiting(0, GETNCNT), 0);
    ok(set.one(0, -2, 0));
    child.succeeds();
    eq(set.value(0), 5);
    eq(set.waiting(0, GETZCNT), 0);
}

case!(whoever_blocks_is_counted_where_it_blocks: semop, semctl);
fn whoever_blocks_is_counted_where_it_blocks() {
    let set = Set::with(&[1, 0, 0]);
    let ops = [0, 1, 2].map(|number| Op { number, op: -1, flags: 0 });
    let child = fork(|| done(set.op(&ops)));
    until_asleep(child.pid);
    eq([0, 1, 2].map(|n| set.waiting(n, GETNCNT)), [0, 1, 0]);
    ok(set.one(1, 1, 0));
    eq([0, 1, 2].map(|n| set.waiting(n, GETNCNT)), [0, 0, 1]);
    eq([0, 1, 2].map(|n| set.value(n)), [1, 1, 0]);
    ok(set.one(2, 1, 0));
    child.succeeds();
    eq([0, 1, 2].map(|n| set.value(n)), [0, 0, 0]);
}

case!(one_change_serves_several: semop);
fn one_change_serves_several() {
    let set = Set::new(1);
    let children: Vec<Child> = (0..6).map(|_| fork(|| done(set.one(0, -1, 0)))).collect();
    for child in &children {
        until_asleep(child.pid);
    }
    eq(set.waiting(0, GETNCNT), 6);
    ok(set.one(0, 4, 0));
    eventually("four have gone on", || set.waiting(0, GETNCNT) == 2);
    eq(set.value(0), 0);
    ok(set.one(0, 3, 0));
    for child in children {
        child.succeeds();
    }
    eq(set.value(0), 1);
}

case!(waiters_hand_on_to_each_other: semop);
fn waiters_hand_on_to_each_other() {
    let set = Set::new(3);
    // The first waits for what the second gives, and that for what we give.
    let first = fork(|| done(set.one(1, -1, 0)));
    until_asleep(first.pid);
    let second = fork(|| {
        done(set.op(&[Op { number: 0, op: -1, flags: 0 }, Op { number: 1, op: 1, flags: 0 }]));
    });
    until_asleep(second.pid);
    ok(set.one(0, 1, 0));
    first.succeeds();
    second.succeeds();
    eq([0, 1, 2].map(|n| set.value(n)), [0, 0, 0]);
}

case!(time_runs_out: semtimedop);
fn time_runs_out() {
    let set = Set::new(1);
    let op = Op { number: 0, op: -1, flags: 0 };
    let begin = now_ns(CLOCK_MONOTONIC);
    let short = timespec { tv_sec: 0, tv_nsec: 30_000_000 };
    fails(sys!(semtimedop, set.0, &op, 1, &short), EAGAIN);
    within("the wait", now_ns(CLOCK_MONOTONIC) - begin, 30_000_000, 5_000_000_000);
    eq(set.waiting(0, GETNCNT), 0);
    let none = timespec { tv_sec: 0, tv_nsec: 0 };
    fails(sys!(semtimedop, set.0, &op, 1, &none), EAGAIN);
    let long = timespec { tv_sec: i64::MAX, tv_nsec: 0 };
    let child = fork(|| done(sys!(semtimedop, set.0, &op, 1, &long)));
    until_asleep(child.pid);
    ok(set.one(0, 1, 0));
    child.succeeds();
}

case!(a_signal_ends_the_wait_for_good: semop, semtimedop);
fn a_signal_ends_the_wait_for_good() {
    let set = Set::new(1);
    for timed in [false, true] {
        let child = fork(|| {
            sig::on(SIGUSR1, nothing, SA_RESTART);
            let op = Op { number: 0, op: -1, flags: 0 };
            let long = timespec { tv_sec: 1000, tv_nsec: 0 };
            match timed {
                false => fails(set.one(0, -1, 0), EINTR),
                true => fails(sys!(semtimedop, set.0, &op, 1, &long), EINTR),
            }
        });
        until_asleep(child.pid);
        child.kill(SIGUSR1);
        child.succeeds();
        eq(set.waiting(0, GETNCNT), 0);
    }
}

case!(a_stop_ends_the_wait: semop);
fn a_stop_ends_the_wait() {
    let set = Set::new(1);
    let child = fork(|| fails(set.one(0, -1, 0), EINTR));
    until_asleep(child.pid);
    child.kill(SIGSTOP);
    until_state(child.pid, 'T');
    child.kill(SIGCONT);
    child.succeeds();
}

extern "C" fn nothing(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {}

case!(who_is_killed_waits_no_more: semop);
fn who_is_killed_waits_no_more() {
    let set = Set::new(1);
    let child = fork(|| done(set.one(0, -1, 0)));
    until_asleep(child.pid);
    child.kill(SIGKILL);
    child.dies_of(SIGKILL);
    eq(set.waiting(0, GETNCNT), 0);
    ok(set.one(0, 1, 0));
    eq(set.value(0), 1);
}

case!(removal_ends_waits: semop, semctl);
fn removal_ends_waits() {
    let set = Set::with(&[0, 1]);
    let down = fork(|| fails(set.one(0, -1, 0), EIDRM));
    let zero = fork(|| fails(set.one(1, 0, 0), EIDRM));
    until_asleep(down.pid);
    until_asleep(zero.pid);
    ok(sys!(semctl, set.0, 0, IPC_RMID));
    down.succeeds();
    zero.succeeds();
    fails(set.one(0, 1, 0), EINVAL);
}

case!(setting_values_serves_waiters: semctl, semop);
fn setting_values_serves_waiters() {
    let set = Set::new(2);
    let child = fork(|| done(set.one(1, -3, 0)));
    until_asleep(child.pid);
    ok(sys!(semctl, set.0, 1, SETVAL, 4));
    child.succeeds();
    eq(set.value(1), 1);
    let child = fork(|| done(set.one(1, 0, 0)));
    until_asleep(child.pid);
    ok(sys!(semctl, set.0, 0, SETALL, &[7u16, 0]));
    child.succeeds();
    eq(set.value(0), 7);
}

case!(sets_have_keys: semget);
fn sets_have_keys() {
    let key = key();
    fails(sys!(semget, key, 1, 0o600), ENOENT);
    fails(sys!(semget, key, 0, IPC_CREAT | 0o600), EINVAL);
    let set = Set(ok_i32(sys!(semget, key, 3, IPC_CREAT | 0o640)));
    eq(sys!(semget, key, 3, 0), Ok(i64::from(set.0)));
    eq(sys!(semget, key, 0, 0), Ok(i64::from(set.0)));
    eq(sys!(semget, key, 2, IPC_CREAT | 0o400), Ok(i64::from(set.0)));
    fails(sys!(semget, key, 4, 0), EINVAL);
    fails(sys!(semget, key, 4, IPC_CREAT | IPC_EXCL), EEXIST);
    fails(sys!(semget, key, -1, 0), EINVAL);
    fails(sys!(semget, key, 32_001, IPC_CREAT | IPC_EXCL), EINVAL);
    let stat = set.stat();
    eq((stat.perm.key, stat.perm.mode, stat.count), (key, 0o640, 3));
    // A removed set's key is free, and its id means nothing.
    ok(sys!(semctl, set.0, 0, IPC_RMID));
    fails(sys!(semget, key, 3, 0), ENOENT);
    fails(sys!(semctl, set.0, 0, GETVAL), EINVAL);
    let again = Set(ok_i32(sys!(semget, key, 1, IPC_CREAT | IPC_EXCL | 0o600)));
    check(again.0 != set.0, "the same id again");
    // Without a key there is always a new one.
    let (a, b) = (Set::new(1), Set::new(1));
    check(a.0 != b.0, "two private sets are one");
}

case!(operations_leave_a_time: semop, semctl);
fn operations_leave_a_time() {
    let begin = seconds();
    let set = Set::new(1);
    let stat = set.stat();
    eq(stat.otime, 0);
    within("ctime", stat.ctime, begin - 1, begin + 100);
    ok(set.one(0, 1, 0));
    within("otime", set.stat().otime, begin - 1, begin + 100);
    let set = Set::new(1);
    fails(set.one(0, -1, NOWAIT), EAGAIN);
    eq(set.stat().otime, 0);
}

case!(permissions_of_a_set: semop, semget, semctl);
fn permissions_of_a_set() {
    let key = key();
    let set = Set(ok_i32(sys!(semget, key, 1, IPC_CREAT | 0o404)));
    ok(sys!(semctl, set.0, 0, IPC_STAT, &mut super::SemStat::default()));
    unprivileged(|| {
        eq(set.value(0), 0);
        if is_root_of(&set) {
            return;
        }
        ok(set.one(0, 0, NOWAIT));
        fails(set.one(0, 1, 0), EACCES);
        fails(set.op(&[Op { number: 5, op: 1, flags: 0 }]), EFBIG);
        fails(sys!(semctl, set.0, 0, SETVAL, 1), EACCES);
        fails(sys!(semctl, set.0, 9, SETVAL, 1), EINVAL);
        fails(sys!(semctl, set.0, 0, SETVAL, 40_000), ERANGE);
        fails(sys!(semctl, set.0, 0, SETALL, 8), EACCES);
        fails(sys!(semget, key, 1, 0o200), EACCES);
        eq(sys!(semget, key, 1, 0o400), Ok(i64::from(set.0)));
        fails(sys!(semctl, set.0, 0, IPC_RMID), EPERM);
        fails(sys!(semctl, set.0, 0, IPC_SET, &super::SemStat::default()), EPERM);
        fails(sys!(semctl, set.0, 0, IPC_SET, 8), EFAULT);
    });
}

/// Whether the caller owns the set: an ordinary user's child is that user.
fn is_root_of(set: &Set) -> bool {
    i64::from(set.stat().perm.uid) == ok(sys!(geteuid))
}
