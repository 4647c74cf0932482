//! Flags and vectors of send and receive.

use crate::kit::prelude::*;
use crate::kit::socket::{pair, peek, recv, recv_message, send, send_message, socket};

case!(peeking: recvfrom);
fn peeking() {
    for kind in [SOCK_STREAM, SOCK_DGRAM] {
        let [a, b] = pair(kind);
        ok(send(a, b"content", 0));
        eq(peek(b, 3), b"con");
        eq(peek(b, 100), b"content");
        eq(recv(b, 100, 0), b"content");
    }
}

case!(peeking_further_on: setsockopt, recvfrom);
fn peeking_further_on() {
    let [a, b] = pair(SOCK_STREAM);
    ok(crate::kit::socket::set_option(b, SO_PEEK_OFF, 0));
    ok(send(a, b"0123456789", 0));
    eq((peek(b, 3), peek(b, 3)), (b"012".to_vec(), b"345".to_vec()));
    eq(recv(b, 2, 0), b"01");
    eq(peek(b, 3), b"678");
}

case!(not_waiting_once: recvfrom, sendto);
fn not_waiting_once() {
    let [a, b] = pair(SOCK_STREAM);
    fails(sys!(recvfrom, b, &mut [0u8; 4], 4, MSG_DONTWAIT, 0, 0), EAGAIN);
    let mut sent = 0;
    while send(a, &[0u8; 4096], MSG_DONTWAIT).is_ok() {
        sent += 1;
        check(sent < 100_000, "there is an end");
    }
    eq(ok_i32(sys!(fcntl, a, F_GETFL)), O_RDWR);
}

case!(all_or_wait: recvfrom, fork);
fn all_or_wait() {
    let [a, b] = pair(SOCK_STREAM);
    let child = fork(|| {
        close(a);
        eq(recv(b, 6, MSG_WAITALL), b"abcdef");
        // The end comes first.
        eq(recv(b, 6, MSG_WAITALL), b"gh");
    });
    ok(send(a, b"abc", 0));
    until_asleep(child.pid);
    ok(send(a, b"defgh", 0));
    close(a);
    child.succeeds();
}

case!(out_of_band_is_not_for_all: sendto, recvfrom);
fn out_of_band_is_not_for_all() {
    let [a, b] = pair(SOCK_DGRAM);
    fails(send(a, b"x", MSG_OOB), EOPNOTSUPP);
    fails(sys!(recvfrom, b, &mut [0u8; 4], 4, MSG_OOB, 0, 0), EOPNOTSUPP);
    fails(sys!(recvfrom, b, &mut [0u8; 4], 4, MSG_ERRQUEUE | MSG_DONTWAIT, 0, 0), EAGAIN);
}

case!(vectors: sendmsg, recvmsg);
fn vectors() {
    let [a, b] = pair(SOCK_STREAM);
    let part = |b: &mut [u8]| iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() };
    let (mut x, mut y) = (*b"one", *b"three");
    let mut parts = [part(&mut x), part(&mut []), part(&mut y)];
    let mut message: msghdr = zeroed();
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = 3;
    eq(ok(sys!(sendmsg, a, &message, 0)), 8);
    let (mut x, mut y) = ([0u8; 4], [0u8; 9]);
    let mut parts = [part(&mut x), part(&mut y)];
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = 2;
    eq(ok(sys!(recvmsg, b, &mut message, 0)), 8);
    eq((&x, &y[..4]), (b"onet", &b"hree"[..]));
    eq((message.msg_flags, message.msg_controllen, message.msg_namelen), (0, 0, 0));
}

case!(bad_messages: sendmsg, recvmsg);
fn bad_messages() {
    let [a, b] = pair(SOCK_DGRAM);
    fails(sys!(sendmsg, a, 8, 0), EFAULT);
    fails(sys!(recvmsg, b, 8, 0), EFAULT);
    let mut message: msghdr = zeroed();
    message.msg_iovlen = 1025;
    message.msg_iov = std::ptr::dangling_mut();
    fails(sys!(sendmsg, a, &message, 0), EMSGSIZE);
    fails(sys!(recvmsg, b, &mut message, 0), EMSGSIZE);
    message.msg_iovlen = 1;
    fails(sys!(sendmsg, a, &message, 0), EFAULT);
    let mut message: msghdr = zeroed();
    message.msg_namelen = u32::MAX;
    message.msg_name = (&raw mut message).cast();
    fails(sys!(sendmsg, a, &message, 0), EINVAL);
    fails(sys!(recvmsg, b, &mut message, 0), EINVAL);
    fails(sys!(sendmsg, create(c"f", b""), &message, 0), ENOTSOCK);
    fails(sys!(sendmsg, 999, &message, 0), EBADF);
    fails(sys!(recvfrom, 999, 0, 0, 0, 0, 0), EBADF);
    fails(sys!(recvfrom, create(c"g", b""), 0, 0, 0, 0, 0), ENOTSOCK);
}

