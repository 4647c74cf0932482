//! POSIX message queues, and the file system that shows them.

use std::ffi::CString;

use super::{names, own_mounts};
use crate::kit::prelude::*;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Attr {
    flags: i64,
    max: i64,
    size: i64,
    count: i64,
    reserved: [i64; 4],
}

/// A name that no other run has.
fn name(tail: &str) -> CString {
    CString::new(format!("case.{}.{tail}", ok(sys!(getpid)))).unwrap_or_default()
}

/// A new queue whose name is gone at once: it lives as long as its descriptors.
fn queue(max: i64, size: i64, flags: i32) -> i32 {
    let name = name("q");
    let attr = Attr { max, size, ..Attr::default() };
    let fd = ok_i32(sys!(mq_open, name.as_c_str(), O_CREAT | O_EXCL | O_RDWR | flags, 0o600, &attr));
    ok(sys!(mq_unlink, name.as_c_str()));
    fd
}

fn send(fd: i32, text: &[u8], priority: u32) -> Answer {
    sys!(mq_timedsend, fd, text, text.len(), priority, 0)
}

fn receive(fd: i32) -> Result<(Vec<u8>, u32), Errno> {
    let mut buf = [0u8; 8192];
    let mut priority = 0u32;
    let n = sys!(mq_timedreceive, fd, &mut buf, buf.len(), &mut priority, 0)?;
    Ok((buf[..n as usize].to_vec(), priority))
}

fn attr(fd: i32) -> Attr {
    let mut attr = Attr::default();
    ok(sys!(mq_getsetattr, fd, 0, &mut attr));
    attr
}

case!(messages_come_by_priority: mq_open, mq_unlink, mq_timedsend, mq_timedreceive);
fn messages_come_by_priority() {
    let fd = queue(10, 100, 0);
    for (text, priority) in [(b"a", 1), (b"b", 5), (b"c", 1), (b"d", 5), (b"e", 32_767), (b"f", 0)] {
        ok(send(fd, text, priority));
    }
    let order: Vec<u8> = (0..6).map(|_| receive(fd).map_or(0, |(text, _)| text[0])).collect();
    eq(String::from_utf8_lossy(&order), "ebdacf");
}

case!(messages_keep_their_bounds: mq_timedsend, mq_timedreceive);
fn messages_keep_their_bounds() {
    let fd = queue(10, 100, 0);
    ok(send(fd, b"", 3));
    ok(send(fd, &[7; 100], 2));
    eq(receive(fd), Ok((vec![], 3)));
    eq(receive(fd), Ok((vec![7; 100], 2)));
    fails(send(fd, &[7; 101], 0), EMSGSIZE);
    fails(sys!(mq_timedreceive, fd, &mut [0u8; 99], 99, 0, 0), EMSGSIZE);
    fails(send(fd, b"x", 32_768), EINVAL);
    fails(sys!(mq_timedsend, fd, 8, 4, 0, 0), EFAULT);
}

case!(what_a_new_queue_is: mq_open, mq_getsetattr, fstat);
fn what_a_new_queue_is() {
    let fd = queue(7, 33, O_NONBLOCK);
    eq(attr(fd), Attr { flags: i64::from(O_NONBLOCK), max: 7, size: 33, ..Attr::default() });
    ok(send(fd, b"x", 0));
    eq(attr(fd).count, 1);
    let st = fstat(fd);
    eq((st.st_mode, st.st_size, st.st_nlink), (S_IFREG | 0o600, 80, 0));
    // Closed by exec, whatever was asked.
    eq(ok(sys!(fcntl, fd, F_GETFD)), 1);
    let name = name("default");
    let fd = ok_i32(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDONLY, 0o666, 0));
    eq((attr(fd).max, attr(fd).size, fstat(fd).st_mode & 0o777), (10, 8192, 0o644));
    ok(sys!(mq_unlink, name.as_c_str()));
}

