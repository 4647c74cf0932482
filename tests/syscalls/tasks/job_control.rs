//! Stopping and continuing, orphaned process groups.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::kit::prelude::*;

case!(stop_signals_stop: kill, wait4);
fn stop_signals_stop() {
    for signal in [SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU] {
        let child = fork(|| sleep_ms(10_000));
        ok(sys!(setpgid, child.pid, child.pid));
        until_asleep(child.pid);
        child.kill(signal);
        let (_, status) = wait_for(child.pid, WUNTRACED);
        check(WIFSTOPPED(status) && WSTOPSIG(status) == signal, describe(status));
        until_state(child.pid, 'T');
        child.end();
    }
}

case!(kill_of_a_stopped_process: kill);
fn kill_of_a_stopped_process() {
    let child = fork(|| sleep_ms(10_000));
    child.kill(SIGSTOP);
    wait_for(child.pid, WUNTRACED);
    // Anything else waits for SIGCONT.
    child.kill(SIGTERM);
    sleep_ms(20);
    eq(state(child.pid), 'T');
    child.kill(SIGCONT);
    child.dies_of(SIGTERM);
}

case!(stop_stops_all_threads: kill);
fn stop_stops_all_threads() {
    let counters = shared::<[AtomicU32; 3]>();
    let child = fork(|| {
        for counter in &counters[1..] {
            std::thread::spawn(|| {
                loop {
                    counter.fetch_add(1, Ordering::SeqCst);
                    sleep_ms(1);
                }
            });
        }
        loop {
            counters[0].fetch_add(1, Ordering::SeqCst);
            sleep_ms(1);
        }
    });
    let all = || counters.each_ref().map(|c| c.load(Ordering::SeqCst));
    eventually("all run", || all().iter().all(|c| *c > 2));
    child.kill(SIGSTOP);
    wait_for(child.pid, WUNTRACED);
    let before = all();
    sleep_ms(30);
    eq(all(), before);
    child.kill(SIGCONT);
    eventually("all run again", || all().iter().zip(before).all(|(now, then)| *now > then));
    child.end();
}

case!(continue_discards_stops: kill, rt_sigpending);
fn continue_discards_stops() {
    sig::block(sig::bit(SIGTSTP) | sig::bit(SIGCONT));
    sig::raise(SIGTSTP);
    check(sig::pending() & sig::bit(SIGTSTP) != 0, "the stop is pending");
    sig::raise(SIGCONT);
    eq_of("pending", sig::pending() & (sig::bit(SIGTSTP) | sig::bit(SIGCONT)), sig::bit(SIGCONT));
    sig::raise(SIGTSTP);
    eq_of("pending", sig::pending() & (sig::bit(SIGTSTP) | sig::bit(SIGCONT)), sig::bit(SIGTSTP));
}

case!(continue_works_while_blocked_or_ignored: kill, rt_sigaction);
fn continue_works_while_blocked_or_ignored() {
    let child = fork(|| {
        sig::block(sig::bit(SIGCONT));
        sig::ignore(SIGCONT);
        sleep_ms(10_000);
    });
    until_asleep(child.pid);
    child.kill(SIGSTOP);
    wait_for(child.pid, WUNTRACED);
    child.kill(SIGCONT);
    let (_, status) = wait_for(child.pid, WCONTINUED);
    eq(status, 0xffff);
    child.end();
}

case!(parent_is_told: kill, rt_sigaction);
fn parent_is_told() {
    sig::block(sig::bit(SIGCHLD));
    let child = fork(|| sleep_ms(10_000));
    let mut info = sig::Info::default();
    for (signal, code, status) in
        [(SIGSTOP, CLD_STOPPED, SIGSTOP), (SIGCONT, CLD_CONTINUED, SIGCONT), (SIGTERM, CLD_KILLED, SIGTERM)]
    {
        child.kill(signal);
        ok(sys!(rt_sigtimedwait, &sig::bit(SIGCHLD), &mut info, 0, 8));
        eq([info.code(), info.status(), info.pid()], [code, status, child.pid]);
    }
    child.dies_of(SIGTERM);
}

case!(nocldstop_keeps_quiet: rt_sigaction);
fn nocldstop_keeps_quiet() {
    sig::on(SIGCHLD, sig::record, SA_NOCLDSTOP | SA_RESTART);
    let child = fork(|| sleep_ms(10_000));
    child.kill(SIGSTOP);
    wait_for(child.pid, WUNTRACED);
    child.kill(SIGCONT);
    wait_for(child.pid, WCONTINUED);
    eq(sig::count(), 0);
    child.end();
    eq(sig::count(), 1);
}

case!(orphaned_group_ignores_terminal_stops: kill, setsid);
fn orphaned_group_ignores_terminal_stops() {
    // The child's group is orphaned: its parent is in another session.
    let child = fork(|| {
        ok(sys!(setsid));
        for signal in [SIGTSTP, SIGTTIN, SIGTTOU] {
            sig::raise(signal);
        }
        exit_now(3);
    });
    child.exits_with(3);
}

case!(orphaned_group_still_obeys_sigstop: kill, setsid);
fn orphaned_group_still_obeys_sigstop() {
    let child = fork(|| {
        ok(sys!(setsid));
        sig::raise(SIGSTOP);
    });
    let (_, status) = wait_for(child.pid, WUNTRACED);
    check(WIFSTOPPED(status), describe(status));
    child.kill(SIGCONT);
    child.succeeds();
}

case!(group_with_a_stopped_member_is_orphaned: kill, setpgid, exit_group);
fn group_with_a_stopped_member_is_orphaned() {
    // When the last tie to the session goes, stopped members get SIGHUP and SIGCONT.
    let result = shared::<AtomicU32>();
    let [r, w] = pipe(0);
    let parent = fork(|| {
        ok(sys!(setsid));
        let member = fork(|| {
            ok(sys!(setpgid, 0, 0));
            extern "C" fn note(signal: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
                RESULT.fetch_or(1 << signal, Ordering::SeqCst);
            }
            static RESULT: AtomicU32 = AtomicU32::new(0);
            sig::on(SIGHUP, note, 0);
            sig::on(SIGCONT, note, 0);
            sig::raise(SIGSTOP);
            eventually("both signals", || RESULT.load(Ordering::SeqCst) == 1 << SIGHUP | 1 << SIGCONT);
            result.store(RESULT.load(Ordering::SeqCst), Ordering::SeqCst);
            write_all(w, b"x");
        });
        wait_for(member.pid, WUNTRACED);
    });
    parent.succeeds();
    eq(read(r, 1), b"x");
    eq(result.load(Ordering::SeqCst), 1 << SIGHUP | 1 << SIGCONT);
}

case!(stop_without_default_action_is_an_ordinary_signal: rt_sigaction);
fn stop_without_default_action_is_an_ordinary_signal() {
    sig::on(SIGTSTP, sig::record, 0);
    sig::raise(SIGTSTP);
    eq(sig::log_signals(), vec![SIGTSTP]);
    sig::ignore(SIGTTIN);
    sig::raise(SIGTTIN);
}

case!(sigkill_and_sigstop_stay_default: rt_sigaction, rt_sigprocmask);
fn sigkill_and_sigstop_stay_default() {
    for signal in [SIGKILL, SIGSTOP] {
        fails(sys!(rt_sigaction, signal, &sig::action(sig::record, 0, 0), 0, 8), EINVAL);
        // Reading is allowed.
        eq(sig::get(signal).handler, SIG_DFL);
    }
    sig::set_mask(u64::MAX);
    eq(sig::mask(), !(sig::bit(SIGKILL) | sig::bit(SIGSTOP)));
}
