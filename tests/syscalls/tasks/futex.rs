//! futex: wait, wake, requeue, bitsets, wake_op, waitv.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::kit::prelude::*;

const PRIVATE: i32 = FUTEX_PRIVATE_FLAG;

fn after_ms(clock: i32, ms: i64) -> timespec {
    let t = now_ns(clock) + ms * 1_000_000;
    timespec { tv_sec: t / 1_000_000_000, tv_nsec: t % 1_000_000_000 }
}

/// Wakes until `count` sleepers have been woken.
#[track_caller]
fn wake_all(word: &AtomicU32, flags: i32, count: i64) {
    let mut woken = 0;
    eventually("the waiters are woken", || {
        woken += ok(sys!(futex, word, FUTEX_WAKE | flags, i32::MAX));
        woken >= count
    });
    eq(woken, count);
}

case!(wait_compares: futex);
fn wait_compares() {
    let word = AtomicU32::new(5);
    fails(sys!(futex, &word, FUTEX_WAIT, 4, 0), EAGAIN);
    fails(sys!(futex, &word, FUTEX_WAIT | PRIVATE, 4, 0), EAGAIN);
}

case!(wait_times_out: futex);
fn wait_times_out() {
    let word = AtomicU32::new(5);
    let t = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let start = now_ns(CLOCK_MONOTONIC);
    fails(sys!(futex, &word, FUTEX_WAIT, 5, &t), ETIMEDOUT);
    check(now_ns(CLOCK_MONOTONIC) - start >= 20_000_000, "not too early");
    let zero = timespec { tv_sec: 0, tv_nsec: 0 };
    fails(sys!(futex, &word, FUTEX_WAIT, 5, &zero), ETIMEDOUT);
}

case!(wait_bitset_has_an_absolute_time: futex);
fn wait_bitset_has_an_absolute_time() {
    let word = AtomicU32::new(5);
    let t = after_ms(CLOCK_MONOTONIC, 20);
    fails(sys!(futex, &word, FUTEX_WAIT_BITSET, 5, &t, 0, 1), ETIMEDOUT);
    check(now_ns(CLOCK_MONOTONIC) >= t.tv_sec * 1_000_000_000 + t.tv_nsec, "not too early");
    let t = after_ms(CLOCK_REALTIME, 20);
    fails(sys!(futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &t, 0, 1), ETIMEDOUT);
    let past = timespec { tv_sec: 1, tv_nsec: 0 };
    fails(sys!(futex, &word, FUTEX_WAIT_BITSET, 5, &past, 0, 1), ETIMEDOUT);
    fails(sys!(futex, &word, FUTEX_WAIT_BITSET, 5, 0, 0, 0), EINVAL);
    fails(sys!(futex, &word, FUTEX_WAKE_BITSET, 1, 0, 0, 0), EINVAL);
}

case!(arguments: futex);
fn arguments() {
    let word = [0u32; 2];
    let odd = word.as_ptr() as usize + 1;
    fails(sys!(futex, odd, FUTEX_WAIT, 0, 0), EINVAL);
    fails(sys!(futex, odd, FUTEX_WAKE, 1), EINVAL);
    fails(sys!(futex, 8, FUTEX_WAIT, 0, 0), EFAULT);
    fails(sys!(futex, 8, FUTEX_WAKE, 1), EFAULT);
    eq_of("a private key needs no page", ok(sys!(futex, 8, FUTEX_WAKE | PRIVATE, 1)), 0);
    fails(sys!(futex, &word, 99, 0, 0), ENOSYS);
    let bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails(sys!(futex, &word, FUTEX_WAIT, 0, &bad), EINVAL);
    fails(sys!(futex, &word, FUTEX_WAIT, 0, 8), EFAULT);
    fails(sys!(futex, &word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1), ENOSYS);
}

case!(wake_returns_how_many: futex);
fn wake_returns_how_many() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    eq(ok(sys!(futex, &WORD, FUTEX_WAKE, 10)), 0);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(|| {
                ok(sys!(futex, &WORD, FUTEX_WAIT | PRIVATE, 0, 0));
            })
        })
        .collect();
    for (tid, _) in &threads {
        until_asleep(*tid);
    }
    eq(ok(sys!(futex, &WORD, FUTEX_WAKE | PRIVATE, 1)), 1);
    eq(ok(sys!(futex, &WORD, FUTEX_WAKE | PRIVATE, 2)), 2);
    eq(ok(sys!(futex, &WORD, FUTEX_WAKE | PRIVATE, 10)), 1);
    threads.into_iter().for_each(|(_, handle)| thread::join(handle));
}

