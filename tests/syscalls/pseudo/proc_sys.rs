//! Settings below /proc/sys, and the small files of a process that are one number.

use std::ffi::{CStr, CString};

use crate::kit::inet::{Inet, bind_to, name_of, option_at, socket4};
use crate::kit::prelude::*;

fn setting(name: &CStr) -> i64 {
    text(name).trim().parse().unwrap_or(-1)
}

case!(settings_are_what_sockets_do: openat, getsockopt);
fn settings_are_what_sockets_do() {
    let socket = socket4(SOCK_STREAM);
    for (name, level, option) in [
        (c"/proc/sys/net/ipv4/tcp_keepalive_time", libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
        (c"/proc/sys/net/ipv4/tcp_keepalive_intvl", libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
        (c"/proc/sys/net/ipv4/tcp_keepalive_probes", libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
        (c"/proc/sys/net/ipv4/tcp_syn_retries", libc::IPPROTO_TCP, libc::TCP_SYNCNT),
        (c"/proc/sys/net/ipv4/ip_default_ttl", libc::IPPROTO_IP, libc::IP_TTL),
    ] {
        eq_of(name.to_string_lossy(), setting(name), option_at(socket, level, option).into());
    }
    let datagrams = socket4(SOCK_DGRAM);
    for (name, option) in [
        (c"/proc/sys/net/core/rmem_default", libc::SO_RCVBUF),
        (c"/proc/sys/net/core/wmem_default", libc::SO_SNDBUF),
    ] {
        eq_of(name.to_string_lossy(), setting(name), option_at(datagrams, libc::SOL_SOCKET, option).into());
    }
    let range = text(c"/proc/sys/net/ipv4/ip_local_port_range");
    let (first, last) = range.trim().split_once('\t').unwrap_or_default();
    let (first, last): (u16, u16) = (first.parse().unwrap_or(0), last.parse().unwrap_or(0));
    ok(bind_to(datagrams, &Inet::local(0)));
    within("a port", name_of(datagrams).port(), first, last);
    check(!text(c"/proc/sys/net/ipv4/tcp_congestion_control").trim().is_empty(), "a name");
    eq(text(c"/proc/sys/net/ipv4/ping_group_range").split('\t').count(), 2);
}

case!(ports_for_the_privileged: openat, bind);
fn ports_for_the_privileged() {
    let first = setting(c"/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if !(2..=65_535).contains(&first) {
        skip("every port is free for all");
    }
    unprivileged(move || {
        let socket = socket4(SOCK_DGRAM);
        fails(bind_to(socket, &Inet::local(first as u16 - 1)), EACCES);
    });
}

case!(queue_of_datagrams: openat, sendto);
fn queue_of_datagrams() {
    use crate::kit::socket::{Address, bind, send_to, socket};
    let room = setting(c"/proc/sys/net/unix/max_dgram_qlen");
    let to = Address::path("s");
    let server = socket(SOCK_DGRAM);
    ok(bind(server, &to));
    let client = socket(SOCK_DGRAM | SOCK_NONBLOCK);
    // One more than the setting is taken.
    for _ in 0..=room {
        ok(send_to(client, b"x", &to));
    }
    fails(send_to(client, b"x", &to), EAGAIN);
}

case!(caches_can_only_be_dropped: openat, write; root);
fn caches_can_only_be_dropped() {
    let name = c"/proc/sys/vm/drop_caches";
    eq(stat(name).st_mode, S_IFREG | 0o200);
    fails(sys!(openat, AT_FDCWD, name, O_RDONLY), EACCES);
    for wrong in [&b"0"[..], b"-1", b"x"] {
        let fd = open(name, O_WRONLY);
        fails(sys!(write, fd, wrong.as_ptr(), wrong.len()), EINVAL);
        close(fd);
    }
    unprivileged(|| fails(sys!(openat, AT_FDCWD, c"/proc/sys/vm/drop_caches", O_WRONLY), EACCES));
}

case!(nobody_overrides_the_mode_of_a_setting: openat; root);
fn nobody_overrides_the_mode_of_a_setting() {
    for name in [c"/proc/sys/kernel/osrelease", c"/proc/sys/kernel/version", c"/proc/sys/fs/aio-nr"] {
        eq_of(name.to_string_lossy(), stat(name).st_mode, S_IFREG | 0o444);
        fails(sys!(openat, AT_FDCWD, name, O_WRONLY), EACCES);
    }
}

case!(settings_of_memory: openat);
fn settings_of_memory() {
    for name in
        [c"/proc/sys/vm/nr_hugepages", c"/proc/sys/vm/overcommit_kbytes", c"/proc/sys/vm/legacy_va_layout"]
    {
        check(setting(name) >= 0, name.to_string_lossy());
    }
}

case!(slack_of_timers: openat, write, prctl);
fn slack_of_timers() {
    let name = c"/proc/self/timerslack_ns";
    eq(stat(name).st_mode, S_IFREG | 0o666);
    let first = text(name);
    ok(sys!(prctl, libc::PR_SET_TIMERSLACK, 12_345, 0, 0, 0));
    eq(text(name), "12345\n");
    let fd = open(name, O_WRONLY);
    write_all(fd, b"54321\n");
    eq(ok(sys!(prctl, libc::PR_GET_TIMERSLACK, 0, 0, 0, 0)), 54_321);
    for wrong in [&b"x"[..], b"-1", b"1 2", b" 1", b"0x10"] {
        fails(sys!(write, fd, wrong.as_ptr(), wrong.len()), EINVAL);
    }
    let long = b"99999999999999999999999";
    fails(sys!(write, fd, long.as_ptr(), long.len()), ERANGE);
    eq(text(name), "54321\n");
    // 0 is what it was at first.
    write_all(fd, b"0");
    eq(text(name), first);
}

case!(slack_of_others: openat, read, write);
fn slack_of_others() {
    unprivileged(|| {
        let parent = ok(sys!(getpid));
        let name = CString::new(format!("/proc/{parent}/timerslack_ns")).unwrap_or_default();
        in_child(move || {
            let fd = open(&name, O_RDWR);
            let mut byte = 0u8;
            fails(sys!(read, fd, &mut byte, 1), EPERM);
            fails(sys!(write, fd, b"1".as_ptr(), 1), EPERM);
        });
    });
}

case!(children_of_a_thread: openat, fork, wait4);
fn children_of_a_thread() {
    let tid = ok(sys!(gettid));
    let name = CString::new(format!("/proc/self/task/{tid}/children")).unwrap_or_default();
    eq(stat(&name).st_mode, S_IFREG | 0o444);
    eq(text(&name), "");
    let [r, w] = pipe(0);
    let wait = || {
        fork(|| {
            close(w);
            read(r, 1);
        })
    };
    let (a, b) = (wait(), wait());
    eq(text(&name), format!("{} {} ", a.pid, b.pid));
    close(w);
    a.succeeds();
    eq(text(&name), format!("{} ", b.pid));
    b.succeeds();
    eq(text(&name), "");
    // Only threads have it.
    check(!exists(c"/proc/self/children"), "a process has none");
}
