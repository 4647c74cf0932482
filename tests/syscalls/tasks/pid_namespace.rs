//! PID namespaces.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::kit::prelude::*;

const NEWPID: u64 = (CLONE_NEWPID | SIGCHLD) as u64;

case!(first_process_is_one: clone, getpid, getppid; root);
fn first_process_is_one() {
    let child = clone_child(NEWPID, || {
        eq(ok(sys!(getpid)), 1);
        eq(ok(sys!(gettid)), 1);
        eq_of("the parent is outside", ok(sys!(getppid)), 0);
        eq_of("so is the group", ok(sys!(getpgid, 0)), 0);
        let second = fork(|| {
            eq(ok(sys!(getpid)), 2);
            eq(ok(sys!(getppid)), 1);
        });
        eq(second.pid, 2);
        second.succeeds();
    });
    check(child.pid > 1, "outside it has another id");
    child.succeeds();
}

case!(others_are_invisible: clone, kill; root);
fn others_are_invisible() {
    let me = ok_i32(sys!(getpid));
    clone_child(NEWPID, || {
        if me > 100 {
            fails(sys!(kill, me, 0), ESRCH);
        }
        fails(sys!(kill, -1, SIGTERM), ESRCH);
    })
    .succeeds();
}

case!(end_of_the_first_ends_all: clone, exit_group; root);
fn end_of_the_first_ends_all() {
    let [r, w] = pipe(0);
    let init = clone_child(NEWPID, || {
        for _ in 0..3 {
            fork(|| {
                write_all(w, b"x");
                sleep_ms(10_000);
            });
        }
        let mut seen = 0;
        while seen < 3 {
            seen += read(r, 3).len();
        }
        exit_now(5);
    });
    close(w);
    init.exits_with(5);
    // All have gone with their ends of the pipe.
    eq(read(r, 1).len(), 0);
}

case!(first_is_immune_from_inside: clone, kill; root);
fn first_is_immune_from_inside() {
    clone_child(NEWPID, || {
        in_child(|| {
            ok(sys!(kill, 1, SIGKILL));
            ok(sys!(kill, 1, SIGTERM));
            ok(sys!(kill, 1, SIGSTOP));
        });
        sig::raise(SIGTERM);
        sig::raise(SIGKILL);
        // With a handler it is delivered.
        sig::on(SIGUSR1, sig::record, 0);
        in_child(|| done(sys!(kill, 1, SIGUSR1)));
        eventually("delivered", || sig::count() == 1);
        eq(sig::log()[0].code(), SI_USER);
    })
    .succeeds();
}

case!(first_is_killed_from_outside: clone, kill; root);
fn first_is_killed_from_outside() {
    let child = clone_child(NEWPID, || sleep_ms(10_000));
    until_asleep(child.pid);
    child.kill(SIGTERM);
    sleep_ms(10);
    child.kill(SIGKILL);
    child.dies_of(SIGKILL);
}

case!(sender_outside_has_id_zero: clone, kill; root);
fn sender_outside_has_id_zero() {
    let [r, w] = pipe(0);
    let child = clone_child(NEWPID, || {
        sig::on(SIGUSR1, sig::record, 0);
        write_all(w, b"x");
        eventually("delivered", || sig::count() == 1);
        eq(sig::log()[0].pid(), 0);
    });
    read(r, 1);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(orphans_go_to_the_first: clone, getppid; root);
fn orphans_go_to_the_first() {
    clone_child(NEWPID, || {
        let parent_of_orphan = shared::<AtomicI32>();
        in_child(|| {
            let parent = ok(sys!(getpid));
            fork(|| {
                eventually("the parent has gone", || ok(sys!(getppid)) != parent);
                parent_of_orphan.store(ok_i32(sys!(getppid)), Ordering::SeqCst);
            });
        });
        let (_, status) = wait_for(-1, 0);
        eq(status, 0);
        eq(parent_of_orphan.load(Ordering::SeqCst), 1);
    })
    .succeeds();
}

case!(unshare_is_for_the_children: unshare; root);
fn unshare_is_for_the_children() {
    in_child(|| {
        let me = ok(sys!(getpid));
        ok(sys!(unshare, CLONE_NEWPID));
        eq_of("the caller stays where it is", ok(sys!(getpid)), me);
        let init = fork(|| {
            eq(ok(sys!(getpid)), 1);
            sleep_ms(10_000);
        });
        fork(|| eq(ok(sys!(getpid)), 2)).succeeds();
        init.end();
        // A namespace whose first process has gone takes no more.
        fails(sys!(fork), ENOMEM);
    });
}

case!(nested: clone, getpid; root);
fn nested() {
    let ids = shared::<[AtomicI32; 3]>();
    let outer = clone_child(NEWPID, || {
        let inner = clone_child(NEWPID, || {
            ids[0].store(ok_i32(sys!(getpid)), Ordering::SeqCst);
            let status = text(c"/proc/self/status");
            // /proc still shows the namespace in which it was mounted; all levels are listed.
            if let Some(line) = status.lines().find(|l| l.starts_with("NSpid:")) {
                ids[2].store(line.split_whitespace().count() as i32 - 1, Ordering::SeqCst);
            }
        });
        ids[1].store(inner.pid, Ordering::SeqCst);
        inner.succeeds();
    });
    outer.succeeds();
    eq(ids.each_ref().map(|i| i.load(Ordering::SeqCst))[..2].to_vec(), vec![1, 2]);
    check(ids[2].load(Ordering::SeqCst) >= 3, "three levels");
}

case!(needs_a_privilege: clone, unshare);
fn needs_a_privilege() {
    unprivileged(|| {
        fails(sys!(clone, NEWPID, 0, 0, 0, 0), EPERM);
        fails(sys!(unshare, CLONE_NEWPID), EPERM);
    });
}

case!(depth_is_limited: clone; root);
fn depth_is_limited() {
    fn down(level: u32) {
        match sys!(clone, NEWPID, 0, 0, 0, 0) {
            Ok(0) => {
                down(level + 1);
                exit_now(0);
            }
            Ok(pid) => Child { pid: pid as c_int }.succeeds(),
            Err(e) => {
                eq(e, Errno(ENOSPC));
                check(level <= 32, format_args!("at most 32 levels, got {level}"));
                return;
            }
        }
        check(level < 40, "there is a limit");
    }
    down(0);
}

case!(first_keeps_what_it_blocks: clone, kill, rt_sigtimedwait, signalfd4; root);
fn first_keeps_what_it_blocks() {
    clone_child(NEWPID, || {
        sig::block(sig::bit(SIGCHLD) | sig::bit(SIGTERM) | sig::bit(SIGUSR1));
        let mask = sig::bit(SIGCHLD);
        let fd = ok_i32(sys!(signalfd4, -1, &mask, 8, 0));
        let child = fork(|| {
            ok(sys!(kill, 1, SIGTERM));
            ok(sys!(kill, 1, SIGUSR1));
            exit_now(6);
        });
        let mut record = [0u32; 32];
        eq(ok(sys!(read, fd, &mut record, 128)), 128);
        eq((record[0] as i32, record[3] as i32), (SIGCHLD, child.pid));
        child.exits_with(6);
        eq(sig::pending(), sig::bit(SIGTERM) | sig::bit(SIGUSR1));
        let mask = sig::bit(SIGUSR1);
        eq(ok(sys!(rt_sigtimedwait, &mask, 0, 0, 8)), i64::from(SIGUSR1));
        // The default action of what is let through is none.
        sig::unblock(sig::bit(SIGTERM));
        eq(sig::pending(), 0);
    })
    .succeeds();
}
