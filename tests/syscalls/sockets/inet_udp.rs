//! UDP over the loopback interface.

use crate::kit::inet::{
    Inet, bind_to, connect_to, name_of, peer_of, receive_from, send_inet, set_option_at, socket4, socket6,
};
use crate::kit::prelude::*;
use crate::kit::socket::{option, recv, send, set_option};

fn look(fd: i32) -> i16 {
    let mut p = pollfd { fd, events: POLLIN | POLLOUT | POLLRDHUP, revents: 0 };
    ok(sys!(poll, &mut p, 1, 0));
    p.revents
}

fn bound() -> (i32, Inet) {
    let fd = socket4(SOCK_DGRAM);
    ok(bind_to(fd, &Inet::local(0)));
    (fd, name_of(fd))
}

fn nothing(fd: i32) {
    fails(sys!(recvfrom, fd, [0u8; 4].as_mut_ptr(), 4, MSG_DONTWAIT, 0, 0), EAGAIN);
}

case!(send_and_receive: sendto, recvfrom, bind);
fn send_and_receive() {
    let (a, a_name) = bound();
    let (b, b_name) = bound();
    eq(ok(send_inet(a, b"one", &b_name)), 3);
    eq(ok(send_inet(a, b"", &b_name)), 0);
    eq(ok(send_inet(a, b"three", &b_name)), 5);
    eq(receive_from(b, 100, 0), (b"one".to_vec(), a_name));
    eq(receive_from(b, 100, 0), (Vec::new(), a_name));
    eq(receive_from(b, 100, MSG_PEEK), (b"three".to_vec(), a_name));
    // The rest of a datagram is lost.
    eq(receive_from(b, 2, 0), (b"th".to_vec(), a_name));
    nothing(b);
    // Its whole length can be asked for.
    ok(send_inet(a, b"three", &b_name));
    let mut two = [0u8; 2];
    eq(ok(sys!(recvfrom, b, two.as_mut_ptr(), 2, MSG_TRUNC, 0, 0)), 5);
}

case!(a_name_by_sending: sendto, getsockname);
fn a_name_by_sending() {
    let (a, a_name) = bound();
    let b = socket4(SOCK_DGRAM);
    ok(send_inet(b, b"x", &a_name));
    let own = name_of(b);
    eq(own.with_port(0), Inet::v4([0, 0, 0, 0], 0));
    eq(receive_from(a, 10, 0).1, Inet::local(own.port()));
}

case!(connected: connect, sendto, recvfrom);
fn connected() {
    let (a, a_name) = bound();
    let (b, b_name) = bound();
    let (c, _) = bound();
    ok(connect_to(a, &b_name));
    eq((peer_of(a), name_of(a)), (b_name, a_name));
    ok(send(a, b"to b", 0));
    eq(receive_from(b, 10, 0), (b"to b".to_vec(), a_name));
    // From others nothing comes.
    ok(send_inet(c, b"from c", &a_name));
    nothing(a);
    ok(send_inet(b, b"from b", &a_name));
    eq(recv(a, 10, 0), b"from b");
    // Anywhere else may still be sent to.
    ok(send_inet(a, b"to c", &name_of(c)));
    eq(recv(c, 10, 0), b"to c");
    ok(connect_to(a, &Inet::none()));
    fails(sys!(getpeername, a, Inet::room().raw_mut(), &mut 28u32), ENOTCONN);
    fails(send(a, b"x", 0), EDESTADDRREQ);
    // The address was asked for, the port was not.
    eq(name_of(a).with_port(0), Inet::local(0));
}

case!(nobody_there: sendto, connect);
fn nobody_there() {
    let (gone, nobody) = bound();
    close(gone);
    let a = socket4(SOCK_DGRAM);
    // Without a connection nobody is told.
    ok(send_inet(a, b"x", &nobody));
    ok(send_inet(a, b"x", &nobody));
    ok(connect_to(a, &nobody));
    ok(send(a, b"x", 0));
    eq(look(a) & POLLERR, POLLERR);
    eq(option(a, SO_ERROR), ECONNREFUSED);
    ok(send(a, b"x", 0));
    fails(send(a, b"x", 0), ECONNREFUSED);
    ok(send(a, b"x", 0));
    fails(sys!(recvfrom, a, [0u8; 4].as_mut_ptr(), 4, 0, 0, 0), ECONNREFUSED);
}

case!(errors: sendto, listen, shutdown);
fn errors() {
    let fd = socket4(SOCK_DGRAM);
    fails(send(fd, b"x", 0), EDESTADDRREQ);
    fails(sys!(sendto, fd, b"x".as_ptr(), 1, 0, Inet::local(9).raw(), 8), EINVAL);
    fails(send_inet(fd, b"x", &Inet::local(0)), EINVAL);
    fails(send_inet(fd, b"x", &Inet::local6(9)), EAFNOSUPPORT);
    fails(sys!(listen, fd, 1), EOPNOTSUPP);
    let (_b, b_name) = bound();
    fails(send_inet(fd, &vec![0; 65_508], &b_name), EMSGSIZE);
    ok(set_option(fd, SO_SNDBUF, 1 << 20));
    eq(ok(send_inet(fd, &vec![0; 65_507], &b_name)), 65_507);
    // It answers an error, and works all the same.
    fails(sys!(shutdown, fd, SHUT_RDWR), ENOTCONN);
    fails(send_inet(fd, b"x", &b_name), EPIPE);
}

