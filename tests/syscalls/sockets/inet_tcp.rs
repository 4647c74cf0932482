//! TCP over the loopback interface.

use crate::kit::inet::{
    Inet, bind_to, connect_to, listener4, name_of, option_at, peer_of, set_option_at, socket4, socket6,
    tcp_pair,
};
use crate::kit::prelude::*;
use crate::kit::socket::{accept, option, recv, send, set_option};

fn look(fd: i32) -> i16 {
    let mut p = pollfd { fd, events: POLLIN | POLLOUT | POLLRDHUP, revents: 0 };
    ok(sys!(poll, &mut p, 1, 0));
    p.revents
}

/// Waits until something of this is true.
fn ready(fd: i32, events: i16) -> i16 {
    let mut p = pollfd { fd, events, revents: 0 };
    ok(sys!(poll, &mut p, 1, 10_000));
    p.revents
}

case!(connect_and_talk: socket, bind, listen, connect, accept, getsockname, getpeername);
fn connect_and_talk() {
    let (server, address) = listener4(5);
    let client = socket4(SOCK_STREAM);
    eq(name_of(client), Inet::v4([0, 0, 0, 0], 0));
    ok(connect_to(client, &address));
    let mut from = Inet::room();
    let mut len = from.len;
    let conn = ok_i32(sys!(accept4, server, from.raw_mut(), &mut len, SOCK_CLOEXEC));
    from.len = len;
    eq(from, name_of(client));
    eq((peer_of(client), name_of(conn), peer_of(conn)), (address, address, name_of(client)));
    eq(ok(send(client, b"question", 0)), 8);
    eq(recv(conn, 100, 0), b"question");
    eq(ok(send(conn, b"an", 0)), 2);
    eq(ok(send(conn, b"swer", 0)), 4);
    eq(recv(client, 6, MSG_WAITALL), b"answer");
    close(conn);
    eq(recv(client, 100, 0), b"");
}

