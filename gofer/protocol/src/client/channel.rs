//! One channel: its socket and its buffers.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::Death;
use crate::list::Packer;
use crate::reply::Reply;
use crate::request::Request;
use crate::socket::{NoMessage, inbox, receive_fds, send};
use crate::time::Watch;
use crate::{Bad, MAX_MESSAGE};

/// A channel. The packer stands apart, so that a request can borrow a list from it while it is sent.
#[derive(Debug)]
pub(super) struct Channel {
    /// For the lists of requests.
    pub packer: Packer,
    /// Socket and buffers.
    pub line: Line,
}

/// The socket with what is sent and received.
#[derive(Debug)]
pub(super) struct Line {
    socket: Arc<OwnedFd>,
    last_id: u32,
    out: Vec<u8>,
    inbox: Box<[u8]>,
    fds: Vec<OwnedFd>,
}

/// Why a request has no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// The Gofer answered with an error.
    Refused(Errno),
    /// The request could not be sent; the connection is as it was.
    Local(Errno),
    /// The connection is of no more use.
    Dead(Death),
}

/// A reply with its fds.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub reply: Reply<'a>,
    pub fds: &'a mut Vec<OwnedFd>,
    /// Fds came that this process had no room for.
    pub lost_fds: bool,
}

impl Channel {
    pub fn new(socket: Arc<OwnedFd>) -> Channel {
        let line = Line { socket, last_id: 0, out: Vec::new(), inbox: inbox(), fds: Vec::new() };
        Channel { packer: Packer::new(), line }
    }
}

impl Line {
    /// Sends a request that has no reply.
    pub fn send(&mut self, request: &Request<'_>) -> Result<(), Failure> {
        self.last_id = self.last_id.wrapping_add(1);
        request.encode(self.last_id, &mut self.out).map_err(|_| Failure::Local(Errno::TOOBIG))?;
        send(&*self.socket, &self.out, &[]).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET => Failure::Dead(Death::Closed),
            Errno::NOMEM | Errno::NOBUFS => Failure::Local(Errno::NOMEM),
            errno => Failure::Dead(Death::Host(errno)),
        })
    }

    /// Sends a request and waits for its reply.
    pub fn exchange(&mut self, request: &Request<'_>) -> Result<Answer<'_>, Failure> {
        let _watch = Watch::start();
        self.send(request)?;
        let (bytes, lost_fds) = receive_fds(&*self.socket, &mut self.inbox[..MAX_MESSAGE], &mut self.fds)
            .map_err(|error| {
                Failure::Dead(match error {
                    NoMessage::End => Death::Closed,
                    NoMessage::Long => Death::Nonsense(Bad::Long),
                    NoMessage::Host(errno) => Death::Host(errno),
                })
            })?;
        let (id, reply) = Reply::decode(bytes);
        let reply = reply.map_err(|bad| Failure::Dead(Death::Nonsense(bad)))?;
        if id != Some(self.last_id) {
            return Err(Failure::Dead(Death::WrongReply));
        }
        match reply {
            Reply::Error { errno } => Err(Failure::Refused(errno)),
            reply => Ok(Answer { reply, fds: &mut self.fds, lost_fds }),
        }
    }

    /// Closes fds that nobody took.
    pub fn close_fds(&mut self) {
        self.fds.clear();
    }
}
