//! Dispositions and the flags of rt_sigaction.

use crate::kit::prelude::*;

case!(default_actions: rt_sigaction, kill);
fn default_actions() {
    let deadly = [
        SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV,
        SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO, SIGPWR,
        SIGSYS, 32, 33, 34, 64,
    ];
    for signal in deadly {
        fork(|| sig::raise(signal)).dies_of(signal);
    }
    for signal in [SIGCHLD, SIGURG, SIGWINCH, SIGCONT] {
        in_child(|| sig::raise(signal));
    }
}

case!(handler_runs_on_return: rt_sigaction, tgkill);
fn handler_runs_on_return() {
    sig::on(SIGUSR1, sig::record, 0);
    sig::raise(SIGUSR1);
    eq(sig::log_signals(), vec![SIGUSR1]);
    sig::raise(SIGUSR1);
    eq(sig::count(), 2);
}

case!(old_action_comes_back: rt_sigaction);
fn old_action_comes_back() {
    let mut first = sig::action(sig::record, SA_RESTART, 0x50);
    sig::set(SIGUSR1, first);
    let mut old = sig::Action::default();
    ok(sys!(rt_sigaction, SIGUSR1, &sig::Action::default(), &mut old, 8));
    eq(old, first);
    // SIGKILL and SIGSTOP vanish from the mask, unknown flags from the flags.
    first.mask = u64::MAX;
    first.flags |= 1 << 40;
    sig::set(SIGUSR1, first);
    let got = sig::get(SIGUSR1);
    eq(got.mask, !(sig::bit(SIGKILL) | sig::bit(SIGSTOP)));
}

case!(arguments: rt_sigaction);
fn arguments() {
    let action = sig::Action::default();
    fails(sys!(rt_sigaction, 0, &action, 0, 8), EINVAL);
    fails(sys!(rt_sigaction, 65, &action, 0, 8), EINVAL);
    fails(sys!(rt_sigaction, -1, &action, 0, 8), EINVAL);
    fails(sys!(rt_sigaction, SIGUSR1, &action, 0, 4), EINVAL);
    fails(sys!(rt_sigaction, SIGUSR1, 8, 0, 8), EFAULT);
    fails(sys!(rt_sigaction, SIGUSR1, 0, 8, 8), EFAULT);
    // The size is looked at first.
    fails(sys!(rt_sigaction, 0, 8, 8, 4), EINVAL);
    ok(sys!(rt_sigaction, SIGUSR1, 0, 0, 8));
}

case!(resethand: rt_sigaction);
fn resethand() {
    sig::on(SIGUSR1, sig::record, SA_RESETHAND);
    sig::raise(SIGUSR1);
    eq(sig::count(), 1);
    eq(sig::get(SIGUSR1).handler, SIG_DFL);
    fork(|| sig::raise(SIGUSR1)).dies_of(SIGUSR1);
}

extern "C" fn raise_again(signal: c_int, info: *mut siginfo_t, context: *mut ucontext_t) {
    sig::record(signal, info, context);
    if sig::count() < 3 {
        let before = sig::count();
        sig::raise(signal);
        // With SA_NODEFER the inner one has run by now.
        NESTED.store(sig::count() > before, std::sync::atomic::Ordering::SeqCst);
    }
}
static NESTED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

case!(deferred_while_its_handler_runs: rt_sigaction);
fn deferred_while_its_handler_runs() {
    sig::on(SIGUSR1, raise_again, 0);
    sig::raise(SIGUSR1);
    eq(sig::count(), 3);
    check(!NESTED.load(std::sync::atomic::Ordering::SeqCst), "one after the other");
}

case!(nodefer: rt_sigaction);
fn nodefer() {
    sig::on(SIGUSR1, raise_again, SA_NODEFER);
    sig::raise(SIGUSR1);
    eq(sig::count(), 3);
    check(NESTED.load(std::sync::atomic::Ordering::SeqCst), "nested");
}

extern "C" fn note_mask(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
    MASK.store(sig::mask(), std::sync::atomic::Ordering::SeqCst);
}
static MASK: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

case!(mask_while_the_handler_runs: rt_sigaction, rt_sigprocmask, rt_sigreturn);
fn mask_while_the_handler_runs() {
    let inside = || MASK.load(std::sync::atomic::Ordering::SeqCst);
    sig::set_mask(sig::bit(SIGHUP));
    sig::set(SIGUSR1, sig::action(note_mask, 0, sig::bit(SIGUSR2)));
    sig::raise(SIGUSR1);
    eq(inside(), sig::bit(SIGHUP) | sig::bit(SIGUSR1) | sig::bit(SIGUSR2));
    eq_of("restored", sig::mask(), sig::bit(SIGHUP));
    sig::set(SIGUSR1, sig::action(note_mask, SA_NODEFER, sig::bit(SIGUSR2)));
    sig::raise(SIGUSR1);
    eq(inside(), sig::bit(SIGHUP) | sig::bit(SIGUSR2));
}

