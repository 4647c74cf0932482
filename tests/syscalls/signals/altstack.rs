//! sigaltstack.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kit::prelude::*;

const SIZE: usize = 64 << 10;

static SP: AtomicUsize = AtomicUsize::new(0);
static FLAGS: AtomicUsize = AtomicUsize::new(0);

fn current() -> stack_t {
    let mut stack: stack_t = zeroed();
    ok(sys!(sigaltstack, 0, &mut stack));
    stack
}

fn install(flags: c_int) -> usize {
    let base = map(SIZE, RW);
    let stack = stack_t { ss_sp: base as *mut _, ss_flags: flags, ss_size: SIZE };
    ok(sys!(sigaltstack, &stack, 0));
    base
}

extern "C" fn note(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
    let here = 0u8;
    SP.store(std::ptr::from_ref(&here) as usize, Ordering::SeqCst);
    FLAGS.store(current().ss_flags as usize, Ordering::SeqCst);
}

fn ran_on(base: usize) -> bool {
    (base..base + SIZE).contains(&SP.load(Ordering::SeqCst))
}

case!(used_with_onstack_only: sigaltstack, rt_sigaction);
fn used_with_onstack_only() {
    let base = install(0);
    sig::on(SIGUSR1, note, 0);
    sig::raise(SIGUSR1);
    check(!ran_on(base), "without SA_ONSTACK on the usual stack");
    sig::on(SIGUSR1, note, SA_ONSTACK);
    sig::raise(SIGUSR1);
    check(ran_on(base), "with it on the other");
    eq(FLAGS.load(Ordering::SeqCst), SS_ONSTACK as usize);
    eq(current().ss_flags, 0);
}

case!(query: sigaltstack);
fn query() {
    eq(current().ss_flags, SS_DISABLE);
    let base = install(0);
    let stack = current();
    eq((stack.ss_sp as usize, stack.ss_size, stack.ss_flags), (base, SIZE, 0));
    let off = stack_t { ss_sp: std::ptr::null_mut(), ss_flags: SS_DISABLE, ss_size: 0 };
    ok(sys!(sigaltstack, &off, 0));
    eq(current().ss_flags, SS_DISABLE);
}

case!(errors: sigaltstack);
fn errors() {
    let base = map(SIZE, RW);
    let with = |flags: c_int, size: usize| {
        let stack = stack_t { ss_sp: base as *mut _, ss_flags: flags, ss_size: size };
        sys!(sigaltstack, &stack, 0)
    };
    fails(with(0, 2047), ENOMEM);
    fails(with(4, SIZE), EINVAL);
    fails(with(0, 0), ENOMEM);
    fails(sys!(sigaltstack, 8, 0), EFAULT);
    fails(sys!(sigaltstack, 0, 8), EFAULT);
    ok(with(SS_ONSTACK, SIZE));
}

extern "C" fn change_inside(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
    let off = stack_t { ss_sp: std::ptr::null_mut(), ss_flags: SS_DISABLE, ss_size: 0 };
    fails(sys!(sigaltstack, &off, 0), EPERM);
    FLAGS.store(1, Ordering::SeqCst);
}

case!(cannot_change_while_on_it: sigaltstack);
fn cannot_change_while_on_it() {
    install(0);
    sig::on(SIGUSR1, change_inside, SA_ONSTACK);
    sig::raise(SIGUSR1);
    eq(FLAGS.load(Ordering::SeqCst), 1);
}

extern "C" fn nested(signal: c_int, info: *mut siginfo_t, context: *mut ucontext_t) {
    if signal == SIGUSR1 {
        let here = 0u8;
        FLAGS.store(std::ptr::from_ref(&here) as usize, Ordering::SeqCst);
        sig::raise(SIGUSR2);
    } else {
        let here = 0u8;
        SP.store(std::ptr::from_ref(&here) as usize, Ordering::SeqCst);
        let _ = (info, context);
    }
}

case!(nested_handlers_go_on_downwards: sigaltstack);
fn nested_handlers_go_on_downwards() {
    let base = install(0);
    sig::on(SIGUSR1, nested, SA_ONSTACK);
    sig::on(SIGUSR2, nested, SA_ONSTACK);
    sig::raise(SIGUSR1);
    let outer = FLAGS.load(Ordering::SeqCst);
    check(ran_on(base) && SP.load(Ordering::SeqCst) < outer, "below the first on the same stack");
}

case!(autodisarm: sigaltstack);
fn autodisarm() {
    const AUTODISARM: c_int = 1 << 31;
    let base = install(AUTODISARM);
    sig::on(SIGUSR1, note, SA_ONSTACK);
    sig::raise(SIGUSR1);
    check(ran_on(base), "used");
    eq_of("disarmed inside", FLAGS.load(Ordering::SeqCst) as c_int, SS_DISABLE);
    eq_of("restored by sigreturn", current().ss_flags, AUTODISARM);
}

case!(too_small_for_the_frame: sigaltstack);
fn too_small_for_the_frame() {
    fork(|| {
        let base = map(SIZE, RW);
        // The kernel checks for MINSIGSTKSZ when it is set, and for the frame when it is used.
        let stack = stack_t { ss_sp: base as *mut _, ss_flags: 0, ss_size: 2048 };
        if sys!(sigaltstack, &stack, 0).is_err() {
            sig::raise(SIGSEGV);
        }
        sig::on(SIGUSR1, note, SA_ONSTACK);
        sig::raise(SIGUSR1);
    })
    .dies_of(SIGSEGV);
}

case!(unmapped_stack_kills: rt_sigaction, sigaltstack);
fn unmapped_stack_kills() {
    fork(|| {
        let base = install(0);
        unmap(base, SIZE);
        sig::on(SIGUSR1, note, SA_ONSTACK);
        sig::raise(SIGUSR1);
    })
    .dies_of(SIGSEGV);
}

case!(threads_start_without: sigaltstack, clone);
fn threads_start_without() {
    install(0);
    extern "C" fn body(_: usize) -> c_int {
        c_int::from(current().ss_flags != SS_DISABLE)
    }
    let flags = (CLONE_VM | SIGCHLD) as u64;
    let pid = ok_i32(thread::clone(flags, thread::Slots::default(), body, 0));
    Child { pid }.succeeds();
    in_child(|| eq_of("fork keeps it", current().ss_flags, 0));
}
