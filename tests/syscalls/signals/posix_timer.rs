//! timer_create and its family.

use crate::kit::prelude::*;

/// `struct sigevent`
#[repr(C)]
struct Event {
    value: u64,
    signal: c_int,
    notify: c_int,
    thread: c_int,
    padding: [c_int; 11],
}

fn event(notify: c_int, signal: c_int, value: u64) -> Event {
    Event { value, signal, notify, thread: 0, padding: [0; 11] }
}

#[track_caller]
fn create(clock: c_int, event: &Event) -> c_int {
    let mut id: c_int = -1;
    ok(sys!(timer_create, clock, event, &mut id));
    id
}

/// interval and value in nanoseconds
fn spec(interval: i64, value: i64) -> [i64; 4] {
    let split = |t: i64| [t / 1_000_000_000, t % 1_000_000_000];
    let ([a, b], [c, d]) = (split(interval), split(value));
    [a, b, c, d]
}

case!(signal_with_value: timer_create, timer_settime);
fn signal_with_value() {
    sig::on(SIGRTMIN(), sig::record, 0);
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_SIGNAL, SIGRTMIN(), 0xabcd));
    ok(sys!(timer_settime, id, 0, &spec(0, 2_000_000), 0));
    eventually("it came", || sig::count() == 1);
    let info = sig::log()[0];
    eq([info.signal(), info.code(), info.pid(), info.uid()], [SIGRTMIN(), SI_TIMER, id, 0]);
    eq(info.value(), 0xabcd);
}

case!(default_event: timer_create);
fn default_event() {
    sig::on(SIGALRM, sig::record, 0);
    let mut id: c_int = -1;
    ok(sys!(timer_create, CLOCK_REALTIME, 0, &mut id));
    ok(sys!(timer_settime, id, 0, &spec(0, 1_000_000), 0));
    eventually("it came", || sig::count() == 1);
    eq(sig::log()[0].value() as c_int, id);
}

case!(settime_and_gettime: timer_settime, timer_gettime);
fn settime_and_gettime() {
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_SIGNAL, SIGUSR1, 0));
    let mut now = [9i64; 4];
    ok(sys!(timer_gettime, id, &mut now));
    eq(now, [0; 4]);
    ok(sys!(timer_settime, id, 0, &spec(5_000_000_000, 100_000_000_000), 0));
    ok(sys!(timer_gettime, id, &mut now));
    eq(now[..2].to_vec(), vec![5, 0]);
    within("seconds", now[2], 98, 100);
    let mut old = [0i64; 4];
    ok(sys!(timer_settime, id, 0, &spec(0, 0), &mut old));
    within("seconds", old[2], 98, 100);
    ok(sys!(timer_gettime, id, &mut now));
    eq(now, [0; 4]);
}

case!(absolute: timer_settime);
fn absolute() {
    sig::on(SIGUSR1, sig::record, 0);
    let id = create(CLOCK_REALTIME, &event(SIGEV_SIGNAL, SIGUSR1, 0));
    let at = now_ns(CLOCK_REALTIME) + 5_000_000;
    ok(sys!(timer_settime, id, TIMER_ABSTIME, &spec(0, at), 0));
    eventually("it came", || sig::count() == 1);
    check(now_ns(CLOCK_REALTIME) >= at, "not too early");
    // In the past: at once.
    ok(sys!(timer_settime, id, TIMER_ABSTIME, &spec(0, 1), 0));
    eventually("it came", || sig::count() == 2);
}

case!(overrun: timer_getoverrun, timer_settime);
fn overrun() {
    sig::block(sig::bit(SIGUSR1));
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_SIGNAL, SIGUSR1, 0));
    ok(sys!(timer_settime, id, 0, &spec(1_000_000, 1_000_000), 0));
    sleep_ms(30);
    let mut info = sig::Info::default();
    ok(sys!(rt_sigtimedwait, &sig::bit(SIGUSR1), &mut info, 0, 8));
    // Only one is queued; the others are counted.
    check(info.uid() >= 10, format_args!("si_overrun {}", info.uid()));
    eq(ok(sys!(timer_getoverrun, id)) as c_int, info.uid());
}