case!(connect_refused: connect, getsockopt);
fn connect_refused() {
    // A port that nobody listens on, kept by a socket that is bound to it.
    let holder = socket4(SOCK_STREAM);
    ok(bind_to(holder, &Inet::local(0)));
    let nobody = name_of(holder);
    let client = socket4(SOCK_STREAM);
    fails(connect_to(client, &nobody), ECONNREFUSED);
    fails(connect_to(client, &nobody), ECONNREFUSED);
    // Without waiting it is told later.
    let client = socket4(SOCK_STREAM | SOCK_NONBLOCK);
    fails(connect_to(client, &nobody), EINPROGRESS);
    ready(client, POLLOUT);
    eq(look(client), POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    eq((option(client, SO_ERROR), option(client, SO_ERROR)), (ECONNREFUSED, 0));
    fails(connect_to(client, &nobody), ECONNABORTED);
    // The socket can be used again.
    let (_server, address) = listener4(5);
    fails(connect_to(client, &address), EINPROGRESS);
    eq(ready(client, POLLOUT), POLLOUT);
    eq(option(client, SO_ERROR), 0);
    ok(connect_to(client, &address));
    fails(connect_to(client, &address), EISCONN);
}

case!(connect_errors: connect);
fn connect_errors() {
    let (server, address) = listener4(5);
    let client = socket4(SOCK_STREAM);
    fails(sys!(connect, client, address.raw(), 8), EINVAL);
    fails(sys!(connect, client, address.raw(), 1), EINVAL);
    fails(sys!(connect, client, 8, 16), EFAULT);
    fails(connect_to(client, &Inet::local6(address.port())), EAFNOSUPPORT);
    fails(connect_to(server, &address), EISCONN);
    ok(connect_to(client, &address));
    fails(connect_to(client, &address), EISCONN);
    // This host is itself.
    let other = socket4(SOCK_STREAM);
    ok(connect_to(other, &Inet::v4([0, 0, 0, 0], address.port())));
    eq(peer_of(other), address);
    // To no family ends the connection.
    ok(connect_to(other, &Inet::none()));
    fails(sys!(getpeername, other, Inet::room().raw_mut(), &mut 28u32), ENOTCONN);
}

case!(bind_errors: bind);
fn bind_errors() {
    let a = socket4(SOCK_STREAM);
    fails(sys!(bind, a, Inet::local(0).raw(), 8), EINVAL);
    fails(bind_to(a, &Inet::v4([192, 0, 2, 1], 0)), EADDRNOTAVAIL);
    fails(bind_to(a, &Inet::local6(0)), EAFNOSUPPORT);
    fails(sys!(bind, a, 8, 16), EFAULT);
    ok(bind_to(a, &Inet::local(0)));
    fails(bind_to(a, &Inet::local(0)), EINVAL);
    let taken = name_of(a);
    let b = socket4(SOCK_STREAM);
    fails(bind_to(b, &taken), EADDRINUSE);
    fails(bind_to(b, &Inet::v4([0, 0, 0, 0], taken.port())), EADDRINUSE);
    ok(bind_to(b, &Inet::v4([127, 0, 0, 2], taken.port())));
    // No family and no address is any address.
    ok(bind_to(socket4(SOCK_STREAM), &Inet::none()));
    // Too short for the other family.
    fails(bind_to(socket6(SOCK_STREAM), &Inet::local(0)), EINVAL);
}

case!(reuse_address: bind, listen, setsockopt);
fn reuse_address() {
    let (a, b, c) = (socket4(SOCK_STREAM), socket4(SOCK_STREAM), socket4(SOCK_STREAM));
    for fd in [a, b, c] {
        ok(set_option(fd, SO_REUSEADDR, 1));
    }
    ok(bind_to(a, &Inet::local(0)));
    let address = name_of(a);
    ok(bind_to(b, &address));
    ok(sys!(listen, a, 5));
    fails(bind_to(c, &address), EADDRINUSE);
    fails(sys!(listen, b, 5), EADDRINUSE);
    close(a);
    ok(sys!(listen, b, 5));
}

case!(reuse_port: bind, listen, setsockopt);
fn reuse_port() {
    let (a, b, c) = (socket4(SOCK_STREAM), socket4(SOCK_STREAM), socket4(SOCK_STREAM));
    for fd in [a, b] {
        ok(set_option(fd, SO_REUSEPORT, 1));
    }
    ok(bind_to(a, &Inet::local(0)));
    let address = name_of(a);
    ok(sys!(listen, a, 50));
    fails(bind_to(c, &address), EADDRINUSE);
    ok(bind_to(b, &address));
    ok(sys!(listen, b, 50));
    // Both get some.
    let clients: Vec<i32> = (0..40).map(|_| socket4(SOCK_STREAM)).collect();
    for client in &clients {
        ok(connect_to(*client, &address));
    }
    eq((look(a) & POLLIN, look(b) & POLLIN), (POLLIN, POLLIN));
}

case!(address_after_close: bind, listen, close);
fn address_after_close() {
    // Who ends a connection first keeps the port for a while, unless both sockets share it.
    let (server, address) = listener4(5);
    let client = socket4(SOCK_STREAM);
    ok(connect_to(client, &address));
    let conn = ok_i32(accept(server));
    close(conn);
    eq(recv(client, 1, 0), b"");
    close(client);
    close(server);
    let again = socket4(SOCK_STREAM);
    fails(bind_to(again, &address), EADDRINUSE);
    // The other way round nothing is kept at the server.
    let (server, address) = listener4(5);
    let client = socket4(SOCK_STREAM);
    ok(connect_to(client, &address));
    let conn = ok_i32(accept(server));
    close(client);
    eq(recv(conn, 1, 0), b"");
    close(conn);
    close(server);
    ok(bind_to(again, &address));
}

case!(listen_without_bind: listen, getsockname);
fn listen_without_bind() {
    let server = socket4(SOCK_STREAM);
    ok(sys!(listen, server, 5));
    let address = name_of(server);
    eq(address.with_port(0), Inet::v4([0, 0, 0, 0], 0));
    eq(address.port() >= 32768, true);
    ok(sys!(listen, server, 10));
    let client = socket4(SOCK_STREAM);
    ok(connect_to(client, &Inet::local(address.port())));
    fails(sys!(listen, client, 5), EINVAL);
    eq((option(server, SO_ACCEPTCONN), option(client, SO_ACCEPTCONN)), (1, 0));
}

case!(accept_errors: accept);
fn accept_errors() {
    fails(accept(socket4(SOCK_STREAM)), EINVAL);
    fails(accept(socket4(SOCK_DGRAM)), EOPNOTSUPP);
    let [a, _b] = tcp_pair();
    fails(accept(a), EINVAL);
    let (server, _) = listener4(5);
    ok(sys!(fcntl, server, F_SETFL, O_NONBLOCK));
    fails(accept(server), EAGAIN);
}

case!(accept_waits: accept, connect, fork);
fn accept_waits() {
    let (server, address) = listener4(5);
    let child = fork(|| {
        let conn = ok_i32(accept(server));
        eq(recv(conn, 10, 0), b"hello");
    });
    until_asleep(child.pid);
    let client = socket4(SOCK_STREAM);
    ok(connect_to(client, &address));
    ok(send(client, b"hello", 0));
    child.succeeds();
}

case!(shutdown_of_accept: accept, shutdown);
fn shutdown_of_accept() {
    let (server, address) = listener4(5);
    let child = fork(|| fails(accept(server), EINVAL));
    until_asleep(child.pid);
    ok(sys!(shutdown, server, SHUT_RDWR));
    child.succeeds();
    fails(connect_to(socket4(SOCK_STREAM), &address), ECONNREFUSED);
    // It can listen again; a port that it did not ask for is another one then.
    ok(sys!(listen, server, 5));
    eq(name_of(server).with_port(0), Inet::local(0));
    ok(connect_to(socket4(SOCK_STREAM), &name_of(server)));
}

case!(not_connected: sendto, recvfrom, shutdown, getpeername);
fn not_connected() {
    let fd = socket4(SOCK_STREAM);
    fails(send(fd, b"x", MSG_NOSIGNAL), EPIPE);
    fails(sys!(recvfrom, fd, [0u8; 4].as_mut_ptr(), 4, 0, 0, 0), ENOTCONN);
    fails(sys!(getpeername, fd, Inet::room().raw_mut(), &mut 28u32), ENOTCONN);
    eq(look(fd), POLLOUT | POLLHUP);
    // It answers an error, and works all the same.
    fails(sys!(shutdown, fd, SHUT_RDWR), ENOTCONN);
    eq(look(fd), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    let (server, _) = listener4(5);
    eq(look(server), 0);
    fails(send(server, b"x", MSG_NOSIGNAL), EPIPE);
    fails(sys!(recvfrom, server, [0u8; 4].as_mut_ptr(), 4, 0, 0, 0), ENOTCONN);
}

case!(shutdown_one_way: shutdown, poll);
fn shutdown_one_way() {
    let [a, b] = tcp_pair();
    eq(look(a), POLLOUT);
    ok(send(a, b"last", 0));
    ok(sys!(shutdown, a, SHUT_WR));
    fails(send(a, b"x", MSG_NOSIGNAL), EPIPE);
    eq(look(a), POLLOUT);
    ready(b, POLLRDHUP);
    eq(look(b), POLLIN | POLLOUT | POLLRDHUP);
    eq((recv(b, 10, 0), recv(b, 10, 0)), (b"last".to_vec(), Vec::new()));
    // The other way goes on.
    ok(send(b, b"back", 0));
    eq(recv(a, 10, 0), b"back");
    ok(sys!(shutdown, b, SHUT_WR));
    ready(a, POLLRDHUP);
    eq(look(a), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    eq(recv(a, 10, 0), b"");
    fails(sys!(shutdown, a, 3), EINVAL);
}

case!(shutdown_of_receiving: shutdown, recvfrom);
fn shutdown_of_receiving() {
    let [a, b] = tcp_pair();
    ok(sys!(shutdown, a, SHUT_RD));
    eq(look(a), POLLIN | POLLOUT | POLLRDHUP);
    eq(recv(a, 10, 0), b"");
    // What comes all the same can be read.
    ok(send(b, b"more", 0));
    ready(a, POLLIN);
    eq((recv(a, 10, 0), recv(a, 10, 0)), (b"more".to_vec(), Vec::new()));
}

case!(reset_by_unread_data: close, recvfrom, sendto);
fn reset_by_unread_data() {
    let [a, b] = tcp_pair();
    ok(send(a, b"never read", 0));
    ready(b, POLLIN);
    close(b);
    ready(a, POLLRDHUP);
    eq(look(a), POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    fails(sys!(recvfrom, a, [0u8; 4].as_mut_ptr(), 4, 0, 0, 0), ECONNRESET);
    eq(recv(a, 4, 0), b"");
    fails(send(a, b"x", MSG_NOSIGNAL), EPIPE);
}

case!(reset_by_linger: setsockopt, close);
fn reset_by_linger() {
    let [a, b] = tcp_pair();
    let linger = [1i32, 0];
    ok(sys!(setsockopt, b, SOL_SOCKET, SO_LINGER, &linger, 8));
    close(b);
    ready(a, POLLRDHUP);
    eq((option(a, SO_ERROR), option(a, SO_ERROR)), (ECONNRESET, 0));
}

case!(write_after_the_other_end: sendto, close);
fn write_after_the_other_end() {
    let [a, b] = tcp_pair();
    close(b);
    eq(recv(a, 4, 0), b"");
    // The first goes out and is answered by a reset.
    eq(ok(send(a, b"first", MSG_NOSIGNAL)), 5);
    ready(a, POLLERR);
    fails(send(a, b"second", MSG_NOSIGNAL), EPIPE);
    eq(recv(a, 4, 0), b"");
}

case!(data_before_accept: connect, sendto, close, accept);
fn data_before_accept() {
    let (server, address) = listener4(5);
    let client = socket4(SOCK_STREAM);
    ok(connect_to(client, &address));
    ok(send(client, b"early", 0));
    close(client);
    let conn = ok_i32(accept(server));
    eq(recv(conn, 5, MSG_WAITALL), b"early");
    eq(recv(conn, 10, 0), b"");
}

case!(close_of_the_listener: close, connect);
fn close_of_the_listener() {
    let (server, address) = listener4(5);
    let client = socket4(SOCK_STREAM);
    ok(connect_to(client, &address));
    close(server);
    ready(client, POLLRDHUP);
    fails(sys!(recvfrom, client, [0u8; 4].as_mut_ptr(), 4, 0, 0, 0), ECONNRESET);
}

case!(a_full_buffer: sendto, poll, recvfrom);
fn a_full_buffer() {
    let [a, b] = tcp_pair();
    ok(sys!(fcntl, a, F_SETFL, O_NONBLOCK));
    let block = vec![7u8; 1 << 16];
    let mut sent = 0;
    loop {
        match send(a, &block, 0) {
            Ok(n) => sent += n as usize,
            full => {
                fails(full, EAGAIN);
                break;
            }
        }
    }
    eq(look(a), 0);
    let mut left = sent;
    while left > 0 {
        let got = recv(b, 1 << 20, 0);
        eq(got.iter().all(|byte| *byte == 7), true);
        left -= got.len();
    }
    eq(ready(a, POLLOUT), POLLOUT);
    eq(ok(send(a, b"x", 0)), 1);
}

case!(much_data_between_processes: sendto, recvfrom, fork);
fn much_data_between_processes() {
    const TOTAL: usize = 3 << 20;
    let [a, b] = tcp_pair();
    let child = fork(|| {
        close(a);
        let mut seen = 0usize;
        loop {
            let got = recv(b, 70_000, 0);
            if got.is_empty() {
                break;
            }
            for byte in got {
                eq(byte, (seen % 251) as u8);
                seen += 1;
            }
        }
        eq(seen, TOTAL);
    });
    close(b);
    let data: Vec<u8> = (0..TOTAL).map(|at| (at % 251) as u8).collect();
    eq(ok(send(a, &data, 0)) as usize, TOTAL);
    close(a);
    child.succeeds();
}

case!(peek_and_wait_for_all: recvfrom);
fn peek_and_wait_for_all() {
    let [a, b] = tcp_pair();
    ok(send(a, b"abc", 0));
    ready(b, POLLIN);
    eq(
        (recv(b, 2, MSG_PEEK), recv(b, 10, MSG_PEEK), recv(b, 10, 0)),
        (b"ab".to_vec(), b"abc".to_vec(), b"abc".to_vec()),
    );
    fails(sys!(recvfrom, b, [0u8; 4].as_mut_ptr(), 4, MSG_DONTWAIT, 0, 0), EAGAIN);
    fails(sys!(recvfrom, b, [0u8; 4].as_mut_ptr(), 4, MSG_OOB, 0, 0), EINVAL);
}

case!(unread_bytes: ioctl);
fn unread_bytes() {
    let [a, b] = tcp_pair();
    ok(send(a, b"12345", 0));
    ready(b, POLLIN);
    let mut count = 0i32;
    ok(sys!(ioctl, b, FIONREAD, &mut count));
    eq(count, 5);
    let (server, _) = listener4(1);
    fails(sys!(ioctl, server, FIONREAD, &mut count), EINVAL);
}

case!(ipv6: socket, bind, connect);
fn ipv6() {
    let server = socket6(SOCK_STREAM);
    ok(bind_to(server, &Inet::local6(0)));
    ok(sys!(listen, server, 5));
    let address = name_of(server);
    let client = socket6(SOCK_STREAM);
    ok(connect_to(client, &address));
    eq(peer_of(client), address);
    eq(peer_of(ok_i32(accept(server))), name_of(client));
    fails(sys!(connect, socket6(SOCK_STREAM), address.raw(), 20), EINVAL);
    fails(connect_to(socket4(SOCK_STREAM), &Inet::local(address.port())), ECONNREFUSED);
}

case!(both_families: socket, bind, connect, setsockopt);
fn both_families() {
    // Any address of IPv6 takes IPv4, too.
    let server = socket6(SOCK_STREAM);
    ok(bind_to(server, &Inet::v6([0; 16], 0)));
    ok(sys!(listen, server, 5));
    let port = name_of(server).port();
    let client = socket4(SOCK_STREAM);
    ok(connect_to(client, &Inet::local(port)));
    let conn = ok_i32(accept(server));
    eq((name_of(conn), peer_of(conn)), (Inet::mapped(port), Inet::mapped(name_of(client).port())));
    let client = socket6(SOCK_STREAM);
    ok(connect_to(client, &Inet::mapped(port)));
    eq(name_of(client).with_port(0), Inet::mapped(0));
    fails(bind_to(socket4(SOCK_STREAM), &Inet::v4([0, 0, 0, 0], port)), EADDRINUSE);
    // Unless it wants none.
    let only = socket6(SOCK_STREAM);
    ok(set_option_at(only, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    ok(bind_to(only, &Inet::v6([0; 16], 0)));
    ok(sys!(listen, only, 5));
    let port = name_of(only).port();
    fails(connect_to(socket4(SOCK_STREAM), &Inet::local(port)), ECONNREFUSED);
    ok(bind_to(socket4(SOCK_STREAM), &Inet::v4([0, 0, 0, 0], port)));
    fails(set_option_at(only, IPPROTO_IPV6, IPV6_V6ONLY, 0), EINVAL);
}

case!(options: setsockopt, getsockopt);
fn options() {
    let fd = socket4(SOCK_STREAM);
    eq(
        (option(fd, SO_TYPE), option(fd, SO_DOMAIN), option(fd, SO_PROTOCOL)),
        (SOCK_STREAM, AF_INET, IPPROTO_TCP),
    );
    eq((option_at(fd, IPPROTO_TCP, TCP_NODELAY), option_at(fd, IPPROTO_TCP, TCP_KEEPIDLE)), (0, 7200));
    ok(set_option_at(fd, IPPROTO_TCP, TCP_NODELAY, 5));
    ok(set_option_at(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60));
    eq((option_at(fd, IPPROTO_TCP, TCP_NODELAY), option_at(fd, IPPROTO_TCP, TCP_KEEPIDLE)), (1, 60));
    fails(set_option_at(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0), EINVAL);
    fails(set_option_at(fd, IPPROTO_TCP, TCP_KEEPCNT, 128), EINVAL);
    fails(set_option_at(fd, IPPROTO_TCP, 9999, 1), ENOPROTOOPT);
    fails(sys!(getsockopt, fd, IPPROTO_TCP, 9999, &mut 0i32, &mut 4u32), ENOPROTOOPT);
    eq((option_at(fd, IPPROTO_IP, IP_TTL), option_at(fd, IPPROTO_IP, IP_TOS)), (64, 0));
    fails(set_option_at(fd, IPPROTO_IP, IP_TTL, 256), EINVAL);
    ok(set_option_at(fd, IPPROTO_IP, IP_TTL, 10));
    eq(option_at(fd, IPPROTO_IP, IP_TTL), 10);
    fails(set_option_at(socket4(SOCK_DGRAM), IPPROTO_TCP, TCP_NODELAY, 1), ENOPROTOOPT);
    // A connection has what its listener has.
    let server = socket4(SOCK_STREAM);
    ok(set_option_at(server, IPPROTO_TCP, TCP_NODELAY, 1));
    ok(set_option(server, SO_KEEPALIVE, 1));
    ok(sys!(listen, server, 5));
    ok(connect_to(fd, &Inet::local(name_of(server).port())));
    let conn = ok_i32(accept(server));
    eq((option_at(conn, IPPROTO_TCP, TCP_NODELAY), option(conn, SO_KEEPALIVE)), (1, 1));
}

case!(kinds_and_protocols: socket, socketpair);
fn kinds_and_protocols() {
    fails(sys!(socket, AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
    fails(sys!(socket, AF_INET, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
    fails(sys!(socket, AF_INET, SOCK_STREAM, 1000), EINVAL);
    fails(sys!(socket, AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
    fails(sys!(socketpair, AF_INET, SOCK_STREAM, 0, &mut [0i32; 2]), EOPNOTSUPP);
    ok(sys!(socket, AF_INET6, SOCK_STREAM, IPPROTO_TCP));
    ok(sys!(socket, AF_INET, SOCK_DGRAM, IPPROTO_UDP));
}

case!(epoll_edges: epoll_create1, epoll_ctl, epoll_wait);
fn epoll_edges() {
    let [a, b] = tcp_pair();
    let set = ok_i32(sys!(epoll_create1, 0));
    let mut event = epoll_event { events: (EPOLLIN | EPOLLRDHUP | EPOLLET) as u32, u64: 7 };
    ok(sys!(epoll_ctl, set, EPOLL_CTL_ADD, b, &mut event));
    let mut got = [epoll_event { events: 0, u64: 0 }; 4];
    eq(ok(sys!(epoll_wait, set, got.as_mut_ptr(), 4, 0)), 0);
    ok(send(a, b"one", 0));
    eq(ok(sys!(epoll_wait, set, got.as_mut_ptr(), 4, 10_000)), 1);
    eq(ok(sys!(epoll_wait, set, got.as_mut_ptr(), 4, 0)), 0);
    ok(send(a, b"two", 0));
    eq(ok(sys!(epoll_wait, set, got.as_mut_ptr(), 4, 10_000)), 1);
    close(a);
    eq(ok(sys!(epoll_wait, set, got.as_mut_ptr(), 4, 10_000)), 1);
    eq({ got[0].events } & (EPOLLRDHUP as u32), EPOLLRDHUP as u32);
}
