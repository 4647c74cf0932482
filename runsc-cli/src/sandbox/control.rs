//! Messages between the command line and the Sentry: JSON, one a packet, over connected sockets.
//!
//! A *line* belongs to one process of the guest, from its start to its end: [`Order`]s go in, [`Event`]s come out. Either
//! side sees the other's death as the end of the stream. The line of the first process is a socket pair that the Sentry is
//! started with. The Sentry of containers also listens on a socket in the container's directory, which only the sandbox's
//! owner may enter; whoever connects sends one [`Request`] and gets one [`Answer`], or has a line from then on.

use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::{self, Limits, Process, Stream, Text};
use crate::profile::Profile;

/// The longest message.
const PACKET: usize = 64 * 1024;

/// Descriptors from 3 on that a process can be given: beside those of a request, and one for a long message, all that one
/// message carries.
pub const MOST_PASSED: usize = host::socket::MAX_FDS - 6;

/// Stands for a message that is in a memory file.
const LONG: &[u8] = b"#";

/// What the command line tells the Sentry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// The ids of its user namespace are mapped: go on. Descriptors: those of the first container's process from 3 on.
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
    /// The container is there, and its process can be started.
    Created,
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

/// What is asked at the socket of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// One more container, which this connection becomes the line of. Descriptors: its configuration, the connection to its
    /// Gofer, those of its process from 0 on.
    Create,
    /// One more process in a container, which this connection becomes the line of. Descriptors: its configuration (an
    /// [`Exec`]), its own from 0 on.
    Exec {
        /// The container.
        container: String,
        /// Whether it is to wait while the container is paused.
        ignore_paused: bool,
    },
    /// The container's process is to run.
    Start {
        /// The container.
        container: String,
        /// Whether somebody will ask when it is ready.
        notified: bool,
    },
    /// Its process is to say that it is ready (sd_notify(3)): answered when it has, or when it has ended.
    Ready {
        /// The container.
        container: String,
    },
    /// What it is doing.
    State {
        /// The container.
        container: String,
    },
    /// A signal.
    Signal {
        /// The container.
        container: String,
        /// 1 to 64.
        signal: i32,
        /// Who gets it.
        to: Whom,
    },
    /// All its threads are to stand still.
    Freeze {
        /// The container.
        container: String,
    },
    /// They go on.
    Thaw {
        /// The container.
        container: String,
    },
    /// Its processes.
    Processes {
        /// The container.
        container: String,
    },
    /// What it uses.
    Stats {
        /// The container.
        container: String,
    },
    /// How a process ends: answered when it has.
    Wait {
        /// The container.
        container: String,
        /// In the container's PID namespace; its first process without a number.
        pid: Option<i32>,
    },
    /// It is granted something else.
    Limit {
        /// The container.
        container: String,
        /// What.
        limits: Limits,
    },
    /// Where the time of the whole sandbox goes: answered when it has passed, or the connection is closed.
    Profile {
        /// How long, milliseconds.
        time_ms: u64,
    },
    /// It is forgotten, and what is left of it killed.
    Remove {
        /// The container.
        container: String,
    },
}

/// What a further process of a container is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exec {
    /// What to run.
    pub process: Process,
    /// What the caller knows of its standard streams.
    pub streams: [Stream; 3],
    /// The same of the descriptors behind them.
    pub passed: Vec<Stream>,
    /// Its cgroups in the sandbox, where they are not the roots.
    pub cgroups: Vec<SubCgroup>,
}

/// A cgroup that a container has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubCgroup {
    /// A controller of version 1; all hierarchies without one.
    pub controller: Option<String>,
    /// Its path below the root.
    pub path: String,
}

/// Who gets a signal that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// The first process of the container.
    Init,
    /// All its processes.
    All,
    /// The process with this number in its PID namespace.
    Pid(i32),
}

/// What the Sentry answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// It can't be done, and why.
    Refused(String),
    /// The answer to [`Request::Ready`]: whether it is.
    Ready(bool),
    /// The answer to [`Request::State`].
    State(State),
    /// The answer to [`Request::Processes`].
    Processes(Vec<ProcessInfo>),
    /// The answer to [`Request::Stats`].
    Stats(Stats),
    /// The answer to [`Request::Wait`].
    Ended(Ended),
    /// The answer to [`Request::Profile`].
    Profile(Box<Profile>),
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Its process has not been started.
    Created,
    /// It runs.
    Running,
    /// It stands still, started or not.
    Paused,
    /// Its process has ended.
    Stopped,
}

/// A process of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// In the container's PID namespace.
    pub pid: i32,
    /// Parent, likewise; 0 outside of it.
    pub ppid: i32,
    /// User.
    pub uid: u32,
    /// Threads.
    pub threads: Vec<ThreadInfo>,
    /// When it started, seconds since the sandbox did.
    pub start_s: u64,
    /// Processor time, milliseconds.
    pub cpu_ms: u64,
    /// Memory, bytes.
    pub rss: u64,
    /// Its command line.
    pub args: Vec<Text>,
    /// Open files: number and path.
    pub files: Vec<(i32, Text)>,
    /// The host process that holds its memory, in the Sentry's PID namespace.
    pub host_process: Option<i32>,
}

/// A thread of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadInfo {
    /// In the container's PID namespace.
    pub tid: i32,
    /// Its name.
    pub name: Text,
    /// The letter of /proc/PID/stat.
    pub state: char,
}

/// What a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Threads.
    pub threads: u64,
    /// Threads at most; 0 without a limit.
    pub max_threads: u64,
    /// Processor time of programs, nanoseconds.
    pub user_ns: u64,
    /// Processor time of the kernel on their behalf, nanoseconds.
    pub system_ns: u64,
    /// Guest memory of the whole sandbox, bytes.
    pub memory: u64,
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
/// The end of one who asks.
pub type AskingEnd = Channel<Request, Answer>;
/// The Sentry's end of that.
pub type AnsweringEnd = Channel<Answer, Request>;

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

    /// Sends a message of any length, and descriptors with it.
    pub fn send_with(&self, message: &S, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut packet = serde_json::to_vec(message)?;
        let mut long = None;
        if packet.len() > PACKET {
            long = Some(config::store(message)?);
            packet = LONG.to_vec();
        }
        let fds: Vec<BorrowedFd<'_>> = long.iter().map(|fd| fd.as_fd()).chain(fds.iter().copied()).collect();
        host::socket::send(&self.socket, &[IoSlice::new(&packet)], &fds).map(drop)
    }

    /// Waits for a message that may be long or have descriptors with it.
    pub fn receive_with(&self) -> io::Result<Option<(R, Vec<OwnedFd>)>> {
        let mut packet = vec![0; PACKET];
        let message = host::socket::receive(&self.socket, &mut [IoSliceMut::new(&mut packet)]);
        let mut message = match message {
            Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => return Ok(None),
            other => other?,
        };
        let packet = &packet[..message.len];
        if packet.is_empty() {
            return Ok(None);
        }
        if packet == LONG && !message.fds.is_empty() {
            return Ok(Some((config::load(message.fds.remove(0))?, message.fds)));
        }
        Ok(Some((serde_json::from_slice(packet)?, message.fds)))
    }

    /// The same connection with other messages.
    pub fn into_other<T: Serialize, U: DeserializeOwned>(self) -> Channel<T, U> {
        Channel::new(self.socket)
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
