//! Sequenced packets: connected, with borders.

use crate::kit::prelude::*;
use crate::kit::socket::{Address, accept, connect, listener, pair, peek, recv, recv_message, send, socket};

case!(borders_and_order: socketpair, sendto, recvfrom);
fn borders_and_order() {
    let [a, b] = pair(SOCK_SEQPACKET);
    ok(send(a, b"one", 0));
    ok(send(a, b"second", 0));
    eq(peek(b, 2), b"on");
    eq(recv(b, 100, 0), b"one");
    eq(recv(b, 3, 0), b"sec");
    close(a);
    eq(recv(b, 100, 0), b"");
}

case!(end_of_record: recvmsg);
fn end_of_record() {
    let [a, b] = pair(SOCK_SEQPACKET);
    ok(send(a, b"12345", 0));
    ok(send(a, b"12345", 0));
    let cut = recv_message(b, 2, 0, 0);
    eq((cut.bytes.as_slice(), cut.flags & MSG_TRUNC), (&b"12"[..], MSG_TRUNC));
    let whole = recv_message(b, 10, 0, 0);
    eq((whole.bytes.as_slice(), whole.flags & MSG_TRUNC), (&b"12345"[..], 0));
}

case!(connections: connect, accept);
fn connections() {
    let address = Address::hidden("packets");
    let server = listener(SOCK_SEQPACKET, &address, 5);
    let client = socket(SOCK_SEQPACKET);
    fails(send(client, b"x", MSG_NOSIGNAL), ENOTCONN);
    ok(connect(client, &address));
    let conn = ok_i32(accept(server));
    ok(send(client, b"a", 0));
    ok(send(client, b"b", 0));
    eq((recv(conn, 9, 0), recv(conn, 9, 0)), (b"a".to_vec(), b"b".to_vec()));
    // Abstract names are looked up by kind.
    fails(connect(socket(SOCK_STREAM), &address), ECONNREFUSED);
}

case!(peer_gone: close, sendto);
fn peer_gone() {
    let [a, b] = pair(SOCK_SEQPACKET);
    close(b);
    // No signal comes with it.
    in_child(|| fails(send(a, b"x", 0), EPIPE));
    let [a, b] = pair(SOCK_SEQPACKET);
    ok(send(b, b"unread", 0));
    close(a);
    fails(sys!(recvfrom, b, &mut [0u8; 4], 4, 0, 0, 0), ECONNRESET);
}

case!(packet_limits: sendto);
fn packet_limits() {
    let [a, _b] = pair(SOCK_SEQPACKET | SOCK_NONBLOCK);
    fails(send(a, &vec![0u8; 8 << 20], 0), EMSGSIZE);
    let mut sent = 0;
    while send(a, &[0u8; 1000], 0).is_ok() {
        sent += 1;
        check(sent < 100_000, "there is an end");
    }
    fails(send(a, &[0u8; 1000], 0), EAGAIN);
}
