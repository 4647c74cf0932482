//! Messages over a `SOCK_SEQPACKET` socket, and the fds that go with them.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::{MAX_CHANNELS, MAX_MESSAGE};

/// Room for the fds of one message.
const CONTROL: usize = rustix::cmsg_space!(ScmRights(MAX_CHANNELS));

/// Why no message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMessage {
    /// The other side has closed its end.
    #[error("the other side has closed the connection")]
    End,
    /// The message is longer than any message may be.
    #[error("the other side sent a message that is too long")]
    Long,
    /// The host refused.
    #[error("receiving failed: {0}")]
    Host(Errno),
}

/// Sends one message, with up to [`MAX_CHANNELS`] fds. Waits for room; no SIGPIPE.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); CONTROL];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::INVAL);
        }
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            // Messages go as a whole or not at all.
            done => return done.map(drop),
        }
    }
}

/// Room for a message of any length. It takes memory only as far as messages are long: the allocator maps what is this
/// large, and leaves it to the host to clear pages when they are used.
pub fn inbox() -> Box<[u8]> {
    const MAPPED: usize = 256 * 1024;
    vec![0; MAX_MESSAGE.max(MAPPED)].into()
}

/// Receives one message, without fds: what the other side tries to send of them the host closes. For the Gofer.
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> Result<&[u8], NoMessage> {
    let len = receive_with(socket, bytes, &mut RecvAncillaryBuffer::default(), RecvFlags::empty())?.0;
    Ok(&bytes[..len])
}

/// Receives one message; its fds are added to `fds`. The flag says that some were lost, because this process may have
/// no more. For the Sentry.
pub fn receive_fds<'b>(
    socket: impl AsFd,
    bytes: &'b mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<(&'b [u8], bool), NoMessage> {
    receive_fds_with(socket, bytes, fds, RecvFlags::empty())
}

/// As [`receive_fds`]; EAGAIN when no message is there.
pub fn try_receive_fds<'b>(
    socket: impl AsFd,
    bytes: &'b mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<(&'b [u8], bool), NoMessage> {
    receive_fds_with(socket, bytes, fds, RecvFlags::DONTWAIT)
}

fn receive_fds_with<'b>(
    socket: impl AsFd,
    bytes: &'b mut [u8],
    fds: &mut Vec<OwnedFd>,
    flags: RecvFlags,
) -> Result<(&'b [u8], bool), NoMessage> {
    let mut space = [MaybeUninit::uninit(); CONTROL];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let (len, lost) = receive_with(socket, bytes, &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok((&bytes[..len], lost))
}

fn receive_with(
    socket: impl AsFd,
    bytes: &mut [u8],
    control: &mut RecvAncillaryBuffer<'_>,
    flags: RecvFlags,
) -> Result<(usize, bool), NoMessage> {
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(bytes)], control, flags) {
            Ok(received) if received.flags.contains(ReturnFlags::TRUNC) => return Err(NoMessage::Long),
            // An empty message looks like the end, and is no message of this protocol either.
            Ok(received) if received.bytes == 0 => return Err(NoMessage::End),
            Ok(received) => {
                let len = received.bytes.min(bytes.len());
                return Ok((len, received.flags.contains(ReturnFlags::CTRUNC)));
            }
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Err(NoMessage::End),
            Err(errno) => return Err(NoMessage::Host(errno)),
        }
    }
}
