//! wait4 and waitid with all their flags.

use std::ffi::CString;

use crate::kit::prelude::*;

/// waitid, into raw siginfo.
fn waitid(kind: u32, id: i32, options: i32) -> (Answer, sig::Info) {
    let mut info = sig::Info([u64::MAX; 16]);
    (sys!(waitid, kind, id, &mut info, options, 0), info)
}

case!(no_children: wait4, waitid);
fn no_children() {
    fails(sys!(wait4, -1, 0, 0, 0), ECHILD);
    fails(sys!(wait4, 1, 0, 0, 0), ECHILD);
    fails(sys!(wait4, -1, 0, WNOHANG, 0), ECHILD);
    fails(waitid(P_ALL, 0, WEXITED).0, ECHILD);
}

case!(wnohang: wait4);
fn wnohang() {
    let child = fork(|| sleep_ms(10_000));
    let mut status: c_int = 0x55;
    eq(ok(sys!(wait4, child.pid, &mut status, WNOHANG, 0)), 0);
    eq_of("status untouched", status, 0x55);
    child.end();
}

case!(options: wait4, waitid);
fn options() {
    fails(sys!(wait4, -1, 0, 0x100, 0), EINVAL);
    fails(sys!(wait4, -1, 0, WEXITED, 0), EINVAL);
    fails(waitid(P_ALL, 0, 0).0, EINVAL);
    fails(waitid(P_ALL, 0, WNOHANG).0, EINVAL);
    fails(waitid(P_ALL, 0, WEXITED | 0x100).0, EINVAL);
    fails(waitid(9, 0, WEXITED).0, EINVAL);
    fails(waitid(P_PID, 0, WEXITED).0, EINVAL);
    fails(waitid(P_PID, -1, WEXITED).0, EINVAL);
    fails(waitid(P_PIDFD, -1, WEXITED).0, EINVAL);
    fails(waitid(P_PIDFD, 999, WEXITED).0, EBADF);
    fails(sys!(wait4, i32::MIN, 0, 0, 0), ESRCH);
}

case!(stopped_and_continued: wait4, kill);
fn stopped_and_continued() {
    let child = fork(|| sleep_ms(10_000));
    child.kill(SIGSTOP);
    let (pid, status) = wait_for(child.pid, WUNTRACED);
    eq(pid, child.pid);
    check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, describe(status));
    // A stop is told once.
    eq(ok(sys!(wait4, child.pid, 0, WNOHANG | WUNTRACED, 0)), 0);
    child.kill(SIGCONT);
    let (_, status) = wait_for(child.pid, WCONTINUED);
    eq(status, 0xffff);
    eq(ok(sys!(wait4, child.pid, 0, WNOHANG | WCONTINUED, 0)), 0);
    child.end();
}

case!(stop_is_invisible_without_wuntraced: wait4);
fn stop_is_invisible_without_wuntraced() {
    let child = fork(|| sleep_ms(10_000));
    child.kill(SIGSTOP);
    until_state(child.pid, 'T');
    eq(ok(sys!(wait4, child.pid, 0, WNOHANG, 0)), 0);
    child.end();
}

case!(waitid_fields: waitid);
fn waitid_fields() {
    let child = fork(|| exit_now(9));
    let (answer, info) = waitid(P_PID, child.pid, WEXITED);
    eq(ok(answer), 0);
    eq([info.signal(), info.errno(), info.code()], [SIGCHLD, 0, CLD_EXITED]);
    eq([info.pid(), info.uid(), info.status()], [child.pid, ok_i32(sys!(getuid)), 9]);
    let child = fork(|| sleep_ms(10_000));
    child.kill(SIGSTOP);
    let (_, info) = waitid(P_PID, child.pid, WSTOPPED);
    eq([info.code(), info.status()], [CLD_STOPPED, SIGSTOP]);
    child.kill(SIGCONT);
    let (_, info) = waitid(P_PID, child.pid, WCONTINUED);
    eq([info.code(), info.status()], [CLD_CONTINUED, SIGCONT]);
    child.kill(SIGKILL);
    let (_, info) = waitid(P_PID, child.pid, WEXITED);
    eq([info.code(), info.status()], [CLD_KILLED, SIGKILL]);
}

case!(wnowait_leaves_it: waitid);
fn wnowait_leaves_it() {
    let child = fork(|| exit_now(4));
    for _ in 0..3 {
        let (answer, info) = waitid(P_PID, child.pid, WEXITED | WNOWAIT);
        ok(answer);
        eq(info.status(), 4);
    }
    child.exits_with(4);
}

case!(waitid_nohang_with_nothing: waitid);
fn waitid_nohang_with_nothing() {
    let child = fork(|| sleep_ms(10_000));
    let (answer, info) = waitid(P_ALL, 0, WEXITED | WNOHANG);
    eq(ok(answer), 0);
    eq([info.signal(), info.pid()], [0, 0]);
    child.end();
}

