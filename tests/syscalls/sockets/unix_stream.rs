//! Streams: connecting, data, shutdown, errors.

use crate::kit::prelude::*;
use crate::kit::socket::{Address, accept, bind, connect, listener, option, pair, recv, send, socket};

fn look(fd: i32) -> i16 {
    let mut p = pollfd { fd, events: POLLIN | POLLOUT | POLLRDHUP, revents: 0 };
    ok(sys!(poll, &mut p, 1, 0));
    p.revents
}

case!(pair_both_ways: socketpair, read, write);
fn pair_both_ways() {
    let [a, b] = pair(SOCK_STREAM);
    write_all(a, b"to b");
    write_all(b, b"to a");
    eq((read(b, 10), read(a, 10)), (b"to b".to_vec(), b"to a".to_vec()));
    // No borders between writes.
    write_all(a, b"one");
    write_all(a, b"two");
    eq(read(b, 4), b"onet");
    eq(read(b, 10), b"wo");
}

case!(pair_flags_and_errors: socketpair, socket);
fn pair_flags_and_errors() {
    let [a, _b] = pair(SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
    eq((ok_i32(sys!(fcntl, a, F_GETFD)), ok_i32(sys!(fcntl, a, F_GETFL))), (FD_CLOEXEC, O_RDWR | O_NONBLOCK));
    let mut ends = [0i32; 2];
    fails(sys!(socketpair, AF_UNIX, 99, 0, &mut ends), EINVAL);
    fails(sys!(socketpair, AF_UNIX, SOCK_STREAM, 99, &mut ends), EPROTONOSUPPORT);
    fails(sys!(socketpair, AF_UNIX, SOCK_STREAM, 0, 8), EFAULT);
    fails(sys!(socketpair, 99, SOCK_STREAM, 0, &mut ends), EAFNOSUPPORT);
    fails(sys!(socket, AF_UNIX, SOCK_STREAM | 0x100, 0), EINVAL);
    fails(sys!(socket, 99, SOCK_STREAM, 0), EAFNOSUPPORT);
    fails(sys!(socket, -1, SOCK_STREAM, 0), EAFNOSUPPORT);
    fails(sys!(socket, AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
    ok(sys!(socketpair, AF_UNIX, SOCK_STREAM, 1, &mut ends));
}

case!(connect_and_accept: socket, bind, listen, connect, accept, accept4);
fn connect_and_accept() {
    let address = Address::path("s");
    let server = listener(SOCK_STREAM, &address, 5);
    eq(stat(c"s").st_mode & S_IFMT, S_IFSOCK);
    let client = socket(SOCK_STREAM);
    ok(connect(client, &address));
    // Data may go before anyone has accepted.
    eq(ok(send(client, b"early", 0)), 5);
    let conn = ok_i32(sys!(accept4, server, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK));
    eq(
        (ok_i32(sys!(fcntl, conn, F_GETFD)), ok_i32(sys!(fcntl, conn, F_GETFL))),
        (FD_CLOEXEC, O_RDWR | O_NONBLOCK),
    );
    eq(recv(conn, 10, 0), b"early");
    eq(ok(send(conn, b"answer", 0)), 6);
    eq(recv(client, 10, 0), b"answer");
    fails(sys!(accept4, server, 0, 0, 1), EINVAL);
}

case!(accept_waits: accept, connect, fork);
fn accept_waits() {
    let address = Address::hidden("accept_waits");
    let server = listener(SOCK_STREAM, &address, 5);
    let child = fork(|| {
        let conn = ok_i32(accept(server));
        eq(recv(conn, 10, 0), b"hello");
    });
    until_asleep(child.pid);
    let client = socket(SOCK_STREAM);
    ok(connect(client, &address));
    ok(send(client, b"hello", 0));
    child.succeeds();
}

case!(accept_errors: accept, listen);
fn accept_errors() {
    let fd = socket(SOCK_STREAM);
    fails(accept(fd), EINVAL);
    fails(accept(999), EBADF);
    fails(accept(create(c"f", b"")), ENOTSOCK);
    fails(accept(socket(SOCK_DGRAM)), EOPNOTSUPP);
    fails(sys!(listen, fd, 5), EINVAL);
    fails(sys!(listen, socket(SOCK_DGRAM), 5), EOPNOTSUPP);
    let server = listener(SOCK_STREAM | SOCK_NONBLOCK, &Address::hidden("accept_errors"), 5);
    fails(accept(server), EAGAIN);
    let [a, _b] = pair(SOCK_STREAM);
    fails(accept(a), EINVAL);
    fails(sys!(listen, a, 5), EINVAL);
}

case!(connect_errors: connect);
fn connect_errors() {
    let fd = socket(SOCK_STREAM);
    fails(connect(fd, &Address::path("missing")), ENOENT);
    fails(connect(fd, &Address::hidden("missing")), ECONNREFUSED);
    put(c"plain", b"");
    fails(connect(fd, &Address::path("plain")), ECONNREFUSED);
    // Bound, and nobody listens.
    let bound = socket(SOCK_STREAM);
    let address = Address::path("bound");
    ok(bind(bound, &address));
    fails(connect(fd, &address), ECONNREFUSED);
    close(bound);
    fails(connect(fd, &address), ECONNREFUSED);
    // Of another kind.
    let datagrams = socket(SOCK_DGRAM);
    let other = Address::path("datagrams");
    ok(bind(datagrams, &other));
    fails(connect(fd, &other), EPROTOTYPE);
    fails(sys!(connect, fd, 8, 10), EFAULT);
    fails(sys!(connect, fd, other.raw(), 1), EINVAL);
    fails(sys!(connect, fd, other.raw(), 500), EINVAL);
    fails(connect(999, &other), EBADF);
    // Twice.
    let address = Address::hidden("twice");
    let server = listener(SOCK_STREAM, &address, 5);
    ok(connect(fd, &address));
    fails(connect(fd, &address), EISCONN);
    fails(connect(server, &address), EINVAL);
}

case!(queue_of_connections: listen, connect);
fn queue_of_connections() {
    let address = Address::hidden("queue");
    let server = listener(SOCK_STREAM, &address, 1);
    // One more than the number is let in.
    for _ in 0..2 {
        ok(connect(socket(SOCK_STREAM | SOCK_NONBLOCK), &address));
    }
    let late = socket(SOCK_STREAM | SOCK_NONBLOCK);
    fails(connect(late, &address), EAGAIN);
    ok(accept(server));
    ok(connect(late, &address));
}

case!(full_queue_is_waited_for: connect, accept);
fn full_queue_is_waited_for() {
    let address = Address::hidden("full");
    let server = listener(SOCK_STREAM, &address, 0);
    ok(connect(socket(SOCK_STREAM), &address));
    let child = fork(|| done(connect(socket(SOCK_STREAM), &address)));
    until_asleep(child.pid);
    ok(accept(server));
    child.succeeds();
}

case!(closing_the_listener: close, connect);
fn closing_the_listener() {
    let address = Address::hidden("closing");
    let server = listener(SOCK_STREAM, &address, 5);
    let client = socket(SOCK_STREAM);
    ok(connect(client, &address));
    close(server);
    // Never accepted: reset.
    fails(sys!(read, client, &mut [0u8; 4], 4), ECONNRESET);
    sig::ignore(SIGPIPE);
    fails(send(client, b"x", 0), EPIPE);
    fails(connect(socket(SOCK_STREAM), &address), ECONNREFUSED);
}

case!(end_of_file_and_broken_pipe: close, read, write);
fn end_of_file_and_broken_pipe() {
    let [a, b] = pair(SOCK_STREAM);
    write_all(a, b"last");
    close(a);
    eq(read(b, 10), b"last");
    eq(read(b, 10), b"");
    fork(|| {
        let _ = sys!(write, b, c"x", 1);
    })
    .dies_of(SIGPIPE);
    fails(send(b, b"x", MSG_NOSIGNAL), EPIPE);
    eq(look(b), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
}

case!(unread_data_resets: close, read);
fn unread_data_resets() {
    let [a, b] = pair(SOCK_STREAM);
    write_all(b, b"never read");
    close(a);
    fails(sys!(read, b, &mut [0u8; 4], 4), ECONNRESET);
    eq(read(b, 4), b"");
}

case!(shutdown_of_writing: shutdown);
fn shutdown_of_writing() {
    let [a, b] = pair(SOCK_STREAM);
    write_all(a, b"x");
    ok(sys!(shutdown, a, SHUT_WR));
    eq(read(b, 10), b"x");
    eq(read(b, 10), b"");
    fails(send(a, b"y", MSG_NOSIGNAL), EPIPE);
    // The other way goes on.
    write_all(b, b"still");
    eq(read(a, 10), b"still");
    eq(look(b) & (POLLRDHUP | POLLHUP), POLLRDHUP);
    eq(look(a) & (POLLRDHUP | POLLHUP), 0);
}

case!(shutdown_of_reading: shutdown);
fn shutdown_of_reading() {
    let [a, b] = pair(SOCK_STREAM);
    write_all(b, b"before");
    ok(sys!(shutdown, a, SHUT_RD));
    // What is there is read, then the end.
    eq(read(a, 10), b"before");
    eq(read(a, 10), b"");
    fails(send(b, b"y", MSG_NOSIGNAL), EPIPE);
    ok(sys!(shutdown, a, SHUT_WR));
    eq(look(a), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
}

case!(shutdown_errors: shutdown);
fn shutdown_errors() {
    let [a, _b] = pair(SOCK_STREAM);
    fails(sys!(shutdown, a, 3), EINVAL);
    fails(sys!(shutdown, a, -1), EINVAL);
    fails(sys!(shutdown, 999, SHUT_RD), EBADF);
    fails(sys!(shutdown, create(c"f", b""), SHUT_RD), ENOTSOCK);
    ok(sys!(shutdown, socket(SOCK_STREAM), SHUT_RDWR));
}

case!(shutdown_wakes_the_reader: shutdown, read);
fn shutdown_wakes_the_reader() {
    let [a, b] = pair(SOCK_STREAM);
    let child = fork(|| eq(read(a, 10), b""));
    until_asleep(child.pid);
    ok(sys!(shutdown, b, SHUT_WR));
    child.succeeds();
}

case!(unconnected: read, write, sendto, getpeername);
fn unconnected() {
    let fd = socket(SOCK_STREAM);
    fails(sys!(read, fd, &mut [0u8; 4], 4), EINVAL);
    fails(send(fd, b"x", MSG_NOSIGNAL), ENOTCONN);
    fails(sys!(getpeername, fd, &mut [0u8; 110], &mut 110u32), ENOTCONN);
    eq(look(fd), POLLOUT | POLLHUP);
    let server = listener(SOCK_STREAM, &Address::hidden("unconnected"), 1);
    fails(sys!(read, server, &mut [0u8; 4], 4), EINVAL);
    eq(look(server), 0);
}

case!(full_buffers: write, read);
fn full_buffers() {
    let [a, b] = pair(SOCK_STREAM);
    ok(sys!(fcntl, a, F_SETFL, O_NONBLOCK));
    let chunk = [7u8; 4096];
    let mut written = 0i64;
    let full = loop {
        match sys!(write, a, &chunk, chunk.len()) {
            Ok(n) => written += n,
            full => break full,
        }
        check(written < 64 << 20, "there is an end");
    };
    fails(full, EAGAIN);
    eq(look(a), 0);
    check(written >= 64 << 10, format_args!("{written} bytes fit"));
    ok(sys!(fcntl, b, F_SETFL, O_NONBLOCK));
    let mut seen = 0;
    while let Ok(n @ 1..) = sys!(read, b, &mut [0u8; 8192], 8192) {
        seen += n;
    }
    eq(seen, written);
    eq(look(a), POLLOUT);
}

case!(large_write_waits_for_its_reader: write, read, fork);
fn large_write_waits_for_its_reader() {
    let [a, b] = pair(SOCK_STREAM);
    let child = fork(|| {
        close(b);
        eq(ok(sys!(write, a, vec![3u8; 3_000_000].as_slice(), 3_000_000)), 3_000_000);
    });
    close(a);
    until_asleep(child.pid);
    eq(read_to_end(b).len(), 3_000_000);
    child.succeeds();
}

case!(nothing_to_write: write, sendto);
fn nothing_to_write() {
    let [a, b] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    eq(ok(send(a, b"", 0)), 0);
    eq(ok(sys!(write, a, c"", 0)), 0);
    fails(sys!(read, b, &mut [0u8; 4], 4), EAGAIN);
}

case!(peer_of_a_pair_and_of_a_connection: getsockopt, connect);
fn peer_of_a_pair_and_of_a_connection() {
    let credentials = |fd: i32| {
        let (mut found, mut len) = ([-1i32; 3], 12u32);
        ok(sys!(getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &mut found, &mut len));
        eq(len, 12);
        found
    };
    let me = [ok_i32(sys!(getpid)), ok_i32(sys!(geteuid)), ok_i32(sys!(getegid))];
    let [a, _b] = pair(SOCK_STREAM);
    eq(credentials(a), me);
    let address = Address::hidden("peer");
    let server = listener(SOCK_STREAM, &address, 5);
    let [r, w] = pipe(0);
    let child = fork(|| {
        let client = socket(SOCK_STREAM);
        ok(connect(client, &address));
        eq(credentials(client), me);
        close(w);
        let _ = sys!(read, r, &mut [0u8; 1], 1);
    });
    let conn = ok_i32(accept(server));
    eq(credentials(conn), [child.pid, me[1], me[2]]);
    close(w);
    child.succeeds();
    // It is kept beyond the end of the peer.
    eq(credentials(conn)[1], me[1]);
    eq(credentials(socket(SOCK_STREAM)), [0, -1, -1]);
    eq(option(conn, SO_ACCEPTCONN), 0);
    eq(option(server, SO_ACCEPTCONN), 1);
}

case!(permission_to_connect: connect; root);
fn permission_to_connect() {
    let address = Address::path("s");
    let _server = listener(SOCK_STREAM, &address, 5);
    ok(sys!(fchmodat, AT_FDCWD, c"s", 0o755));
    unprivileged(|| fails(connect(socket(SOCK_STREAM), &address), EACCES));
    ok(sys!(fchmodat, AT_FDCWD, c"s", 0o722));
    unprivileged(|| done(connect(socket(SOCK_STREAM), &address)));
}

case!(through_epoll: epoll_wait, connect, accept);
fn through_epoll() {
    let address = Address::hidden("epoll");
    let server = listener(SOCK_STREAM | SOCK_NONBLOCK, &address, 5);
    let ep = ok_i32(sys!(epoll_create1, 0));
    let add = |fd: i32, events: i32| {
        ok(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, fd, &epoll_event { events: events as u32, u64: fd as u64 }));
    };
    let wait = || {
        let mut list = [epoll_event { events: 0, u64: 0 }; 4];
        let n = ok(sys!(epoll_wait, ep, &mut list, 4, 0)) as usize;
        list[..n].iter().map(|e| (e.u64 as i32, e.events as i32)).collect::<Vec<_>>()
    };
    add(server, EPOLLIN);
    eq(wait(), vec![]);
    let client = socket(SOCK_STREAM);
    ok(connect(client, &address));
    eq(wait(), vec![(server, EPOLLIN)]);
    let conn = ok_i32(accept(server));
    add(conn, EPOLLIN | EPOLLET | EPOLLRDHUP);
    eq(wait(), vec![]);
    ok(send(client, b"x", 0));
    eq(wait(), vec![(conn, EPOLLIN)]);
    close(client);
    eq(wait(), vec![(conn, EPOLLIN | EPOLLRDHUP | EPOLLHUP)]);
}
