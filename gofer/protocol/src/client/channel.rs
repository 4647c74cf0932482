//! One channel: its socket and its buffers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::Death;
use super::stay::{self, Stay};
use crate::handle::Handle;
use crate::list::Packer;
use crate::reply::Reply;
use crate::request::{Head, Request};
use crate::socket::{NoMessage, inbox, receive_fds, send, try_receive_fds};
use crate::time::Watch;
use crate::{Bad, MAX_MESSAGE};

/// How long a host call waits before its caller looks whether it still has to.
pub(super) const TURN: Duration = Duration::from_millis(100);

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
    /// The processor that was told with the last request.
    cpu: Option<u16>,
    out: Vec<u8>,
    inbox: Box<[u8]>,
    fds: Vec<OwnedFd>,
    /// The reply to the last request has not come, and nobody waits for it any more.
    owed: bool,
}

/// Why a request has no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// The Gofer answered with an error.
    Refused(Errno),
    /// The request could not be sent; the connection is as it was.
    Local(Errno),
    /// The caller need not wait any longer. The reply may still come.
    GivenUp,
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
    pub fn new(socket: Arc<OwnedFd>) -> Result<Channel, Death> {
        for wait in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&*socket, wait, Some(TURN)).map_err(Death::Host)?;
        }
        let (out, fds) = (Vec::new(), Vec::new());
        let line = Line { socket, last_id: 0, cpu: None, out, inbox: inbox(), fds, owed: false };
        Ok(Channel { packer: Packer::new(), line })
    }
}

impl Line {
    /// Sends a request that has no reply. When there is no room for it, waits until there is, or `gives_up` says that this
    /// is not needed any more: EINTR then.
    pub fn send(&mut self, request: &Request<'_>, gives_up: &dyn Fn() -> bool) -> Result<(), Failure> {
        self.send_from(stay::current_cpu(), request, gives_up)
    }

    /// Sends a request whose reply is waited for later, as from processor `cpu`, if it can be sent at once. Until it is, the reply is
    /// owed.
    pub fn send_ahead(&mut self, cpu: u16, request: &Request<'_>) -> Result<(), Failure> {
        self.send_from(Some(cpu), request, &|| true)?;
        self.owed = true;
        Ok(())
    }

    fn send_from(
        &mut self,
        cpu: Option<u16>,
        request: &Request<'_>,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<(), Failure> {
        self.last_id = self.last_id.wrapping_add(1);
        self.cpu = cpu;
        let head = Head { id: self.last_id, cpu: self.cpu };
        request.encode(head, &mut self.out).map_err(|_| Failure::Local(Errno::TOOBIG))?;
        let mut turns = Turns::default();
        loop {
            match send(&*self.socket, &self.out, &[]) {
                Ok(()) => return Ok(()),
                Err(Errno::AGAIN) if gives_up() => return Err(Failure::Local(Errno::INTR)),
                Err(Errno::AGAIN) => turns.one_more()?,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Failure::Dead(Death::Closed)),
                Err(Errno::NOMEM | Errno::NOBUFS) => return Err(Failure::Local(Errno::NOMEM)),
                Err(errno) => return Err(Failure::Dead(Death::Host(errno))),
            }
        }
    }

    /// Sends a request and waits for its reply, or until `gives_up` says that nobody needs it any more.
    pub fn exchange(
        &mut self,
        request: &Request<'_>,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<Answer<'_>, Failure> {
        let _watch = Watch::start();
        let _stay = Stay::here();
        self.send(request, gives_up)?;
        self.receive(gives_up)
    }

    /// Waits for the reply to what was [sent ahead](Self::send_ahead), or until `gives_up` says that nobody needs it any more.
    pub fn wait(&mut self, gives_up: &dyn Fn() -> bool) -> Result<Answer<'_>, Failure> {
        let _watch = Watch::start();
        self.receive(gives_up)
    }

    fn receive(&mut self, gives_up: &dyn Fn() -> bool) -> Result<Answer<'_>, Failure> {
        self.owed = true;
        let mut turns = Turns::default();
        let (len, lost_fds) = loop {
            match receive_fds(&*self.socket, &mut self.inbox[..MAX_MESSAGE], &mut self.fds) {
                Ok((bytes, lost_fds)) => break (bytes.len(), lost_fds),
                Err(NoMessage::Host(Errno::AGAIN)) if gives_up() => return Err(Failure::GivenUp),
                Err(NoMessage::Host(Errno::AGAIN)) => turns.one_more()?,
                Err(error) => return Err(Failure::Dead(death(error))),
            }
        };
        self.owed = false;
        let (id, reply) = Reply::decode(&self.inbox[..len]);
        let reply = reply.map_err(|bad| Failure::Dead(Death::Nonsense(bad)))?;
        if id != Some(self.last_id) {
            return Err(Failure::Dead(Death::WrongReply));
        }
        match reply {
            Reply::Error { errno } => Err(Failure::Refused(errno)),
            reply => Ok(Answer { reply, fds: &mut self.fds, lost_fds }),
        }
    }

    /// The processor that the server's thread expects the next request from.
    pub fn cpu(&self) -> Option<u16> {
        self.cpu
    }

    /// Whether a reply is still to come that nobody waits for.
    pub fn is_owed(&self) -> bool {
        self.owed
    }

    /// Takes a reply that nobody waits for, if it has come: whether it has. Handles in it go to `handles`.
    pub fn take_owed(&mut self, handles: &mut Vec<Handle>) -> Result<bool, Death> {
        let bytes = match try_receive_fds(&*self.socket, &mut self.inbox[..MAX_MESSAGE], &mut self.fds) {
            Ok((bytes, _)) => bytes,
            Err(NoMessage::Host(Errno::AGAIN)) => return Ok(false),
            Err(error) => return Err(death(error)),
        };
        let (id, reply) = Reply::decode(bytes);
        reply.map_err(Death::Nonsense)?.each_handle(|handle| handles.push(handle));
        if id != Some(self.last_id) {
            return Err(Death::WrongReply);
        }
        self.fds.clear();
        self.owed = false;
        Ok(true)
    }

    /// Closes fds that nobody took.
    pub fn close_fds(&mut self) {
        self.fds.clear();
    }
}

/// Host calls that have waited in vain. The other side could make its copy of a socket answer at once: that must not become
/// a loop.
#[derive(Debug, Default)]
struct Turns(Option<Instant>);

impl Turns {
    fn one_more(&mut self) -> Result<(), Failure> {
        match self.0.replace(Instant::now()) {
            Some(last) if last.elapsed() < TURN / 2 => Err(Failure::Dead(Death::Host(Errno::AGAIN))),
            _ => Ok(()),
        }
    }
}

fn death(error: NoMessage) -> Death {
    match error {
        NoMessage::End => Death::Closed,
        NoMessage::Long => Death::Nonsense(Bad::Long),
        NoMessage::Host(errno) => Death::Host(errno),
    }
}