case!(to_a_thread: timer_create);
fn to_a_thread() {
    use std::sync::atomic::{AtomicI32, Ordering};
    static ON: AtomicI32 = AtomicI32::new(0);
    extern "C" fn note(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
        ON.store(ok_i32(sys!(gettid)), Ordering::SeqCst);
    }
    sig::on(SIGUSR1, note, 0);
    let (tid, handle) = thread::spawn(|| eventually("it came", || ON.load(Ordering::SeqCst) != 0));
    let mut to_thread = event(SIGEV_THREAD_ID, SIGUSR1, 0);
    to_thread.thread = tid;
    let id = create(CLOCK_MONOTONIC, &to_thread);
    ok(sys!(timer_settime, id, 0, &spec(0, 1_000_000), 0));
    thread::join(handle);
    eq(ON.load(Ordering::SeqCst), tid);
}

case!(errors: timer_create, timer_settime, timer_gettime, timer_delete, timer_getoverrun);
fn errors() {
    let mut id: c_int = 0;
    fails(sys!(timer_create, 99, 0, &mut id), EINVAL);
    fails(sys!(timer_create, CLOCK_MONOTONIC, &event(SIGEV_SIGNAL, 65, 0), &mut id), EINVAL);
    fails(sys!(timer_create, CLOCK_MONOTONIC, &event(77, 1, 0), &mut id), EINVAL);
    fails(sys!(timer_create, CLOCK_MONOTONIC, &event(SIGEV_THREAD_ID, 1, 0), &mut id), EINVAL);
    fails(sys!(timer_create, CLOCK_MONOTONIC, 8, &mut id), EFAULT);
    fails(sys!(timer_create, CLOCK_MONOTONIC, 0, 8), EFAULT);
    fails(sys!(timer_settime, 999, 0, &spec(0, 0), 0), EINVAL);
    fails(sys!(timer_gettime, 999, &mut [0i64; 4]), EINVAL);
    fails(sys!(timer_delete, 999), EINVAL);
    fails(sys!(timer_getoverrun, 999), EINVAL);
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_NONE, 0, 0));
    fails(sys!(timer_settime, id, 0, 0, 0), EINVAL);
    fails(sys!(timer_settime, id, 0, 8, 0), EFAULT);
    fails(sys!(timer_settime, id, 0, &[0i64, 0, 0, 1_000_000_000], 0), EINVAL);
    fails(sys!(timer_settime, id, 0, &[0i64, 0, -1, 0], 0), EINVAL);
    fails(sys!(timer_gettime, id, 8), EFAULT);
    ok(sys!(timer_delete, id));
    fails(sys!(timer_delete, id), EINVAL);
}

case!(deleted_timers_are_silent: timer_delete);
fn deleted_timers_are_silent() {
    sig::on(SIGUSR1, sig::record, 0);
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_SIGNAL, SIGUSR1, 0));
    ok(sys!(timer_settime, id, 0, &spec(0, 20_000_000), 0));
    ok(sys!(timer_delete, id));
    sleep_ms(40);
    eq(sig::count(), 0);
}

case!(not_inherited: timer_create, fork);
fn not_inherited() {
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_NONE, 0, 0));
    in_child(|| fails(sys!(timer_gettime, id, &mut [0i64; 4]), EINVAL));
}

case!(cpu_clocks: timer_create);
fn cpu_clocks() {
    sig::on(SIGUSR1, sig::record, 0);
    let id = create(CLOCK_PROCESS_CPUTIME_ID, &event(SIGEV_SIGNAL, SIGUSR1, 0));
    ok(sys!(timer_settime, id, 0, &spec(0, 20_000_000), 0));
    let end = now_ns(CLOCK_MONOTONIC) + 8_000_000_000;
    while sig::count() == 0 && now_ns(CLOCK_MONOTONIC) < end {
        std::hint::black_box((0..1000u64).sum::<u64>());
    }
    eq(sig::count(), 1);
}
