//! More of fcntl's locks: of descriptions, over exec, deadlocks over three, signals.

use crate::kit::prelude::*;

fn lock(kind: i32, start: i64, len: i64) -> flock {
    let mut lock: flock = zeroed();
    lock.l_type = kind as i16;
    lock.l_start = start;
    lock.l_len = len;
    lock
}

fn set(fd: i32, kind: i32, start: i64, len: i64) -> Answer {
    sys!(fcntl, fd, F_SETLK, &lock(kind, start, len))
}

fn set_wait(fd: i32, kind: i32, start: i64, len: i64) -> Answer {
    sys!(fcntl, fd, F_SETLKW, &lock(kind, start, len))
}

fn set_own(fd: i32, kind: i32, start: i64, len: i64) -> Answer {
    sys!(fcntl, fd, F_OFD_SETLK, &lock(kind, start, len))
}

case!(descriptions_exclude_each_other: fcntl; disk);
fn descriptions_exclude_each_other() {
    put(c"f", b"0123456789");
    let (a, b) = (open(c"f", O_RDWR), open(c"f", O_RDWR));
    ok(set_own(a, F_WRLCK, 0, 5));
    fails(set_own(b, F_WRLCK, 4, 1), EAGAIN);
    fails(set_own(b, F_RDLCK, 0, 0), EAGAIN);
    ok(set_own(b, F_WRLCK, 5, 5));
    let mut got = lock(F_WRLCK, 0, 0);
    ok(sys!(fcntl, b, F_OFD_GETLK, &mut got));
    eq((i32::from(got.l_type), got.l_start, got.l_len, got.l_pid), (F_WRLCK, 0, 5, -1));
    // A duplicate has the same lock, and its close takes nothing away.
    let dup = ok_i32(sys!(dup, a));
    close(dup);
    fails(set_own(b, F_WRLCK, 0, 1), EAGAIN);
    close(a);
    ok(set_own(b, F_WRLCK, 0, 0));
}

case!(descriptions_and_processes_exclude_each_other: fcntl; disk);
fn descriptions_and_processes_exclude_each_other() {
    put(c"f", b"x");
    let (a, b) = (open(c"f", O_RDWR), open(c"f", O_RDWR));
    ok(set_own(a, F_WRLCK, 0, 1));
    fails(set(b, F_WRLCK, 0, 1), EAGAIN);
    fails(set(a, F_WRLCK, 0, 1), EAGAIN);
    ok(set_own(a, F_UNLCK, 0, 0));
    ok(set(b, F_WRLCK, 0, 1));
    fails(set_own(a, F_RDLCK, 0, 1), EAGAIN);
}

case!(arguments_of_description_locks: fcntl; disk);
fn arguments_of_description_locks() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDWR);
    let mut wrong = lock(F_WRLCK, 0, 1);
    wrong.l_pid = 5;
    fails(sys!(fcntl, fd, F_OFD_SETLK, &wrong), EINVAL);
    fails(sys!(fcntl, fd, F_OFD_GETLK, &mut wrong), EINVAL);
    fails(sys!(fcntl, fd, F_OFD_SETLK, 8), EFAULT);
    fails(sys!(fcntl, open(c"f", O_PATH), F_OFD_SETLK, &lock(F_RDLCK, 0, 1)), EBADF);
}

case!(a_child_shares_locks_of_the_description: fcntl, fork; disk);
fn a_child_shares_locks_of_the_description() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDWR);
    ok(set_own(fd, F_WRLCK, 0, 1));
    in_child(|| {
        ok(set_own(fd, F_WRLCK, 0, 1));
        fails(set_own(open(c"f", O_RDWR), F_WRLCK, 0, 1), EAGAIN);
    });
    fails(set_own(open(c"f", O_RDWR), F_WRLCK, 0, 1), EAGAIN);
}

case!(a_lock_of_a_description_is_waited_for: fcntl; disk);
fn a_lock_of_a_description_is_waited_for() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDWR);
    ok(set_own(fd, F_WRLCK, 0, 1));
    let child = fork(|| {
        close(fd);
        let own = open(c"f", O_RDWR);
        ok(sys!(fcntl, own, F_OFD_SETLKW, &lock(F_WRLCK, 0, 1)));
    });
    until_asleep(child.pid);
    close(fd);
    child.succeeds();
}

case!(a_deadlock_over_three: fcntl; disk);
fn a_deadlock_over_three() {
    put(c"f", b"012");
    let [r, w] = pipe(0);
    let [go_r, go_w] = pipe(0);
    // Each has its own byte and wants the next one's; the last to come closes the circle.
    let children: Vec<_> = (0..2i64)
        .map(|i| {
            fork(|| {
                let fd = open(c"f", O_RDWR);
                ok(set(fd, F_WRLCK, i, 1));
                write_all(w, b"x");
                read(go_r, 1);
                ok(set_wait(fd, F_WRLCK, i + 1, 1));
            })
        })
        .collect();
    read(r, 1);
    read(r, 1);
    let fd = open(c"f", O_RDWR);
    ok(set(fd, F_WRLCK, 2, 1));
    write_all(go_w, b"xx");
    children.iter().for_each(|child| until_asleep(child.pid));
    fails(set_wait(fd, F_WRLCK, 0, 1), EDEADLK);
    ok(set(fd, F_UNLCK, 0, 0));
    children.into_iter().rev().for_each(|child| child.succeeds());
}

