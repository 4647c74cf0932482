//! /proc/net: sockets.

use std::ffi::CStr;

use crate::kit::inet::{Inet, bind_to, connect_to, listener4, name_of, socket4, socket6};
use crate::kit::prelude::*;
use crate::kit::socket::{Address, listener, pair, socket};

/// The words of the line for a socket, which is found by its inode; `None` when there is none.
fn line(table: &CStr, at: usize, fd: c_int) -> Option<Vec<String>> {
    let ino = fstat(fd).st_ino.to_string();
    let all = text(table);
    let mut lines = all.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect());
    lines.find(|words: &Vec<String>| words.get(at) == Some(&ino))
}

const TCP_INODE: usize = 9;
const UNIX_INODE: usize = 6;

fn tcp(fd: c_int) -> Option<Vec<String>> {
    line(c"/proc/net/tcp", TCP_INODE, fd)
}

case!(headers_and_widths: openat);
fn headers_and_widths() {
    let _listens = listener4(1);
    let udp = socket4(SOCK_DGRAM);
    ok(bind_to(udp, &Inet::local(0)));
    let tcp = text(c"/proc/net/tcp");
    check(tcp.starts_with("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"), &tcp);
    check(tcp.lines().all(|line| line.len() == 149), &tcp);
    let udp = text(c"/proc/net/udp");
    check(udp.starts_with("   sl  local_address rem_address   st "), &udp);
    check(udp.lines().all(|line| line.len() == 127), &udp);
    check(
        text(c"/proc/net/tcp6").starts_with("  sl  local_address                         remote_address  "),
        "tcp6",
    );
    check(
        text(c"/proc/net/udp6").starts_with("  sl  local_address                         remote_address  "),
        "udp6",
    );
    check(
        text(c"/proc/net/unix").starts_with("Num       RefCount Protocol Flags    Type St Inode Path\n"),
        "unix",
    );
    for name in [c"/proc/net/tcp", c"/proc/net/udp6", c"/proc/net/unix", c"/proc/self/net/tcp"] {
        eq_of(name.to_string_lossy(), stat(name).st_mode, S_IFREG | 0o444);
    }
}

case!(tcp_sockets_are_listed: openat, listen, connect, accept);
fn tcp_sockets_are_listed() {
    let idle = socket4(SOCK_STREAM);
    check(tcp(idle).is_none(), "nothing yet");
    let (server, address) = listener4(5);
    let own = format!("0100007F:{:04X}", address.port());
    let words = tcp(server).unwrap_or_default();
    eq(words[1..5].to_vec(), [own.as_str(), "00000000:0000", "0A", "00000000:00000000"]);
    eq(words[7].clone(), ok(sys!(geteuid)).to_string());
    let client = socket4(SOCK_STREAM);
    ok(connect_to(client, &address));
    // One waits to be accepted.
    eq(tcp(server).unwrap_or_default()[4].clone(), "00000000:00000001");
    let accepted = ok_i32(sys!(accept, server, 0, 0));
    eq(tcp(server).unwrap_or_default()[4].clone(), "00000000:00000000");
    let theirs = format!("0100007F:{:04X}", name_of(client).port());
    eq(tcp(client).unwrap_or_default()[1..4].to_vec(), [theirs.as_str(), own.as_str(), "01"]);
    eq(tcp(accepted).unwrap_or_default()[1..4].to_vec(), [own.as_str(), theirs.as_str(), "01"]);
    // What was not read.
    write_all(client, b"12345");
    eventually("bytes wait", || tcp(accepted).is_some_and(|words| words[4] == "00000000:00000005"));
    ok(sys!(shutdown, client, SHUT_WR));
    eventually("its end has come", || tcp(accepted).is_some_and(|words| words[3] == "08"));
    eventually("the end is acknowledged", || tcp(client).is_some_and(|words| words[3] == "05"));
}