case!(shared_between_processes: futex, mmap, fork);
fn shared_between_processes() {
    let word = shared::<AtomicU32>();
    let child = fork(|| done(sys!(futex, word, FUTEX_WAIT, 0, 0)));
    wake_all(word, 0, 1);
    child.succeeds();
}

case!(shared_through_a_file: futex, mmap);
fn shared_through_a_file() {
    // The key is the file's page, not the address.
    let fd = create(c"f", &[0; PAGE]);
    let here = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    let child = fork(|| {
        let there = map_file(fd, 0, PAGE, RW, MAP_SHARED);
        check(there != here, "another address");
        ok(sys!(futex, there + 64, FUTEX_WAIT, 0, 0));
    });
    let mut woken = 0;
    eventually("woken", || {
        woken += ok(sys!(futex, here + 64, FUTEX_WAKE, 1));
        woken == 1
    });
    child.succeeds();
}

case!(private_memory_is_not_shared_by_fork: futex, fork);
fn private_memory_is_not_shared_by_fork() {
    let word = map(PAGE, RW);
    poke(word, 0);
    let child = fork(|| {
        let t = timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        fails(sys!(futex, word, FUTEX_WAIT, 0, &t), ETIMEDOUT);
    });
    until_asleep(child.pid);
    eq(ok(sys!(futex, word, FUTEX_WAKE, 1)), 0);
    child.succeeds();
}

case!(bitset_selects: futex);
fn bitset_selects() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let spawn = |bits: u32| {
        thread::spawn(move || {
            ok(sys!(futex, &WORD, FUTEX_WAIT_BITSET | PRIVATE, 0, 0, 0, bits));
        })
    };
    let (a, b) = (spawn(1), spawn(2));
    until_asleep(a.0);
    until_asleep(b.0);
    eq(ok(sys!(futex, &WORD, FUTEX_WAKE_BITSET | PRIVATE, 10, 0, 0, 4)), 0);
    eq(ok(sys!(futex, &WORD, FUTEX_WAKE_BITSET | PRIVATE, 10, 0, 0, 2)), 1);
    thread::join(b.1);
    eq(ok(sys!(futex, &WORD, FUTEX_WAKE | PRIVATE, 10)), 1);
    thread::join(a.1);
}

case!(requeue_moves_waiters: futex);
fn requeue_moves_waiters() {
    static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    let threads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(|| {
                ok(sys!(futex, &WORDS[0], FUTEX_WAIT | PRIVATE, 0, 0));
            })
        })
        .collect();
    for (tid, _) in &threads {
        until_asleep(*tid);
    }
    fails(sys!(futex, &WORDS[0], FUTEX_CMP_REQUEUE | PRIVATE, 1, 10, &WORDS[1], 7), EAGAIN);
    // One is woken, two are moved: both are counted.
    eq(ok(sys!(futex, &WORDS[0], FUTEX_CMP_REQUEUE | PRIVATE, 1, 2, &WORDS[1], 0)), 3);
    eq(ok(sys!(futex, &WORDS[1], FUTEX_WAKE | PRIVATE, 10)), 2);
    // FUTEX_REQUEUE counts what it woke only.
    eq(ok(sys!(futex, &WORDS[0], FUTEX_REQUEUE | PRIVATE, 0, 10, &WORDS[1])), 1);
    eq(ok(sys!(futex, &WORDS[0], FUTEX_WAKE | PRIVATE, 10)), 0);
    eq(ok(sys!(futex, &WORDS[1], FUTEX_WAKE | PRIVATE, 10)), 1);
    threads.into_iter().for_each(|(_, handle)| thread::join(handle));
}

case!(requeue_arguments: futex);
fn requeue_arguments() {
    let words = [0u32; 2];
    fails(sys!(futex, &words[0], FUTEX_REQUEUE, -1, 1, &words[1]), EINVAL);
    fails(sys!(futex, &words[0], FUTEX_REQUEUE, 1, -1, &words[1]), EINVAL);
}

case!(wake_op: futex);
fn wake_op() {
    let words = [AtomicU32::new(0), AtomicU32::new(5)];
    // Add 3 to the second word, compare its old value with 5 (equal).
    let op = FUTEX_OP_ADD << 28 | FUTEX_OP_CMP_EQ << 24 | 3 << 12 | 5;
    eq(ok(sys!(futex, &words[0], FUTEX_WAKE_OP, 1, 1, &words[1], op)), 0);
    eq(words[1].load(Ordering::SeqCst), 8);
    // Set, or, and-not, xor; the argument may be a shift.
    let apply = |op: i32, arg: i32| {
        ok(sys!(futex, &words[0], FUTEX_WAKE_OP, 1, 1, &words[1], op << 28 | arg << 12));
        words[1].load(Ordering::SeqCst)
    };
    eq(apply(FUTEX_OP_SET, 12), 12);
    eq(apply(FUTEX_OP_OR, 3), 15);
    eq(apply(FUTEX_OP_ANDN, 5), 10);
    eq(apply(FUTEX_OP_XOR, 2), 8);
    eq(apply(8 | FUTEX_OP_SET, 4), 16);
    fails(sys!(futex, &words[0], FUTEX_WAKE_OP, 1, 1, &words[1], 7 << 28), ENOSYS);
}

