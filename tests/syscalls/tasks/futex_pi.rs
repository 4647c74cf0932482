//! Priority-inheriting futexes.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::kit::prelude::*;

const PRIVATE: i32 = FUTEX_PRIVATE_FLAG;

fn tid() -> u32 {
    ok(sys!(gettid)) as u32
}

case!(lock_and_unlock: futex);
fn lock_and_unlock() {
    let word = AtomicU32::new(0);
    ok(sys!(futex, &word, FUTEX_LOCK_PI | PRIVATE, 0, 0));
    eq(word.load(Ordering::SeqCst), tid());
    ok(sys!(futex, &word, FUTEX_UNLOCK_PI | PRIVATE));
    eq(word.load(Ordering::SeqCst), 0);
}

case!(errors: futex);
fn errors() {
    let word = AtomicU32::new(tid());
    fails(sys!(futex, &word, FUTEX_LOCK_PI | PRIVATE, 0, 0), EDEADLK);
    fails(sys!(futex, &word, FUTEX_TRYLOCK_PI | PRIVATE, 0, 0), EDEADLK);
    // Owned by no living thread.
    word.store(0x3fff_fff0, Ordering::SeqCst);
    fails(sys!(futex, &word, FUTEX_LOCK_PI | PRIVATE, 0, 0), ESRCH);
    fails(sys!(futex, &word, FUTEX_UNLOCK_PI | PRIVATE), EPERM);
    word.store(0, Ordering::SeqCst);
    fails(sys!(futex, &word, FUTEX_UNLOCK_PI | PRIVATE), EPERM);
}

case!(waiters_get_it_in_turn: futex);
fn waiters_get_it_in_turn() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    ok(sys!(futex, &WORD, FUTEX_LOCK_PI | PRIVATE, 0, 0));
    let (waiter, handle) = thread::spawn(|| {
        ok(sys!(futex, &WORD, FUTEX_LOCK_PI | PRIVATE, 0, 0));
        eq(WORD.load(Ordering::SeqCst) & FUTEX_TID_MASK, tid());
        ok(sys!(futex, &WORD, FUTEX_UNLOCK_PI | PRIVATE));
    });
    until_asleep(waiter);
    eq(WORD.load(Ordering::SeqCst), tid() | FUTEX_WAITERS);
    ok(sys!(futex, &WORD, FUTEX_UNLOCK_PI | PRIVATE));
    thread::join(handle);
    eq(WORD.load(Ordering::SeqCst) & FUTEX_TID_MASK, 0);
}

case!(trylock: futex);
fn trylock() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    ok(sys!(futex, &WORD, FUTEX_TRYLOCK_PI | PRIVATE));
    eq(WORD.load(Ordering::SeqCst), tid());
    let (_, handle) = thread::spawn(|| {
        fails(sys!(futex, &WORD, FUTEX_TRYLOCK_PI | PRIVATE), EAGAIN);
    });
    thread::join(handle);
}

case!(lock_times_out_at_an_absolute_time: futex);
fn lock_times_out_at_an_absolute_time() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    ok(sys!(futex, &WORD, FUTEX_LOCK_PI | PRIVATE, 0, 0));
    let (_, handle) = thread::spawn(|| {
        let end = now_ns(CLOCK_REALTIME) + 20_000_000;
        let t = timespec { tv_sec: end / 1_000_000_000, tv_nsec: end % 1_000_000_000 };
        fails(sys!(futex, &WORD, FUTEX_LOCK_PI | PRIVATE, 0, &t), ETIMEDOUT);
        check(now_ns(CLOCK_REALTIME) >= end, "not too early");
    });
    thread::join(handle);
    ok(sys!(futex, &WORD, FUTEX_UNLOCK_PI | PRIVATE));
}

case!(requeue_to_a_pi_lock: futex);
fn requeue_to_a_pi_lock() {
    static CONDITION: AtomicU32 = AtomicU32::new(0);
    static LOCK: AtomicU32 = AtomicU32::new(0);
    let (waiter, handle) = thread::spawn(|| {
        ok(sys!(futex, &CONDITION, FUTEX_WAIT_REQUEUE_PI | PRIVATE, 0, 0, &LOCK));
        // It comes back as the owner.
        eq(LOCK.load(Ordering::SeqCst) & FUTEX_TID_MASK, tid());
        ok(sys!(futex, &LOCK, FUTEX_UNLOCK_PI | PRIVATE));
    });
    until_asleep(waiter);
    ok(sys!(futex, &LOCK, FUTEX_LOCK_PI | PRIVATE, 0, 0));
    eq(ok(sys!(futex, &CONDITION, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, 0, &LOCK, 0)), 1);
    sleep_ms(5);
    eq(LOCK.load(Ordering::SeqCst), tid() | FUTEX_WAITERS);
    ok(sys!(futex, &LOCK, FUTEX_UNLOCK_PI | PRIVATE));
    thread::join(handle);
}

case!(plain_wake_of_a_pi_waiter: futex);
fn plain_wake_of_a_pi_waiter() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    ok(sys!(futex, &WORD, FUTEX_LOCK_PI | PRIVATE, 0, 0));
    let (waiter, handle) = thread::spawn(|| {
        ok(sys!(futex, &WORD, FUTEX_LOCK_PI | PRIVATE, 0, 0));
        ok(sys!(futex, &WORD, FUTEX_UNLOCK_PI | PRIVATE));
    });
    until_asleep(waiter);
    fails(sys!(futex, &WORD, FUTEX_WAKE | PRIVATE, 1), EINVAL);
    ok(sys!(futex, &WORD, FUTEX_UNLOCK_PI | PRIVATE));
    thread::join(handle);
}
