//! flock, POSIX record locks, locks of open file descriptions.

use crate::kit::prelude::*;

fn record(kind: i32, start: i64, length: i64) -> flock {
    flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: length, l_pid: 0 }
}

fn set(fd: i32, kind: i32, start: i64, length: i64) -> Answer {
    sys!(fcntl, fd, F_SETLK, &record(kind, start, length))
}

/// What stands in the way of a write lock, as (kind, start, length, pid).
fn obstacle(fd: i32, start: i64, length: i64) -> (i32, i64, i64, i32) {
    let mut found = record(F_WRLCK, start, length);
    ok(sys!(fcntl, fd, F_GETLK, &mut found));
    (i32::from(found.l_type), found.l_start, found.l_len, found.l_pid)
}

case!(whole_file_exclusive: flock; disk);
fn whole_file_exclusive() {
    put(c"f", b"");
    let (a, b) = (open(c"f", O_RDONLY), open(c"f", O_RDONLY));
    ok(sys!(flock, a, LOCK_EX));
    fails(sys!(flock, b, LOCK_EX | LOCK_NB), EAGAIN);
    fails(sys!(flock, b, LOCK_SH | LOCK_NB), EAGAIN);
    // Again by the same description is a change.
    ok(sys!(flock, a, LOCK_SH | LOCK_NB));
    ok(sys!(flock, b, LOCK_SH | LOCK_NB));
    fails(sys!(flock, a, LOCK_EX | LOCK_NB), EAGAIN);
    // The failed change has given up the lock that was held.
    ok(sys!(flock, b, LOCK_EX | LOCK_NB));
    ok(sys!(flock, b, LOCK_UN));
    ok(sys!(flock, b, LOCK_UN));
}

case!(flock_belongs_to_the_description: flock, fork, dup, close; disk);
fn flock_belongs_to_the_description() {
    put(c"f", b"");
    let (a, b) = (open(c"f", O_RDONLY), open(c"f", O_RDONLY));
    ok(sys!(flock, a, LOCK_EX));
    // A child has the same, and its unlocking is ours.
    in_child(|| {
        ok(sys!(flock, a, LOCK_EX | LOCK_NB));
        fails(sys!(flock, b, LOCK_EX | LOCK_NB), EAGAIN);
        close(a);
    });
    fails(sys!(flock, b, LOCK_EX | LOCK_NB), EAGAIN);
    let twin = ok_i32(sys!(dup, a));
    close(a);
    fails(sys!(flock, b, LOCK_EX | LOCK_NB), EAGAIN);
    close(twin);
    ok(sys!(flock, b, LOCK_EX | LOCK_NB));
}

case!(flock_waits: flock, close; disk);
fn flock_waits() {
    put(c"f", b"");
    let a = open(c"f", O_RDONLY);
    ok(sys!(flock, a, LOCK_EX));
    let child = fork(|| {
        close(a);
        ok(sys!(flock, open(c"f", O_RDONLY), LOCK_EX));
    });
    until_asleep(child.pid);
    ok(sys!(flock, a, LOCK_UN));
    child.succeeds();
    ok(sys!(flock, a, LOCK_EX));
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, 0);
        fails(sys!(flock, open(c"f", O_RDONLY), LOCK_EX), EINTR);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(flock_errors: flock);
fn flock_errors() {
    let fd = create(c"f", b"");
    fails(sys!(flock, 999, LOCK_EX), EBADF);
    fails(sys!(flock, fd, 0), EINVAL);
    fails(sys!(flock, fd, 16), EINVAL);
    fails(sys!(flock, open(c"f", O_PATH), LOCK_EX), EBADF);
}

case!(records_between_processes: fcntl, fork; disk);
fn records_between_processes() {
    let fd = create(c"f", &[0; 100]);
    let me = ok_i32(sys!(getpid));
    ok(set(fd, F_WRLCK, 10, 10));
    in_child(|| {
        fails(set(fd, F_WRLCK, 15, 1), EAGAIN);
        fails(set(fd, F_RDLCK, 19, 5), EAGAIN);
        ok(set(fd, F_WRLCK, 0, 10));
        ok(set(fd, F_WRLCK, 20, 0));
        eq(obstacle(fd, 0, 0), (F_WRLCK, 10, 10, me));
        eq(obstacle(fd, 0, 10).0, F_UNLCK);
    });
    // The child's have gone with it.
    eq(obstacle(fd, 0, 0).0, F_UNLCK);
}

case!(records_split_and_join: fcntl, fork; disk);
fn records_split_and_join() {
    let fd = create(c"f", b"");
    let me = ok_i32(sys!(getpid));
    ok(set(fd, F_WRLCK, 0, 30));
    ok(set(fd, F_UNLCK, 10, 10));
    ok(set(fd, F_RDLCK, 25, 10));
    in_child(|| {
        eq(obstacle(fd, 0, 0), (F_WRLCK, 0, 10, me));
        eq(obstacle(fd, 10, 0), (F_WRLCK, 20, 5, me));
        eq(obstacle(fd, 25, 0), (F_RDLCK, 25, 10, me));
        ok(set(fd, F_RDLCK, 25, 10));
        ok(set(fd, F_WRLCK, 10, 10));
    });
    ok(set(fd, F_WRLCK, 10, 10));
    ok(set(fd, F_WRLCK, 25, 5));
    // Neighbours of one kind are one.
    in_child(|| eq(obstacle(fd, 0, 0), (F_WRLCK, 0, 30, me)));
}