case!(null_pointers: wait4, waitid);
fn null_pointers() {
    fork(|| {});
    ok(sys!(wait4, -1, 0, 0, 0));
    fork(|| {});
    ok(sys!(waitid, P_ALL, 0, 0, WEXITED, 0));
}

case!(bad_pointer_reaps_all_the_same: wait4);
fn bad_pointer_reaps_all_the_same() {
    let child = fork(|| {});
    fails(sys!(wait4, child.pid, 8, 0, 0), EFAULT);
    fails(sys!(wait4, child.pid, 0, 0, 0), ECHILD);
}

case!(by_process_group: wait4, setpgid);
fn by_process_group() {
    let [r, w] = pipe(0);
    let grouped = fork(|| {
        ok(sys!(setpgid, 0, 0));
        write_all(w, b"x");
        exit_now(1)
    });
    let other = fork(|| exit_now(2));
    read(r, 1);
    let (pid, status) = wait_for(-grouped.pid, 0);
    eq((pid, WEXITSTATUS(status)), (grouped.pid, 1));
    fails(sys!(wait4, -grouped.pid, 0, 0, 0), ECHILD);
    let (pid, _) = wait_for(0, 0);
    eq(pid, other.pid);
}

case!(waitid_by_group_and_pidfd: waitid, pidfd_open);
fn waitid_by_group_and_pidfd() {
    let child = fork(|| exit_now(1));
    let (answer, info) = waitid(P_PGID, 0, WEXITED);
    ok(answer);
    eq(info.pid(), child.pid);
    let child = fork(|| exit_now(2));
    let fd = ok_i32(sys!(pidfd_open, child.pid, 0));
    let (answer, info) = waitid(P_PIDFD, fd, WEXITED);
    ok(answer);
    eq([info.pid(), info.status()], [child.pid, 2]);
}

case!(nonblocking_pidfd: waitid, pidfd_open);
fn nonblocking_pidfd() {
    let child = fork(|| sleep_ms(10_000));
    let fd = ok_i32(sys!(pidfd_open, child.pid, PIDFD_NONBLOCK));
    fails(waitid(P_PIDFD, fd, WEXITED).0, EAGAIN);
    child.end();
}

case!(threads_children_are_shared: wait4);
fn threads_children_are_shared() {
    let child = fork(|| exit_now(7));
    let pid = child.pid;
    let (_, handle) = thread::spawn(move || {
        // __WNOTHREAD: only this thread's own children.
        fails(sys!(wait4, pid, 0, __WNOTHREAD, 0), ECHILD);
        let (got, status) = wait_for(pid, 0);
        eq((got, WEXITSTATUS(status)), (pid, 7));
    });
    thread::join(handle);
}

case!(usage_of_the_child: wait4, getrusage);
fn usage_of_the_child() {
    let child = fork(|| {
        let end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 30_000_000;
        while now_ns(CLOCK_PROCESS_CPUTIME_ID) < end {}
    });
    let mut status: c_int = 0;
    let mut usage: rusage = zeroed();
    ok(sys!(wait4, child.pid, &mut status, 0, &mut usage));
    let micros = |u: &rusage| {
        (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1_000_000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec
    };
    within("microseconds of the child", micros(&usage), 20_000, 5_000_000);
    let mut children: rusage = zeroed();
    ok(sys!(getrusage, RUSAGE_CHILDREN, &mut children));
    check(micros(&children) >= micros(&usage), "it is added to RUSAGE_CHILDREN");
}

case!(interrupted_by_a_handler: wait4, rt_sigaction);
fn interrupted_by_a_handler() {
    sig::on(SIGUSR1, sig::record, 0);
    let sleeper = fork(|| sleep_ms(10_000));
    let me = ok_i32(sys!(getpid));
    let poker = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR1));
    });
    fails(sys!(wait4, sleeper.pid, 0, 0, 0), EINTR);
    sleeper.end();
    poker.succeeds();
}

case!(restarted_with_sa_restart: wait4, rt_sigaction);
fn restarted_with_sa_restart() {
    sig::on(SIGUSR1, sig::record, SA_RESTART);
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR1));
        sleep_ms(30);
        exit_now(8);
    });
    let mut status: c_int = 0;
    eq(ok(sys!(wait4, child.pid, &mut status, 0, 0)) as i32, child.pid);
    eq(WEXITSTATUS(status), 8);
    eq(sig::log_signals(), vec![SIGUSR1]);
}

case!(nothing_is_left_of_who_was_waited_for: wait4, kill, openat, read);
fn nothing_is_left_of_who_was_waited_for() {
    for _ in 0..200 {
        let child = fork(|| {});
        let name = CString::new(format!("/proc/{}/status", child.pid)).unwrap_or_default();
        let (pid, status) = (child.pid, open(&name, O_RDONLY));
        child.succeeds();
        fails(sys!(read, status, &mut [0u8; 64], 64), ESRCH);
        fails(sys!(kill, pid, 0), ESRCH);
        fails(sys!(openat, AT_FDCWD, name.as_c_str(), O_RDONLY, 0), ENOENT);
        ok(sys!(close, status));
    }
}
