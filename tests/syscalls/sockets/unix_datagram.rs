//! Datagrams: borders, names, connected and not, full queues.

use crate::kit::prelude::*;
use crate::kit::socket::{Address, bind, connect, pair, recv, recv_message, send, send_to, socket};

fn receive_from(fd: i32, limit: usize) -> (Vec<u8>, Address) {
    let (mut bytes, mut from) = (vec![0u8; limit], Address::room());
    let mut len = from.len;
    let n = ok(sys!(recvfrom, fd, bytes.as_mut_ptr(), limit, 0, from.raw_mut(), &mut len)) as usize;
    bytes.truncate(n);
    from.len = len;
    (bytes, from)
}

case!(borders_are_kept: socketpair, sendto, recvfrom);
fn borders_are_kept() {
    let [a, b] = pair(SOCK_DGRAM);
    ok(send(a, b"one", 0));
    ok(send(a, b"", 0));
    ok(send(a, b"three", 0));
    eq(recv(b, 100, 0), b"one");
    eq(recv(b, 100, 0), b"");
    // What does not fit is lost.
    eq(recv(b, 2, 0), b"th");
    let mut n = -1i32;
    ok(sys!(ioctl, b, FIONREAD, &mut n));
    eq(n, 0);
}

case!(true_length_on_request: recvfrom, recvmsg);
fn true_length_on_request() {
    let [a, b] = pair(SOCK_DGRAM);
    ok(send(a, b"12345", 0));
    ok(send(a, b"12345", 0));
    let mut two = [0u8; 2];
    eq(ok(sys!(recvfrom, b, &mut two, 2, MSG_TRUNC, 0, 0)), 5);
    let message = recv_message(b, 2, 0, 0);
    eq((message.bytes, message.flags & MSG_TRUNC), (b"12".to_vec(), MSG_TRUNC));
}

case!(to_a_name: bind, sendto, recvfrom);
fn to_a_name() {
    let (server, client) = (socket(SOCK_DGRAM), socket(SOCK_DGRAM));
    let (there, here) = (Address::path("server"), Address::hidden("client"));
    ok(bind(server, &there));
    ok(send_to(client, b"nameless", &there));
    let (bytes, from) = receive_from(server, 100);
    eq((bytes, from.len), (b"nameless".to_vec(), 0));
    ok(bind(client, &here));
    ok(send_to(client, b"named", &there));
    let (bytes, from) = receive_from(server, 100);
    eq((bytes.as_slice(), from.name()), (&b"named"[..], here.name()));
    ok(send_to(server, b"back", &from));
    eq(recv(client, 100, 0), b"back");
}

case!(connected: connect, sendto, getpeername);
fn connected() {
    let (server, client) = (socket(SOCK_DGRAM), socket(SOCK_DGRAM));
    let there = Address::path("server");
    ok(bind(server, &there));
    fails(send(client, b"x", 0), ENOTCONN);
    ok(connect(client, &there));
    ok(send(client, b"x", 0));
    eq(recv(server, 10, 0), b"x");
    let other = socket(SOCK_DGRAM);
    let elsewhere = Address::path("other");
    ok(bind(other, &elsewhere));
    // An address in the call wins, a new connection replaces the old one.
    ok(send_to(client, b"y", &elsewhere));
    eq(recv(other, 10, 0), b"y");
    ok(connect(client, &elsewhere));
    ok(send(client, b"z", 0));
    eq(recv(other, 10, 0), b"z");
    // AF_UNSPEC undoes it.
    ok(sys!(connect, client, &[0u8; 16], 16));
    fails(send(client, b"x", 0), ENOTCONN);
}

case!(connected_receiver_refuses_others: connect, sendto);
fn connected_receiver_refuses_others() {
    let (a, b, c) = (socket(SOCK_DGRAM), socket(SOCK_DGRAM), socket(SOCK_DGRAM));
    let (na, nb) = (Address::hidden("a"), Address::hidden("b"));
    ok(bind(a, &na));
    ok(bind(b, &nb));
    ok(connect(a, &nb));
    fails(send_to(c, b"x", &na), EPERM);
    fails(connect(c, &na), EPERM);
    ok(send_to(b, b"y", &na));
    eq(recv(a, 10, 0), b"y");
}

