//! Pairs of master and slave: names, locks, data, sizes, packets.

use crate::kit::prelude::*;
use crate::kit::pty::{Pty, readable};

case!(names_and_devices: openat, ioctl, fstat);
fn names_and_devices() {
    let pty = Pty::new();
    let st = fstat(pty.slave);
    eq((st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev)), (S_IFCHR, 136, pty.number as u32));
    eq(st.st_uid, ok(sys!(getuid)) as u32);
    let link = std::fs::read_link(format!("/proc/self/fd/{}", pty.slave)).unwrap_or_default();
    eq(link.as_os_str().as_encoded_bytes(), pty.name().as_bytes());
    let st = fstat(pty.master);
    eq((st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev)), (S_IFCHR, 5, 2));
    let listed = std::fs::read_dir("/dev/pts")
        .map(|d| d.flatten().any(|e| e.file_name().to_string_lossy() == pty.number.to_string()));
    check(listed.unwrap_or(false), "listed in /dev/pts");
}

case!(locked_at_first: openat, ioctl);
fn locked_at_first() {
    let master = open(c"/dev/ptmx", O_RDWR | O_NOCTTY);
    let mut number = 0i32;
    ok(sys!(ioctl, master, TIOCGPTN, &mut number));
    let name = std::ffi::CString::new(format!("/dev/pts/{number}")).unwrap_or_default();
    fails(sys!(openat, AT_FDCWD, name.as_c_str(), O_RDWR | O_NOCTTY, 0), EIO);
    let mut locked = 0i32;
    ok(sys!(ioctl, master, TIOCGPTLCK, &mut locked));
    eq(locked, 1);
    ok(sys!(ioctl, master, TIOCSPTLCK, &0i32));
    ok(sys!(ioctl, master, TIOCGPTLCK, &mut locked));
    eq(locked, 0);
    close(open(&name, O_RDWR | O_NOCTTY));
}

case!(slave_by_ioctl: ioctl);
fn slave_by_ioctl() {
    let pty = Pty::new();
    let slave = ok_i32(sys!(ioctl, pty.master, 0x5441, O_RDWR | O_NOCTTY));
    eq(fstat(slave).st_rdev, fstat(pty.slave).st_rdev);
}

case!(each_master_is_new: openat);
fn each_master_is_new() {
    let (a, b) = (Pty::new(), Pty::new());
    check(a.number != b.number, "two numbers");
    a.type_in(b"x\n");
    check(!b.has_input(), "not mixed up");
    eq(a.line(), b"x\n");
}

case!(number_is_used_again: close, openat);
fn number_is_used_again() {
    let pty = Pty::new();
    let name = pty.name();
    close(pty.slave);
    close(pty.master);
    eventually("the name goes with the master", || !exists(&name));
}

case!(is_a_terminal: ioctl);
fn is_a_terminal() {
    let pty = Pty::new();
    pty.modes();
    ok(sys!(ioctl, pty.master, TCGETS, &mut [0u8; 60]));
    let [r, _w] = pipe(0);
    fails(sys!(ioctl, r, TCGETS, &mut [0u8; 60]), ENOTTY);
    fails(sys!(ioctl, open(c"/dev/null", O_RDWR), TCGETS, &mut [0u8; 60]), ENOTTY);
    fails(sys!(ioctl, create(c"f", b""), TCGETS, &mut [0u8; 60]), ENOTTY);
    fails(sys!(ioctl, pty.slave, TCGETS, 8), EFAULT);
    fails(sys!(ioctl, pty.slave, 0x1234_5678, 0), ENOTTY);
    fails(sys!(lseek, pty.slave, 0, SEEK_SET), ESPIPE);
    fails(sys!(ioctl, pty.slave, TIOCGPTN, &mut 0i32), ENOTTY);
}

case!(window_size: ioctl);
fn window_size() {
    let pty = Pty::new();
    let get = |fd: i32| {
        let mut size = [9u16; 4];
        ok(sys!(ioctl, fd, TIOCGWINSZ, &mut size));
        size
    };
    eq(get(pty.slave), [0; 4]);
    ok(sys!(ioctl, pty.master, TIOCSWINSZ, &[24u16, 80, 1, 2]));
    eq((get(pty.slave), get(pty.master)), ([24, 80, 1, 2], [24, 80, 1, 2]));
    ok(sys!(ioctl, pty.slave, TIOCSWINSZ, &[50u16, 132, 0, 0]));
    eq(get(pty.master), [50, 132, 0, 0]);
}