case!(failed_receive_loses_nothing_of_a_stream: recvfrom);
fn failed_receive_loses_nothing_of_a_stream() {
    let [a, b] = pair(SOCK_STREAM);
    ok(send(a, b"x", 0));
    fails(sys!(recvfrom, b, 8, 4, 0, 0, 0), EFAULT);
    eq(recv(b, 4, 0), b"x");
}

case!(many_at_once: sendmmsg, recvmmsg);
fn many_at_once() {
    let [a, b] = pair(SOCK_DGRAM);
    let mut texts = [*b"aa", *b"bb", *b"cc"];
    let mut parts: Vec<iovec> =
        texts.iter_mut().map(|t| iovec { iov_base: t.as_mut_ptr().cast(), iov_len: 2 }).collect();
    let mut list: Vec<mmsghdr> = parts
        .iter_mut()
        .map(|p| {
            let mut one: mmsghdr = zeroed();
            one.msg_hdr.msg_iov = p;
            one.msg_hdr.msg_iovlen = 1;
            one
        })
        .collect();
    eq(ok(sys!(sendmmsg, a, list.as_mut_slice(), 3, 0)), 3);
    eq(list.iter().map(|m| m.msg_len).collect::<Vec<_>>(), vec![2, 2, 2]);
    ok(send(a, b"d", 0));
    eq(ok(sys!(recvmmsg, b, list.as_mut_slice(), 2, 0, 0)), 2);
    // Without waiting, what is there.
    eq(ok(sys!(recvmmsg, b, list.as_mut_slice(), 3, MSG_DONTWAIT, 0)), 2);
    eq((list[0].msg_len, list[1].msg_len), (2, 1));
    fails(sys!(recvmmsg, b, list.as_mut_slice(), 3, MSG_DONTWAIT, 0), EAGAIN);
    // One is enough to go on.
    ok(send(a, b"e", 0));
    eq(ok(sys!(recvmmsg, b, list.as_mut_slice(), 3, MSG_WAITFORONE, 0)), 1);
    let mut limit = timespec { tv_sec: 0, tv_nsec: -1 };
    fails(sys!(recvmmsg, b, list.as_mut_slice(), 3, 0, &mut limit), EINVAL);
    eq(ok(sys!(sendmmsg, a, list.as_mut_slice(), 0, 0)), 0);
}

case!(time_limits: setsockopt, recvfrom, sendto);
fn time_limits() {
    let [a, b] = pair(SOCK_STREAM);
    let limit = [0i64, 30_000];
    ok(sys!(setsockopt, b, SOL_SOCKET, SO_RCVTIMEO, &limit, 16));
    let start = now_ns(CLOCK_MONOTONIC);
    fails(sys!(recvfrom, b, &mut [0u8; 4], 4, 0, 0, 0), EAGAIN);
    check(now_ns(CLOCK_MONOTONIC) - start >= 25_000_000, "not before its time");
    let mut back = [0i64; 2];
    ok(sys!(getsockopt, b, SOL_SOCKET, SO_RCVTIMEO, &mut back, &mut 16u32));
    within("microseconds", back[1], 30_000, 40_000);
    fails(sys!(setsockopt, b, SOL_SOCKET, SO_RCVTIMEO, &[0i64, 1_000_000], 16), EDOM);
    fails(sys!(setsockopt, b, SOL_SOCKET, SO_RCVTIMEO, &limit, 8), EINVAL);
    ok(sys!(setsockopt, a, SOL_SOCKET, SO_SNDTIMEO, &limit, 16));
    let last = loop {
        match send(a, &[0u8; 65536], 0) {
            Ok(_) => {}
            last => break last,
        }
    };
    fails(last, EAGAIN);
    // With such a limit a signal interrupts, whatever the action says.
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, SA_RESTART);
        ok(sys!(setsockopt, a, SOL_SOCKET, SO_RCVTIMEO, &[100i64, 0], 16));
        fails(sys!(recvfrom, a, &mut [0u8; 4], 4, 0, 0, 0), EINTR);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(interrupted_and_restarted: recvfrom, kill);
fn interrupted_and_restarted() {
    let [a, b] = pair(SOCK_STREAM);
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, 0);
        sig::on(SIGUSR2, sig::record, SA_RESTART);
        fails(sys!(recvfrom, b, &mut [0u8; 4], 4, 0, 0, 0), EINTR);
        eq(recv(b, 4, 0), b"x");
        eq(sig::count(), 2);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    sleep_ms(20);
    until_asleep(child.pid);
    child.kill(SIGUSR2);
    sleep_ms(20);
    ok(send(a, b"x", 0));
    child.succeeds();
}

case!(nothing_but_a_name: sendmsg);
fn nothing_but_a_name() {
    let fd = socket(SOCK_STREAM);
    let name = [1u8, 0, b'x'];
    // A connected kind takes no address.
    let [a, _b] = pair(SOCK_STREAM);
    fails(sys!(sendto, a, c"x", 1, 0, &name, 3), EISCONN);
    fails(sys!(sendto, fd, c"x", 1, 0, &name, 3), EOPNOTSUPP);
    eq(ok(send_message(a, b"x", &[], MSG_NOSIGNAL)), 1);
    eq(recv_message(_b, 4, 0, 0).bytes, b"x");
}
