//! setns(2).

use super::{link, new_user_namespace, own, path};
use crate::kit::prelude::*;

const ALL: [&str; 5] = ["cgroup", "ipc", "mnt", "net", "uts"];
const NEW: i32 = CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS;

/// A process in new namespaces of these kinds, which waits until it is killed.
#[track_caller]
fn elsewhere(flags: i32) -> Child {
    elsewhere_as(None, flags)
}

/// The same as another user.
#[track_caller]
fn elsewhere_as(user: Option<u32>, flags: i32) -> Child {
    let [r, w] = pipe(O_CLOEXEC);
    let child = fork(|| {
        if let Some(user) = user {
            become_user(user);
        }
        ok(sys!(unshare, flags));
        write_all(w, b"x");
        sleep_ms(100_000);
    });
    close(w);
    eq(read(r, 1), b"x");
    close(r);
    child
}

case!(files_lead_into_namespaces: setns, unshare; root);
fn files_lead_into_namespaces() {
    let other = elsewhere(NEW);
    let theirs = other.pid.to_string();
    for kind in ALL {
        check(link(&theirs, kind) != link("self", kind), kind);
    }
    in_child(|| {
        for kind in ALL {
            let fd = open(&path(&format!("/proc/{theirs}/ns/{kind}")), O_RDONLY | O_CLOEXEC);
            fails(sys!(setns, fd, CLONE_NEWUSER), EINVAL);
            ok(sys!(setns, fd, 0));
            eq(link("self", kind), link(&theirs, kind));
        }
    });
    other.end();
}

case!(a_pidfd_leads_into_several: setns, pidfd_open; root);
fn a_pidfd_leads_into_several() {
    let other = elsewhere(NEW);
    let theirs = other.pid.to_string();
    let pidfd = ok_i32(sys!(pidfd_open, other.pid, 0));
    in_child(|| {
        fails(sys!(setns, pidfd, 0), EINVAL);
        fails(sys!(setns, pidfd, CLONE_VM), EINVAL);
        fails(sys!(setns, pidfd, CLONE_NEWUTS | CLONE_FS), EINVAL);
        ok(sys!(setns, pidfd, NEW));
        for kind in ALL {
            eq(link("self", kind), link(&theirs, kind));
        }
        // Its own user namespace can't be joined: nothing is.
        fails(sys!(setns, pidfd, CLONE_NEWUSER | CLONE_NEWUTS), EINVAL);
    });
    other.end();
    fails(sys!(setns, pidfd, CLONE_NEWUTS), ESRCH);
}

case!(other_files_are_no_namespaces: setns);
fn other_files_are_no_namespaces() {
    let file = create(c"f", b"");
    fails(sys!(setns, file, 0), EINVAL);
    fails(sys!(setns, file, CLONE_NEWUTS), EINVAL);
    fails(sys!(setns, -1, 0), EBADF);
    let uts = own("uts");
    fails(sys!(setns, uts, CLONE_NEWIPC), EINVAL);
    fails(sys!(setns, uts, CLONE_NEWUTS | CLONE_NEWIPC), EINVAL);
    // Not the path alone.
    let place = ok_i32(sys!(openat, AT_FDCWD, c"/proc/self/ns/uts", O_PATH));
    fails(sys!(setns, place, 0), EBADF);
}

case!(namespaces_are_not_for_everybody: setns, unshare);
fn namespaces_are_not_for_everybody() {
    unprivileged(|| {
        for kind in ALL {
            fails(sys!(setns, own(kind), 0), EPERM);
        }
        fails(sys!(setns, own("pid"), 0), EPERM);
        fails(sys!(setns, own("user"), 0), EINVAL);
        for flag in [CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS] {
            fails(sys!(unshare, flag), EPERM);
        }
        fails(sys!(unshare, CLONE_NEWIPC | CLONE_NEWNET), EPERM);
        // Capabilities in a user namespace are none over what others own.
        let outer = own("uts");
        new_user_namespace();
        fails(sys!(setns, outer, 0), EPERM);
        for kind in ALL {
            fails(sys!(setns, own(kind), 0), EPERM);
        }
        ok(sys!(unshare, CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS));
        for kind in ["ipc", "net", "uts"] {
            ok(sys!(setns, own(kind), 0));
        }
    });
}

