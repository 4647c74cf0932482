//! eventfd: the counter, semaphore mode, waiting.

use crate::kit::prelude::*;

fn add(fd: i32, value: u64) -> Answer {
    sys!(write, fd, &value, 8)
}

fn take(fd: i32) -> u64 {
    let mut value = 0u64;
    eq(ok(sys!(read, fd, &mut value, 8)), 8);
    value
}

case!(counter: eventfd, eventfd2, read, write);
fn counter() {
    let fd = ok_i32(sys!(eventfd, 3));
    eq(take(fd), 3);
    ok(add(fd, 1));
    ok(add(fd, 5));
    eq(take(fd), 6);
    let fd = ok_i32(sys!(eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC));
    fails(sys!(read, fd, &mut 0u64, 8), EAGAIN);
    eq(ok_i32(sys!(fcntl, fd, F_GETFD)), FD_CLOEXEC);
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)), O_RDWR | O_NONBLOCK);
}

case!(semaphore: eventfd2, read);
fn semaphore() {
    let fd = ok_i32(sys!(eventfd2, 2, EFD_SEMAPHORE | EFD_NONBLOCK));
    eq(take(fd), 1);
    eq(take(fd), 1);
    fails(sys!(read, fd, &mut 0u64, 8), EAGAIN);
}

case!(sizes_and_values: eventfd2, read, write);
fn sizes_and_values() {
    let fd = ok_i32(sys!(eventfd2, 1, EFD_NONBLOCK));
    fails(sys!(read, fd, &mut 0u64, 7), EINVAL);
    fails(sys!(write, fd, &1u64, 7), EINVAL);
    fails(add(fd, u64::MAX), EINVAL);
    let mut two = [0u64; 2];
    eq(ok(sys!(read, fd, &mut two, 16)), 8);
    // The largest count, and what does not fit beside it.
    ok(add(fd, u64::MAX - 1));
    fails(add(fd, 1), EAGAIN);
    ok(add(fd, 0));
    eq(take(fd), u64::MAX - 1);
    fails(sys!(eventfd2, 0, 2), EINVAL);
    fails(sys!(write, fd, 8, 8), EFAULT);
    // A bad buffer consumes nothing... but the kernel has taken the count first.
    ok(add(fd, 1));
    fails(sys!(read, fd, 8, 8), EFAULT);
}

case!(reader_waits: read, write, fork);
fn reader_waits() {
    let fd = ok_i32(sys!(eventfd2, 0, 0));
    let child = fork(|| eq(take(fd), 7));
    until_asleep(child.pid);
    ok(add(fd, 7));
    child.succeeds();
}

case!(writer_waits_for_room: read, write, fork);
fn writer_waits_for_room() {
    let fd = ok_i32(sys!(eventfd2, 0, 0));
    ok(add(fd, u64::MAX - 1));
    let child = fork(|| done(add(fd, 2)));
    until_asleep(child.pid);
    eq(take(fd), u64::MAX - 1);
    child.succeeds();
    eq(take(fd), 2);
}

case!(semaphore_wakes_as_many: read, write);
fn semaphore_wakes_as_many() {
    let fd = ok_i32(sys!(eventfd2, 0, EFD_SEMAPHORE));
    let children: Vec<Child> = (0..3).map(|_| fork(|| eq(take(fd), 1))).collect();
    children.iter().for_each(|c| until_asleep(c.pid));
    ok(add(fd, 3));
    children.into_iter().for_each(Child::succeeds);
    let mut p = pollfd { fd, events: POLLIN, revents: 0 };
    eq(ok(sys!(poll, &mut p, 1, 0)), 0);
}

case!(poll_of_a_counter: poll, eventfd2);
fn poll_of_a_counter() {
    let fd = ok_i32(sys!(eventfd2, 0, EFD_NONBLOCK));
    let look = || {
        let mut p = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
        ok(sys!(poll, &mut p, 1, 0));
        p.revents
    };
    eq(look(), POLLOUT);
    ok(add(fd, 1));
    eq(look(), POLLIN | POLLOUT);
    ok(add(fd, u64::MAX - 2));
    eq(look(), POLLIN);
}

case!(what_it_is_not: pread64, ftruncate, fstat);
fn what_it_is_not() {
    let fd = ok_i32(sys!(eventfd2, 0, 0));
    fails(sys!(pread64, fd, &mut 0u64, 8, 0), ESPIPE);
    fails(sys!(ftruncate, fd, 0), EINVAL);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0), ENODEV);
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    eq(link.display().to_string(), "anon_inode:[eventfd]");
}