case!(sockets_of_ipv6_are_listed: openat, bind);
fn sockets_of_ipv6_are_listed() {
    let server = socket6(SOCK_STREAM);
    ok(bind_to(server, &Inet::local6(0)));
    ok(sys!(listen, server, 1));
    let words = line(c"/proc/net/tcp6", TCP_INODE, server).unwrap_or_default();
    let own = format!("00000000000000000000000001000000:{:04X}", name_of(server).port());
    eq(words[1..4].to_vec(), [own.as_str(), "00000000000000000000000000000000:0000", "0A"]);
    check(tcp(server).is_none(), "not among those of IPv4");
    // A connection of IPv4 to a socket of IPv6.
    let any = socket6(SOCK_STREAM);
    ok(bind_to(any, &Inet::v6([0; 16], 0)));
    ok(sys!(listen, any, 1));
    let client = socket4(SOCK_STREAM);
    ok(connect_to(client, &Inet::local(name_of(any).port())));
    let accepted = ok_i32(sys!(accept, any, 0, 0));
    let words = line(c"/proc/net/tcp6", TCP_INODE, accepted).unwrap_or_default();
    eq(words[1].clone(), format!("0000000000000000FFFF00000100007F:{:04X}", name_of(any).port()));
}

case!(udp_sockets_are_listed: openat, bind, connect);
fn udp_sockets_are_listed() {
    let udp = |fd| line(c"/proc/net/udp", TCP_INODE, fd);
    let socket = socket4(SOCK_DGRAM);
    check(udp(socket).is_none(), "no port yet");
    ok(bind_to(socket, &Inet::local(0)));
    let own = format!("0100007F:{:04X}", name_of(socket).port());
    eq(
        udp(socket).unwrap_or_default()[1..5].to_vec(),
        [own.as_str(), "00000000:0000", "07", "00000000:00000000"],
    );
    let other = socket4(SOCK_DGRAM);
    ok(connect_to(other, &name_of(socket)));
    let words = udp(other).unwrap_or_default();
    eq((words[2].clone(), words[3].clone()), (own, "01".to_owned()));
    write_all(other, b"datagram");
    eventually("it has come", || udp(socket).is_some_and(|words| words[4] != "00000000:00000000"));
}

case!(unix_sockets_are_listed: openat, bind, listen, socketpair);
fn unix_sockets_are_listed() {
    let unix = |fd| line(c"/proc/net/unix", UNIX_INODE, fd).unwrap_or_default();
    let idle = socket(SOCK_DGRAM);
    eq(
        unix(idle)[1..].to_vec(),
        ["00000002", "00000000", "00000000", "0002", "01", &fstat(idle).st_ino.to_string()],
    );
    let server = listener(SOCK_STREAM, &Address::path("s"), 5);
    let words = unix(server);
    eq(words[1..6].to_vec(), ["00000002", "00000000", "00010000", "0001", "01"]);
    eq(words[7].clone(), "s");
    let hidden = listener(SOCK_SEQPACKET, &Address::hidden("name-of-a-case"), 5);
    let words = unix(hidden);
    check(words[4] == "0005" && words[7].starts_with("@name-of-a-case"), format_args!("{words:?}"));
    let [a, b] = pair(SOCK_STREAM);
    for fd in [a, b] {
        eq(unix(fd)[1..6].to_vec(), ["00000003", "00000000", "00000000", "0001", "03"]);
    }
    // What another process has open is there as well.
    let [r, w] = pipe(0);
    let child = fork(|| {
        close(w);
        read(r, 1);
    });
    let ino = fstat(a).st_ino.to_string();
    close(a);
    check(text(c"/proc/net/unix").split_whitespace().any(|word| word == ino), "the child's");
    close(w);
    child.succeeds();
    check(!text(c"/proc/net/unix").split_whitespace().any(|word| word == ino), "nobody's any more");
}

case!(sockets_of_a_namespace: openat, unshare; root);
fn sockets_of_a_namespace() {
    let (server, _) = listener4(1);
    check(tcp(server).is_some(), "here");
    in_child(|| {
        ok(sys!(unshare, CLONE_NEWNET));
        eq(text(c"/proc/net/tcp").lines().count(), 1);
        eq(text(c"/proc/net/unix").lines().count(), 1);
        let own = socket(SOCK_STREAM);
        eq(text(c"/proc/net/unix").lines().count(), 2);
        close(own);
    });
}
