//! exit, exit_group and what becomes of orphans and zombies.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::kit::prelude::*;

case!(status_is_eight_bits: exit_group, wait4);
fn status_is_eight_bits() {
    fork(|| exit_now(0x1ff)).exits_with(0xff);
    fork(|| exit_now(-1)).exits_with(255);
    fork(|| exit_now(256)).exits_with(0);
}

case!(closes_descriptors: exit_group, read);
fn closes_descriptors() {
    let [r, w] = pipe(0);
    let child = fork(|| exit_now(0));
    close(w);
    eq(read(r, 1).len(), 0);
    child.succeeds();
}

case!(zombie_until_waited_for: wait4, kill);
fn zombie_until_waited_for() {
    let child = fork(|| {});
    until_state(child.pid, 'Z');
    let pid = child.pid;
    ok(sys!(kill, pid, 0));
    ok(sys!(getpgid, pid));
    child.succeeds();
    fails(sys!(kill, pid, 0), ESRCH);
    fails(sys!(getpgid, pid), ESRCH);
}

case!(orphan_gets_a_new_parent: getppid, prctl);
fn orphan_gets_a_new_parent() {
    let me = ok(sys!(getpid)) as i32;
    let seen = shared::<AtomicI32>();
    ok(sys!(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    in_child(|| {
        let parent = ok(sys!(getpid));
        fork(|| {
            eventually("the parent has gone", || ok(sys!(getppid)) != parent);
            seen.store(ok(sys!(getppid)) as i32, Ordering::SeqCst);
        });
    });
    // The grandchild is ours now.
    let (_, status) = wait_for(-1, 0);
    eq(status, 0);
    eq(seen.load(Ordering::SeqCst), me);
}

case!(parent_death_signal: prctl);
fn parent_death_signal() {
    let [r, w] = pipe(0);
    in_child(|| {
        let ready = pipe(0);
        fork(|| {
            sig::block(sig::bit(SIGUSR2));
            ok(sys!(prctl, PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0));
            write_all(ready[1], b"r");
            eventually("the signal came", || sig::pending() & sig::bit(SIGUSR2) != 0);
            write_all(w, b"x");
        });
        read(ready[0], 1);
    });
    eq(read(r, 1), b"x");
}

case!(parent_death_signal_values: prctl);
fn parent_death_signal_values() {
    let mut value: c_int = -1;
    ok(sys!(prctl, PR_GET_PDEATHSIG, &mut value, 0, 0, 0));
    eq(value, 0);
    ok(sys!(prctl, PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0));
    ok(sys!(prctl, PR_GET_PDEATHSIG, &mut value, 0, 0, 0));
    eq(value, SIGTERM);
    fails(sys!(prctl, PR_SET_PDEATHSIG, 65, 0, 0, 0), EINVAL);
    in_child(|| {
        let mut value: c_int = -1;
        ok(sys!(prctl, PR_GET_PDEATHSIG, &mut value, 0, 0, 0));
        eq_of("not inherited", value, 0);
    });
}

case!(sigchld_info: exit_group, rt_sigaction);
fn sigchld_info() {
    sig::block(sig::bit(SIGCHLD));
    let child = fork(|| exit_now(3));
    let mut info = sig::Info::default();
    eq(ok(sys!(rt_sigtimedwait, &sig::bit(SIGCHLD), &mut info, 0, 8)), i64::from(SIGCHLD));
    eq([info.code(), info.pid(), info.status()], [CLD_EXITED, child.pid, 3]);
    child.exits_with(3);
    let child = fork(|| sleep_ms(10_000));
    child.kill(SIGKILL);
    eq(ok(sys!(rt_sigtimedwait, &sig::bit(SIGCHLD), &mut info, 0, 8)), i64::from(SIGCHLD));
    eq([info.code(), info.pid(), info.status()], [CLD_KILLED, child.pid, SIGKILL]);
    child.dies_of(SIGKILL);
}

case!(ignored_sigchld_reaps: rt_sigaction, wait4);
fn ignored_sigchld_reaps() {
    sig::ignore(SIGCHLD);
    let child = fork(|| {});
    // wait4 blocks until all have gone, then there is none.
    fails(sys!(wait4, child.pid, 0, 0, 0), ECHILD);
    fails(sys!(kill, child.pid, 0), ESRCH);
}

case!(nocldwait_reaps: rt_sigaction, wait4);
fn nocldwait_reaps() {
    sig::on(SIGCHLD, sig::record, SA_NOCLDWAIT);
    let child = fork(|| {});
    loop {
        match sys!(wait4, child.pid, 0, 0, 0) {
            Err(Errno(EINTR)) => {}
            other => {
                fails(other, ECHILD);
                break;
            }
        }
    }
    eq_of("the signal still comes", sig::log_signals(), vec![SIGCHLD]);
}

case!(core_bit: wait4, prlimit64);
fn core_bit() {
    // With a core limit of zero no core is written, and the bit is not set.
    let limit = rlimit { rlim_cur: 0, rlim_max: 0 };
    ok(sys!(prlimit64, 0, RLIMIT_CORE, &limit, 0));
    for signal in [SIGABRT, SIGSEGV, SIGQUIT, SIGTERM] {
        let status = fork(|| sig::raise(signal)).status();
        eq_of(format_args!("status of signal {signal}"), status & 0x7f, signal);
        eq_of("core bit", status & 0x80, 0);
    }
}

case!(vfork_child_killed: clone, kill);
fn vfork_child_killed() {
    extern "C" fn die(_: usize) -> c_int {
        let _ = sys!(kill, sys!(getpid).unwrap_or(0), SIGKILL);
        0
    }
    let flags = (CLONE_VM | CLONE_VFORK | SIGCHLD) as u64;
    let pid = ok_i32(thread::clone(flags, thread::Slots::default(), die, 0));
    Child { pid }.dies_of(SIGKILL);
}
