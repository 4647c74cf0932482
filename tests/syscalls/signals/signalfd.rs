//! signalfd.

use crate::kit::prelude::*;

/// signalfd_siginfo: 128 bytes.
type Record = [u32; 32];

fn make(mask: u64, flags: c_int) -> c_int {
    ok_i32(sys!(signalfd4, -1, &mask, 8, flags))
}

case!(reads_pending_signals: signalfd4, read);
fn reads_pending_signals() {
    let mask = sig::bit(SIGUSR1) | sig::bit(SIGUSR2);
    sig::block(mask);
    let fd = make(mask, 0);
    sig::raise(SIGUSR2);
    ok(sys!(kill, ok(sys!(getpid)), SIGUSR1));
    let mut records: [Record; 4] = [[0; 32]; 4];
    eq(ok(sys!(read, fd, &mut records, 512)), 256);
    // ssi_signo, ssi_errno, ssi_code, ssi_pid, ssi_uid; this thread's come first.
    eq(records[0][0] as i32, SIGUSR2);
    eq(records[0][2] as i32, SI_TKILL);
    eq(records[1][0] as i32, SIGUSR1);
    eq((records[1][2] as i32, i64::from(records[1][3])), (SI_USER, ok(sys!(getpid))));
    eq(sig::pending(), 0);
}

case!(value_of_a_queued_signal: signalfd4, rt_sigqueueinfo);
fn value_of_a_queued_signal() {
    let mask = sig::bit(SIGRTMIN());
    sig::block(mask);
    let fd = make(mask, SFD_NONBLOCK);
    sig::queue(ok_i32(sys!(getpid)), SIGRTMIN(), 0x1234_5678_9abc_def0);
    let mut record: Record = [0; 32];
    eq(ok(sys!(read, fd, &mut record, 128)), 128);
    // ssi_int is word 11, ssi_ptr words 12 and 13.
    eq(record[11], 0x9abc_def0);
    eq((record[12], record[13]), (0x9abc_def0, 0x1234_5678));
}

case!(status_of_a_child: signalfd4);
fn status_of_a_child() {
    sig::block(sig::bit(SIGCHLD));
    let fd = make(sig::bit(SIGCHLD), 0);
    let child = fork(|| exit_now(6));
    let mut record: Record = [0; 32];
    eq(ok(sys!(read, fd, &mut record, 128)), 128);
    eq(
        [record[0] as i32, record[2] as i32, record[3] as i32, record[10] as i32],
        [SIGCHLD, CLD_EXITED, child.pid, 6],
    );
    child.exits_with(6);
}

case!(nonblocking_and_small_buffers: signalfd4, read, write);
fn nonblocking_and_small_buffers() {
    let fd = make(sig::bit(SIGUSR1), SFD_NONBLOCK | SFD_CLOEXEC);
    eq(ok(sys!(fcntl, fd, F_GETFD)), i64::from(FD_CLOEXEC));
    let mut record: Record = [0; 32];
    fails(sys!(read, fd, &mut record, 128), EAGAIN);
    fails(sys!(read, fd, &mut record, 127), EINVAL);
    fails(sys!(write, fd, &record, 128), EINVAL);
}

case!(poll_tells: signalfd4, poll);
fn poll_tells() {
    sig::block(sig::bit(SIGUSR1));
    let fd = make(sig::bit(SIGUSR1), 0);
    let mut poll = pollfd { fd, events: POLLIN, revents: 0 };
    eq(ok(sys!(poll, &mut poll, 1, 0)), 0);
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR1));
    });
    eq(ok(sys!(poll, &mut poll, 1, 8000)), 1);
    eq(poll.revents, POLLIN);
    child.succeeds();
}

case!(mask_can_be_changed: signalfd4);
fn mask_can_be_changed() {
    sig::block(u64::MAX);
    let fd = make(sig::bit(SIGUSR1), SFD_NONBLOCK);
    sig::raise(SIGUSR2);
    let mut record: Record = [0; 32];
    fails(sys!(read, fd, &mut record, 128), EAGAIN);
    eq(ok_i32(sys!(signalfd4, fd, &sig::bit(SIGUSR2), 8, 0)), fd);
    eq(ok(sys!(read, fd, &mut record, 128)), 128);
}

case!(arguments: signalfd4, signalfd);
fn arguments() {
    fails(sys!(signalfd4, -1, &0u64, 4, 0), EINVAL);
    fails(sys!(signalfd4, -1, &0u64, 8, 1), EINVAL);
    fails(sys!(signalfd4, -1, 8, 8, 0), EFAULT);
    fails(sys!(signalfd4, 999, &0u64, 8, 0), EBADF);
    fails(sys!(signalfd4, 2, &0u64, 8, 0), EINVAL);
    ok(sys!(signalfd, -1, &0u64, 8));
}

case!(blocking_read_waits: signalfd4);
fn blocking_read_waits() {
    sig::block(sig::bit(SIGUSR1));
    let fd = make(sig::bit(SIGUSR1), 0);
    let me = ok_i32(sys!(getpid));
    let child = fork(|| {
        until_asleep(me);
        ok(sys!(kill, me, SIGUSR1));
    });
    let mut record: Record = [0; 32];
    eq(ok(sys!(read, fd, &mut record, 128)), 128);
    eq(record[3] as i32, child.pid);
    child.succeeds();
}

case!(watched_by_epoll: signalfd4, epoll_ctl, epoll_wait, read);
fn watched_by_epoll() {
    let mask = sig::bit(SIGUSR1);
    sig::block(mask);
    let (fd, set) = (make(mask, SFD_NONBLOCK), ok_i32(sys!(epoll_create1, 0)));
    let mut got = epoll_event { events: EPOLLIN as u32, u64: 7 };
    ok(sys!(epoll_ctl, set, EPOLL_CTL_ADD, fd, &got));
    eq(ok(sys!(epoll_wait, set, &mut got, 1, 0)), 0);
    fork(|| {
        ok(sys!(kill, ok(sys!(getppid)), SIGUSR1));
    })
    .succeeds();
    eq(ok(sys!(epoll_wait, set, &mut got, 1, 5000)), 1);
    eq(got.u64, 7);
    eq(ok(sys!(read, fd, &mut [0u32; 32], 128)), 128);
    eq(ok(sys!(epoll_wait, set, &mut got, 1, 0)), 0);
}
