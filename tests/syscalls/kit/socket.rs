//! AF_UNIX sockets: addresses, messages with descriptors and credentials.

use libc::{AF_UNIX, MSG_PEEK, c_int, iovec, msghdr};

use super::check::ok;
use super::sys::Answer;
use crate::sys;

/// `struct sockaddr_un` and the length that says how much of it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    bytes: [u8; 110],
    /// Bytes that count.
    pub len: u32,
}

impl Address {
    fn new(name: &[u8], end: bool) -> Address {
        let mut bytes = [0u8; 110];
        bytes[..2].copy_from_slice(&(AF_UNIX as u16).to_le_bytes());
        bytes[2..2 + name.len()].copy_from_slice(name);
        Address { bytes, len: (2 + name.len() + usize::from(end)) as u32 }
    }

    /// A name in the file system.
    pub fn path(name: &str) -> Address {
        Address::new(name.as_bytes(), true)
    }

    /// An abstract name, told apart from other processes' by the pid.
    pub fn hidden(name: &str) -> Address {
        let pid = ok(sys!(getpid));
        Address::new(format!("\0{name}.{pid}").as_bytes(), false)
    }

    /// No name.
    pub fn none() -> Address {
        Address::new(b"", false)
    }

    /// Room for a call that gives an address.
    pub fn room() -> Address {
        Address { bytes: [0xee; 110], len: 110 }
    }

    /// The name's bytes.
    pub fn name(&self) -> &[u8] {
        &self.bytes[2..self.len as usize]
    }

    /// The family.
    pub fn family(&self) -> u16 {
        u16::from_le_bytes([self.bytes[0], self.bytes[1]])
    }

    /// The bytes, for a system call.
    pub fn raw(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// The bytes, for a system call that writes them.
    pub fn raw_mut(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }
}

/// A socket of AF_UNIX.
#[track_caller]
pub fn socket(kind: c_int) -> c_int {
    ok(sys!(socket, AF_UNIX, kind, 0)) as c_int
}

/// A connected pair.
#[track_caller]
pub fn pair(kind: c_int) -> [c_int; 2] {
    let mut ends = [0; 2];
    ok(sys!(socketpair, AF_UNIX, kind, 0, &mut ends));
    ends
}

/// bind(2)
pub fn bind(fd: c_int, address: &Address) -> Answer {
    sys!(bind, fd, address.raw(), address.len)
}

/// connect(2)
pub fn connect(fd: c_int, address: &Address) -> Answer {
    sys!(connect, fd, address.raw(), address.len)
}

/// A listening socket.
#[track_caller]
pub fn listener(kind: c_int, address: &Address, backlog: c_int) -> c_int {
    let fd = socket(kind);
    ok(bind(fd, address));
    ok(sys!(listen, fd, backlog));
    fd
}

/// accept(2) without the peer's address.
pub fn accept(fd: c_int) -> Answer {
    sys!(accept, fd, 0, 0)
}

/// send(2)
pub fn send(fd: c_int, bytes: &[u8], flags: c_int) -> Answer {
    sys!(sendto, fd, bytes.as_ptr(), bytes.len(), flags, 0, 0)
}

/// send to an address
pub fn send_to(fd: c_int, bytes: &[u8], address: &Address) -> Answer {
    sys!(sendto, fd, bytes.as_ptr(), bytes.len(), 0, address.raw(), address.len)
}

/// recv(2) of at most `limit` bytes; the call must succeed.
#[track_caller]
pub fn recv(fd: c_int, limit: usize, flags: c_int) -> Vec<u8> {
    let mut bytes = vec![0u8; limit];
    let n = ok(sys!(recvfrom, fd, bytes.as_mut_ptr(), limit, flags, 0, 0)) as usize;
    bytes.truncate(n);
    bytes
}

/// What getsockname or getpeername gave.
#[track_caller]
pub fn own_name(fd: c_int) -> Address {
    let mut address = Address::room();
    let mut len = address.len;
    ok(sys!(getsockname, fd, address.raw_mut(), &mut len));
    address.len = len;
    address
}

/// An integer option of SOL_SOCKET.
#[track_caller]
pub fn option(fd: c_int, name: c_int) -> i32 {
    let (mut value, mut len) = (-1i32, 4u32);
    ok(sys!(getsockopt, fd, libc::SOL_SOCKET, name, &mut value, &mut len));
    value
}

/// Sets an integer option of SOL_SOCKET.
pub fn set_option(fd: c_int, name: c_int, value: i32) -> Answer {
    sys!(setsockopt, fd, libc::SOL_SOCKET, name, &value, 4)
}

/// One control message of SOL_SOCKET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// SCM_RIGHTS, SCM_CREDENTIALS.
    pub kind: c_int,
    /// Its integers.
    pub words: Vec<i32>,
}