case!(opening_what_is_there: mq_open);
fn opening_what_is_there() {
    let name = name("there");
    fails(sys!(mq_open, name.as_c_str(), O_RDWR, 0, 0), ENOENT);
    let one = ok_i32(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDWR, 0o600, 0));
    ok(send(one, b"hello", 1));
    fails(sys!(mq_open, name.as_c_str(), O_CREAT | O_EXCL | O_RDWR, 0o600, 0), EEXIST);
    fails(sys!(mq_open, name.as_c_str(), O_RDWR | O_WRONLY, 0o600, 0), EINVAL);
    // What is asked of it does not count then.
    let other = Attr { max: 3, size: 3, ..Attr::default() };
    let two = ok_i32(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDONLY, 0o600, &other));
    eq(attr(two).max, 10);
    eq(receive(two), Ok((b"hello".to_vec(), 1)));
    fails(send(two, b"", 0), EBADF);
    let three = ok_i32(sys!(mq_open, name.as_c_str(), O_WRONLY, 0, 0));
    fails(receive(three).map(|_| 0), EBADF);
    ok(sys!(mq_unlink, name.as_c_str()));
    fails(sys!(mq_unlink, name.as_c_str()), ENOENT);
    fails(sys!(mq_open, name.as_c_str(), O_RDWR, 0, 0), ENOENT);
    ok(send(three, b"still", 0));
}

case!(names_of_queues: mq_open, mq_unlink);
fn names_of_queues() {
    for (name, errno) in [(c"", ENOENT), (c"a/b", EACCES), (c"/a", EACCES), (c".", EACCES), (c"..", EACCES)] {
        for answer in [sys!(mq_open, name, O_CREAT | O_RDWR, 0o600, 0), sys!(mq_unlink, name)] {
            match answer {
                Err(e) if e.0 == errno => {}
                other => fail(format_args!("{name:?}: {other:?}")),
            }
        }
    }
    let long = CString::new(vec![b'a'; 256]).unwrap_or_default();
    fails(sys!(mq_open, long.as_c_str(), O_CREAT | O_RDWR, 0o600, 0), ENAMETOOLONG);
    fails(sys!(mq_unlink, long.as_c_str()), ENAMETOOLONG);
    fails(sys!(mq_open, 8, O_CREAT | O_RDWR, 0o600, 0), EFAULT);
    fails(sys!(mq_open, c"x", O_CREAT | O_RDWR, 0o600, 8), EFAULT);
}

case!(shapes_that_are_refused: mq_open);
fn shapes_that_are_refused() {
    let name = name("shape");
    for (max, size) in [(0, 10), (10, 0), (-1, 10), (10, -1), (65_537, 1), (1, 16_777_217), (i64::MAX, 1)] {
        let attr = Attr { max, size, ..Attr::default() };
        fails(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDWR, 0o600, &attr), EINVAL);
    }
}

case!(limits_of_an_ordinary_user: mq_open, setrlimit; root);
fn limits_of_an_ordinary_user() {
    unprivileged(|| {
        let name = name("user");
        let attr = Attr { max: 11, size: 10, ..Attr::default() };
        fails(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDWR, 0o600, &attr), EINVAL);
        let attr = Attr { max: 10, size: 8193, ..Attr::default() };
        fails(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDWR, 0o600, &attr), EINVAL);
        // 10 × (1000 + 96) bytes a queue.
        let limit = rlimit { rlim_cur: 25_000, rlim_max: 25_000 };
        ok(sys!(setrlimit, RLIMIT_MSGQUEUE, &limit));
        let (one, two) = (queue(10, 1000, 0), queue(10, 1000, 0));
        let attr = Attr { max: 10, size: 1000, ..Attr::default() };
        fails(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDWR, 0o600, &attr), EMFILE);
        close(one);
        close(queue(10, 1000, 0));
        close(two);
    });
}

case!(permission_of_queues: mq_open, mq_unlink; root);
fn permission_of_queues() {
    let name = name("private");
    ok(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDWR, 0o644, 0));
    unprivileged(|| {
        ok(sys!(mq_open, name.as_c_str(), O_RDONLY, 0, 0));
        fails(sys!(mq_open, name.as_c_str(), O_RDWR, 0, 0), EACCES);
        fails(sys!(mq_unlink, name.as_c_str()), EPERM);
    });
    ok(sys!(mq_unlink, name.as_c_str()));
}

