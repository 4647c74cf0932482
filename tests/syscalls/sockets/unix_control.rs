//! Descriptors and credentials in messages.

use crate::kit::prelude::*;
use crate::kit::socket::{Control, pair, peek, recv, recv_message, send, send_message, set_option};

fn credentials() -> [i32; 3] {
    [ok_i32(sys!(getpid)), ok_i32(sys!(getuid)), ok_i32(sys!(getgid))]
}

case!(descriptors_go_over: sendmsg, recvmsg);
fn descriptors_go_over() {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let [a, b] = pair(kind);
        let fd = create(c"f", b"content");
        ok(sys!(lseek, fd, 3, SEEK_SET));
        ok(send_message(a, b"x", &[Control::rights(&[fd, 0])], 0));
        close(fd);
        let message = recv_message(b, 10, 64, 0);
        eq((message.bytes.as_slice(), message.flags, message.fds().len()), (&b"x"[..], 0, 2));
        let got = message.fds()[0];
        // The same description: its position came along, its flag did not.
        eq(read(got, 10), b"tent");
        eq(ok(sys!(fcntl, got, F_GETFD)), 0);
        message.fds().into_iter().for_each(close);
    }
}

case!(between_processes: sendmsg, recvmsg, fork);
fn between_processes() {
    let [a, b] = pair(SOCK_STREAM);
    let child = fork(|| {
        close(b);
        let [r, w] = pipe(0);
        write_all(w, b"from the child");
        ok(send_message(a, b"x", &[Control::rights(&[r])], 0));
    });
    child.succeeds();
    let fds = recv_message(b, 1, 64, 0).fds();
    eq(read(fds[0], 100), b"from the child");
    eq(read(fds[0], 100), b"");
}

case!(close_on_exec_if_wanted: recvmsg);
fn close_on_exec_if_wanted() {
    let [a, b] = pair(SOCK_STREAM);
    ok(send_message(a, b"x", &[Control::rights(&[0])], 0));
    let message = recv_message(b, 1, 64, MSG_CMSG_CLOEXEC);
    eq(ok_i32(sys!(fcntl, message.fds()[0], F_GETFD)), FD_CLOEXEC);
    eq(message.flags, MSG_CMSG_CLOEXEC);
}

case!(too_little_room: recvmsg);
fn too_little_room() {
    let [a, b] = pair(SOCK_STREAM);
    let free = ok_i32(sys!(dup, 0));
    close(free);
    ok(send_message(a, b"x", &[Control::rights(&[0, 1, 2])], 0));
    // Room for two: the third is dropped.
    let message = recv_message(b, 1, 16 + 8, 0);
    eq((message.fds().len(), message.flags), (2, MSG_CTRUNC));
    eq(message.fds(), vec![free, free + 1]);
    ok(send_message(a, b"x", &[Control::rights(&[0])], 0));
    let message = recv_message(b, 1, 0, 0);
    eq((message.fds().len(), message.flags), (0, MSG_CTRUNC));
    // A plain read drops them silently.
    ok(send_message(a, b"x", &[Control::rights(&[0])], 0));
    eq(read(b, 1), b"x");
    eq(ok_i32(sys!(dup, 0)), free + 2);
}

case!(message_borders_in_a_stream: recvmsg);
fn message_borders_in_a_stream() {
    let [a, b] = pair(SOCK_STREAM);
    ok(send(a, b"aa", 0));
    ok(send_message(a, b"bb", &[Control::rights(&[0])], 0));
    ok(send(a, b"cc", 0));
    ok(send_message(a, b"dd", &[Control::rights(&[1])], 0));
    // Bytes without descriptors do not run into those with; those after them do.
    let first = recv_message(b, 100, 64, 0);
    eq((first.bytes.as_slice(), first.fds().len()), (&b"aabb"[..], 1));
    let second = recv_message(b, 100, 64, 0);
    eq((second.bytes.as_slice(), second.fds().len()), (&b"ccdd"[..], 1));
    // The descriptors go with the first byte.
    ok(send_message(a, b"12345", &[Control::rights(&[0])], 0));
    let first = recv_message(b, 2, 64, 0);
    eq((first.bytes.as_slice(), first.fds().len()), (&b"12"[..], 1));
    let second = recv_message(b, 10, 64, 0);
    eq((second.bytes.as_slice(), second.fds().len()), (&b"345"[..], 0));
}

