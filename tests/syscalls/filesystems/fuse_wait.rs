//! Servers that are silent, and servers that have gone.

use std::sync::atomic::Ordering::SeqCst;

use super::fuse_server::{
    GETATTR, INTERRUPT, LOOKUP, READ, answer, device, header, init_out, next, options, serve,
};
use crate::filesystems::own_mounts;
use crate::kit::prelude::*;

case!(signals_are_passed_on: kill, read; root);
fn signals_are_passed_on() {
    let fuse = serve("", |control, _| {
        control.silent.store(READ, SeqCst);
        control.obeys.store(1, SeqCst);
    });
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, 0);
        let fd = open(c"m/f", O_RDONLY | O_DIRECT);
        let mut buf = [0u8; 8];
        fails(sys!(read, fd, &mut buf, 8), EINTR);
        eq(sig::count(), 1);
    });
    eventually("it reads", || fuse.control.count(READ) == 1);
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
    check(fuse.control.count(INTERRUPT) >= 1, "the server was told");
    fuse.unmount();
}

case!(waits_end_with_the_server: read, newfstatat, openat; root);
fn waits_end_with_the_server() {
    let fuse = serve("", |control, _| control.silent.store(LOOKUP, SeqCst));
    let child = fork(|| {
        let mut st: stat = zeroed();
        fails(sys!(newfstatat, AT_FDCWD, c"m/f", &mut st, 0), ECONNABORTED);
    });
    eventually("it looks up", || fuse.control.count(LOOKUP) == 1);
    until_asleep(child.pid);
    fuse.child.end();
    child.succeeds();
    fails(sys!(openat, AT_FDCWD, c"m/f", O_RDONLY, 0), ENOTCONN);
    fails(sys!(openat, AT_FDCWD, c"m", O_RDONLY, 0), ENOTCONN);
    ok(sys!(umount2, c"m", 0));
}

case!(open_files_outlive_the_server: read, write, close; root);
fn open_files_outlive_the_server() {
    let fuse = serve("", |_, _| {});
    let fd = open(c"m/f", O_RDWR);
    fuse.child.end();
    fails(sys!(write, fd, c"x", 1), ENOTCONN);
    fails(sys!(fsync, fd), ENOTCONN);
    fails(sys!(close, fd), ENOTCONN);
    ok(sys!(umount2, c"m", 0));
}

case!(unread_requests_die_with_the_asker: kill, newfstatat, read; root);
fn unread_requests_die_with_the_asker() {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    ok(sys!(mount, c"none", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    let Some(request) = next(fd) else { fail("no request") };
    ok(answer(fd, header(&request).1, 0, &init_out(0)));
    for signal in [SIGKILL, SIGTERM] {
        let child = fork(|| {
            let mut st: stat = zeroed();
            let _ = sys!(newfstatat, AT_FDCWD, c"m", &mut st, 0);
        });
        let mut polled = pollfd { fd, events: POLLIN, revents: 0 };
        eventually("it asks", || ok(sys!(poll, &mut polled, 1, 100)) == 1);
        child.kill(signal);
        child.dies_of(signal);
        eq(ok(sys!(poll, &mut polled, 1, 0)), 0);
    }
    ok(sys!(umount2, c"m", 0));
}

case!(mounting_waits_for_nobody: mount, kill; root);
fn mounting_waits_for_nobody() {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    ok(sys!(mount, c"none", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    // INIT is not answered: whoever uses it waits, and can be killed.
    let child = fork(|| {
        let mut st: stat = zeroed();
        let _ = sys!(newfstatat, AT_FDCWD, c"m/x", &mut st, 0);
    });
    until_state(child.pid, 'D');
    child.kill(SIGKILL);
    child.dies_of(SIGKILL);
    ok(sys!(umount2, c"m", 0));
}

case!(one_silent_file_holds_up_no_other: read, openat; root);
fn one_silent_file_holds_up_no_other() {
    let fuse = serve("", |control, _| control.silent.store(READ, SeqCst));
    let child = fork(|| {
        let fd = open(c"m/f", O_RDONLY);
        let mut buf = [0u8; 8];
        let _ = sys!(read, fd, &mut buf, 8);
    });
    eventually("it reads", || fuse.control.count(READ) == 1);
    fuse.control.silent.store(0, SeqCst);
    eq(content(c"m/d/a"), b"a");
    check(fuse.control.count(GETATTR) > 0, "and attributes");
    // Natively only the end of the connection ends a wait for an answer to what the server has read.
    fuse.child.end();
    child.status();
    ok(sys!(umount2, c"m", MNT_DETACH));
}
