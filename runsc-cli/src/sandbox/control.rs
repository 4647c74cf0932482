//! Messages between the command line and the Sentry: JSON, one a packet, over a pair of connected sockets.
//!
//! Only the two processes hold the ends. Either sees the other's death as the end of the stream.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest message.
const PACKET: usize = 64 * 1024;

/// What the command line tells the Sentry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// The ids of its user namespace are mapped: go on.
    Start,
    /// A signal for the program.
    Signal {
        /// Its number, 1 to 64.
        signal: i32,
        /// What sigqueue(3) passed with it.
        value: i32,
        /// Who gets it.
        to: Target,
    },
    /// The command line's process group was continued, in the foreground of its terminal or not. Continue the
    /// program's.
    Continue {
        /// Whether the terminal may be read again.
        foreground: bool,
    },
}

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The first process.
    Init,
    /// The foreground process group of the terminal; the first process where there is none.
    Foreground,
}

/// What the Sentry tells the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It is confined and holds no program: the answer of a self-test.
    Confined(Report),
    /// The program runs.
    Running,
    /// The program's first process was stopped by this signal.
    Stopped(i32),
    /// The program ended.
    Ended(Ended),
    /// The program could not be started.
    NotStarted {
        /// Whether there is no such file, as against one that can't be executed.
        missing: bool,
        /// Why.
        why: String,
    },
    /// The Gofer is lost, and why; the program goes on without the host's files.
    GoferLost(String),
    /// The Sentry can't go on, in one line.
    Failed(String),
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// With this exit status.
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

/// What the Sentry sees of itself when it is confined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its pid in its PID namespace.
    pub pid: i32,
    /// Its host uid.
    pub uid: u32,
    /// Its host gid.
    pub gid: u32,
    /// The platform that it made.
    pub platform: String,
}

/// One end, which sends `S` and receives `R`.
#[derive(Debug)]
pub struct Channel<S, R> {
    socket: OwnedFd,
    messages: PhantomData<fn(S) -> R>,
}

/// The command line's end.
pub type CommandEnd = Channel<Order, Event>;
/// The Sentry's end.
pub type SentryEnd = Channel<Event, Order>;

/// A connected pair of sockets that keep messages apart, for a control channel or for the Gofer.
pub fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

impl<S: Serialize, R: DeserializeOwned> Channel<S, R> {
    /// Takes one end of a [`socketpair`].
    pub fn new(socket: OwnedFd) -> Channel<S, R> {
        Channel { socket, messages: PhantomData }
    }

    /// Sends a message. An error means that the other side is gone.
    pub fn send(&self, message: &S) -> io::Result<()> {
        let packet = serde_json::to_vec(message)?;
        loop {
            match rustix::net::send(&self.socket, &packet, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for a message; none when the other side is gone.
    pub fn receive(&self) -> io::Result<Option<R>> {
        // Most are short: a buffer for the longest would be memory to clear and to keep while nothing comes.
        let mut packet = vec![0; self.next_len().clamp(1, PACKET)];
        loop {
            match rustix::net::recv(&self.socket, &mut packet, RecvFlags::empty()) {
                Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(None),
                Ok((n, _)) => return Ok(Some(serde_json::from_slice(&packet[..n])?)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl<S, R> Channel<S, R> {
    /// Waits for a message and gives its length; 0 when there will be none, as receiving then tells.
    fn next_len(&self) -> usize {
        loop {
            match rustix::net::recv(&self.socket, &mut [0; 0], RecvFlags::PEEK | RecvFlags::TRUNC) {
                Ok((_, len)) => return len,
                Err(Errno::INTR) => {}
                Err(_) => return 0,
            }
        }
    }
}

impl<S, R> AsFd for Channel<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_the_end_is_seen() {
        let (a, b) = socketpair().unwrap();
        let (command, sentry) = (CommandEnd::new(a), SentryEnd::new(b));
        let orders = [
            Order::Start,
            Order::Signal { signal: 15, value: 0, to: Target::Init },
            Order::Continue { foreground: true },
        ];
        for order in &orders {
            command.send(order).unwrap();
        }
        for order in &orders {
            assert_eq!(sentry.receive().unwrap(), Some(*order));
        }
        sentry.send(&Event::Ended(Ended::Exited(3))).unwrap();
        drop(sentry);
        assert_eq!(command.receive().unwrap(), Some(Event::Ended(Ended::Exited(3))));
        assert_eq!(command.receive().unwrap(), None);
    }
}