case!(peeking_copies_descriptors: recvmsg);
fn peeking_copies_descriptors() {
    let [a, b] = pair(SOCK_DGRAM);
    ok(send_message(a, b"x", &[Control::rights(&[0])], 0));
    eq(recv_message(b, 1, 64, MSG_PEEK).fds().len(), 1);
    eq(peek(b, 10), b"x");
    eq(recv_message(b, 1, 64, 0).fds().len(), 1);
}

case!(unreceived_descriptors_are_closed: close, sendmsg);
fn unreceived_descriptors_are_closed() {
    let [a, b] = pair(SOCK_STREAM);
    let [r, w] = pipe(0);
    ok(send_message(a, b"x", &[Control::rights(&[w])], 0));
    close(w);
    ok(sys!(fcntl, r, F_SETFL, O_NONBLOCK));
    fails(sys!(read, r, &mut [0u8; 1], 1), EAGAIN);
    close(b);
    eventually("the message is thrown away", || sys!(read, r, &mut [0u8; 1], 1) == Ok(0));
}

case!(circles_of_sockets: sendmsg, close);
fn circles_of_sockets() {
    // A socket in its own queue, reachable by nobody: collected, and the pipe in it with it.
    let [r, w] = pipe(0);
    let [a, b] = pair(SOCK_STREAM);
    ok(send_message(a, b"x", &[Control::rights(&[b, w])], 0));
    ok(send_message(b, b"x", &[Control::rights(&[a])], 0));
    close(w);
    close(a);
    close(b);
    ok(sys!(fcntl, r, F_SETFL, O_NONBLOCK));
    eventually("it is collected", || {
        // Closing another socket is what makes Linux look.
        pair(SOCK_STREAM).into_iter().for_each(close);
        sys!(read, r, &mut [0u8; 1], 1) == Ok(0)
    });
}

case!(bad_rights: sendmsg);
fn bad_rights() {
    let [a, b] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    fails(send_message(a, b"x", &[Control::rights(&[999])], 0), EBADF);
    fails(send_message(a, b"x", &[Control::rights(&[0, -1])], 0), EBADF);
    fails(sys!(read, b, &mut [0u8; 1], 1), EAGAIN);
    let many = vec![0; 254];
    fails(send_message(a, b"x", &[Control::rights(&many)], 0), EINVAL);
    ok(send_message(a, b"x", &[Control::rights(&many[..253])], 0));
    eq(recv_message(b, 1, 16 + 253 * 4, 0).fds().len(), 253);
    fails(send_message(a, b"x", &[Control { kind: 99, words: vec![1] }], 0), EINVAL);
    // A control message that is longer than its room.
    let mut control = [100u64, (SOL_SOCKET as u64) | (SCM_RIGHTS as u64) << 32, 0];
    let mut byte = 0u8;
    let mut part = iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut message: msghdr = zeroed();
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = 24;
    fails(sys!(sendmsg, a, &message, 0), EINVAL);
    control[0] = 8;
    message.msg_control = control.as_mut_ptr().cast();
    fails(sys!(sendmsg, a, &message, 0), EINVAL);
    message.msg_control = 8 as *mut _;
    fails(sys!(sendmsg, a, &message, 0), EFAULT);
    message.msg_controllen = usize::MAX;
    fails(sys!(sendmsg, a, &message, 0), ENOBUFS);
}

case!(no_number_free: recvmsg, prlimit64);
fn no_number_free() {
    let [a, b] = pair(SOCK_STREAM);
    ok(send_message(a, b"x", &[Control::rights(&[0, 0])], 0));
    let limit = rlimit { rlim_cur: b as u64 + 2, rlim_max: b as u64 + 2 };
    ok(sys!(prlimit64, 0, RLIMIT_NOFILE, &limit, 0));
    let message = recv_message(b, 1, 64, 0);
    eq((message.fds(), message.flags), (vec![b + 1], MSG_CTRUNC));
}

case!(credentials_come_when_asked_for: setsockopt, recvmsg);
fn credentials_come_when_asked_for() {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let [a, b] = pair(kind);
        ok(set_option(b, SO_PASSCRED, 1));
        ok(send(a, b"x", 0));
        eq(recv_message(b, 1, 64, 0).credentials(), Some(credentials()));
        let child = fork(|| done(send(a, b"y", 0)));
        let pid = child.pid;
        child.succeeds();
        eq(recv_message(b, 1, 64, 0).credentials(), Some([pid, credentials()[1], credentials()[2]]));
        ok(set_option(b, SO_PASSCRED, 0));
        ok(send(a, b"x", 0));
        eq(recv_message(b, 1, 64, 0).controls, vec![]);
    }
}

