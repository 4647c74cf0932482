//! SEM_UNDO.

use super::{NOWAIT, Op, Set, UNDO};
use crate::kit::prelude::*;

case!(exit_undoes: semop);
fn exit_undoes() {
    let set = Set::with(&[5, 0, 1]);
    let child = fork(|| {
        ok(set.one(0, -3, UNDO));
        ok(set.one(1, 4, UNDO));
        ok(set.one(2, -1, 0));
        ok(set.one(0, 1, UNDO));
        eq([0, 1, 2].map(|n| set.value(n)), [3, 4, 0]);
    });
    let pid = child.pid;
    child.succeeds();
    eq([0, 1, 2].map(|n| set.value(n)), [5, 0, 0]);
    eq(set.waiting(1, GETPID), i64::from(pid));
}

case!(a_kill_undoes_and_serves: semop);
fn a_kill_undoes_and_serves() {
    let set = Set::with(&[1]);
    let holder = fork(|| {
        ok(set.one(0, -1, UNDO));
        sleep_ms(100_000);
    });
    eventually("it is taken", || set.value(0) == 0);
    let next = fork(|| done(set.one(0, -1, UNDO)));
    until_asleep(next.pid);
    holder.kill(SIGKILL);
    holder.dies_of(SIGKILL);
    next.succeeds();
    eq(set.value(0), 1);
}

case!(undoing_stays_in_bounds: semop);
fn undoing_stays_in_bounds() {
    let set = Set::new(2);
    in_child(|| {
        ok(set.one(0, 5, UNDO));
        in_child(|| done(set.one(0, -4, 0)));
        ok(set.one(1, 3, 0));
        ok(set.one(1, -3, UNDO));
        in_child(|| done(set.one(1, 32_766, 0)));
    });
    // 1 - 5 is 0, and 32766 + 3 is 32767.
    eq([0, 1].map(|n| set.value(n)), [0, 32_767]);
}

case!(setting_forgets_what_was_to_undo: semctl, semop);
fn setting_forgets_what_was_to_undo() {
    let set = Set::with(&[5, 5]);
    in_child(|| {
        ok(set.one(0, -3, UNDO));
        ok(set.one(1, -3, UNDO));
        ok(sys!(semctl, set.0, 0, SETVAL, 9));
    });
    eq([0, 1].map(|n| set.value(n)), [9, 5]);
    in_child(|| {
        ok(set.one(0, -3, UNDO));
        ok(set.one(1, -3, UNDO));
        ok(sys!(semctl, set.0, 0, SETALL, &[1u16, 2]));
    });
    eq([0, 1].map(|n| set.value(n)), [1, 2]);
}

case!(children_do_not_inherit_what_to_undo: semop, fork);
fn children_do_not_inherit_what_to_undo() {
    let set = Set::with(&[5]);
    in_child(|| {
        ok(set.one(0, -2, UNDO));
        in_child(|| {});
        eq(set.value(0), 3);
    });
    eq(set.value(0), 5);
}

case!(shared_lists_are_undone_by_the_last: semop, clone);
fn shared_lists_are_undone_by_the_last() {
    let set = Set::with(&[5]);
    in_child(|| {
        clone_child((CLONE_SYSVSEM | SIGCHLD) as u64, || done(set.one(0, -2, UNDO))).succeeds();
        eq(set.value(0), 3);
    });
    eq(set.value(0), 5);
    // What goes its own way has no part in it.
    in_child(|| {
        clone_child((CLONE_SYSVSEM | SIGCHLD) as u64, || {
            ok(set.one(0, -1, UNDO));
            ok(sys!(unshare, CLONE_SYSVSEM));
            eq(set.value(0), 4);
            ok(set.one(0, -1, UNDO));
        })
        .succeeds();
        eq(set.value(0), 4);
    });
    eq(set.value(0), 5);
}

case!(threads_undo_when_the_last_ends: semop);
fn threads_undo_when_the_last_ends() {
    let set = Set::with(&[5]);
    in_child(|| {
        let id = set.0;
        let (_, thread) = thread::spawn(move || {
            done(sys!(semop, id, &[Op { number: 0, op: -2, flags: UNDO }], 1));
        });
        thread::join(thread);
        eq(set.value(0), 3);
    });
    eq(set.value(0), 5);
}

case!(an_unshared_list_is_undone_at_once: unshare, semop);
fn an_unshared_list_is_undone_at_once() {
    let set = Set::with(&[5]);
    in_child(|| {
        ok(set.one(0, -2, UNDO));
        ok(sys!(unshare, CLONE_SYSVSEM));
        eq(set.value(0), 5);
    });
    eq(set.value(0), 5);
}

case!(exec_keeps_what_to_undo: execve, semop);
fn exec_keeps_what_to_undo() {
    let set = Set::with(&[5]);
    let [r, w] = pipe(0);
    let child = fork(|| {
        ok(set.one(0, -2, UNDO));
        ok(sys!(dup2, w, 1));
        done(exec(program(), &[program(), c"argv"], &[]));
    });
    close(w);
    // The new program has written, and may have ended.
    check(!read_to_end(r).is_empty(), "nothing from the program");
    child.succeeds();
    eq(set.value(0), 5);
}

case!(what_is_to_undo_has_bounds: semop);
fn what_is_to_undo_has_bounds() {
    let set = Set::new(1);
    in_child(|| {
        ok(set.one(0, 32_767, UNDO));
        ok(set.one(0, -32_767, 0));
        ok(set.one(0, 1, UNDO));
        fails(set.one(0, 1, UNDO), ERANGE);
        eq(set.value(0), 1);
        ok(set.one(0, 1, 0));
    });
    eq(set.value(0), 0);
}

case!(what_fails_leaves_nothing_to_undo: semop);
fn what_fails_leaves_nothing_to_undo() {
    let set = Set::with(&[5, 0]);
    in_child(|| {
        let ops = [Op { number: 0, op: -2, flags: UNDO }, Op { number: 1, op: -1, flags: NOWAIT | UNDO }];
        fails(set.op(&ops), EAGAIN);
    });
    eq(set.value(0), 5);
    // A missing set comes before a number that is too high.
    fails(sys!(semop, 0x7fff_ffff, &[Op { number: 900, op: 1, flags: UNDO }], 1), EINVAL);
}