case!(ignoring_discards_what_is_pending: rt_sigaction, rt_sigpending);
fn ignoring_discards_what_is_pending() {
    sig::block(sig::bit(SIGUSR1) | sig::bit(SIGCHLD));
    sig::raise(SIGUSR1);
    sig::raise(SIGCHLD);
    sig::ignore(SIGUSR1);
    // The default action of SIGCHLD is to ignore it: setting it discards too.
    sig::default(SIGCHLD);
    eq(sig::pending(), 0);
    sig::on(SIGUSR1, sig::record, 0);
    sig::unblock(u64::MAX);
    eq(sig::count(), 0);
}

case!(ignored_while_blocked_is_not_queued: rt_sigaction, rt_sigpending);
fn ignored_while_blocked_is_not_queued() {
    sig::ignore(SIGUSR1);
    sig::raise(SIGUSR1);
    eq(sig::pending(), 0);
    // Blocked, it is kept: somebody may wait for it.
    sig::block(sig::bit(SIGUSR1));
    sig::raise(SIGUSR1);
    eq(sig::pending(), sig::bit(SIGUSR1));
}

case!(lowest_number_first: tgkill, rt_sigprocmask);
fn lowest_number_first() {
    let order = [SIGUSR2, SIGHUP, SIGRTMIN() + 1, SIGUSR1, SIGINT, SIGRTMIN()];
    for signal in order {
        sig::set(signal, sig::action(sig::record, 0, u64::MAX));
    }
    sig::block(u64::MAX);
    order.iter().for_each(|s| sig::raise(*s));
    sig::unblock(u64::MAX);
    // All handlers are stacked up before the first one runs a single instruction, so that the last one set up runs first;
    // with a full mask each runs alone instead, in order of delivery.
    eq(sig::log_signals(), vec![SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGRTMIN(), SIGRTMIN() + 1]);
}

case!(handlers_stack_up: tgkill, rt_sigprocmask);
fn handlers_stack_up() {
    for signal in [SIGHUP, SIGINT, SIGUSR1] {
        sig::on(signal, sig::record, 0);
    }
    sig::block(u64::MAX);
    for signal in [SIGHUP, SIGINT, SIGUSR1] {
        sig::raise(signal);
    }
    sig::unblock(u64::MAX);
    // Frames are pushed one upon the other before any handler begins: the last pushed runs first.
    eq(sig::log_signals(), vec![SIGUSR1, SIGINT, SIGHUP]);
}

case!(faults_come_before_others: tgkill, rt_sigprocmask);
fn faults_come_before_others() {
    for signal in [SIGHUP, SIGSEGV, SIGBUS] {
        sig::set(signal, sig::action(sig::record, 0, u64::MAX));
    }
    sig::block(u64::MAX);
    for signal in [SIGHUP, SIGSEGV, SIGBUS] {
        sig::raise(signal);
    }
    sig::unblock(u64::MAX);
    // Synchronous ones have precedence whatever their number.
    eq(sig::log_signals(), vec![SIGBUS, SIGSEGV, SIGHUP]);
}

case!(thread_directed_before_process_directed: tgkill, kill);
fn thread_directed_before_process_directed() {
    for signal in [SIGHUP, SIGUSR1] {
        sig::set(signal, sig::action(sig::record, 0, u64::MAX));
    }
    sig::block(u64::MAX);
    ok(sys!(kill, ok(sys!(getpid)), SIGHUP));
    sig::raise(SIGUSR1);
    sig::unblock(u64::MAX);
    eq(sig::log_signals(), vec![SIGUSR1, SIGHUP]);
}

case!(process_signal_finds_a_thread_that_takes_it: kill, rt_sigprocmask);
fn process_signal_finds_a_thread_that_takes_it() {
    static ON: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    extern "C" fn note(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
        ON.store(ok_i32(sys!(gettid)), std::sync::atomic::Ordering::SeqCst);
    }
    sig::on(SIGUSR1, note, 0);
    let seen = || ON.load(std::sync::atomic::Ordering::SeqCst);
    let (tid, handle) = thread::spawn(move || eventually("the signal", || seen() != 0));
    sig::block(sig::bit(SIGUSR1));
    ok(sys!(kill, ok(sys!(getpid)), SIGUSR1));
    thread::join(handle);
    eq(seen(), tid);
}

case!(ignored_signals_interrupt_nothing: rt_sigaction, nanosleep);
fn ignored_signals_interrupt_nothing() {
    sig::ignore(SIGUSR1);
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR1));
        ok(sys!(kill, me, SIGWINCH));
    });
    let t = timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    ok(sys!(nanosleep, &t, 0));
    child.succeeds();
}