case!(any_close_gives_records_up: fcntl, close; disk);
fn any_close_gives_records_up() {
    let fd = create(c"f", b"");
    ok(set(fd, F_WRLCK, 0, 0));
    in_child(|| fails(set(fd, F_WRLCK, 0, 0), EAGAIN));
    close(open(c"f", O_RDONLY));
    in_child(|| done(set(fd, F_WRLCK, 0, 0)));
}

case!(records_and_access_mode: fcntl; disk);
fn records_and_access_mode() {
    put(c"f", b"");
    let (r, w) = (open(c"f", O_RDONLY), open(c"f", O_WRONLY));
    fails(set(r, F_WRLCK, 0, 0), EBADF);
    fails(set(w, F_RDLCK, 0, 0), EBADF);
    ok(set(r, F_RDLCK, 0, 0));
    ok(set(w, F_WRLCK, 0, 0));
    fails(set(r, 7, 0, 0), EINVAL);
    fails(set(r, F_RDLCK, -1, 0), EINVAL);
    // A negative length reaches back.
    ok(set(r, F_RDLCK, 10, -5));
    fails(set(r, F_RDLCK, 3, -5), EINVAL);
    fails(sys!(fcntl, r, F_SETLK, 8), EFAULT);
    fails(set(999, F_RDLCK, 0, 0), EBADF);
    let odd = flock { l_whence: 9, ..record(F_RDLCK, 0, 0) };
    fails(sys!(fcntl, r, F_SETLK, &odd), EINVAL);
}

case!(relative_records: fcntl, lseek; disk);
fn relative_records() {
    let fd = create(c"f", &[0; 100]);
    ok(sys!(lseek, fd, 40, SEEK_SET));
    let here = flock { l_whence: SEEK_CUR as i16, ..record(F_WRLCK, 2, 3) };
    ok(sys!(fcntl, fd, F_SETLK, &here));
    let end = flock { l_whence: SEEK_END as i16, ..record(F_WRLCK, -10, 0) };
    ok(sys!(fcntl, fd, F_SETLK, &end));
    let me = ok_i32(sys!(getpid));
    in_child(|| {
        eq(obstacle(fd, 0, 0), (F_WRLCK, 42, 3, me));
        eq(obstacle(fd, 60, 0), (F_WRLCK, 90, 0, me));
    });
}

case!(waiting_for_a_record: fcntl, kill; disk);
fn waiting_for_a_record() {
    let fd = create(c"f", b"");
    ok(set(fd, F_WRLCK, 0, 10));
    let child = fork(|| done(sys!(fcntl, fd, F_SETLKW, &record(F_WRLCK, 5, 1))));
    until_asleep(child.pid);
    ok(set(fd, F_UNLCK, 5, 1));
    child.succeeds();
    ok(set(fd, F_WRLCK, 0, 10));
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, 0);
        fails(sys!(fcntl, fd, F_SETLKW, &record(F_WRLCK, 5, 1)), EINTR);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(deadlock_is_refused: fcntl; disk);
fn deadlock_is_refused() {
    let fd = create(c"f", b"");
    ok(set(fd, F_WRLCK, 0, 1));
    let [r, w] = pipe(0);
    let child = fork(|| {
        ok(set(fd, F_WRLCK, 1, 1));
        write_all(w, b"x");
        ok(sys!(fcntl, fd, F_SETLKW, &record(F_WRLCK, 0, 1)));
    });
    read(r, 1);
    until_asleep(child.pid);
    fails(sys!(fcntl, fd, F_SETLKW, &record(F_WRLCK, 1, 1)), EDEADLK);
    ok(set(fd, F_UNLCK, 0, 1));
    child.succeeds();
}

case!(locks_of_the_description: fcntl, fork; disk);
fn locks_of_the_description() {
    put(c"f", b"");
    let (a, b) = (open(c"f", O_RDWR), open(c"f", O_RDWR));
    let (get, set_lock) = (36, 37);
    ok(sys!(fcntl, a, set_lock, &record(F_WRLCK, 0, 10)));
    // Two descriptions of one process exclude each other.
    fails(sys!(fcntl, b, set_lock, &record(F_WRLCK, 5, 1)), EAGAIN);
    let mut found = record(F_WRLCK, 0, 0);
    ok(sys!(fcntl, b, get, &mut found));
    eq((i32::from(found.l_type), found.l_pid), (F_WRLCK, -1));
    // Closing another one changes nothing, and a child shares it.
    close(open(c"f", O_RDONLY));
    in_child(|| done(sys!(fcntl, a, set_lock, &record(F_WRLCK, 0, 10))));
    fails(sys!(fcntl, b, set_lock, &record(F_WRLCK, 5, 1)), EAGAIN);
    let with_pid = flock { l_pid: 1, ..record(F_WRLCK, 0, 10) };
    fails(sys!(fcntl, a, set_lock, &with_pid), EINVAL);
    // They and the records of processes see each other.
    fails(set(b, F_WRLCK, 0, 1), EAGAIN);
    close(a);
    ok(sys!(fcntl, b, set_lock, &record(F_WRLCK, 5, 1)));
}

case!(two_kinds_do_not_meet: flock, fcntl; disk);
fn two_kinds_do_not_meet() {
    put(c"f", b"");
    let (a, b) = (open(c"f", O_RDWR), open(c"f", O_RDWR));
    ok(sys!(flock, a, LOCK_EX));
    ok(set(b, F_WRLCK, 0, 0));
}

case!(leases: fcntl; disk);
fn leases() {
    put(c"f", b"");
    let fd = open(c"f", O_RDONLY);
    eq(ok_i32(sys!(fcntl, fd, F_GETLEASE)), F_UNLCK);
    fails(sys!(fcntl, fd, F_SETLEASE, 99), EINVAL);
}