impl Control {
    /// Descriptors.
    pub fn rights(fds: &[c_int]) -> Control {
        Control { kind: libc::SCM_RIGHTS, words: fds.to_vec() }
    }

    /// Process, user, group.
    pub fn credentials(pid: i32, uid: u32, gid: u32) -> Control {
        Control { kind: libc::SCM_CREDENTIALS, words: vec![pid, uid as i32, gid as i32] }
    }

    fn encode(&self) -> Vec<u64> {
        let mut bytes = ((16 + 4 * self.words.len()) as u64).to_le_bytes().to_vec();
        bytes.extend(libc::SOL_SOCKET.to_le_bytes());
        bytes.extend(self.kind.to_le_bytes());
        self.words.iter().for_each(|w| bytes.extend(w.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.chunks_exact(8).map(|c| c.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))).collect()
    }
}

/// sendmsg with control messages.
pub fn send_message(fd: c_int, bytes: &[u8], controls: &[Control], flags: c_int) -> Answer {
    let mut control: Vec<u64> = controls.iter().flat_map(Control::encode).collect();
    let mut part = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: a structure of integers and pointers.
    let mut message: msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if !control.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control.len() * 8;
    }
    sys!(sendmsg, fd, &message, flags)
}

/// What recvmsg gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The data.
    pub bytes: Vec<u8>,
    /// The control messages.
    pub controls: Vec<Control>,
    /// MSG_TRUNC, MSG_CTRUNC and so on.
    pub flags: c_int,
}

impl Message {
    /// The descriptors that came.
    pub fn fds(&self) -> Vec<c_int> {
        self.controls.iter().filter(|c| c.kind == libc::SCM_RIGHTS).flat_map(|c| c.words.clone()).collect()
    }

    /// The credentials that came.
    pub fn credentials(&self) -> Option<[i32; 3]> {
        let found = self.controls.iter().find(|c| c.kind == libc::SCM_CREDENTIALS)?;
        Some([found.words[0], found.words[1], found.words[2]])
    }
}

/// recvmsg with so much room for data and control messages; the call must succeed.
#[track_caller]
pub fn recv_message(fd: c_int, limit: usize, control_room: usize, flags: c_int) -> Message {
    let mut bytes = vec![0u8; limit];
    let mut control = vec![0u64; control_room.div_ceil(8)];
    let mut part = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: limit };
    // SAFETY: a structure of integers and pointers.
    let mut message: msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control_room;
    let n = ok(sys!(recvmsg, fd, &mut message, flags)) as usize;
    bytes.truncate(n);
    let mut controls = Vec::new();
    let mut at = 0;
    while at + 2 < message.msg_controllen.div_ceil(8) {
        let length = control[at] as usize;
        let words = (length.max(16) - 16) / 4;
        controls.push(Control {
            kind: (control[at + 1] >> 32) as i32,
            words: (0..words).map(|i| (control[at + 2 + i / 2] >> (i % 2 * 32)) as i32).collect(),
        });
        at += length.max(16).div_ceil(8);
    }
    Message { bytes, controls, flags: message.msg_flags }
}

/// Looks without taking.
#[track_caller]
pub fn peek(fd: c_int, limit: usize) -> Vec<u8> {
    recv(fd, limit, MSG_PEEK)
}
