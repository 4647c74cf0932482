//! Calls that only tell a task about itself, made often: they stay true whatever changes, and filters see all of them.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::kit::filter::{ERRNO, install, on_call};
use crate::kit::prelude::*;

/// More than a kernel that has a quick way needs to take it.
const OFTEN: usize = 50;

/// The answer of a call, which is the same each time.
#[track_caller]
fn often(call: impl Fn() -> Answer) -> i64 {
    let first = ok(call());
    for _ in 0..OFTEN {
        eq(ok(call()), first);
    }
    first
}

case!(ids_after_fork_and_clone: getpid, gettid, getppid, fork, clone);
fn ids_after_fork_and_clone() {
    let me = often(|| sys!(getpid));
    eq(often(|| sys!(gettid)), me);
    let child = fork(|| {
        check(often(|| sys!(getpid)) != me, "another process");
        eq(often(|| sys!(getppid)), me);
        eq(often(|| sys!(gettid)), often(|| sys!(getpid)));
        fork(|| check(often(|| sys!(getppid)) != me, "not the first's child")).succeeds();
    });
    eq(often(|| sys!(getpid)), me);
    child.succeeds();
}

case!(threads_have_ids_of_their_own: gettid, getpid, clone);
fn threads_have_ids_of_their_own() {
    let me = often(|| sys!(getpid));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(move || {
                eq(often(|| sys!(getpid)), me);
                often(|| sys!(gettid))
            })
        })
        .collect();
    let mut ids: Vec<_> = threads.into_iter().map(|t| t.join().unwrap_or(0)).collect();
    ids.push(often(|| sys!(gettid)));
    ids.sort_unstable();
    ids.dedup();
    eq(ids.len(), 4);
}

case!(upper_half_of_the_number: getpid);
fn upper_half_of_the_number() {
    // Linux looks at 32 bits.
    let me = often(|| sys!(getpid));
    eq(often(|| sys_number!(nr::getpid | 1 << 40)), me);
}

case!(user_ids_follow_at_once: getuid, geteuid, getgid, getegid, setresuid, setresgid; root);
fn user_ids_follow_at_once() {
    fork(|| {
        eq(often(|| sys!(getuid)), 0);
        for id in [1001, 4_000_000_000u32, 7] {
            ok(sys!(setresgid, id, id + 1, 0));
            eq(often(|| sys!(getgid)), i64::from(id));
            eq(often(|| sys!(getegid)), i64::from(id + 1));
            ok(sys!(setresuid, id, id + 1, 0));
            eq(often(|| sys!(getuid)), i64::from(id));
            eq(often(|| sys!(geteuid)), i64::from(id + 1));
            fork(|| eq(often(|| sys!(geteuid)), i64::from(id + 1))).succeeds();
            ok(sys!(setresuid, -1, 0, -1));
            eq(often(|| sys!(geteuid)), 0);
            ok(sys!(setresgid, 0, 0, 0));
        }
    })
    .succeeds();
}

case!(new_parent_is_seen_without_other_calls: getppid, kill);
fn new_parent_is_seen_without_other_calls() {
    let seen: &[AtomicI32; 2] = shared();
    let parent = fork(|| {
        let me = ok_i32(sys!(getpid));
        fork(|| {
            often(|| sys!(getppid));
            seen[0].store(1, Ordering::SeqCst);
            // Nothing but this call, and it never sleeps.
            while ok_i32(sys!(getppid)) == me {}
            seen[1].store(1, Ordering::SeqCst);
        });
        sleep_ms(60_000);
    });
    eventually("the child asks", || seen[0].load(Ordering::SeqCst) == 1);
    ok(sys!(kill, parent.pid, SIGKILL));
    eventually("the child sees that its parent is another", || seen[1].load(Ordering::SeqCst) == 1);
    parent.dies_of(SIGKILL);
}

case!(filters_see_all_of_them: seccomp, getpid);
fn filters_see_all_of_them() {
    fork(|| {
        often(|| sys!(getpid));
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        ok(install(&on_call(nr::getpid as u32, ERRNO | 42), 0));
        for _ in 0..OFTEN {
            fails(sys!(getpid), 42);
        }
        fork(|| fails(sys!(getpid), 42)).succeeds();
    })
    .succeeds();
}

case!(filters_of_another_thread_count_at_once: seccomp, getpid);
fn filters_of_another_thread_count_at_once() {
    fork(|| {
        let installed: &'static AtomicI32 = shared();
        let asks: &'static AtomicI32 = shared();
        let thread = std::thread::spawn(|| {
            // From the moment that the other thread's call is over: no call comes between.
            loop {
                let over = installed.load(Ordering::SeqCst) != 0;
                let answer = sys!(getpid);
                asks.fetch_add(1, Ordering::SeqCst);
                if over {
                    fails(answer, 42);
                    break;
                }
            }
        });
        eventually("it asks", || asks.load(Ordering::SeqCst) > OFTEN as i32);
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        ok(install(&on_call(nr::getpid as u32, ERRNO | 42), SECCOMP_FILTER_FLAG_TSYNC as u32));
        installed.store(1, Ordering::SeqCst);
        check(thread.join().is_ok(), "the thread saw it");
    })
    .succeeds();
}