case!(shutdown_of_receiving: shutdown, recvfrom, poll);
fn shutdown_of_receiving() {
    let (a, _) = bound();
    let (_b, b_name) = bound();
    ok(connect_to(a, &b_name));
    eq(look(a), POLLOUT);
    ok(sys!(shutdown, a, SHUT_RD));
    eq(look(a), POLLIN | POLLOUT | POLLRDHUP);
    eq(recv(a, 10, 0), b"");
    ok(sys!(shutdown, a, SHUT_WR));
    eq(look(a), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    fails(send(a, b"x", MSG_NOSIGNAL), EPIPE);
}

case!(sharing_a_port: bind, setsockopt);
fn sharing_a_port() {
    let (a, a_name) = bound();
    let b = socket4(SOCK_DGRAM);
    fails(bind_to(b, &a_name), EADDRINUSE);
    ok(set_option(b, SO_REUSEADDR, 1));
    fails(bind_to(b, &a_name), EADDRINUSE);
    ok(set_option(a, SO_REUSEADDR, 1));
    ok(bind_to(b, &a_name));
    // The address that fits best gets it.
    let (any, exact) = (socket4(SOCK_DGRAM), socket4(SOCK_DGRAM));
    for fd in [any, exact] {
        ok(set_option(fd, SO_REUSEADDR, 1));
    }
    ok(bind_to(any, &Inet::v4([0, 0, 0, 0], 0)));
    let port = name_of(any).port();
    ok(bind_to(exact, &Inet::local(port)));
    let sender = socket4(SOCK_DGRAM);
    ok(send_inet(sender, b"exact", &Inet::local(port)));
    eq(recv(exact, 10, MSG_DONTWAIT), b"exact");
    ok(send_inet(sender, b"any", &Inet::v4([127, 0, 0, 9], port)));
    eq(recv(any, 10, MSG_DONTWAIT), b"any");
}

case!(waits_for_a_datagram: recvfrom, fork);
fn waits_for_a_datagram() {
    let (a, a_name) = bound();
    let child = fork(|| eq(recv(a, 10, 0), b"hello"));
    until_asleep(child.pid);
    ok(send_inet(socket4(SOCK_DGRAM), b"hello", &a_name));
    child.succeeds();
}

case!(a_full_queue_loses: sendto);
fn a_full_queue_loses() {
    let (a, a_name) = bound();
    ok(set_option(a, SO_RCVBUF, 4096));
    let sender = socket4(SOCK_DGRAM);
    for _ in 0..100 {
        eq(ok(send_inet(sender, &[1; 1000], &a_name)), 1000);
    }
    let mut count = 0;
    while look(a) & POLLIN != 0 {
        eq(recv(a, 2000, 0).len(), 1000);
        count += 1;
    }
    eq((1..100).contains(&count), true);
    ok(send_inet(sender, b"again", &a_name));
    eq(recv(a, 10, 0), b"again");
}

case!(ipv6: sendto, recvfrom);
fn ipv6() {
    let a = socket6(SOCK_DGRAM);
    ok(bind_to(a, &Inet::v6([0; 16], 0)));
    let port = name_of(a).port();
    let b = socket4(SOCK_DGRAM);
    ok(send_inet(b, b"four", &Inet::local(port)));
    let (bytes, from) = receive_from(a, 10, 0);
    eq((bytes, from), (b"four".to_vec(), Inet::mapped(name_of(b).port())));
    ok(send_inet(a, b"back", &from));
    eq(recv(b, 10, 0), b"back");
    let c = socket6(SOCK_DGRAM);
    ok(send_inet(c, b"six", &Inet::local6(port)));
    eq(receive_from(a, 10, 0), (b"six".to_vec(), Inet::local6(name_of(c).port())));
    // A socket for both takes addresses of both.
    ok(send_inet(c, b"short", &Inet::local(port)));
    eq(recv(a, 10, 0), b"short");
    let only = socket6(SOCK_DGRAM);
    ok(set_option_at(only, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    fails(send_inet(only, b"x", &Inet::mapped(port)), ENETUNREACH);
}

case!(bytes_of_the_first: ioctl);
fn bytes_of_the_first() {
    let (a, a_name) = bound();
    let sender = socket4(SOCK_DGRAM);
    let mut count = -1i32;
    ok(sys!(ioctl, a, FIONREAD, &mut count));
    eq(count, 0);
    ok(send_inet(sender, b"12", &a_name));
    ok(send_inet(sender, b"345", &a_name));
    ok(sys!(ioctl, a, FIONREAD, &mut count));
    eq(count, 2);
}