case!(without_waiting: mq_timedsend, mq_timedreceive);
fn without_waiting() {
    let fd = queue(2, 10, O_NONBLOCK);
    eq(receive(fd), Err(Errno(EAGAIN)));
    ok(send(fd, b"1", 0));
    ok(send(fd, b"2", 0));
    fails(send(fd, b"3", 0), EAGAIN);
    ok(receive(fd).map(|_| 0));
    ok(send(fd, b"3", 0));
}

case!(switching_to_not_waiting: mq_getsetattr, fcntl);
fn switching_to_not_waiting() {
    let fd = queue(2, 10, 0);
    let mut new = Attr { flags: i64::from(O_NONBLOCK), max: 99, ..Attr::default() };
    let mut old = Attr::default();
    ok(sys!(mq_getsetattr, fd, &new, &mut old));
    eq((old.flags, old.max), (0, 2));
    eq(receive(fd), Err(Errno(EAGAIN)));
    eq(ok(sys!(fcntl, fd, F_GETFL)) as i32 & O_NONBLOCK, O_NONBLOCK);
    eq(attr(fd).max, 2);
    new.flags = 1;
    fails(sys!(mq_getsetattr, fd, &new, &mut old), EINVAL);
    fails(sys!(mq_getsetattr, 0, 0, &mut old), EBADF);
    fails(sys!(mq_getsetattr, fd, 8, 0), EFAULT);
    fails(sys!(mq_getsetattr, fd, 0, 8), EFAULT);
}

case!(times_out: mq_timedsend, mq_timedreceive);
fn times_out() {
    let fd = queue(1, 10, 0);
    let soon = |ms: i64| {
        let ns = now_ns(CLOCK_REALTIME) + ms * 1_000_000;
        timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 }
    };
    let mut buf = [0u8; 10];
    let before = now_ns(CLOCK_MONOTONIC);
    fails(sys!(mq_timedreceive, fd, &mut buf, 10, 0, &soon(50)), ETIMEDOUT);
    check(now_ns(CLOCK_MONOTONIC) - before >= 45_000_000, "it waited");
    fails(sys!(mq_timedreceive, fd, &mut buf, 10, 0, &soon(-50)), ETIMEDOUT);
    ok(sys!(mq_timedsend, fd, c"x", 1, 0, &soon(-50)));
    fails(sys!(mq_timedsend, fd, c"x", 1, 0, &soon(10)), ETIMEDOUT);
    eq(ok(sys!(mq_timedreceive, fd, &mut buf, 10, 0, &soon(-50))), 1);
    let bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails(sys!(mq_timedreceive, fd, &mut buf, 10, 0, &bad), EINVAL);
    fails(sys!(mq_timedsend, 999, c"x", 1, 0, &bad), EINVAL);
    fails(sys!(mq_timedsend, 999, c"x", 1, 0, 8), EFAULT);
}

case!(a_receiver_waits_for_a_message: mq_timedreceive);
fn a_receiver_waits_for_a_message() {
    let fd = queue(1, 10, 0);
    let child = fork(|| eq(receive(fd), Ok((b"late".to_vec(), 4))));
    until_asleep(child.pid);
    ok(send(fd, b"late", 4));
    child.succeeds();
}

case!(a_sender_waits_for_room: mq_timedsend);
fn a_sender_waits_for_room() {
    let fd = queue(1, 10, 0);
    ok(send(fd, b"one", 0));
    let child = fork(|| done(send(fd, b"two", 9)));
    until_asleep(child.pid);
    eq(attr(fd).count, 1);
    eq(receive(fd), Ok((b"one".to_vec(), 0)));
    child.succeeds();
    eq(receive(fd), Ok((b"two".to_vec(), 9)));
}

