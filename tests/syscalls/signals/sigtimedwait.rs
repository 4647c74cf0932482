//! rt_sigtimedwait.

use crate::kit::prelude::*;

fn wait(set: u64, timeout_ms: i64) -> (Answer, sig::Info) {
    let t = timespec { tv_sec: timeout_ms / 1000, tv_nsec: timeout_ms % 1000 * 1_000_000 };
    let mut info = sig::Info::default();
    (sys!(rt_sigtimedwait, &set, &mut info, &t, 8), info)
}

case!(takes_what_is_pending: rt_sigtimedwait);
fn takes_what_is_pending() {
    let set = sig::bit(SIGUSR1) | sig::bit(SIGUSR2);
    sig::block(set);
    sig::raise(SIGUSR2);
    sig::raise(SIGUSR1);
    eq(ok(wait(set, 0).0) as i32, SIGUSR1);
    let (signal, info) = wait(set, 0);
    eq(ok(signal) as i32, SIGUSR2);
    eq([info.signal(), info.code()], [SIGUSR2, SI_TKILL]);
    fails(wait(set, 0).0, EAGAIN);
    eq(sig::pending(), 0);
}

case!(waits_and_times_out: rt_sigtimedwait);
fn waits_and_times_out() {
    let set = sig::bit(SIGUSR1);
    sig::block(set);
    let start = now_ns(CLOCK_MONOTONIC);
    fails(wait(set, 20).0, EAGAIN);
    check(now_ns(CLOCK_MONOTONIC) - start >= 20_000_000, "not too early");
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR1));
    });
    let (signal, info) = wait(set, 8000);
    eq(ok(signal) as i32, SIGUSR1);
    eq(info.pid(), child.pid);
    child.succeeds();
}

case!(other_signals_interrupt: rt_sigtimedwait);
fn other_signals_interrupt() {
    sig::on(SIGUSR2, sig::record, SA_RESTART);
    sig::block(sig::bit(SIGUSR1));
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR2));
    });
    fails(wait(sig::bit(SIGUSR1), 8000).0, EINTR);
    eq(sig::count(), 1);
    child.succeeds();
}

case!(unblocked_signals_can_be_waited_for: rt_sigtimedwait);
fn unblocked_signals_can_be_waited_for() {
    // While it waits, the signals of the set are not delivered.
    sig::on(SIGUSR1, sig::record, 0);
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR1));
    });
    eq(ok(wait(sig::bit(SIGUSR1), 8000).0) as i32, SIGUSR1);
    eq(sig::count(), 0);
    child.succeeds();
}

case!(arguments: rt_sigtimedwait);
fn arguments() {
    let set = sig::bit(SIGUSR1);
    let mut info = sig::Info::default();
    let bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails(sys!(rt_sigtimedwait, &set, &mut info, &bad, 8), EINVAL);
    let negative = timespec { tv_sec: -1, tv_nsec: 0 };
    fails(sys!(rt_sigtimedwait, &set, &mut info, &negative, 8), EINVAL);
    fails(sys!(rt_sigtimedwait, &set, &mut info, 0, 4), EINVAL);
    fails(sys!(rt_sigtimedwait, 8, &mut info, 0, 8), EFAULT);
    fails(sys!(rt_sigtimedwait, &set, &mut info, 8, 8), EFAULT);
}

case!(ignored_but_blocked: rt_sigtimedwait);
fn ignored_but_blocked() {
    sig::ignore(SIGUSR1);
    sig::block(sig::bit(SIGUSR1));
    sig::raise(SIGUSR1);
    eq(ok(wait(sig::bit(SIGUSR1), 0).0) as i32, SIGUSR1);
}
