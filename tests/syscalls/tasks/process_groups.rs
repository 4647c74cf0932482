//! Process groups and sessions.

use crate::kit::prelude::*;

case!(setpgid_of_itself: setpgid, getpgid, getpgrp);
fn setpgid_of_itself() {
    in_child(|| {
        let me = ok(sys!(getpid));
        ok(sys!(setpgid, 0, 0));
        eq(ok(sys!(getpgid, 0)), me);
        eq(ok(sys!(getpgrp)), me);
        ok(sys!(setpgid, me, me));
    });
}

case!(setpgid_of_a_child: setpgid);
fn setpgid_of_a_child() {
    let a = fork(|| sleep_ms(10_000));
    let b = fork(|| sleep_ms(10_000));
    ok(sys!(setpgid, a.pid, a.pid));
    ok(sys!(setpgid, b.pid, a.pid));
    eq(ok(sys!(getpgid, b.pid)) as i32, a.pid);
    ok(sys!(kill, -a.pid, SIGTERM));
    a.dies_of(SIGTERM);
    b.dies_of(SIGTERM);
}

case!(getpgrp_after_others_have_moved_it: getpgrp, setpgid, setsid);
fn getpgrp_after_others_have_moved_it() {
    let [there, moved] = pipe(0);
    let [back, asked] = pipe(0);
    let parent = ok(sys!(getpgrp));
    let child = fork(|| {
        let me = ok(sys!(getpid));
        // So often that a sandbox has learned to answer at once.
        for _ in 0..1000 {
            eq(ok(sys!(getpgrp)), parent);
        }
        write_all(asked, b"x");
        eq(read(there, 1), b"x");
        for _ in 0..1000 {
            eq(ok(sys!(getpgrp)), me);
        }
        in_child(|| {
            eq(ok(sys!(getpgrp)), me);
            let me = ok(sys!(setsid));
            eq(ok(sys!(getpgrp)), me);
        });
    });
    eq(read(back, 1), b"x");
    ok(sys!(setpgid, child.pid, child.pid));
    write_all(moved, b"x");
    child.succeeds();
}

case!(setpgid_errors: setpgid, getpgid);
fn setpgid_errors() {
    fails(sys!(setpgid, 0, -1), EINVAL);
    fails(sys!(setpgid, -1, 0), EINVAL);
    fails(sys!(setpgid, -1, 1), ESRCH);
    fails(sys!(setpgid, 1, 0), ESRCH);
    fails(sys!(getpgid, -1), ESRCH);
    in_child(|| {
        // A group that does not exist in the session.
        fails(sys!(setpgid, 0, 1), EPERM);
        fails(sys!(setpgid, 0, 0x3fff_fff0), EPERM);
    });
}

case!(setpgid_of_a_session_leader: setpgid, setsid);
fn setpgid_of_a_session_leader() {
    in_child(|| {
        ok(sys!(setsid));
        fails(sys!(setpgid, 0, 0), EPERM);
    });
}

case!(setpgid_after_exec: setpgid, execve);
fn setpgid_after_exec() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        ok(sys!(dup3, w, 1, 0));
        ok(sys!(dup3, r, 0, 0));
        close(r);
        close(w);
        ok(exec(c"/bin/sh", &[c"sh", c"-c", c"echo x; sleep 10"], &[c"PATH=/bin:/usr/bin"]));
    });
    read(r, 1);
    fails(sys!(setpgid, child.pid, child.pid), EACCES);
    child.end();
}

case!(setpgid_across_sessions: setpgid, setsid);
fn setpgid_across_sessions() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        ok(sys!(setsid));
        write_all(w, b"x");
        sleep_ms(10_000);
    });
    read(r, 1);
    fails(sys!(setpgid, child.pid, 0), EPERM);
    in_child(|| fails(sys!(setpgid, 0, child.pid), EPERM));
    child.end();
}

case!(setsid_makes_all_new: setsid, getsid, getpgid);
fn setsid_makes_all_new() {
    in_child(|| {
        let me = ok(sys!(getpid));
        eq(ok(sys!(setsid)), me);
        eq(ok(sys!(getsid, 0)), me);
        eq(ok(sys!(getpgid, 0)), me);
        fails(sys!(setsid), EPERM);
        fails(sys!(getsid, -1), ESRCH);
    });
}

case!(setsid_by_a_group_leader: setsid, setpgid);
fn setsid_by_a_group_leader() {
    in_child(|| {
        ok(sys!(setpgid, 0, 0));
        fails(sys!(setsid), EPERM);
    });
}

case!(setsid_while_the_group_lives_on: setsid, setpgid);
fn setsid_while_the_group_lives_on() {
    // Leaving the group that bears our id does not free the id.
    in_child(|| {
        let parent_group = ok(sys!(getpgid, 0));
        ok(sys!(setpgid, 0, 0));
        let member = fork(|| sleep_ms(10_000));
        ok(sys!(setpgid, 0, parent_group));
        fails(sys!(setsid), EPERM);
        member.end();
    });
}

case!(kill_a_group: kill, setpgid);
fn kill_a_group() {
    let [r, w] = pipe(0);
    let leader = fork(|| {
        ok(sys!(setpgid, 0, 0));
        for _ in 0..3 {
            fork(|| {
                write_all(w, b"x");
                sleep_ms(10_000);
            });
        }
        write_all(w, b"x");
        sleep_ms(10_000);
    });
    let mut seen = 0;
    while seen < 4 {
        seen += read(r, 4).len();
    }
    close(w);
    ok(sys!(kill, -leader.pid, SIGKILL));
    leader.dies_of(SIGKILL);
    // All ends of the pipe have gone with the processes.
    eq(read(r, 1).len(), 0);
}

case!(kill_own_group: kill, setpgid);
fn kill_own_group() {
    fork(|| {
        ok(sys!(setpgid, 0, 0));
        let member = fork(|| {
            sig::default(SIGUSR1);
            sleep_ms(10_000);
        });
        sig::on(SIGUSR1, sig::record, 0);
        until_asleep(member.pid);
        ok(sys!(kill, 0, SIGUSR1));
        member.dies_of(SIGUSR1);
        eq(sig::log_signals(), vec![SIGUSR1]);
    })
    .succeeds();
}

case!(kill_errors: kill);
fn kill_errors() {
    fails(sys!(kill, 0x3fff_fff0, 0), ESRCH);
    fails(sys!(kill, -0x3fff_fff0, 0), ESRCH);
    fails(sys!(kill, i32::MIN, 0), ESRCH);
    fails(sys!(kill, ok(sys!(getpid)), 65), EINVAL);
    fails(sys!(kill, ok(sys!(getpid)), -1), EINVAL);
    // The process is looked for before the signal is checked.
    fails(sys!(kill, 0x3fff_fff0, 65), ESRCH);
}

case!(kill_without_permission: kill; root);
fn kill_without_permission() {
    let victim = fork(|| sleep_ms(10_000));
    unprivileged(|| {
        fails(sys!(kill, victim.pid, SIGTERM), EPERM);
        fails(sys!(kill, victim.pid, 0), EPERM);
        fails(sys!(tgkill, victim.pid, victim.pid, SIGTERM), EPERM);
        // SIGCONT may go to anyone in the session.
        ok(sys!(kill, victim.pid, SIGCONT));
    });
    victim.end();
}