case!(a_signal_ends_the_wait_for_a_record: fcntl, kill; disk);
fn a_signal_ends_the_wait_for_a_record() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDWR);
    ok(set(fd, F_WRLCK, 0, 1));
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, 0);
        let fd = open(c"f", O_RDWR);
        fails(set_wait(fd, F_WRLCK, 0, 1), EINTR);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(records_survive_exec: fcntl, execve; disk);
fn records_survive_exec() {
    put(c"f", b"x");
    let [r, w] = pipe(0);
    let child = fork(|| {
        let fd = open(c"f", O_RDWR);
        ok(set(fd, F_WRLCK, 0, 1));
        write_all(w, b"x");
        // Something that goes on for a while.
        let argv = [c"sleep", c"20"];
        let _ = exec(c"/bin/sleep", &argv, &[]);
        let _ = exec(c"/usr/bin/sleep", &argv, &[]);
        exit_now(9);
    });
    read(r, 1);
    until_asleep(child.pid);
    let fd = open(c"f", O_RDWR);
    fails(set(fd, F_RDLCK, 0, 1), EAGAIN);
    let mut got = lock(F_WRLCK, 0, 0);
    ok(sys!(fcntl, fd, F_GETLK, &mut got));
    eq(got.l_pid, child.pid);
    child.end();
    eventually("the lock is free", || set(fd, F_WRLCK, 0, 1).is_ok());
}

case!(records_survive_an_exec_that_is_watched: fcntl, execve; disk);
fn records_survive_an_exec_that_is_watched() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDWR);
    for _ in 0..8 {
        let [r, w] = pipe(0);
        let child = fork(|| {
            let fd = open(c"f", O_RDWR);
            ok(set(fd, F_WRLCK, 0, 1));
            write_all(w, b"x");
            let argv = [c"sleep", c"20"];
            let _ = exec(c"/bin/sleep", &argv, &[]);
            let _ = exec(c"/usr/bin/sleep", &argv, &[]);
            exit_now(9);
        });
        read(r, 1);
        let (fds, stat) = (format!("/proc/{}/fd", child.pid), format!("/proc/{}/stat", child.pid));
        // Looking at it and at its descriptors is not sharing them.
        eventually("another program", || {
            check(std::fs::read_dir(&fds).is_ok_and(|d| d.count() > 3), "descriptors");
            (0..50).any(|_| std::fs::read_to_string(&stat).is_ok_and(|all| all.contains("(sleep)")))
        });
        fails(set(fd, F_RDLCK, 0, 1), EAGAIN);
        child.end();
        eventually("the lock is free", || set(fd, F_WRLCK, 0, 1).is_ok());
        ok(set(fd, F_UNLCK, 0, 0));
        close(r);
        close(w);
    }
}

case!(a_weaker_lock_lets_others_in: fcntl, fork; disk);
fn a_weaker_lock_lets_others_in() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDWR);
    ok(set(fd, F_WRLCK, 0, 0));
    let child = fork(|| ok_void(set_wait(open(c"f", O_RDWR), F_RDLCK, 0, 1)));
    until_asleep(child.pid);
    ok(set(fd, F_RDLCK, 0, 0));
    child.succeeds();
}

fn ok_void(answer: Answer) {
    ok(answer);
}

case!(ranges_at_the_limits: fcntl; disk);
fn ranges_at_the_limits() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDWR);
    ok(set(fd, F_WRLCK, i64::MAX, 0));
    ok(set(fd, F_WRLCK, i64::MAX, 1));
    fails(set(fd, F_WRLCK, i64::MAX, 2), EOVERFLOW);
    fails(set(fd, F_WRLCK, -1, 1), EINVAL);
    fails(set(fd, F_WRLCK, 0, -1), EINVAL);
    ok(set(fd, F_WRLCK, 10, -10));
    fails(set(fd, 9, 0, 1), EINVAL);
    let mut whence = lock(F_WRLCK, 0, 1);
    whence.l_whence = 9;
    fails(sys!(fcntl, fd, F_SETLK, &whence), EINVAL);
    in_child(|| {
        let mut got = lock(F_RDLCK, 0, 0);
        ok(sys!(fcntl, fd, F_GETLK, &mut got));
        eq((got.l_start, got.l_len), (0, 10));
        let mut got = lock(F_RDLCK, 100, 0);
        ok(sys!(fcntl, fd, F_GETLK, &mut got));
        eq((got.l_start, got.l_len), (i64::MAX, 0));
    });
}
