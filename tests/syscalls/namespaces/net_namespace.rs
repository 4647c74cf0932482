//! Network namespaces: a loopback interface of their own, names and ports of their own.

use super::{link, new_user_namespace, own};
use crate::kit::inet::{Inet, bind_to, connect_to, listener4, send_inet, socket4, socket6};
use crate::kit::prelude::*;
use crate::kit::socket::{Address, connect, listener, socket};

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCSIFFLAGS: u32 = 0x8914;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFINDEX: u32 = 0x8933;

/// Goes into a new namespace; an ordinary user by way of a user namespace.
#[track_caller]
fn enter() {
    if !is_root() {
        new_user_namespace();
    }
    ok(sys!(unshare, CLONE_NEWNET));
}

/// `struct ifreq`
fn request(name: &[u8], value: u16) -> [u8; 40] {
    let mut wire = [0; 40];
    wire[..name.len()].copy_from_slice(name);
    wire[16..18].copy_from_slice(&value.to_ne_bytes());
    wire
}

#[track_caller]
fn flags(fd: i32) -> u16 {
    let mut wire = request(b"lo", 0);
    ok(sys!(ioctl, fd, SIOCGIFFLAGS, &mut wire));
    u16::from_ne_bytes([wire[16], wire[17]])
}

const DOWN: u16 = IFF_LOOPBACK as u16;
const UP: u16 = (IFF_UP | IFF_LOOPBACK | IFF_RUNNING) as u16;

#[track_caller]
fn take_up(fd: i32) {
    ok(sys!(ioctl, fd, SIOCSIFFLAGS, &request(b"lo", IFF_UP as u16)));
}

case!(files_about_interfaces: openat, ioctl, unshare);
fn files_about_interfaces() {
    let devices = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
        lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n";
    in_child(|| {
        enter();
        eq(text(c"/proc/self/net/dev"), devices);
        eq(text(c"/proc/self/net/if_inet6"), "");
        take_up(socket(SOCK_STREAM));
        eq(text(c"/proc/self/net/dev"), devices);
        eq(text(c"/proc/self/net/if_inet6"), "00000000000000000000000000000001 01 80 10 80       lo\n");
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
        eq(text(c"/proc/self/net/route"), format!("{routes:127}\n"));
        let neighbours = "IP address       HW type     Flags       HW address            Mask     Device\n";
        eq(text(c"/proc/self/net/arp"), neighbours);
        for name in [c"/proc/self/net/dev", c"/proc/self/net/route", c"/proc/self/net/arp"] {
            eq(stat(name).st_mode, S_IFREG | 0o444);
        }
    });
}

case!(loopback_begins_down: unshare, ioctl, connect, bind);
fn loopback_begins_down() {
    in_child(|| {
        let old = link("self", "net");
        enter();
        check(link("self", "net") != old, "the same namespace");
        let unix = socket(SOCK_STREAM);
        eq(flags(unix), DOWN);
        let port = Inet::local(5000);
        for kind in [SOCK_STREAM, SOCK_DGRAM] {
            fails(connect_to(socket4(kind), &port), ENETUNREACH);
            fails(connect_to(socket4(kind), &Inet::v4([0; 4], 5000)), ENETUNREACH);
            ok(bind_to(socket4(kind), &Inet::local(0)));
            fails(connect_to(socket6(kind), &Inet::local6(5000)), EADDRNOTAVAIL);
            fails(bind_to(socket6(kind), &Inet::local6(0)), EADDRNOTAVAIL);
            ok(bind_to(socket6(kind), &Inet::v6([0; 16], 0)));
        }
        fails(send_inet(socket4(SOCK_DGRAM), b"x", &port), ENETUNREACH);
        take_up(unix);
        eq(flags(unix), UP);
        let (_, name) = listener4(5);
        ok(connect_to(socket4(SOCK_STREAM), &name));
        ok(sys!(ioctl, unix, SIOCSIFFLAGS, &request(b"lo", 0)));
        eq(flags(unix), DOWN);
    });
}

