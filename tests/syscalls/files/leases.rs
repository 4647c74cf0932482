//! Leases: F_SETLEASE, F_GETLEASE, and their breaking.

use crate::kit::elf::{Image, exit_42};
use crate::kit::prelude::*;

const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;

fn lease(fd: i32, kind: i32) -> Answer {
    sys!(fcntl, fd, F_SETLEASE, kind)
}

fn lease_of(fd: i32) -> i32 {
    ok_i32(sys!(fcntl, fd, F_GETLEASE))
}

fn block_sigio() {
    sig::block(sig::bit(SIGIO));
}

/// Takes a blocked signal that must come soon.
#[track_caller]
fn take(signal: i32) -> i32 {
    let limit = timespec { tv_sec: 10, tv_nsec: 0 };
    ok_i32(sys!(rt_sigtimedwait, &sig::bit(signal), 0, &limit, 8))
}

case!(take_and_give_up: fcntl; disk);
fn take_and_give_up() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDONLY);
    eq(lease_of(fd), F_UNLCK);
    fails(lease(fd, F_UNLCK), EAGAIN);
    ok(lease(fd, F_RDLCK));
    eq(lease_of(fd), F_RDLCK);
    // Nobody else has it open.
    ok(lease(fd, F_WRLCK));
    eq(lease_of(fd), F_WRLCK);
    ok(lease(fd, F_UNLCK));
    eq(lease_of(fd), F_UNLCK);
    fails(lease(fd, 9), EINVAL);
    // A lease ends with its description.
    ok(lease(fd, F_WRLCK));
    close(fd);
    close(open(c"f", O_RDWR | O_NONBLOCK));
}

case!(leases_and_other_descriptions: fcntl; disk);
fn leases_and_other_descriptions() {
    put(c"f", b"x");
    let reader = open(c"f", O_RDONLY);
    let other = open(c"f", O_RDONLY);
    ok(lease(reader, F_RDLCK));
    ok(lease(other, F_RDLCK));
    eq((lease_of(reader), lease_of(other)), (F_RDLCK, F_RDLCK));
    // Not alone: no lease for writing.
    fails(lease(reader, F_WRLCK), EAGAIN);
    ok(lease(reader, F_UNLCK));
    ok(lease(other, F_UNLCK));
    close(other);
    let writer = open(c"f", O_RDWR);
    fails(lease(reader, F_RDLCK), EAGAIN);
    // A description for writing gets none for reading.
    close(reader);
    fails(lease(writer, F_RDLCK), EAGAIN);
    ok(lease(writer, F_WRLCK));
}

case!(only_for_regular_files_of_ones_own: fcntl; root; disk);
fn only_for_regular_files_of_ones_own() {
    mkdir(c"d");
    fails(lease(open(c"d", O_RDONLY), F_RDLCK), EINVAL);
    fails(lease(pipe(0)[0], F_RDLCK), EINVAL);
    fails(lease(open(c"d", O_PATH), F_RDLCK), EBADF);
    put(c"f", b"");
    unprivileged(|| fails(lease(open(c"f", O_RDONLY), F_RDLCK), EACCES));
}

case!(an_open_breaks_a_lease: fcntl, openat; disk);
fn an_open_breaks_a_lease() {
    block_sigio();
    put(c"f", b"x");
    let fd = open(c"f", O_RDONLY);
    ok(lease(fd, F_RDLCK));
    // Reading does not matter to it.
    close(open(c"f", O_RDONLY));
    fails(sys!(openat, AT_FDCWD, c"f", O_WRONLY | O_NONBLOCK, 0), EAGAIN);
    eq(take(SIGIO), SIGIO);
    eq(lease_of(fd), F_UNLCK);
    ok(lease(fd, F_UNLCK));
    close(open(c"f", O_WRONLY | O_NONBLOCK));
}

case!(a_reader_weakens_a_lease_for_writing: fcntl, openat; disk);
fn a_reader_weakens_a_lease_for_writing() {
    block_sigio();
    put(c"f", b"x");
    let fd = open(c"f", O_RDWR);
    ok(lease(fd, F_WRLCK));
    let child = fork(|| {
        // Waits until the lease has been weakened.
        let fd = open(c"f", O_RDONLY);
        eq(read(fd, 4), b"x");
    });
    eq(take(SIGIO), SIGIO);
    eq(lease_of(fd), F_RDLCK);
    sleep_ms(30);
    ok(lease(fd, F_UNLCK));
    child.succeeds();
}

case!(truncate_breaks_a_lease: fcntl, truncate; disk);
fn truncate_breaks_a_lease() {
    block_sigio();
    put(c"f", b"x");
    let fd = open(c"f", O_RDONLY);
    ok(lease(fd, F_RDLCK));
    let child = fork(|| done(sys!(truncate, c"f", 0)));
    eq(take(SIGIO), SIGIO);
    eq(fstat(fd).st_size, 1);
    ok(lease(fd, F_UNLCK));
    child.succeeds();
    eq(stat(c"f").st_size, 0);
}

case!(executing_breaks_a_lease: fcntl, execve; disk);
fn executing_breaks_a_lease() {
    block_sigio();
    Image::new(exit_42()).write(c"program");
    let fd = open(c"program", O_RDONLY);
    // Who reads it only has nothing against somebody who executes it.
    ok(lease(fd, F_RDLCK));
    fork(|| done(exec(c"program", &[c"program"], &[]))).exits_with(42);
    eventually("nobody else has it open", || lease(fd, F_WRLCK).is_ok());
    let child = fork(|| done(exec(c"program", &[c"program"], &[])));
    eq(take(SIGIO), SIGIO);
    eq(lease_of(fd), F_RDLCK);
    ok(lease(fd, F_RDLCK));
    child.exits_with(42);
}

case!(a_lease_breaks_with_the_signal_asked_for: fcntl; disk);
fn a_lease_breaks_with_the_signal_asked_for() {
    sig::block(sig::bit(SIGUSR1));
    put(c"f", b"x");
    let fd = open(c"f", O_RDONLY);
    ok(sys!(fcntl, fd, F_SETSIG, SIGUSR1));
    eq(ok_i32(sys!(fcntl, fd, F_GETSIG)), SIGUSR1);
    ok(lease(fd, F_RDLCK));
    fails(sys!(openat, AT_FDCWD, c"f", O_WRONLY | O_NONBLOCK, 0), EAGAIN);
    eq(take(SIGUSR1), SIGUSR1);
}

case!(a_signal_ends_the_wait_for_a_lease: fcntl, openat; disk);
fn a_signal_ends_the_wait_for_a_lease() {
    block_sigio();
    put(c"f", b"x");
    let fd = open(c"f", O_RDONLY);
    ok(lease(fd, F_RDLCK));
    let child = fork(|| {
        sig::on(SIGALRM, sig::record, 0);
        let soon = itimerval {
            it_interval: timeval { tv_sec: 0, tv_usec: 0 },
            it_value: timeval { tv_sec: 0, tv_usec: 100_000 },
        };
        ok(sys!(setitimer, ITIMER_REAL, &soon, 0));
        fails(sys!(openat, AT_FDCWD, c"f", O_WRONLY, 0), EINTR);
    });
    child.succeeds();
}
