//! getsockopt, setsockopt, ioctl and the like.

use crate::kit::prelude::*;
use crate::kit::socket::{option, pair, send, set_option, socket};

case!(what_it_is: getsockopt);
fn what_it_is() {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let fd = socket(kind);
        eq((option(fd, SO_TYPE), option(fd, SO_DOMAIN), option(fd, SO_PROTOCOL)), (kind, AF_UNIX, 0));
        eq((option(fd, SO_ERROR), option(fd, SO_ACCEPTCONN)), (0, 0));
    }
}

case!(buffers: getsockopt, setsockopt);
fn buffers() {
    let fd = socket(SOCK_STREAM);
    let size = option(fd, SO_SNDBUF);
    check(size >= 4096 && option(fd, SO_RCVBUF) >= 2048, "some room");
    // Linux doubles what is asked for.
    ok(set_option(fd, SO_SNDBUF, 20_000));
    eq(option(fd, SO_SNDBUF), 40_000);
    ok(set_option(fd, SO_RCVBUF, 20_000));
    eq(option(fd, SO_RCVBUF), 40_000);
    ok(set_option(fd, SO_SNDBUF, 1));
    check(option(fd, SO_SNDBUF) >= 2048, "a least size");
}

case!(flags_on_and_off: getsockopt, setsockopt);
fn flags_on_and_off() {
    let fd = socket(SOCK_DGRAM);
    for name in [SO_PASSCRED, SO_KEEPALIVE, SO_REUSEADDR, SO_BROADCAST, SO_OOBINLINE] {
        eq_of(name, option(fd, name), 0);
        ok(set_option(fd, name, 7));
        eq_of(name, option(fd, name), 1);
        ok(set_option(fd, name, 0));
        eq_of(name, option(fd, name), 0);
    }
    let mut linger = [1i32, 5];
    ok(sys!(setsockopt, fd, SOL_SOCKET, SO_LINGER, &linger, 8));
    linger = [0; 2];
    ok(sys!(getsockopt, fd, SOL_SOCKET, SO_LINGER, &mut linger, &mut 8u32));
    eq(linger, [1, 5]);
}

case!(option_errors: getsockopt, setsockopt);
fn option_errors() {
    let fd = socket(SOCK_STREAM);
    let (mut value, mut len) = (0i32, 4u32);
    fails(sys!(getsockopt, fd, SOL_SOCKET, 9999, &mut value, &mut len), ENOPROTOOPT);
    fails(sys!(setsockopt, fd, SOL_SOCKET, 9999, &value, 4), ENOPROTOOPT);
    fails(sys!(getsockopt, fd, 9999, 1, &mut value, &mut len), EOPNOTSUPP);
    fails(sys!(setsockopt, fd, SOL_SOCKET, SO_PASSCRED, &value, 3), EINVAL);
    fails(sys!(setsockopt, fd, SOL_SOCKET, SO_PASSCRED, 8, 4), EFAULT);
    fails(sys!(getsockopt, fd, SOL_SOCKET, SO_TYPE, 8, &mut len), EFAULT);
    fails(sys!(getsockopt, fd, SOL_SOCKET, SO_TYPE, &mut value, 8), EFAULT);
    fails(sys!(getsockopt, fd, SOL_SOCKET, SO_TYPE, &mut value, &mut -1i32), EINVAL);
    fails(sys!(setsockopt, fd, SOL_SOCKET, SO_TYPE, &value, 4), ENOPROTOOPT);
    fails(sys!(getsockopt, 999, SOL_SOCKET, SO_TYPE, &mut value, &mut len), EBADF);
    fails(sys!(getsockopt, 0, SOL_SOCKET, SO_TYPE, &mut value, &mut len), ENOTSOCK);
    // Less room gives less of it.
    let mut small = 2u32;
    value = -1;
    ok(sys!(getsockopt, fd, SOL_SOCKET, SO_TYPE, &mut value, &mut small));
    eq((value & 0xffff, value >> 16, small), (SOCK_STREAM, -1, 2));
    let mut large = 100u32;
    ok(sys!(getsockopt, fd, SOL_SOCKET, SO_TYPE, &mut [0u8; 100], &mut large));
    eq(large, 4);
}

case!(bytes_waiting: ioctl);
fn bytes_waiting() {
    let [a, b] = pair(SOCK_STREAM);
    let count = |fd: i32, what| {
        let mut n = -1i32;
        ok(sys!(ioctl, fd, what, &mut n));
        n
    };
    ok(send(a, b"abc", 0));
    ok(send(a, b"de", 0));
    eq(count(b, FIONREAD), 5);
    check(count(a, 0x5411) > 0, "sent and not read yet");
    let [a, b] = pair(SOCK_DGRAM);
    ok(send(a, b"abc", 0));
    ok(send(a, b"de", 0));
    eq(count(b, FIONREAD), 3);
    ok(sys!(ioctl, b, FIONBIO, &1i32));
    eq(ok_i32(sys!(fcntl, b, F_GETFL)), O_RDWR | O_NONBLOCK);
    fails(sys!(ioctl, b, 0x1234_5678, 0), ENOTTY);
}

case!(what_a_socket_is_not: lseek, pread64, ftruncate, fsync, mmap);
fn what_a_socket_is_not() {
    let [a, _b] = pair(SOCK_STREAM);
    fails(sys!(lseek, a, 0, SEEK_SET), ESPIPE);
    fails(sys!(pread64, a, &mut [0u8; 1], 1, 0), ESPIPE);
    fails(sys!(ftruncate, a, 0), EINVAL);
    fails(sys!(fsync, a), EINVAL);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_SHARED, a, 0), ENODEV);
    let st = fstat(a);
    eq((st.st_mode, st.st_nlink), (S_IFSOCK | 0o777, 1));
    let link = std::fs::read_link(format!("/proc/self/fd/{a}")).unwrap_or_default();
    eq(link.display().to_string(), format!("socket:[{}]", st.st_ino));
    let name = std::ffi::CString::new(format!("/proc/self/fd/{a}")).unwrap_or_default();
    fails(sys!(openat, AT_FDCWD, name.as_c_str(), O_RDWR, 0), ENXIO);
}
