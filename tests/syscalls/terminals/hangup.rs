//! When one end of a pair goes away.

use crate::kit::prelude::*;
use crate::kit::pty::{Pty, readable};

fn look(fd: i32) -> i16 {
    let mut p = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
    ok(sys!(poll, &mut p, 1, 0));
    p.revents
}

case!(master_gone: close, read, write, poll, ioctl);
fn master_gone() {
    let pty = Pty::new();
    close(pty.master);
    eq(read(pty.slave, 10), b"");
    fails(sys!(write, pty.slave, c"x", 1), EIO);
    fails(sys!(ioctl, pty.slave, TCGETS, &mut [0u8; 60]), EIO);
    eq(look(pty.slave) & (POLLHUP | POLLERR), POLLHUP | POLLERR);
    fails(sys!(openat, AT_FDCWD, pty.name().as_c_str(), O_RDWR | O_NOCTTY, 0), ENOENT);
}

case!(slave_gone: close, read, poll);
fn slave_gone() {
    let pty = Pty::new();
    write_all(pty.slave, b"last words");
    close(pty.slave);
    // First what was written, then the end.
    pty_says(pty, b"last words");
    fails(sys!(read, pty.master, &mut [0u8; 4], 4), EIO);
    eq(look(pty.master) & POLLHUP, POLLHUP);
    // A slave that is opened again mends it.
    let slave = open(&pty.name(), O_RDWR | O_NOCTTY);
    eq(look(pty.master), POLLOUT);
    write_all(slave, b"again");
    pty_says(pty, b"again");
}

fn pty_says(pty: Pty, what: &[u8]) {
    check(readable(pty.master, 5000), "output");
    eq(read(pty.master, 100), what);
}

case!(master_before_any_slave: read, poll);
fn master_before_any_slave() {
    let master = open(c"/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
    // Nobody has been there yet: that is no end.
    fails(sys!(read, master, &mut [0u8; 4], 4), EAGAIN);
    eq(look(master), POLLOUT);
}

case!(waiting_reader_of_the_slave: read, close);
fn waiting_reader_of_the_slave() {
    let pty = Pty::new();
    let child = fork(|| {
        close(pty.master);
        fails(sys!(read, pty.slave, &mut [0u8; 4], 4), EIO);
        // From then on it is the end.
        eventually("the hang-up is complete", || sys!(read, pty.slave, &mut [0u8; 4], 4) == Ok(0));
    });
    until_asleep(child.pid);
    close(pty.master);
    child.succeeds();
}

case!(waiting_reader_of_the_master: read, close);
fn waiting_reader_of_the_master() {
    let pty = Pty::new();
    let child = fork(|| {
        close(pty.slave);
        fails(sys!(read, pty.master, &mut [0u8; 4], 4), EIO);
    });
    until_asleep(child.pid);
    close(pty.slave);
    child.succeeds();
}

case!(session_is_told: close, kill);
fn session_is_told() {
    let pty = Pty::new();
    let [r, w] = pipe(0);
    let child = fork(|| {
        close(pty.master);
        ok(sys!(setsid));
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        write_all(w, b"r");
        sleep_ms(10_000);
    });
    read(r, 1);
    close(pty.master);
    child.dies_of(SIGHUP);
}

case!(foreground_group_is_told_when_the_leader_ends: exit_group);
fn foreground_group_is_told_when_the_leader_ends() {
    let pty = Pty::new();
    let [r, w] = pipe(0);
    let leader = fork(|| {
        close(r);
        ok(sys!(setsid));
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        fork(|| {
            sig::block(sig::bit(SIGHUP) | sig::bit(SIGCONT));
            write_all(w, b"r");
            let mut info = sig::Info::default();
            eq(ok_i32(sys!(rt_sigtimedwait, &sig::bit(SIGHUP), &mut info, 0, 8)), SIGHUP);
            // The terminal is nobody's now.
            fails(sys!(openat, AT_FDCWD, c"/dev/tty", O_RDWR, 0), ENXIO);
            write_all(w, b"d");
        });
        let mut byte = [0u8; 1];
        let _ = sys!(read, w, &mut byte, 0);
        // Give the other one time to be ready: its byte is read by the grandparent.
        sleep_ms(50);
    });
    close(w);
    eq(read(r, 1), b"r");
    leader.succeeds();
    eq(read(r, 1), b"d");
    // The terminal itself lives on.
    write_all(pty.slave, b"x");
    pty.screen(b"x");
}

case!(virtual_hangup: vhangup; root);
fn virtual_hangup() {
    let pty = Pty::new();
    in_child(|| {
        ok(sys!(setsid));
        sig::ignore(SIGHUP);
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        ok(sys!(vhangup));
        eq(read(pty.slave, 10), b"");
        fails(sys!(write, pty.slave, c"x", 1), EIO);
    });
}
