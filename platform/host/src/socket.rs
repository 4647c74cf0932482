//! Unix sockets that carry fds.

use std::io::{Error, IoSlice, IoSliceMut, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::io::{Pieces, ReadOnlyPieces};
use crate::{check, check_int, retry};

/// The most fds that one message carries (SCM_MAX_FD).
pub const MAX_FDS: usize = 253;

/// What a socket pair keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream of bytes.
    Stream,
    /// Messages, in order; end of file when the other side closes.
    Seqpacket,
    /// Messages without end of file.
    Datagram,
}

/// A pair of connected unix sockets, close-on-exec.
pub fn pair(kind: Kind) -> Result<(OwnedFd, OwnedFd)> {
    let kind = match kind {
        Kind::Stream => libc::SOCK_STREAM,
        Kind::Seqpacket => libc::SOCK_SEQPACKET,
        Kind::Datagram => libc::SOCK_DGRAM,
    };
    let mut fds = [-1; 2];
    // SAFETY: the array has room for two fds.
    check_int(unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) })?;
    // SAFETY: the fds are new and ours.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Room for one SCM_RIGHTS message, aligned as `cmsghdr` wants.
#[repr(C, align(8))]
struct Control([u8; 16 + 8 * MAX_FDS.div_ceil(2)]);

/// What came with a message.
#[derive(Debug)]
pub struct Message {
    /// Bytes received; 0 with no fds is the end of the stream.
    pub len: usize,
    /// Fds that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// The message was longer than the buffers (the rest is lost).
    pub truncated: bool,
    /// More fds came than there was room for (the rest is closed).
    pub fds_truncated: bool,
}

