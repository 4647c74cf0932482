//! FIFOs: named pipes.

use crate::kit::prelude::*;

fn fifo(name: &std::ffi::CStr) {
    ok(sys!(mknodat, AT_FDCWD, name, S_IFIFO | 0o644, 0));
}

case!(open_waits_for_the_other_end: mknodat, openat; disk);
fn open_waits_for_the_other_end() {
    fifo(c"p");
    eq(stat(c"p").st_mode, S_IFIFO | 0o644);
    let reader = fork(|| {
        let r = open(c"p", O_RDONLY);
        eq(read_to_end(r), b"through");
    });
    until_asleep(reader.pid);
    let w = open(c"p", O_WRONLY);
    write_all(w, b"through");
    close(w);
    reader.succeeds();
    let writer = fork(|| write_all(open(c"p", O_WRONLY), b"back"));
    until_asleep(writer.pid);
    eq(read_to_end(open(c"p", O_RDONLY)), b"back");
    writer.succeeds();
}

case!(waiting_open_is_interrupted: openat, kill);
fn waiting_open_is_interrupted() {
    fifo(c"p");
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, 0);
        fails(sys!(openat, AT_FDCWD, c"p", O_RDONLY, 0), EINTR);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(both_ways_does_not_wait: openat, read, write; disk);
fn both_ways_does_not_wait() {
    fifo(c"p");
    let fd = open(c"p", O_RDWR);
    write_all(fd, b"self");
    eq(read(fd, 10), b"self");
    let w = open(c"p", O_WRONLY | O_NONBLOCK);
    write_all(w, b"more");
    eq(read(fd, 10), b"more");
}

case!(without_waiting: openat, read; disk);
fn without_waiting() {
    fifo(c"p");
    fails(sys!(openat, AT_FDCWD, c"p", O_WRONLY | O_NONBLOCK, 0), ENXIO);
    let r = open(c"p", O_RDONLY | O_NONBLOCK);
    // No writer yet: end of file, not EAGAIN.
    eq(read(r, 1), b"");
    let w = open(c"p", O_WRONLY | O_NONBLOCK);
    fails(sys!(read, r, &mut [0u8; 1], 1), EAGAIN);
    write_all(w, b"x");
    close(w);
    eq(read(r, 1), b"x");
    eq(read(r, 1), b"");
    // A new writer brings it to life again.
    let w = open(c"p", O_WRONLY);
    write_all(w, b"y");
    eq(read(r, 1), b"y");
}

case!(content_goes_with_the_last_end: openat, close; disk);
fn content_goes_with_the_last_end() {
    fifo(c"p");
    let fd = open(c"p", O_RDWR);
    write_all(fd, b"lost");
    close(fd);
    let r = open(c"p", O_RDONLY | O_NONBLOCK);
    eq(read(r, 10), b"");
}

case!(hang_up_only_after_a_writer: poll, openat);
fn hang_up_only_after_a_writer() {
    fifo(c"p");
    let r = open(c"p", O_RDONLY | O_NONBLOCK);
    let look = || {
        let mut p = pollfd { fd: r, events: POLLIN, revents: 0 };
        ok(sys!(poll, &mut p, 1, 0));
        p.revents
    };
    // A reader that came first waits for a writer to come and go.
    eq(look(), 0);
    let w = open(c"p", O_WRONLY);
    eq(look(), 0);
    close(w);
    eq(look(), POLLHUP);
    let w = open(c"p", O_WRONLY);
    eq(look(), 0);
    write_all(w, b"x");
    eq(look(), POLLIN);
}

case!(unlinked_while_open: unlinkat; disk);
fn unlinked_while_open() {
    fifo(c"p");
    let fd = open(c"p", O_RDWR);
    ok(sys!(unlinkat, AT_FDCWD, c"p", 0));
    write_all(fd, b"x");
    eq(read(fd, 1), b"x");
    eq(fstat(fd).st_nlink, 0);
}

case!(two_names_one_pipe: linkat; disk);
fn two_names_one_pipe() {
    fifo(c"p");
    ok(sys!(linkat, AT_FDCWD, c"p", AT_FDCWD, c"q", 0));
    let (a, b) = (open(c"p", O_RDWR), open(c"q", O_RDWR));
    write_all(a, b"x");
    eq(read(b, 1), b"x");
}

case!(permission_to_open: openat; disk);
fn permission_to_open() {
    fifo(c"p");
    unprivileged(|| {
        if fstat(open(c"p", O_RDONLY | O_NONBLOCK)).st_uid != ok(sys!(getuid)) as u32 {
            fails(sys!(openat, AT_FDCWD, c"p", O_WRONLY | O_NONBLOCK, 0), EACCES);
        }
    });
}

case!(no_position_and_no_size: lseek, ftruncate, truncate; disk);
fn no_position_and_no_size() {
    fifo(c"p");
    let fd = open(c"p", O_RDWR);
    fails(sys!(lseek, fd, 0, SEEK_SET), ESPIPE);
    fails(sys!(ftruncate, fd, 0), EINVAL);
    fails(sys!(truncate, c"p", 0), EINVAL);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), ENODEV);
    // O_TRUNC means nothing here.
    close(open(c"p", O_RDWR | O_TRUNC));
}