case!(a_signal_ends_the_wait: mq_timedreceive);
fn a_signal_ends_the_wait() {
    let fd = queue(1, 10, 0);
    let child = fork(|| {
        extern "C" fn nothing(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {}
        sig::on(SIGUSR1, nothing, 0);
        eq(receive(fd), Err(Errno(EINTR)));
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(readiness_of_queues: poll, epoll_ctl);
fn readiness_of_queues() {
    let fd = queue(1, 10, 0);
    let ready = || {
        let mut p = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
        ok(sys!(poll, &mut p, 1, 0));
        p.revents
    };
    eq(ready(), POLLOUT);
    ok(send(fd, b"x", 0));
    eq(ready(), POLLIN);
    let set = ok_i32(sys!(epoll_create1, 0));
    let mut event = epoll_event { events: EPOLLOUT as u32, u64: 5 };
    ok(sys!(epoll_ctl, set, EPOLL_CTL_ADD, fd, &mut event));
    eq(ok(sys!(epoll_wait, set, &mut event, 1, 0)), 0);
    ok(receive(fd).map(|_| 0));
    eq(ok(sys!(epoll_wait, set, &mut event, 1, 0)), 1);
}

#[repr(C)]
struct Event {
    value: u64,
    signo: i32,
    notify: i32,
    rest: [i32; 12],
}

fn notify(fd: i32, notify: i32, signo: i32) -> Answer {
    sys!(mq_notify, fd, &Event { value: 0x1234_5678_9abc, signo, notify, rest: [0; 12] })
}

case!(a_signal_tells_of_the_first_message: mq_notify, rt_sigtimedwait);
fn a_signal_tells_of_the_first_message() {
    let fd = queue(5, 10, 0);
    let mask = 1u64 << (SIGUSR1 - 1);
    ok(sys!(rt_sigprocmask, SIG_BLOCK, &mask, 0, 8));
    ok(notify(fd, SIGEV_SIGNAL, SIGUSR1));
    fails(notify(fd, SIGEV_SIGNAL, SIGUSR1), EBUSY);
    let child = fork(|| {
        fails(notify(fd, SIGEV_NONE, 0), EBUSY);
        // Not its to take back.
        ok(sys!(mq_notify, fd, 0));
        ok(send(fd, b"1", 0));
    });
    let pid = child.pid;
    child.succeeds();
    let mut info = [0i32; 32];
    let short = timespec { tv_sec: 5, tv_nsec: 0 };
    eq(ok(sys!(rt_sigtimedwait, &mask, &mut info, &short, 8)) as i32, SIGUSR1);
    // Signal, code, pid, uid, value.
    eq((info[0], info[2], info[4]), (SIGUSR1, -3, pid));
    eq((info[6] as u32, info[7]), (0x5678_9abc, 0x1234));
    // Once only, and not for a second message.
    ok(send(fd, b"2", 0));
    let none = timespec { tv_sec: 0, tv_nsec: 0 };
    fails(sys!(rt_sigtimedwait, &mask, &mut info, &none, 8), EAGAIN);
    ok(notify(fd, SIGEV_SIGNAL, SIGUSR1));
    ok(send(fd, b"3", 0));
    fails(sys!(rt_sigtimedwait, &mask, &mut info, &none, 8), EAGAIN);
}

case!(who_waits_comes_first: mq_notify, mq_timedreceive);
fn who_waits_comes_first() {
    let fd = queue(5, 10, 0);
    let mask = 1u64 << (SIGUSR1 - 1);
    ok(sys!(rt_sigprocmask, SIG_BLOCK, &mask, 0, 8));
    ok(notify(fd, SIGEV_SIGNAL, SIGUSR1));
    let child = fork(|| done(receive(fd).map(|_| 0)));
    until_asleep(child.pid);
    ok(send(fd, b"1", 0));
    child.succeeds();
    let none = timespec { tv_sec: 0, tv_nsec: 0 };
    fails(sys!(rt_sigtimedwait, &mask, 0, &none, 8), EAGAIN);
    // It is still asked for.
    fails(notify(fd, SIGEV_NONE, 0), EBUSY);
    ok(send(fd, b"2", 0));
    eq(ok(sys!(rt_sigtimedwait, &mask, 0, &none, 8)) as i32, SIGUSR1);
}

case!(closing_takes_the_request_back: mq_notify, close);
fn closing_takes_the_request_back() {
    let fd = queue(5, 10, 0);
    let other = ok_i32(sys!(dup, fd));
    ok(notify(fd, SIGEV_NONE, 0));
    close(other);
    ok(notify(fd, SIGEV_NONE, 0));
    ok(sys!(mq_notify, fd, 0));
    ok(notify(fd, SIGEV_NONE, 0));
    // So does the end of the process.
    ok(sys!(mq_notify, fd, 0));
    in_child(|| done(notify(fd, SIGEV_NONE, 0)));
    ok(notify(fd, SIGEV_NONE, 0));
}

case!(requests_that_are_wrong: mq_notify);
fn requests_that_are_wrong() {
    let fd = queue(5, 10, 0);
    fails(notify(fd, 77, SIGUSR1), EINVAL);
    fails(notify(fd, SIGEV_SIGNAL, 65), EINVAL);
    fails(notify(0, SIGEV_NONE, 0), EBADF);
    fails(notify(999, SIGEV_NONE, 0), EBADF);
    fails(sys!(mq_notify, fd, 8), EFAULT);
}

case!(the_file_system: mount, mq_open, read, unlink, statfs; root);
fn the_file_system() {
    own_mounts();
    mkdir(c"q");
    ok(sys!(mount, c"none", c"q", c"mqueue", 0, 0));
    let mut st: statfs = zeroed();
    ok(sys!(statfs, c"q", &mut st));
    eq((st.f_type, stat(c"q").st_mode), (0x1980_0202, S_IFDIR | 0o1777));
    let name = name("shown");
    let path = CString::new(format!("q/{}", name.to_string_lossy())).unwrap_or_default();
    let fd = ok_i32(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDWR, 0o640, 0));
    eq((stat(&path).st_size, stat(&path).st_mode), (80, S_IFREG | 0o640));
    ok(send(fd, b"12345", 1));
    eq(text(&path), "QSIZE:5          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n");
    ok(notify(fd, SIGEV_SIGNAL, SIGUSR2));
    let want = format!("QSIZE:5          NOTIFY:0     SIGNO:12    NOTIFY_PID:{:<6}\n", ok(sys!(getpid)));
    eq(text(&path), want);
    check(names(c"q").contains(&name.to_string_lossy().into_owned()), "it is listed");
    // Files are queues, and queues are files.
    ok(sys!(unlink, path.as_c_str()));
    fails(sys!(mq_open, name.as_c_str(), O_RDWR, 0, 0), ENOENT);
    close(ok_i32(sys!(openat, AT_FDCWD, path.as_c_str(), O_CREAT | O_RDWR, 0o600)));
    let fd = ok_i32(sys!(mq_open, name.as_c_str(), O_RDWR, 0, 0));
    eq((attr(fd).max, attr(fd).size), (10, 8192));
    fails(sys!(mkdir, c"q/d", 0o755), EPERM);
    fails(sys!(symlinkat, c"x", AT_FDCWD, c"q/l"), EPERM);
    fails(sys!(write, fd, c"x", 1), EINVAL);
    ok(sys!(mq_unlink, name.as_c_str()));
}

case!(all_mounts_show_the_same: mount; root);
fn all_mounts_show_the_same() {
    own_mounts();
    for dir in [c"a", c"b"] {
        mkdir(dir);
        ok(sys!(mount, c"none", dir, c"mqueue", 0, 0));
    }
    let name = name("both");
    ok(sys!(mq_open, name.as_c_str(), O_CREAT | O_RDWR, 0o600, 0));
    eq(names(c"a"), names(c"b"));
    eq((stat(c"a").st_dev, stat(c"a").st_ino), (stat(c"b").st_dev, stat(c"b").st_ino));
    ok(sys!(mq_unlink, name.as_c_str()));
}

case!(limits_in_proc: openat, read, mq_open; root);
fn limits_in_proc() {
    for (file, value) in [
        (c"/proc/sys/fs/mqueue/msg_max", "10\n"),
        (c"/proc/sys/fs/mqueue/msgsize_max", "8192\n"),
        (c"/proc/sys/fs/mqueue/queues_max", "256\n"),
        (c"/proc/sys/fs/mqueue/msg_default", "10\n"),
        (c"/proc/sys/fs/mqueue/msgsize_default", "8192\n"),
    ] {
        eq_of(file.to_string_lossy(), text(file), value);
        eq(stat(file).st_mode & 0o777, 0o644);
    }
    let fd = open(c"/proc/sys/fs/mqueue/msg_max", O_WRONLY);
    fails(sys!(write, fd, c"0", 1), EINVAL);
    fails(sys!(write, fd, c"65537", 5), EINVAL);
    fails(sys!(write, fd, c"x", 1), EINVAL);
    ok(sys!(write, fd, c"10\n", 3));
}
