//! siginfo by source. (Faults are in segv, timers with the timers, children in exit and wait.)

use crate::kit::prelude::*;

case!(kill: kill);
fn kill() {
    sig::on(SIGUSR1, sig::record, 0);
    ok(sys!(kill, ok(sys!(getpid)), SIGUSR1));
    let info = sig::log()[0];
    eq([info.signal(), info.errno(), info.code()], [SIGUSR1, 0, SI_USER]);
    eq([info.pid(), info.uid()], [ok_i32(sys!(getpid)), ok_i32(sys!(getuid))]);
    eq_of("the rest is zero", info.0[3..].to_vec(), vec![0; 13]);
}

case!(tgkill: tgkill, tkill);
fn tgkill() {
    sig::on(SIGUSR1, sig::record, 0);
    sig::raise(SIGUSR1);
    ok(sys!(tkill, ok(sys!(gettid)), SIGUSR1));
    for info in sig::log() {
        eq([info.code(), info.pid(), info.uid()], [SI_TKILL, ok_i32(sys!(getpid)), ok_i32(sys!(getuid))]);
    }
    eq(sig::count(), 2);
}

case!(from_another_process: kill);
fn from_another_process() {
    sig::on(SIGUSR1, sig::record, 0);
    let me = ok_i32(sys!(getpid));
    let child = fork(|| done(sys!(kill, me, SIGUSR1)));
    eventually("it came", || sig::count() == 1);
    eq(sig::log()[0].pid(), child.pid);
    child.succeeds();
}

case!(broken_pipe: write);
fn broken_pipe() {
    sig::on(SIGPIPE, sig::record, 0);
    let [r, w] = pipe(0);
    close(r);
    fails(sys!(write, w, b"x", 1), EPIPE);
    let info = sig::log()[0];
    eq([info.signal(), info.code(), info.pid()], [SIGPIPE, SI_USER, ok_i32(sys!(getpid))]);
}

case!(alarm: alarm, setitimer);
fn alarm() {
    sig::on(SIGALRM, sig::record, 0);
    let soon = [0i64, 0, 0, 5_000];
    ok(sys!(setitimer, ITIMER_REAL, &soon, 0));
    eventually("it came", || sig::count() == 1);
    let info = sig::log()[0];
    eq([info.signal(), info.code(), info.pid()], [SIGALRM, 0x80, 0]);
}

case!(child_stopped_by_terminal_signal: kill, waitid);
fn child_stopped_by_terminal_signal() {
    sig::on(SIGCHLD, sig::record, 0);
    let child = fork(|| sleep_ms(10_000));
    until_asleep(child.pid);
    child.kill(SIGSTOP);
    eventually("it came", || sig::count() == 1);
    let info = sig::log()[0];
    eq([info.code(), info.status(), info.pid()], [CLD_STOPPED, SIGSTOP, child.pid]);
    child.end();
}

case!(io_owner: fcntl);
fn io_owner() {
    let [r, w] = pipe(O_NONBLOCK);
    sig::on(SIGIO, sig::record, 0);
    ok(sys!(fcntl, r, F_SETOWN, ok(sys!(getpid))));
    eq(ok(sys!(fcntl, r, F_GETOWN)), ok(sys!(getpid)));
    let flags = ok(sys!(fcntl, r, F_GETFL));
    ok(sys!(fcntl, r, F_SETFL, flags | i64::from(O_ASYNC)));
    write_all(w, b"x");
    eventually("it came", || sig::count() >= 1);
    eq(sig::log()[0].code(), 0x80);
    // With a signal of one's own there is a band and a descriptor.
    sig::on(SIGRTMIN(), sig::record, 0);
    ok(sys!(fcntl, r, 10, SIGRTMIN()));
    eq(ok(sys!(fcntl, r, 11)) as i32, SIGRTMIN());
    sig::clear_log();
    write_all(w, b"x");
    eventually("it came", || sig::count() >= 1);
    let info = sig::log()[0];
    eq([info.signal(), info.code(), info.status()], [SIGRTMIN(), 1, r]);
    eq_of("band", info.addr() as u32 & 0x1, 1);
}

case!(bad_system_call: seccomp, prctl);
fn bad_system_call() {
    in_child(|| {
        extern "C" fn note(signal: c_int, info: *mut siginfo_t, context: *mut ucontext_t) {
            sig::record(signal, info, context);
        }
        sig::on(SIGSYS, note, 0);
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        // ld [nr]; jeq 39 (getpid) → trap with data 7; else allow
        let code: [[u16; 4]; 4] = [[0x20, 0, 0, 0], [0x15, 0x0100, 39, 0], [6, 0, 7, 0x3], [6, 0, 0, 0x7fff]];
        let program = [4u64, code.as_ptr() as u64];
        match sys!(seccomp, 1, 0, &program) {
            Ok(_) => {}
            Err(e) => fail(format_args!("no filter: {e:?}")),
        }
        let _ = sys!(getpid);
        let info = sig::log()[0];
        eq([info.signal(), info.code(), info.errno()], [SIGSYS, 1, 7]);
        eq_of("number", info.status(), 39);
        check(info.addr() > 0x1000, "the instruction");
    });
}