case!(mount_namespaces_bring_their_root: setns; root);
fn mount_namespaces_bring_their_root() {
    let back = own("mnt");
    let other = elsewhere(CLONE_NEWNS);
    mkdir(c"d");
    in_child(|| {
        ok(sys!(chdir, c"d"));
        let fd = open(&path(&format!("/proc/{}/ns/mnt", other.pid)), O_RDONLY);
        ok(sys!(setns, fd, CLONE_NEWNS));
        let mut buf = [0u8; 512];
        let n = ok(sys!(getcwd, &mut buf, buf.len())) as usize;
        eq(&buf[..n], b"/\0");
        ok(sys!(setns, back, 0));
    });
    in_child(|| {
        // Whoever shares the directory with others can't go alone.
        let sharer = clone_child((CLONE_FS | SIGCHLD) as u64, || sleep_ms(100_000));
        fails(sys!(setns, back, 0), EINVAL);
        sharer.end();
    });
    other.end();
}

case!(pid_namespaces_are_for_children: setns, clone; root);
fn pid_namespaces_are_for_children() {
    let back = own("pid");
    let [r, w] = pipe(O_CLOEXEC);
    let init = clone_child((CLONE_NEWPID | SIGCHLD) as u64, || {
        write_all(w, b"x");
        // From here the outer one can't be had.
        fails(sys!(setns, back, 0), EINVAL);
        write_all(w, b"y");
        sleep_ms(100_000);
    });
    close(w);
    eq(read(r, 1), b"x");
    eq(read(r, 1), b"y");
    in_child(|| {
        let me = ok(sys!(getpid));
        let fd = open(&path(&format!("/proc/{}/ns/pid", init.pid)), O_RDONLY);
        ok(sys!(setns, fd, CLONE_NEWPID));
        eq(ok(sys!(getpid)), me);
        // A thread would be in both.
        fails(sys!(clone, thread::THREAD, 0, 0, 0, 0), EINVAL);
        check(link("self", "pid_for_children") != link("self", "pid"), "children stay here");
        let child = fork(|| {
            check(ok(sys!(getpid)) < 10, "a number of the new namespace");
            eq(ok(sys!(getppid)), 0);
        });
        child.succeeds();
        ok(sys!(setns, back, 0));
        eq(link("self", "pid_for_children"), link("self", "pid"));
    });
    init.end();
}

case!(user_namespaces_are_joined_by_their_owner: setns);
fn user_namespaces_are_joined_by_their_owner() {
    unprivileged(|| {
        let [r, w] = pipe(O_CLOEXEC);
        let child = fork(|| {
            // Who has become another user may not be looked into otherwise.
            ok(sys!(prctl, PR_SET_DUMPABLE, 1));
            new_user_namespace();
            ok(sys!(unshare, CLONE_NEWUTS));
            write_all(w, b"x");
            sleep_ms(100_000);
        });
        close(w);
        if read(r, 1).is_empty() {
            child.succeeds();
            skip("no user namespaces for this user on this host");
        }
        let uts = open(&path(&format!("/proc/{}/ns/uts", child.pid)), O_RDONLY);
        let user = open(&path(&format!("/proc/{}/ns/user", child.pid)), O_RDONLY);
        fails(sys!(setns, uts, 0), EPERM);
        ok(sys!(setns, user, CLONE_NEWUSER));
        fails(sys!(setns, user, CLONE_NEWUSER), EINVAL);
        ok(sys!(setns, uts, 0));
        ok(sys!(sethostname, c"mine", 4));
        child.end();
    });
}

/// Whether others may look into the caller.
fn is_dumpable() -> bool {
    ok(sys!(prctl, libc::PR_GET_DUMPABLE, 0, 0, 0, 0)) == 1
}

case!(who_owns_the_namespace_stays_dumpable: unshare, prctl);
fn who_owns_the_namespace_stays_dumpable() {
    unprivileged(|| {
        ok(sys!(prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0));
        ok(sys!(prctl, libc::PR_SET_PDEATHSIG, SIGTERM));
        new_user_namespace();
        check(is_dumpable(), "nothing was won");
        let mut signal = 0i32;
        ok(sys!(prctl, libc::PR_GET_PDEATHSIG, &mut signal));
        eq(signal, SIGTERM);
    });
}

case!(who_enters_that_of_another_is_not: setns, prctl; root);
fn who_enters_that_of_another_is_not() {
    for (user, stays) in [(None, true), (Some(NOBODY), false)] {
        let other = elsewhere_as(user, CLONE_NEWUSER);
        let name = path(&format!("/proc/{}/ns/user", other.pid));
        in_child(|| {
            check(is_dumpable(), "at first");
            ok(sys!(setns, open(&name, O_RDONLY), CLONE_NEWUSER));
            eq(is_dumpable(), stays);
        });
        other.end();
    }
}