case!(credentials_may_be_said: sendmsg, setsockopt);
fn credentials_may_be_said() {
    let [a, b] = pair(SOCK_DGRAM);
    ok(set_option(b, SO_PASSCRED, 1));
    let [pid, uid, gid] = credentials();
    ok(send_message(a, b"x", &[Control::credentials(pid, uid as u32, gid as u32)], 0));
    eq(recv_message(b, 1, 64, 0).credentials(), Some([pid, uid, gid]));
    unprivileged(|| {
        let [pid, uid, gid] = credentials();
        ok(send_message(a, b"x", &[Control::credentials(pid, uid as u32, gid as u32)], 0));
        for lie in [
            Control::credentials(1, uid as u32, gid as u32),
            Control::credentials(pid, 0, gid as u32),
            Control::credentials(pid, uid as u32, 0),
        ] {
            if uid != 0 {
                fails(send_message(a, b"x", &[lie], 0), EPERM);
            }
        }
    });
    if is_root() {
        ok(send_message(a, b"x", &[Control::credentials(1, 5, 6)], 0));
        recv_message(b, 1, 64, 0);
        eq(recv_message(b, 1, 64, 0).credentials(), Some([1, 5, 6]));
        fails(send_message(a, b"x", &[Control::credentials(3_000_000, 5, 6)], 0), ESRCH);
    }
}

case!(different_writers_do_not_mix: recvmsg, setsockopt);
fn different_writers_do_not_mix() {
    // With credentials a receive stops where the writer changes.
    let [a, b] = pair(SOCK_STREAM);
    ok(set_option(b, SO_PASSCRED, 1));
    ok(send(a, b"mine", 0));
    fork(|| done(send(a, b"child", 0))).succeeds();
    eq(recv_message(b, 100, 64, 0).bytes, b"mine");
    eq(recv_message(b, 100, 64, 0).bytes, b"child");
}

case!(both_kinds_in_one_message: sendmsg, recvmsg);
fn both_kinds_in_one_message() {
    let [a, b] = pair(SOCK_SEQPACKET);
    ok(set_option(b, SO_PASSCRED, 1));
    let [pid, uid, gid] = credentials();
    let controls = [Control::rights(&[0]), Control::credentials(pid, uid as u32, gid as u32)];
    ok(send_message(a, b"x", &controls, 0));
    let message = recv_message(b, 1, 128, 0);
    eq((message.fds().len(), message.credentials()), (1, Some([pid, uid, gid])));
    let kinds: Vec<i32> = message.controls.iter().map(|c| c.kind).collect();
    eq(kinds, vec![SCM_CREDENTIALS, SCM_RIGHTS]);
}

case!(descriptors_without_bytes: sendmsg, recvmsg);
fn descriptors_without_bytes() {
    let [a, b] = pair(SOCK_DGRAM);
    ok(send_message(a, b"", &[Control::rights(&[0])], 0));
    let message = recv_message(b, 10, 64, 0);
    eq((message.bytes.len(), message.fds().len()), (0, 1));
    // In a stream there is nothing that could carry them.
    let [a, b] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    eq(ok(send_message(a, b"", &[Control::rights(&[0])], 0)), 0);
    fails(sys!(recvfrom, b, &mut [0u8; 1], 1, 0, 0, 0), EAGAIN);
    ok(send(a, b"x", 0));
    eq(recv(b, 4, 0), b"x");
}

case!(passed_terminal_and_directory: sendmsg, recvmsg);
fn passed_terminal_and_directory() {
    let [a, b] = pair(SOCK_STREAM);
    mkdir(c"d");
    put(c"d/f", b"inside");
    let dir = open(c"d", O_PATH);
    ok(send_message(a, b"x", &[Control::rights(&[dir])], 0));
    in_child(|| {
        let got = recv_message(b, 1, 64, 0).fds()[0];
        ok(sys!(chdir, c"/"));
        ok(sys!(fchdir, got));
        eq(content(c"f"), b"inside");
    });
}