case!(receiver_gone: close, sendto);
fn receiver_gone() {
    let [a, b] = pair(SOCK_DGRAM);
    close(b);
    fails(send(a, b"x", MSG_NOSIGNAL), ECONNREFUSED);
    let there = Address::path("server");
    fails(send_to(a, b"x", &there), ENOENT);
    let server = socket(SOCK_DGRAM);
    ok(bind(server, &there));
    close(server);
    let client = socket(SOCK_DGRAM);
    fails(send_to(client, b"x", &there), ECONNREFUSED);
    fails(connect(client, &there), ECONNREFUSED);
    fails(send_to(client, b"x", &Address::hidden("nobody")), ECONNREFUSED);
}

case!(wrong_kind: sendto, connect);
fn wrong_kind() {
    let stream = socket(SOCK_STREAM);
    let there = Address::path("stream");
    ok(bind(stream, &there));
    ok(sys!(listen, stream, 1));
    let fd = socket(SOCK_DGRAM);
    fails(send_to(fd, b"x", &there), EPROTOTYPE);
    fails(connect(fd, &there), EPROTOTYPE);
}

case!(too_large: sendto);
fn too_large() {
    let [a, b] = pair(SOCK_DGRAM | SOCK_NONBLOCK);
    fails(send(a, &vec![0u8; 8 << 20], 0), EMSGSIZE);
    ok(send(a, &vec![1u8; 60_000], 0));
    eq(recv(b, 100_000, 0).len(), 60_000);
}

case!(queue_has_an_end: sendto, poll);
fn queue_has_an_end() {
    let [a, b] = pair(SOCK_DGRAM | SOCK_NONBLOCK);
    let mut sent = 0;
    while send(a, b"x", 0).is_ok() {
        sent += 1;
        check(sent < 100_000, "there is an end");
    }
    fails(send(a, b"x", 0), EAGAIN);
    check(sent > 1, "some fit");
    let mut p = pollfd { fd: a, events: POLLOUT, revents: 0 };
    eq(ok(sys!(poll, &mut p, 1, 0)), 0);
    for _ in 0..sent {
        eq(recv(b, 10, 0), b"x");
    }
    eq(ok(sys!(poll, &mut p, 1, 0)), 1);
    fails(sys!(recvfrom, b, &mut [0u8; 4], 4, 0, 0, 0), EAGAIN);
}

case!(receiver_waits: recvfrom, sendto);
fn receiver_waits() {
    let [a, b] = pair(SOCK_DGRAM);
    let child = fork(|| eq(recv(b, 10, 0), b"late"));
    until_asleep(child.pid);
    ok(send(a, b"late", 0));
    child.succeeds();
}

case!(read_and_write_work_too: read, write, readv, writev);
fn read_and_write_work_too() {
    let [a, b] = pair(SOCK_DGRAM);
    let part = |b: &mut [u8]| iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() };
    eq(ok(sys!(writev, a, &[part(&mut [b'a'; 2]), part(&mut [b'b'; 3])], 2)), 5);
    eq(read(b, 10), b"aabbb");
    write_all(a, b"x");
    let (mut one, mut two) = ([0u8; 4], [0u8; 4]);
    eq(ok(sys!(readv, b, &[part(&mut one), part(&mut two)], 2)), 1);
}

case!(shutdown_of_datagrams: shutdown);
fn shutdown_of_datagrams() {
    let [a, b] = pair(SOCK_DGRAM);
    ok(sys!(shutdown, a, SHUT_WR));
    fails(send(a, b"x", MSG_NOSIGNAL), EPIPE);
    ok(send(b, b"y", 0));
    eq(recv(a, 10, 0), b"y");
    ok(sys!(shutdown, a, SHUT_RD));
    eq(recv(a, 10, 0), b"");
}
