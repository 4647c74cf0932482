//! Queued signals with values.

use crate::kit::prelude::*;

fn rt(n: i32) -> i32 {
    SIGRTMIN() + n
}

case!(queued_in_order: rt_sigqueueinfo, rt_sigprocmask);
fn queued_in_order() {
    sig::set(rt(0), sig::action(sig::record, 0, u64::MAX));
    sig::block(u64::MAX);
    let me = ok_i32(sys!(getpid));
    for value in 0..10 {
        sig::queue(me, rt(0), value);
    }
    sig::unblock(u64::MAX);
    let values: Vec<u64> = sig::log().iter().map(|i| i.value()).collect();
    eq(values, (0..10).collect::<Vec<u64>>());
}

case!(lower_numbers_first: rt_sigqueueinfo);
fn lower_numbers_first() {
    sig::block(u64::MAX);
    let me = ok_i32(sys!(getpid));
    for (n, value) in [(3, 1), (1, 2), (3, 3), (1, 4), (0, 5)] {
        sig::set(rt(n), sig::action(sig::record, 0, u64::MAX));
        sig::queue(me, rt(n), value);
    }
    sig::unblock(u64::MAX);
    let got: Vec<(i32, u64)> = sig::log().iter().map(|i| (i.signal() - rt(0), i.value())).collect();
    eq(got, vec![(0, 5), (1, 2), (1, 4), (3, 1), (3, 3)]);
}

case!(standard_signals_are_kept_once: rt_sigqueueinfo);
fn standard_signals_are_kept_once() {
    sig::on(SIGUSR1, sig::record, 0);
    sig::block(u64::MAX);
    let me = ok_i32(sys!(getpid));
    for value in [7, 8, 9] {
        sig::queue(me, SIGUSR1, value);
    }
    sig::unblock(u64::MAX);
    eq(sig::count(), 1);
    eq_of("the first one's siginfo", sig::log()[0].value(), 7);
}

case!(fields_arrive: rt_sigqueueinfo);
fn fields_arrive() {
    sig::on(rt(1), sig::record, 0);
    let me = ok_i32(sys!(getpid));
    sig::queue(me, rt(1), 0x1122_3344_5566_7788);
    let info = sig::log()[0];
    eq([info.signal(), info.errno(), info.code(), info.pid()], [rt(1), 0, SI_QUEUE, me]);
    eq(info.value(), 0x1122_3344_5566_7788);
}

case!(forged_codes: rt_sigqueueinfo, rt_tgsigqueueinfo);
fn forged_codes() {
    let me = ok_i32(sys!(getpid));
    let info = |code: i32| {
        let mut info = sig::Info::default();
        info.put_i32(8, code);
        info
    };
    sig::block(u64::MAX);
    // To itself anything goes.
    ok(sys!(rt_sigqueueinfo, me, rt(0), &info(SI_USER)));
    let child = fork(|| {
        sig::block(u64::MAX);
        sleep_ms(10_000);
    });
    // To others nothing that looks like the kernel, kill or tgkill.
    fails(sys!(rt_sigqueueinfo, child.pid, rt(0), &info(SI_USER)), EPERM);
    fails(sys!(rt_sigqueueinfo, child.pid, rt(0), &info(1)), EPERM);
    fails(sys!(rt_sigqueueinfo, child.pid, rt(0), &info(SI_TKILL)), EPERM);
    ok(sys!(rt_sigqueueinfo, child.pid, rt(0), &info(SI_QUEUE)));
    ok(sys!(rt_sigqueueinfo, child.pid, rt(0), &info(-60)));
    fails(sys!(rt_tgsigqueueinfo, child.pid, child.pid, rt(0), &info(SI_USER)), EPERM);
    child.end();
}

case!(errors: rt_sigqueueinfo, rt_tgsigqueueinfo);
fn errors() {
    let me = ok_i32(sys!(getpid));
    let mut info = sig::Info::default();
    info.put_i32(8, SI_QUEUE);
    fails(sys!(rt_sigqueueinfo, me, 65, &info), EINVAL);
    fails(sys!(rt_sigqueueinfo, me, rt(0), 8), EFAULT);
    fails(sys!(rt_sigqueueinfo, 0x3fff_fff0, rt(0), &info), ESRCH);
    ok(sys!(rt_sigqueueinfo, me, 0, &info));
    fails(sys!(rt_tgsigqueueinfo, 0, me, rt(0), &info), EINVAL);
    fails(sys!(rt_tgsigqueueinfo, me, 0, rt(0), &info), EINVAL);
    fails(sys!(rt_tgsigqueueinfo, me, 0x3fff_fff0, rt(0), &info), ESRCH);
}

case!(to_one_thread: rt_tgsigqueueinfo);
fn to_one_thread() {
    let me = ok_i32(sys!(getpid));
    let mut info = sig::Info::default();
    info.put_i32(8, SI_QUEUE);
    info.0[3] = 99;
    sig::block(u64::MAX);
    ok(sys!(rt_tgsigqueueinfo, me, me, rt(2), &info));
    let mut got = sig::Info::default();
    eq(ok(sys!(rt_sigtimedwait, &sig::bit(rt(2)), &mut got, 0, 8)), i64::from(rt(2)));
    eq((got.code(), got.value()), (SI_QUEUE, 99));
}

case!(survive_exec_of_the_sender: rt_sigqueueinfo, execve);
fn survive_exec_of_the_sender() {
    sig::block(u64::MAX);
    let me = ok_i32(sys!(getpid));
    fork(|| {
        sig::queue(me, rt(0), 5);
        done(exec(c"/bin/true", &[c"true"], &[]));
    })
    .succeeds();
    let mut got = sig::Info::default();
    ok(sys!(rt_sigtimedwait, &sig::bit(rt(0)), &mut got, 0, 8));
    eq(got.value(), 5);
}
