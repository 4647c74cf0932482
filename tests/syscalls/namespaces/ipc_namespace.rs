//! IPC namespaces: objects, limits and POSIX queues of their own.

use super::{link, new_user_namespace, own};
use crate::kit::prelude::*;

/// Goes into a new namespace; an ordinary user by way of a user namespace.
#[track_caller]
fn enter() {
    if !is_root() {
        new_user_namespace();
    }
    ok(sys!(unshare, CLONE_NEWIPC));
}

/// A key that no other run has.
fn key() -> i32 {
    0x6e73_0000 ^ ok_i32(sys!(getpid)) << 4
}

case!(objects_are_of_one_namespace: unshare, semget, msgget, shmget);
fn objects_are_of_one_namespace() {
    let key = key();
    let set = ok_i32(sys!(semget, key, 1, IPC_CREAT | 0o600));
    let queue = ok_i32(sys!(msgget, key, IPC_CREAT | 0o600));
    let segment = ok_i32(sys!(shmget, key, 100, IPC_CREAT | 0o600));
    let child = fork(|| {
        let old = link("self", "ipc");
        enter();
        check(link("self", "ipc") != old, "the same namespace");
        fails(sys!(semget, key, 1, 0), ENOENT);
        fails(sys!(msgget, key, 0), ENOENT);
        fails(sys!(shmget, key, 100, 0), ENOENT);
        for file in [c"/proc/sysvipc/sem", c"/proc/sysvipc/msg", c"/proc/sysvipc/shm"] {
            eq_of(format_args!("{file:?}"), text(file).lines().count(), 1);
        }
        // Ids begin anew.
        eq(ok(sys!(semget, key, 1, IPC_CREAT | 0o600)), 0);
        eq(ok(sys!(semget, IPC_PRIVATE, 1, 0o600)), 1);
        eq(ok(sys!(msgget, key, IPC_CREAT | 0o600)), 0);
        eq(ok(sys!(shmget, key, 100, IPC_CREAT | 0o600)), 0);
        eq(text(c"/proc/sysvipc/sem").lines().count(), 3);
    });
    let status = child.status();
    for removed in
        [sys!(semctl, set, 0, IPC_RMID), sys!(msgctl, queue, IPC_RMID), sys!(shmctl, segment, IPC_RMID)]
    {
        ok(removed);
    }
    eq(describe(status), "exited with 0".to_owned());
}

case!(limits_are_of_one_namespace: unshare, semop, msgget; root);
fn limits_are_of_one_namespace() {
    let outside = text(c"/proc/sys/kernel/msgmni");
    in_child(|| {
        enter();
        let write = |file, text: &[u8]| {
            let fd = open(file, O_WRONLY);
            let answer = sys!(write, fd, text, text.len());
            close(fd);
            answer
        };
        ok(write(c"/proc/sys/kernel/msgmni", b"2\n"));
        eq(text(c"/proc/sys/kernel/msgmni"), "2\n");
        ok(sys!(msgget, IPC_PRIVATE, 0o600));
        ok(sys!(msgget, IPC_PRIVATE, 0o600));
        fails(sys!(msgget, IPC_PRIVATE, 0o600), ENOSPC);
        ok(write(c"/proc/sys/kernel/sem", b"7 20 2 3\n"));
        eq(text(c"/proc/sys/kernel/sem"), "7\t20\t2\t3\n");
        fails(sys!(semget, IPC_PRIVATE, 8, 0o600), EINVAL);
        let set = ok_i32(sys!(semget, IPC_PRIVATE, 7, 0o600));
        fails(sys!(semop, set, &[[1u16; 3]; 3], 3), E2BIG);
        ok(sys!(semget, IPC_PRIVATE, 7, 0o600));
        fails(sys!(semget, IPC_PRIVATE, 7, 0o600), ENOSPC);
        ok(sys!(semget, IPC_PRIVATE, 6, 0o600));
        fails(sys!(semget, IPC_PRIVATE, 0, 0o600), EINVAL);
        ok(write(c"/proc/sys/kernel/shmmax", b"5000\n"));
        fails(sys!(shmget, IPC_PRIVATE, 5001, 0o600), EINVAL);
        ok(sys!(shmget, IPC_PRIVATE, 5000, 0o600));
        ok(write(c"/proc/sys/kernel/shmall", b"3\n"));
        fails(sys!(shmget, IPC_PRIVATE, 5000, 0o600), ENOSPC);
        ok(sys!(shmget, IPC_PRIVATE, 4096, 0o600));
        fails(write(c"/proc/sys/kernel/msgmni", b"-1\n"), EINVAL);
        fails(write(c"/proc/sys/kernel/msgmni", b"x\n"), EINVAL);
        fails(write(c"/proc/sys/kernel/msgmni", b"32769\n"), EINVAL);
    });
    eq(text(c"/proc/sys/kernel/msgmni"), outside);
}