case!(bytes_to_read: ioctl);
fn bytes_to_read() {
    let pty = Pty::new().quiet();
    let count = |fd: i32, what| {
        let mut n = -1i32;
        ok(sys!(ioctl, fd, what, &mut n));
        n
    };
    pty.type_in(b"abc");
    // An unfinished line is not there yet.
    eq(count(pty.slave, FIONREAD), 0);
    pty.type_in(b"\n");
    check(readable(pty.slave, 5000), "a line");
    eq(count(pty.slave, FIONREAD), 4);
    write_all(pty.slave, b"12345");
    check(readable(pty.master, 5000), "output");
    eq(count(pty.master, FIONREAD), 5);
}

case!(flushing: ioctl);
fn flushing() {
    let pty = Pty::new().quiet();
    pty.type_in(b"lost\n");
    check(readable(pty.slave, 5000), "a line");
    ok(sys!(ioctl, pty.slave, TCFLSH, TCIFLUSH));
    check(!pty.has_input(), "input is gone");
    fails(sys!(ioctl, pty.slave, TCFLSH, 9), EINVAL);
    pty.type_in(b"kept\n");
    check(readable(pty.slave, 5000), "a line");
    // The set that flushes.
    ok(sys!(ioctl, pty.slave, TCSETSF, &pty.modes()));
    check(!pty.has_input(), "input is gone");
}

case!(poll_of_both_ends: poll);
fn poll_of_both_ends() {
    let pty = Pty::new().quiet();
    let look = |fd: i32| {
        let mut p = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
        ok(sys!(poll, &mut p, 1, 0));
        p.revents
    };
    eq((look(pty.master), look(pty.slave)), (POLLOUT, POLLOUT));
    pty.type_in(b"x");
    eq(look(pty.slave), POLLOUT);
    pty.type_in(b"\n");
    check(readable(pty.slave, 5000), "a line");
    eq(look(pty.slave), POLLIN | POLLOUT);
    write_all(pty.slave, b"y");
    check(readable(pty.master, 5000), "output");
    eq(look(pty.master), POLLIN | POLLOUT);
}

case!(without_waiting: read, fcntl);
fn without_waiting() {
    let pty = Pty::new().quiet();
    ok(sys!(fcntl, pty.slave, F_SETFL, O_NONBLOCK));
    ok(sys!(fcntl, pty.master, F_SETFL, O_NONBLOCK));
    fails(sys!(read, pty.slave, &mut [0u8; 4], 4), EAGAIN);
    fails(sys!(read, pty.master, &mut [0u8; 4], 4), EAGAIN);
    pty.type_in(b"part");
    fails(sys!(read, pty.slave, &mut [0u8; 4], 4), EAGAIN);
}

case!(reader_waits_for_a_line: read, write, fork);
fn reader_waits_for_a_line() {
    let pty = Pty::new().quiet();
    let child = fork(|| eq(read(pty.slave, 100), b"typed\n"));
    until_asleep(child.pid);
    pty.type_in(b"typed");
    pty.type_in(b"\n");
    child.succeeds();
}

case!(packets: ioctl, read);
fn packets() {
    let pty = Pty::new();
    ok(sys!(ioctl, pty.master, TIOCPKT, &1i32));
    write_all(pty.slave, b"data");
    check(readable(pty.master, 5000), "a packet");
    eq(read(pty.master, 100), b"\0data");
    // A flush of the output is told.
    ok(sys!(ioctl, pty.slave, TCFLSH, TCOFLUSH));
    check(readable(pty.master, 5000), "a packet");
    eq(read(pty.master, 100), [2]);
    ok(sys!(ioctl, pty.master, TIOCPKT, &0i32));
    write_all(pty.slave, b"x");
    pty.screen(b"x");
}

case!(screen_fills_up: write, poll);
fn screen_fills_up() {
    let pty = Pty::new();
    ok(sys!(fcntl, pty.slave, F_SETFL, O_NONBLOCK));
    let mut written = 0;
    let full = loop {
        match sys!(write, pty.slave, &[b'x'; 512], 512) {
            Ok(n) => written += n,
            full => break full,
        }
        check(written < 1 << 20, "there is an end");
    };
    fails(full, EAGAIN);
    let mut p = pollfd { fd: pty.slave, events: POLLOUT, revents: 0 };
    eq(ok(sys!(poll, &mut p, 1, 0)), 0);
    let mut seen = 0;
    while readable(pty.master, 100) {
        seen += read(pty.master, 4096).len() as i64;
    }
    eq(seen, written);
    eq(ok(sys!(poll, &mut p, 1, 5000)), 1);
}