/// Sends bytes and fds in one message. On a stream, fewer bytes may be sent (the fds always go with the first).
/// Interrupted calls are repeated; no SIGPIPE.
pub fn send(socket: impl AsFd, bytes: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> Result<usize> {
    send_pieces(socket, &Pieces::from_slices(bytes), fds, libc::MSG_NOSIGNAL)
}

/// [`send`] from memory without references; `flags` are `MSG_*`.
pub fn send_pieces(
    socket: impl AsFd,
    pieces: &ReadOnlyPieces<'_>,
    fds: &[BorrowedFd<'_>],
    flags: i32,
) -> Result<usize> {
    if fds.len() > MAX_FDS {
        return Err(Error::from_raw_os_error(libc::EINVAL));
    }
    let mut control = Control([0; _]);
    // SAFETY: an all-zero msghdr is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let (iov, count) = pieces.raw();
    message.msg_iov = iov.cast_mut();
    message.msg_iovlen = count;
    if !fds.is_empty() {
        let bytes = size_of_val(fds) as u32;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the macros compute sizes and addresses inside `control`, which has room for MAX_FDS fds and the
        // alignment of a cmsghdr; fds are written one by one.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(bytes) as usize;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes) as usize;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (i, fd) in fds.iter().enumerate() {
                data.add(i).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    // SAFETY: all that the header points to is valid for the call; the pieces may be read at any time.
    let send =
        || check(unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &message, flags) } as libc::c_long);
    Ok(retry(send)? as usize)
}

/// Receives bytes and up to [`MAX_FDS`] fds. Interrupted calls are repeated.
pub fn receive(socket: impl AsFd, bytes: &mut [IoSliceMut<'_>]) -> Result<Message> {
    receive_pieces(socket, &mut Pieces::from_slices_mut(bytes), 0)
}

/// [`receive`] into memory without references; `flags` are `MSG_*`.
pub fn receive_pieces(socket: impl AsFd, pieces: &mut Pieces<'_>, flags: i32) -> Result<Message> {
    let mut control = Control([0; _]);
    // SAFETY: an all-zero msghdr is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let (iov, count) = pieces.raw();
    let fd = socket.as_fd().as_raw_fd();
    let len = retry(|| {
        message.msg_iov = iov.cast_mut();
        message.msg_iovlen = count;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len();
        // SAFETY: all that the header points to is valid for the call; the pieces may be written at any time.
        check(unsafe { libc::recvmsg(fd, &mut message, flags | libc::MSG_CMSG_CLOEXEC) } as libc::c_long)
    })?;
    Ok(Message {
        len: len as usize,
        fds: take_fds(&message),
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        fds_truncated: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// The fds in the control part of a message that the host has just filled.
fn take_fds(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the host wrote a valid chain of control messages of the length that the header says.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: `header` points to a control message in that chain. An SCM_RIGHTS message holds new fds that
        // nobody else owns.
        unsafe {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for i in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    fds
}

/// Who is at the other end of a connected unix socket, as it was when the socket was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// SO_PEERCRED.
pub fn peer_credentials(socket: impl AsFd) -> Result<PeerCredentials> {
    let mut creds = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the structure has the size that is passed.
    check_int(unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut creds).cast(),
            &mut len,
        )
    })?;
    Ok(PeerCredentials { pid: creds.pid, uid: creds.uid, gid: creds.gid })
}

/// Receives one packet, or part of a stream, with `MSG_*` flags: the bytes stored, and the length of the whole packet. It does
/// not wait; descriptors that come along are closed by the host.
pub fn receive_plain(socket: impl AsFd, bytes: &mut [u8], peek: bool) -> Result<(usize, usize)> {
    use rustix::net::RecvFlags;
    let mut flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    flags.set(RecvFlags::PEEK, peek);
    loop {
        match rustix::net::recv(&socket, &mut *bytes, flags) {
            Err(rustix::io::Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Sends one packet, or part of a stream. It does not wait; no SIGPIPE.
pub fn send_plain(socket: impl AsFd, bytes: &[u8]) -> Result<usize> {
    use rustix::net::SendFlags;
    loop {
        match rustix::net::send(&socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Shuts down receiving, sending, or both.
pub fn shutdown(socket: impl AsFd, receive: bool, send: bool) -> Result<()> {
    use rustix::net::Shutdown;
    let how = match (receive, send) {
        (true, false) => Shutdown::Read,
        (false, true) => Shutdown::Write,
        _ => Shutdown::Both,
    };
    Ok(rustix::net::shutdown(socket, how)?)
}

/// SO_ERROR: the pending error, which is then gone.
pub fn take_error(socket: impl AsFd) -> Result<Option<Error>> {
    Ok(rustix::net::sockopt::socket_error(socket)?.err().map(Error::from))
}

/// Takes connections from now on.
pub fn listen(socket: impl AsFd, backlog: i32) -> Result<()> {
    Ok(rustix::net::listen(socket, backlog)?)
}

/// The next connection, close-on-exec and non-blocking. Whether it waits, says the socket.
pub fn accept(socket: impl AsFd) -> Result<OwnedFd> {
    use rustix::net::SocketFlags;
    loop {
        match rustix::net::accept_with(&socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Err(rustix::io::Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    #[test]
    fn fds_travel_with_bytes() {
        for kind in [Kind::Stream, Kind::Seqpacket] {
            let (a, b) = pair(kind).expect("pair");
            let mut file = tempfile::tempfile().expect("file");
            file.write_all(b"contents").expect("write");
            let sent = send(&a, &[IoSlice::new(b"he"), IoSlice::new(b"llo")], &[file.as_fd(), a.as_fd()]);
            assert_eq!(sent.expect("send"), 5);
            let mut bytes = [0u8; 16];
            let mut message = receive(&b, &mut [IoSliceMut::new(&mut bytes)]).expect("receive");
            assert_eq!((&bytes[..message.len], message.fds.len()), (&b"hello"[..], 2));
            assert!(!message.truncated && !message.fds_truncated);
            let mut twin = File::from(message.fds.remove(0));
            twin.rewind().expect("rewind");
            let mut text = String::new();
            twin.read_to_string(&mut text).expect("read");
            assert_eq!(text, "contents");
            drop((a, message));
            let end = receive(&b, &mut [IoSliceMut::new(&mut bytes)]).expect("end");
            assert_eq!(end.len, 0);
        }
    }

    #[test]
    fn a_full_load_of_fds() {
        let (a, b) = pair(Kind::Seqpacket).expect("pair");
        let many = vec![a.as_fd(); MAX_FDS];
        send(&a, &[IoSlice::new(b"x")], &many).expect("send");
        let message = receive(&b, &mut [IoSliceMut::new(&mut [0u8; 4])]).expect("receive");
        assert_eq!((message.fds.len(), message.fds_truncated), (MAX_FDS, false));
        assert!(send(&a, &[IoSlice::new(b"x")], &vec![a.as_fd(); MAX_FDS + 1]).is_err());
    }

    #[test]
    fn peer_is_this_process() {
        let (a, _b) = pair(Kind::Stream).expect("pair");
        assert_eq!(peer_credentials(&a).expect("creds").pid, std::process::id() as i32);
    }
}
