//! pidfd_open, pidfd_send_signal, pidfd_getfd.

use crate::kit::prelude::*;

case!(open_and_poll: pidfd_open, poll);
fn open_and_poll() {
    let child = fork(|| sleep_ms(10_000));
    let fd = ok_i32(sys!(pidfd_open, child.pid, 0));
    eq(ok(sys!(fcntl, fd, F_GETFD)), i64::from(FD_CLOEXEC));
    let mut poll = pollfd { fd, events: POLLIN, revents: 0 };
    eq(ok(sys!(poll, &mut poll, 1, 0)), 0);
    child.kill(SIGKILL);
    eq(ok(sys!(poll, &mut poll, 1, 8000)), 1);
    check(poll.revents & POLLIN != 0, "readable when it has ended");
    child.dies_of(SIGKILL);
}

case!(open_errors: pidfd_open);
fn open_errors() {
    fails(sys!(pidfd_open, 0, 0), EINVAL);
    fails(sys!(pidfd_open, -1, 0), EINVAL);
    fails(sys!(pidfd_open, 0x3fff_fff0, 0), ESRCH);
    fails(sys!(pidfd_open, ok(sys!(getpid)), 1), EINVAL);
}

case!(send_signal: pidfd_send_signal);
fn send_signal() {
    let child = fork(|| sleep_ms(10_000));
    let fd = ok_i32(sys!(pidfd_open, child.pid, 0));
    ok(sys!(pidfd_send_signal, fd, 0, 0, 0));
    fails(sys!(pidfd_send_signal, fd, 65, 0, 0), EINVAL);
    fails(sys!(pidfd_send_signal, 999, SIGTERM, 0, 0), EBADF);
    fails(sys!(pidfd_send_signal, 1, SIGTERM, 0, 0), EBADF);
    fails(sys!(pidfd_send_signal, fd, SIGTERM, 0, 1 << 20), EINVAL);
    ok(sys!(pidfd_send_signal, fd, SIGTERM, 0, 0));
    child.dies_of(SIGTERM);
    fails(sys!(pidfd_send_signal, fd, SIGTERM, 0, 0), ESRCH);
}

case!(get_a_descriptor: pidfd_getfd);
fn get_a_descriptor() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        let [_, theirs] = pipe(0);
        ok(sys!(dup3, theirs, 80, 0));
        write_all(w, b"x");
        sleep_ms(10_000);
    });
    read(r, 1);
    let fd = ok_i32(sys!(pidfd_open, child.pid, 0));
    fails(sys!(pidfd_getfd, fd, 999, 0), EBADF);
    fails(sys!(pidfd_getfd, fd, 80, 1), EINVAL);
    fails(sys!(pidfd_getfd, 999, 80, 0), EBADF);
    let copy = ok_i32(sys!(pidfd_getfd, fd, 80, 0));
    eq(ok(sys!(fcntl, copy, F_GETFD)), i64::from(FD_CLOEXEC));
    write_all(copy, b"hello");
    child.end();
    fails(sys!(pidfd_getfd, fd, 80, 0), ESRCH);
}
