//! Filters and the strict mode.

use crate::kit::filter::{
    ALLOW, ERRNO, JEQ, KILL_PROCESS, KILL_THREAD, LOAD, LOG, Op, RET, TRACE, TRAP, install, on_call, op,
};
use crate::kit::prelude::*;

/// A call that nothing else here makes.
const VICTIM: u32 = nr::getpgrp as u32;

/// In a child that has no_new_privs.
#[track_caller]
fn filtered(action: u32, body: impl FnOnce()) -> Child {
    fork(|| {
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        ok(install(&on_call(VICTIM, action), 0));
        body();
    })
}

case!(errno: seccomp);
fn errno() {
    filtered(ERRNO | 42, || fails(sys!(getpgrp), 42)).succeeds();
    filtered(ERRNO | EPERM as u32, || fails(sys!(getpgrp), EPERM)).succeeds();
    // No error is success with 0, and 4095 is the largest.
    filtered(ERRNO, || eq(ok(sys!(getpgrp)), 0)).succeeds();
    filtered(ERRNO | 0xffff, || fails(sys!(getpgrp), 4095)).succeeds();
}

case!(allow_log_and_trace: seccomp);
fn allow_log_and_trace() {
    let group = ok(sys!(getpgrp));
    filtered(ALLOW, || eq(ok(sys!(getpgrp)), group)).succeeds();
    filtered(LOG, || eq(ok(sys!(getpgrp)), group)).succeeds();
    // Without a tracer.
    filtered(TRACE | 5, || fails(sys!(getpgrp), ENOSYS)).succeeds();
}

case!(kill: seccomp);
fn kill() {
    filtered(KILL_PROCESS, || {
        let _ = sys!(getpgrp);
    })
    .dies_of(SIGSYS);
    filtered(KILL_THREAD, || {
        let _ = sys!(getpgrp);
    })
    .dies_of(SIGSYS);
    // An action that is none kills, and no handler or mask helps.
    let handled = || {
        sig::on(SIGSYS, sig::record, 0);
        sig::block(sig::bit(SIGSYS));
        let _ = sys!(getpgrp);
    };
    filtered(0x1234_0000, handled).dies_of(SIGSYS);
}

case!(kill_one_thread: seccomp, clone);
fn kill_one_thread() {
    extern "C" fn body(_: usize) -> c_int {
        let _ = sys!(getpgrp);
        9
    }
    let flags = thread::THREAD | CLONE_CHILD_CLEARTID as u64 | CLONE_CHILD_SETTID as u64;
    let still_there = || {
        let tid: &std::sync::atomic::AtomicI32 = shared();
        tid.store(-1, std::sync::atomic::Ordering::SeqCst);
        let slots = thread::Slots { child: std::ptr::from_ref(tid) as usize, ..Default::default() };
        ok(thread::clone(flags, slots, body, 0));
        eventually("the thread has gone", || tid.load(std::sync::atomic::Ordering::SeqCst) == 0);
    };
    filtered(KILL_THREAD, still_there).succeeds();
    let gone = || {
        ok(thread::clone(flags, thread::Slots { child: map(PAGE, RW), ..Default::default() }, body, 0));
        sleep_ms(10_000);
    };
    filtered(KILL_PROCESS, gone).dies_of(SIGSYS);
}

case!(trap: seccomp, rt_sigaction);
fn trap() {
    filtered(TRAP | 77, || {
        sig::on(SIGSYS, sig::record, 0);
        // What is in rax when the handler returns is the call's answer: here its number.
        eq(ok(sys!(getpgrp)), i64::from(VICTIM));
        let info = sig::log()[0];
        // si_code SYS_SECCOMP, si_errno the data.
        eq([info.signal(), info.code()], [SIGSYS, 1]);
        let word = |i: usize| {
            // SAFETY: `Info` is 128 bytes of integers.
            unsafe { std::ptr::from_ref(&info).cast::<u32>().add(i).read() }
        };
        eq([word(1), word(6), word(7)], [77, VICTIM, 0xc000_003e]);
    })
    .succeeds();
    // Without a handler it is deadly.
    filtered(TRAP, || {
        let _ = sys!(getpgrp);
    })
    .dies_of(SIGSYS);
}

case!(sees_all_of_the_arguments: seccomp);
fn sees_all_of_the_arguments() {
    // The upper half of the third argument of lseek decides.
    let program = [
        op(LOAD, 0),
        Op { code: JEQ, jt: 0, jf: 3, k: nr::lseek as u32 },
        op(LOAD, 16 + 2 * 8 + 4),
        Op { code: JEQ, jt: 0, jf: 1, k: 0x1234 },
        op(RET, ERRNO | 99),
        op(RET, ALLOW),
    ];
    in_child(|| {
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        ok(install(&program, 0));
        fails(sys!(lseek, 999, 0, 0x1234_0000_0000u64), 99);
        fails(sys!(lseek, 999, 0, 0x1235_0000_0000u64), EBADF);
    });
}

case!(strictest_of_several: seccomp);
fn strictest_of_several() {
    in_child(|| {
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        ok(install(&on_call(VICTIM, ERRNO | 1), 0));
        ok(install(&on_call(VICTIM, LOG), 0));
        fails(sys!(getpgrp), 1);
        // Of two equally strict ones the newer counts.
        ok(install(&on_call(VICTIM, ERRNO | 2), 0));
        fails(sys!(getpgrp), 2);
        // Forbidding seccomp itself keeps further ones out.
        ok(install(&on_call(nr::seccomp as u32, ERRNO | EACCES as u32), 0));
        fails(install(&on_call(VICTIM, ALLOW), 0), EACCES);
    });
}