case!(wake_op_wakes_both: futex);
fn wake_op_wakes_both() {
    static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    let spawn = |i: usize| {
        thread::spawn(move || {
            ok(sys!(futex, &WORDS[i], FUTEX_WAIT | PRIVATE, 0, 0));
        })
    };
    let (a, b) = (spawn(0), spawn(1));
    until_asleep(a.0);
    until_asleep(b.0);
    let op = FUTEX_OP_SET << 28 | FUTEX_OP_CMP_EQ << 24 | 9 << 12;
    eq(ok(sys!(futex, &WORDS[0], FUTEX_WAKE_OP | PRIVATE, 1, 1, &WORDS[1], op)), 2);
    eq(WORDS[1].load(Ordering::SeqCst), 9);
    thread::join(a.1);
    thread::join(b.1);
}

case!(interrupted_by_a_handler: futex, rt_sigaction);
fn interrupted_by_a_handler() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    for (flags, timeout) in [(0, true), (SA_RESTART, true), (0, false)] {
        sig::on(SIGUSR1, sig::record, flags);
        let (tid, handle) = thread::spawn(move || {
            let long = timespec { tv_sec: 100, tv_nsec: 0 };
            let long = if timeout { std::ptr::from_ref(&long) } else { std::ptr::null() };
            // A wait with a timeout has a restart block, which a handler ends whatever its flags.
            fails(sys!(futex, &WORD, FUTEX_WAIT | PRIVATE, 0, long), EINTR);
        });
        until_asleep(tid);
        ok(sys!(tgkill, ok(sys!(getpid)), tid, SIGUSR1));
        thread::join(handle);
    }
}

case!(restarted_without_a_timeout: futex, rt_sigaction);
fn restarted_without_a_timeout() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    sig::on(SIGUSR1, sig::record, SA_RESTART);
    let (tid, handle) = thread::spawn(|| {
        ok(sys!(futex, &WORD, FUTEX_WAIT | PRIVATE, 0, 0));
    });
    until_asleep(tid);
    ok(sys!(tgkill, ok(sys!(getpid)), tid, SIGUSR1));
    eventually("the handler ran", || sig::count() == 1);
    until_asleep(tid);
    wake_all(&WORD, PRIVATE, 1);
    thread::join(handle);
}

/// `struct futex_waitv`
#[repr(C)]
struct Waitv {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

fn entry(word: &AtomicU32, value: u64) -> Waitv {
    Waitv { value, address: word.as_ptr() as u64, flags: 2 | 128, reserved: 0 }
}

case!(waitv_wakes_on_any: futex_waitv);
fn waitv_wakes_on_any() {
    static WORDS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
    let (tid, handle) = thread::spawn(|| {
        let list = [entry(&WORDS[0], 0), entry(&WORDS[1], 0), entry(&WORDS[2], 0)];
        eq(ok(sys!(futex_waitv, &list, 3, 0, 0, 0)), 1);
    });
    until_asleep(tid);
    eq(ok(sys!(futex, &WORDS[1], FUTEX_WAKE | PRIVATE, 1)), 1);
    thread::join(handle);
}

case!(waitv_arguments: futex_waitv);
fn waitv_arguments() {
    let word = AtomicU32::new(1);
    let list = [entry(&word, 1)];
    fails(sys!(futex_waitv, &list, 0, 0, 0, 0), EINVAL);
    fails(sys!(futex_waitv, &list, 129, 0, 0, 0), EINVAL);
    fails(sys!(futex_waitv, &list, 1, 1, 0, 0), EINVAL);
    fails(sys!(futex_waitv, 0, 1, 0, 0, 0), EINVAL);
    fails(sys!(futex_waitv, &[entry(&word, 2)], 1, 0, 0, 0), EAGAIN);
    let mut bad = entry(&word, 1);
    bad.reserved = 1;
    fails(sys!(futex_waitv, &[bad], 1, 0, 0, 0), EINVAL);
    let t = after_ms(CLOCK_MONOTONIC, 20);
    fails(sys!(futex_waitv, &list, 1, 0, &t, CLOCK_MONOTONIC), ETIMEDOUT);
    fails(sys!(futex_waitv, &list, 1, 0, &t, CLOCK_BOOTTIME), EINVAL);
}