case!(interfaces_are_told: ioctl);
fn interfaces_are_told() {
    in_child(|| {
        enter();
        let (unix, inet) = (socket(SOCK_STREAM), socket4(SOCK_DGRAM));
        let mut wire = request(b"lo", 0);
        ok(sys!(ioctl, inet, SIOCGIFINDEX, &mut wire));
        eq(wire[16..20].to_vec(), 1i32.to_ne_bytes().to_vec());
        let mut wire = request(b"", 1);
        ok(sys!(ioctl, unix, SIOCGIFNAME, &mut wire));
        eq(&wire[..3], b"lo\0");
        ok(sys!(ioctl, unix, SIOCGIFMTU, &mut wire));
        eq(wire[16..20].to_vec(), 65_536i32.to_ne_bytes().to_vec());
        fails(sys!(ioctl, unix, SIOCGIFNAME, &mut request(b"", 99)), ENODEV);
        for command in [SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFINDEX, SIOCSIFFLAGS] {
            fails(sys!(ioctl, unix, command, &mut request(b"none", 0)), ENODEV);
            fails(sys!(ioctl, unix, command, 8), EFAULT);
        }
        // An address is there once the interface is up, for sockets of that family.
        fails(sys!(ioctl, inet, SIOCGIFADDR, &mut request(b"lo", 0)), EADDRNOTAVAIL);
        fails(sys!(ioctl, unix, SIOCGIFADDR, &mut request(b"lo", 0)), ENOTTY);
        let mut all = [0u8; 400];
        let mut conf = [all.len() as u64, all.as_mut_ptr() as u64];
        ok(sys!(ioctl, inet, SIOCGIFCONF, &mut conf));
        eq(conf[0], 0);
        take_up(unix);
        let mut wire = request(b"lo", 0);
        ok(sys!(ioctl, inet, SIOCGIFADDR, &mut wire));
        eq(wire[20..24].to_vec(), vec![127, 0, 0, 1]);
        conf[0] = all.len() as u64;
        ok(sys!(ioctl, inet, SIOCGIFCONF, &mut conf));
        eq(conf[0], 40);
        eq((&all[..3], &all[20..24]), (&b"lo\0"[..], &[127, 0, 0, 1][..]));
    });
}

case!(interfaces_are_set_by_the_owner: ioctl);
fn interfaces_are_set_by_the_owner() {
    unprivileged(|| {
        let fd = socket(SOCK_STREAM);
        fails(sys!(ioctl, fd, SIOCSIFFLAGS, &request(b"lo", 0)), EPERM);
        fails(sys!(ioctl, fd, SIOCSIFFLAGS, &request(b"none", 0)), EPERM);
        let low = socket4(SOCK_STREAM);
        new_user_namespace();
        fails(sys!(ioctl, fd, SIOCSIFFLAGS, &request(b"lo", 0)), EPERM);
        ok(sys!(unshare, CLONE_NEWNET));
        // A socket stays where it was made.
        fails(sys!(ioctl, fd, SIOCSIFFLAGS, &request(b"lo", 0)), EPERM);
        fails(bind_to(low, &Inet::v4([0; 4], 80)), EACCES);
        take_up(socket(SOCK_STREAM));
        ok(bind_to(socket4(SOCK_STREAM), &Inet::v4([0; 4], 80)));
    });
}

case!(abstract_names_are_of_one_namespace: unshare, bind, connect);
fn abstract_names_are_of_one_namespace() {
    let name = Address::hidden(&format!("ns.{}", ok(sys!(getpid))));
    let path = Address::path("there");
    let _outside = listener(SOCK_STREAM, &name, 5);
    let _visible = listener(SOCK_STREAM, &path, 5);
    in_child(|| {
        let early = socket(SOCK_STREAM);
        enter();
        fails(connect(socket(SOCK_STREAM), &name), ECONNREFUSED);
        // Paths lead everywhere.
        ok(connect(socket(SOCK_STREAM), &path));
        // A socket stays where it was made.
        ok(connect(early, &name));
        let own = listener(SOCK_STREAM, &name, 5);
        ok(connect(socket(SOCK_STREAM), &name));
        close(own);
    });
}

case!(ports_are_of_one_namespace: unshare, bind; root);
fn ports_are_of_one_namespace() {
    let (_fd, name) = listener4(5);
    let back = own("net");
    in_child(|| {
        enter();
        take_up(socket(SOCK_STREAM));
        fails(connect_to(socket4(SOCK_STREAM), &name), ECONNREFUSED);
        ok(bind_to(socket4(SOCK_STREAM), &name));
        ok(sys!(setns, back, CLONE_NEWNET));
        ok(connect_to(socket4(SOCK_STREAM), &name));
        fails(bind_to(socket4(SOCK_STREAM), &name), EADDRINUSE);
    });
}