case!(children_and_programs_keep_it: seccomp, fork, execve);
fn children_and_programs_keep_it() {
    filtered(ERRNO | 50, || {
        in_child(|| {
            fails(sys!(getpgrp), 50);
            eq(ok(sys!(prctl, PR_GET_SECCOMP, 0, 0, 0, 0)), 2);
        });
    })
    .succeeds();
    let forbidden = fork(|| {
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        // A program's first calls: brk is among them.
        ok(install(&on_call(nr::brk as u32, KILL_PROCESS), 0));
        let program = program();
        let _ = exec(program, &[program, c"list"], &[]);
    });
    forbidden.dies_of(SIGSYS);
}

case!(needs_no_new_privs: seccomp, prctl);
fn needs_no_new_privs() {
    unprivileged(|| {
        fails(install(&on_call(VICTIM, ALLOW), 0), EACCES);
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        ok(install(&on_call(VICTIM, ALLOW), 0));
    });
}

case!(bad_programs: seccomp);
fn bad_programs() {
    in_child(|| {
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        fails(install(&[], 0), EINVAL);
        fails(install(&[op(LOAD, 0)], 0), EINVAL);
        fails(install(&[op(LOAD, 64), op(RET, ALLOW)], 0), EINVAL);
        fails(install(&[op(LOAD, 2), op(RET, ALLOW)], 0), EINVAL);
        fails(install(&[Op { code: JEQ, jt: 1, jf: 0, k: 0 }, op(RET, ALLOW)], 0), EINVAL);
        fails(install(&[op(0x34, 0), op(RET, ALLOW)], 0), EINVAL);
        fails(install(&[op(0x61, 3), op(RET, ALLOW)], 0), EINVAL);
        fails(install(&[op(0xffff, 0), op(RET, ALLOW)], 0), EINVAL);
        fails(install(&vec![op(LOAD, 0); 4097], 0), EINVAL);
        fails(sys!(seccomp, 1, 0, 8), EFAULT);
        fails(sys!(seccomp, 1, 0, &[1u64, 8]), EFAULT);
        fails(install(&on_call(VICTIM, ALLOW), 1 << 20), EINVAL);
        fails(sys!(seccomp, 9, 0, 0), EINVAL);
        eq(ok(sys!(prctl, PR_GET_SECCOMP, 0, 0, 0, 0)), 0);
    });
}

case!(strict_mode: seccomp, prctl);
fn strict_mode() {
    fails(sys!(seccomp, 0, 1, 0), EINVAL);
    fails(sys!(seccomp, 0, 0, 8), EINVAL);
    let [r, w] = pipe(0);
    let child = fork(|| {
        ok(sys!(seccomp, 0, 0, 0));
        let _ = sys!(write, w, b"ok", 2);
        // exit_group is not allowed, exit is.
        let _ = sys!(exit, 5);
    });
    child.exits_with(5);
    eq(read(r, 10), b"ok");
    fork(|| {
        ok(sys!(prctl, PR_SET_SECCOMP, 1, 0, 0, 0));
        let _ = sys!(getpid);
    })
    .dies_of(SIGKILL);
}

case!(all_threads_at_once: seccomp);
fn all_threads_at_once() {
    use std::sync::atomic::{AtomicI64, Ordering};
    const TSYNC: u32 = 1;
    in_child(|| {
        static SEEN: AtomicI64 = AtomicI64::new(0);
        let (_, handle) = thread::spawn(|| {
            eventually("the filter has come", || sys!(getpgrp) == Err(Errno(60)));
            SEEN.store(ok(sys!(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)), Ordering::SeqCst);
        });
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        eq(ok(install(&on_call(VICTIM, ERRNO | 60), TSYNC)), 0);
        thread::join(handle);
        eq(SEEN.load(Ordering::SeqCst), 1);
    });
    // A thread with a filter of its own is in the way: its id is the answer.
    in_child(|| {
        static GO: AtomicI64 = AtomicI64::new(0);
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        let (tid, handle) = thread::spawn(|| {
            ok(install(&on_call(VICTIM, ERRNO | 61), 0));
            GO.store(1, Ordering::SeqCst);
            eventually("told to end", || GO.load(Ordering::SeqCst) == 2);
        });
        eventually("it has a filter", || GO.load(Ordering::SeqCst) == 1);
        eq(ok(install(&on_call(VICTIM, ERRNO | 62), TSYNC)), i64::from(tid));
        fails(install(&on_call(VICTIM, ERRNO | 62), TSYNC | 1 << 4), ESRCH);
        GO.store(2, Ordering::SeqCst);
        thread::join(handle);
    });
}

case!(what_is_available: seccomp);
fn what_is_available() {
    for action in [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG, ALLOW] {
        ok(sys!(seccomp, 2, 0, &action));
    }
    fails(sys!(seccomp, 2, 0, &0x1234_0000u32), EOPNOTSUPP);
    fails(sys!(seccomp, 2, 1, &ALLOW), EINVAL);
    fails(sys!(seccomp, 2, 0, 8), EFAULT);
}
