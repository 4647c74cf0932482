//! One channel: request, reply, request, reply.

use std::os::fd::OwnedFd;

use gofer_protocol::socket::{NoMessage, inbox, receive, send};
use gofer_protocol::{Errno, Head, MAX_CHANNELS, MAX_MESSAGE, Reply, Request};

use crate::error::GoferError;
use crate::ops::{Answer, Gift, Scratch, perform};
use crate::processor::Processor;
use crate::server::Server;

/// Serves a channel until the other side closes it (no error) or breaks the protocol.
///
/// What can be decoded as far as its id gets an answer, if only EPROTO. Anything else ends the channel.
pub(crate) fn serve(server: &Server, socket: &OwnedFd) -> Result<(), GoferError> {
    let mut inbox = inbox();
    let mut out = Vec::new();
    let mut scratch = Scratch::new();
    let mut processor = Processor::default();
    loop {
        let bytes = match receive(socket, &mut inbox[..MAX_MESSAGE]) {
            Ok(bytes) => bytes,
            Err(NoMessage::End) => return Ok(()),
            Err(NoMessage::Long) => return Err(GoferError::Protocol("a message is too long")),
            Err(error) => return Err(GoferError::Receive(error)),
        };
        let (head, request) = Request::decode(bytes);
        let Some(Head { id, cpu }) = head else { return Err(GoferError::Protocol("a message is too short")) };
        let answer = match request.map_err(|_| Errno::PROTO).and_then(|r| perform(server, &mut scratch, r)) {
            Ok(Some(answer)) => answer,
            Ok(None) => continue,
            Err(errno) => Reply::Error { errno }.into(),
        };
        match reply(socket, id, &answer, &mut out) {
            Ok(()) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(errno) => return Err(GoferError::Send(errno)),
        }
        // Now that nobody waits for it.
        processor.follow(cpu);
    }
}

fn reply(socket: &OwnedFd, id: u32, answer: &Answer<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let mut sent = match answer.reply.encode(id, out) {
        Ok(()) => send_with(socket, out, &answer.gift),
        // No reply is made that long.
        Err(_) => Err(Errno::TOOBIG),
    };
    // Too many descriptors are on their way, or the host is short of memory: that is this request's bad luck, not the
    // connection's end.
    if let Err(errno @ (Errno::TOOMANYREFS | Errno::NOMEM | Errno::NOBUFS | Errno::TOOBIG)) = sent {
        Reply::Error { errno }.encode(id, out).map_err(|_| errno)?;
        sent = send(socket, out, &[]);
    }
    sent
}

fn send_with(socket: &OwnedFd, bytes: &[u8], gift: &Gift) -> Result<(), Errno> {
    let mut fds = gift.fds();
    let Some(first) = fds.next() else { return send(socket, bytes, &[]) };
    let mut all = [first; MAX_CHANNELS];
    let mut count = 1;
    for (slot, fd) in all[1..].iter_mut().zip(fds) {
        *slot = fd;
        count += 1;
    }
    send(socket, bytes, &all[..count])
}