case!(posix_queues_are_of_one_namespace: unshare, mq_open, mount; root);
fn posix_queues_are_of_one_namespace() {
    let name = super::path(&format!("ns.{}", ok(sys!(getpid))));
    let fd = ok_i32(sys!(mq_open, name.as_c_str(), O_CREAT | O_EXCL | O_RDWR, 0o600, 0));
    in_child(|| {
        ok(sys!(unshare, CLONE_NEWNS));
        ok(sys!(mount, c"none", c"/", 0, MS_REC | MS_PRIVATE, 0));
        mkdir(c"old");
        ok(sys!(mount, c"none", c"old", c"mqueue", 0, 0));
        enter();
        fails(sys!(mq_open, name.as_c_str(), O_RDWR), ENOENT);
        // The open one is still good.
        ok(sys!(mq_timedsend, fd, b"x".as_slice(), 1, 0, 0));
        mkdir(c"new");
        ok(sys!(mount, c"none", c"new", c"mqueue", 0, 0));
        let mine = ok_i32(sys!(mq_open, c"mine", O_CREAT | O_RDWR, 0o600, 0));
        check(exists(c"new/mine"), "not in the new mount");
        check(!exists(c"old/mine"), "in the old mount");
        let theirs = super::path(&format!("old/{}", name.to_string_lossy()));
        check(exists(&theirs), "gone from the old mount");
        close(mine);
    });
    ok(sys!(mq_unlink, name.as_c_str()));
}

case!(clone_makes_a_namespace: clone, clone3; root);
fn clone_makes_a_namespace() {
    let old = link("self", "ipc");
    clone_child((CLONE_NEWIPC | SIGCHLD) as u64, || {
        check(link("self", "ipc") != old, "the same namespace");
        eq(text(c"/proc/sysvipc/sem").lines().count(), 1);
    })
    .succeeds();
    fails(sys!(clone, CLONE_NEWIPC | CLONE_SYSVSEM | SIGCHLD, 0, 0, 0, 0), EINVAL);
    let mut args = [0u64; 8];
    args[0] = CLONE_NEWIPC as u64;
    args[4] = SIGCHLD as u64;
    let pid = ok_i32(sys!(clone3, &args, 64));
    if pid == 0 {
        check(link("self", "ipc") != old, "the same namespace");
        exit_now(0);
    }
    Child { pid }.succeeds();
}

case!(leaving_undoes: unshare, setns, semop; root);
fn leaving_undoes() {
    let set = ok_i32(sys!(semget, IPC_PRIVATE, 1, 0o600));
    let value = || ok(sys!(semctl, set, 0, GETVAL));
    // { 0, 1, SEM_UNDO }
    let up = [0u16, 1, SEM_UNDO as u16];
    in_child(|| {
        let back = own("ipc");
        ok(sys!(semop, set, &up, 1));
        eq(value(), 1);
        enter();
        ok(sys!(setns, back, CLONE_NEWIPC));
        eq(value(), 0);
        ok(sys!(semop, set, &up, 1));
        ok(sys!(setns, back, 0));
        eq(value(), 0);
    });
    ok(sys!(semctl, set, 0, IPC_RMID));
}

case!(rights_come_from_the_owner: unshare, semctl, semop);
fn rights_come_from_the_owner() {
    unprivileged(|| {
        let old = ok_i32(sys!(semget, IPC_PRIVATE, 1, 0));
        in_child(|| {
            new_user_namespace();
            // All capabilities, and none over what the outer namespace owns.
            fails(sys!(semctl, old, 0, GETVAL), EACCES);
            ok(sys!(unshare, CLONE_NEWIPC));
            let set = ok_i32(sys!(semget, IPC_PRIVATE, 1, 0));
            ok(sys!(semctl, set, 0, GETVAL));
            ok(sys!(semop, set, &[0u16, 1, 0], 1));
        });
        ok(sys!(semctl, old, 0, IPC_RMID));
    });
}
