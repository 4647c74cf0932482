//! rt_sigprocmask, rt_sigpending, rt_sigsuspend.

use crate::kit::prelude::*;

case!(block_unblock_set: rt_sigprocmask);
fn block_unblock_set() {
    sig::set_mask(0);
    eq(sig::block(sig::bit(SIGUSR1)), 0);
    eq(sig::block(sig::bit(SIGUSR2)), sig::bit(SIGUSR1));
    eq(sig::mask(), sig::bit(SIGUSR1) | sig::bit(SIGUSR2));
    sig::unblock(sig::bit(SIGUSR1));
    eq(sig::mask(), sig::bit(SIGUSR2));
    sig::set_mask(sig::bit(64));
    eq(sig::mask(), sig::bit(64));
}

case!(arguments: rt_sigprocmask, rt_sigpending);
fn arguments() {
    let set = 0u64;
    fails(sys!(rt_sigprocmask, 3, &set, 0, 8), EINVAL);
    fails(sys!(rt_sigprocmask, -1, &set, 0, 8), EINVAL);
    fails(sys!(rt_sigprocmask, SIG_BLOCK, &set, 0, 4), EINVAL);
    fails(sys!(rt_sigprocmask, SIG_BLOCK, 8, 0, 8), EFAULT);
    fails(sys!(rt_sigprocmask, SIG_BLOCK, 0, 8, 8), EFAULT);
    // How is looked at only if there is a set.
    ok(sys!(rt_sigprocmask, 99, 0, 0, 8));
    fails(sys!(rt_sigpending, 8, 8), EFAULT);
    fails(sys!(rt_sigpending, &mut 0u64, 9), EINVAL);
    let mut small = [0xffu8; 8];
    ok(sys!(rt_sigpending, &mut small, 4));
    eq_of("only so many bytes are written", small, [0, 0, 0, 0, 255, 255, 255, 255]);
}

case!(set_although_the_old_mask_cannot_be_written: rt_sigprocmask);
fn set_although_the_old_mask_cannot_be_written() {
    let set = sig::bit(SIGUSR1);
    fails(sys!(rt_sigprocmask, SIG_SETMASK, &set, 8, 8), EFAULT);
    eq(sig::mask(), set);
}

case!(pending_until_unblocked: rt_sigpending, rt_sigprocmask);
fn pending_until_unblocked() {
    sig::on(SIGUSR1, sig::record, 0);
    sig::block(sig::bit(SIGUSR1));
    sig::raise(SIGUSR1);
    ok(sys!(kill, ok(sys!(getpid)), SIGUSR1));
    eq(sig::pending(), sig::bit(SIGUSR1));
    eq(sig::count(), 0);
    sig::unblock(sig::bit(SIGUSR1));
    // One for the thread and one for the process.
    eq(sig::count(), 2);
    eq(sig::pending(), 0);
}

case!(threads_have_their_own: rt_sigprocmask, rt_sigpending);
fn threads_have_their_own() {
    sig::block(sig::bit(SIGUSR1));
    let (_, handle) = thread::spawn(|| {
        eq_of("inherited", sig::mask(), sig::bit(SIGUSR1));
        sig::set_mask(sig::bit(SIGUSR2));
        sig::raise(SIGUSR2);
        eq(sig::pending(), sig::bit(SIGUSR2));
    });
    thread::join(handle);
    eq(sig::mask(), sig::bit(SIGUSR1));
    eq_of("another thread's are not ours", sig::pending(), 0);
}

case!(suspend_swaps_the_mask: rt_sigsuspend);
fn suspend_swaps_the_mask() {
    sig::on(SIGUSR1, sig::record, 0);
    sig::on(SIGUSR2, sig::record, 0);
    sig::set_mask(sig::bit(SIGUSR1));
    sig::raise(SIGUSR1);
    let blocked = sig::bit(SIGUSR2);
    fails(sys!(rt_sigsuspend, &blocked, 8), EINTR);
    eq(sig::log_signals(), vec![SIGUSR1]);
    eq(sig::mask(), sig::bit(SIGUSR1));
}

case!(suspend_waits: rt_sigsuspend);
fn suspend_waits() {
    sig::on(SIGUSR1, sig::record, SA_RESTART);
    sig::block(sig::bit(SIGUSR1));
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR1));
    });
    fails(sys!(rt_sigsuspend, &0u64, 8), EINTR);
    eq(sig::count(), 1);
    child.succeeds();
    fails(sys!(rt_sigsuspend, &0u64, 4), EINVAL);
    fails(sys!(rt_sigsuspend, 8, 8), EFAULT);
}

case!(pause_ends_with_a_handler: pause);
fn pause_ends_with_a_handler() {
    sig::on(SIGUSR1, sig::record, SA_RESTART);
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR1));
    });
    fails(sys!(pause), EINTR);
    eq(sig::count(), 1);
    child.succeeds();
}
