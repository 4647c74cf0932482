//! AF_INET and AF_INET6 sockets on the loopback interface.

use libc::{AF_INET, AF_INET6, c_int};

use super::check::ok;
use super::sys::Answer;
use crate::sys;

/// An address with a port, as a socket address.
#[derive(Clone, Copy, Debug)]
pub struct Inet {
    bytes: [u8; 28],
    /// Bytes that count.
    pub len: u32,
}

impl PartialEq for Inet {
    fn eq(&self, other: &Inet) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Inet {
    /// Of AF_INET.
    pub fn v4(ip: [u8; 4], port: u16) -> Inet {
        let mut bytes = [0; 28];
        bytes[..2].copy_from_slice(&(AF_INET as u16).to_le_bytes());
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        bytes[4..8].copy_from_slice(&ip);
        Inet { bytes, len: 16 }
    }

    /// 127.0.0.1
    pub fn local(port: u16) -> Inet {
        Inet::v4([127, 0, 0, 1], port)
    }

    /// Of AF_INET6.
    pub fn v6(ip: [u8; 16], port: u16) -> Inet {
        let mut bytes = [0; 28];
        bytes[..2].copy_from_slice(&(AF_INET6 as u16).to_le_bytes());
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        bytes[8..24].copy_from_slice(&ip);
        Inet { bytes, len: 28 }
    }

    /// ::1
    pub fn local6(port: u16) -> Inet {
        let mut ip = [0; 16];
        ip[15] = 1;
        Inet::v6(ip, port)
    }

    /// ::ffff:127.0.0.1
    pub fn mapped(port: u16) -> Inet {
        Inet::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1], port)
    }

    /// No family.
    pub fn none() -> Inet {
        Inet { bytes: [0; 28], len: 16 }
    }

    /// Room for a call that gives an address.
    pub fn room() -> Inet {
        Inet { bytes: [0xee; 28], len: 28 }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The same address with another port.
    pub fn with_port(mut self, port: u16) -> Inet {
        self.bytes[2..4].copy_from_slice(&port.to_be_bytes());
        self
    }

    /// The bytes that count.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..(self.len as usize).min(28)]
    }

    /// For a system call.
    pub fn raw(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// For a system call that writes.
    pub fn raw_mut(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }
}

/// A socket of AF_INET.
#[track_caller]
pub fn socket4(kind: c_int) -> c_int {
    ok(sys!(socket, AF_INET, kind, 0)) as c_int
}

/// A socket of AF_INET6.
#[track_caller]
pub fn socket6(kind: c_int) -> c_int {
    ok(sys!(socket, AF_INET6, kind, 0)) as c_int
}

/// bind(2)
pub fn bind_to(fd: c_int, address: &Inet) -> Answer {
    sys!(bind, fd, address.raw(), address.len)
}

/// connect(2)
pub fn connect_to(fd: c_int, address: &Inet) -> Answer {
    sys!(connect, fd, address.raw(), address.len)
}

/// What getsockname gives.
#[track_caller]
pub fn name_of(fd: c_int) -> Inet {
    let mut address = Inet::room();
    let mut len = address.len;
    ok(sys!(getsockname, fd, address.raw_mut(), &mut len));
    address.len = len;
    address
}

/// What getpeername gives.
#[track_caller]
pub fn peer_of(fd: c_int) -> Inet {
    let mut address = Inet::room();
    let mut len = address.len;
    ok(sys!(getpeername, fd, address.raw_mut(), &mut len));
    address.len = len;
    address
}

/// A listening TCP socket on a free port of 127.0.0.1, and its address.
#[track_caller]
pub fn listener4(backlog: c_int) -> (c_int, Inet) {
    let fd = socket4(libc::SOCK_STREAM);
    ok(bind_to(fd, &Inet::local(0)));
    ok(sys!(listen, fd, backlog));
    (fd, name_of(fd))
}

/// Both ends of a TCP connection over 127.0.0.1: who connected, who accepted.
#[track_caller]
pub fn tcp_pair() -> [c_int; 2] {
    let (server, address) = listener4(1);
    let client = socket4(libc::SOCK_STREAM);
    ok(connect_to(client, &address));
    let accepted = ok(sys!(accept, server, 0, 0)) as c_int;
    ok(sys!(close, server));
    [client, accepted]
}

/// sendto(2)
pub fn send_inet(fd: c_int, bytes: &[u8], to: &Inet) -> Answer {
    sys!(sendto, fd, bytes.as_ptr(), bytes.len(), 0, to.raw(), to.len)
}

/// recvfrom(2): the bytes and where they came from; the call must succeed.
#[track_caller]
pub fn receive_from(fd: c_int, limit: usize, flags: c_int) -> (Vec<u8>, Inet) {
    let mut bytes = vec![0u8; limit];
    let mut from = Inet::room();
    let mut len = from.len;
    let n = ok(sys!(recvfrom, fd, bytes.as_mut_ptr(), limit, flags, from.raw_mut(), &mut len)) as usize;
    bytes.truncate(n);
    from.len = len;
    (bytes, from)
}

/// An integer option of any level.
#[track_caller]
pub fn option_at(fd: c_int, level: c_int, name: c_int) -> i32 {
    let (mut value, mut len) = (0i32, 4u32);
    ok(sys!(getsockopt, fd, level, name, &mut value, &mut len));
    value
}

/// Sets an integer option of any level.
pub fn set_option_at(fd: c_int, level: c_int, name: c_int, value: i32) -> Answer {
    sys!(setsockopt, fd, level, name, &value, 4)
}
