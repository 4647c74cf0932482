//! The Sentry's side of a connection, for any number of threads.
//!
//! A caller takes a free channel, sends its request and waits for the reply on it: one host call each, and no thread in
//! between that would have to be woken. When all channels are taken, callers wait for one.
//!
//! Who need not wait any longer ([`Client::give_up_when`]) gives up: EINTR. The channel is free again when the reply has come, which
//! nobody reads then.
//!
//! The Gofer is not trusted: a reply that is not what was asked for, as well as a connection that ends, makes the
//! connection *dead*. From then on every call answers EIO, and [`Client::death`] says why.

mod channel;
mod ops;
mod stay;

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::Shutdown;

use crate::flags::TreeFlags;
use crate::handle::Handle;
use crate::reply::Reply;
use crate::request::Request;
use crate::wire::Bad;
use crate::{MAX_CHANNELS, VERSION};
use channel::{Channel, Failure, TURN};
pub use ops::{Ahead, Listed, Walked};

/// Handles that wait to be given back before they are sent in one message.
const CLOSE_BATCH: usize = 128;

/// How often a Gofer's greeting is waited for, a [`TURN`] each time: half a minute.
const GREETING_TURNS: u32 = 300;

/// Why a connection is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    /// The Gofer has ended, or has closed the connection.
    #[error("the gofer has closed the connection; its log says why")]
    Closed,
    /// The host could not send or receive.
    #[error("the connection to the gofer failed: {0}")]
    Host(Errno),
    /// The Gofer sent something that is no message.
    #[error("the gofer answered nonsense: {0}")]
    Nonsense(Bad),
    /// The Gofer sent a reply to something else.
    #[error("the gofer answered something that was not asked")]
    WrongReply,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The greeting did not come through.
    #[error("no greeting from the gofer: {0}")]
    Dead(Death),
    /// The Gofer has not answered for so long.
    #[error("the gofer has not answered the greeting for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// The Gofer refused it.
    #[error("the gofer refused the connection: {0}")]
    Refused(Errno),
    /// The Gofer is of another build.
    #[error(
        "the gofer speaks version {0} of the protocol, this program {VERSION}; install both from one build"
    )]
    Version(u32),
}

/// A connection to a Gofer.
#[derive(Debug)]
pub struct Client {
    channels: Mutex<Channels>,
    returned: Condvar,
    /// The sockets of all channels.
    sockets: Vec<Arc<OwnedFd>>,
    closing: Mutex<Vec<Handle>>,
    death: OnceLock<Death>,
    mourner: OnceLock<Mourner>,
    gives_up: OnceLock<fn() -> bool>,
    trees: Vec<TreeFlags>,
    max_handles: u32,
    /// The processors that there are.
    cpus: Vec<u16>,
}

/// Channels that nobody is using.
#[derive(Debug)]
struct Channels {
    /// Those for the next request, the warmest last.
    idle: Vec<Channel>,
    /// Those whose reply is still to come, and is waited for by nobody.
    owed: Vec<Channel>,
}

impl Client {
    /// Greets the Gofer at the other end of `socket`. Waits until it has set itself up, [`GREETING_TURNS`] at most.
    pub fn connect(socket: OwnedFd) -> Result<Client, ConnectError> {
        let first = Arc::new(socket);
        let mut channel = Channel::new(Arc::clone(&first)).map_err(ConnectError::Dead)?;
        let hello = Request::Hello { version: VERSION };
        // Turns are counted, not seconds: while both are stopped, none goes by.
        let turns = Cell::new(0);
        let gives_up = || turns.replace(turns.get() + 1) >= GREETING_TURNS;
        let answer = channel.line.exchange(&hello, &gives_up).map_err(|failure| match failure {
            Failure::Refused(errno) | Failure::Local(errno) => ConnectError::Refused(errno),
            Failure::GivenUp => ConnectError::Silent(GREETING_TURNS * TURN),
            Failure::Dead(death) => ConnectError::Dead(death),
        })?;
        let Reply::Hello { version, max_handles, trees } = answer.reply else {
            return Err(ConnectError::Dead(Death::WrongReply));
        };
        if version != VERSION {
            return Err(ConnectError::Version(version));
        }
        let trees = trees.iter().collect();
        let more: Vec<Arc<OwnedFd>> = answer.fds.drain(..).take(MAX_CHANNELS).map(Arc::new).collect();
        let made = more.iter().map(|socket| Channel::new(Arc::clone(socket)));
        let mut idle = made.collect::<Result<Vec<Channel>, Death>>().map_err(ConnectError::Dead)?;
        idle.push(channel);
        let sockets = [first].into_iter().chain(more).collect();
        Ok(Client {
            channels: Mutex::new(Channels { idle, owed: Vec::new() }),
            returned: Condvar::new(),
            sockets,
            closing: Mutex::new(Vec::new()),
            death: OnceLock::new(),
            mourner: OnceLock::new(),
            gives_up: OnceLock::new(),
            trees,
            max_handles,
            cpus: stay::all_cpus(),
        })
    }

    /// What the Gofer's trees are like, in the order of its configuration.
    pub fn trees(&self) -> &[TreeFlags] {
        &self.trees
    }

    /// Handles that may be held at a time; the Gofer answers EMFILE to who wants more.
    pub fn max_handles(&self) -> u32 {
        self.max_handles
    }

    /// Requests that can be under way at a time.
    pub fn channels(&self) -> usize {
        self.sockets.len()
    }

    /// Why the connection is dead, if it is.
    pub fn death(&self) -> Option<Death> {
        self.death.get().copied()
    }

    /// `tell` is called once if the connection dies after this, by whoever meets it; it takes no lock and does not wait.
    pub fn on_death(&self, tell: impl Fn(Death) + Send + Sync + 'static) {
        let _ = self.mourner.set(Mourner(Box::new(tell)));
    }

    /// `gives_up` says whether the calling thread need not wait for the Gofer any longer; it is asked now and then while it
    /// waits. The first one counts.
    pub fn give_up_when(&self, gives_up: fn() -> bool) {
        let _ = self.gives_up.set(gives_up);
    }

    fn gives_up(&self) -> bool {
        self.gives_up.get().is_some_and(|gives_up| gives_up())
    }

    /// The socket of the first channel: readable (with nothing to read) when the Gofer has ended.
    pub fn socket(&self) -> impl AsFd + '_ {
        &*self.sockets[0]
    }

    /// Gives a handle back, some time: many go in one message. Never waits for an answer.
    pub fn release(&self, handle: Handle) {
        let mut closing = lock(&self.closing);
        closing.push(handle);
        // Where the Gofer does not read, that takes a while, and they stay: not again for each of those to come.
        if closing.len().is_multiple_of(CLOSE_BATCH) {
            let batch = std::mem::take(&mut *closing);
            drop(closing);
            self.close(&batch);
        }
    }

    /// Sends what [`release`](Self::release) has gathered. To be called after a file was removed: its room on the disk
    /// is only free when no handle holds it.
    pub fn flush(&self) {
        let batch = std::mem::take(&mut *lock(&self.closing));
        self.close(&batch);
    }

    /// As [`flush`](Self::flush), and waits until the Gofer has closed them: what it then opens has room.
    pub fn make_room(&self) -> Result<(), Errno> {
        let batch = std::mem::take(&mut *lock(&self.closing));
        self.close_and_wait(&batch)
    }

    fn close(&self, handles: &[Handle]) {
        // If the connection is dead, the Gofer's table is gone with it.
        if let Err(Errno::INTR) = self.send_close(handles) {
            // The Gofer does not read, which is no reason to wait: the next time.
            lock(&self.closing).extend(handles);
        }
    }

    /// Marks the connection as dead and ends it, which also ends a Gofer that is still there.
    fn die(&self, death: Death) -> Errno {
        if self.death.set(death).is_ok() {
            for socket in &self.sockets {
                // It may be closed already.
                let _ = rustix::net::shutdown(&**socket, Shutdown::Both);
            }
            // Whoever looks at `death` under this lock and then waits, does so before or sees it.
            drop(lock(&self.channels));
            self.returned.notify_all();
            if let Some(Mourner(tell)) = self.mourner.get() {
                tell(death);
            }
        }
        Errno::IO
    }

    /// Takes the replies that have come and nobody waits for.
    fn take_owed<'c>(
        &'c self,
        mut channels: MutexGuard<'c, Channels>,
    ) -> Result<MutexGuard<'c, Channels>, Errno> {
        let mut handles = Vec::new();
        let taken = channels.take_owed(&mut handles);
        drop(channels);
        lock(&self.closing).extend(handles);
        match taken {
            Ok(()) => Ok(lock(&self.channels)),
            Err(death) => Err(self.die(death)),
        }
    }

    /// A channel for a request beside another, and the processor to tell it, if there is one at once.
    fn take_another(&self) -> Option<(Channel, u16)> {
        let mut channels = lock(&self.channels);
        if channels.idle.is_empty() && !channels.owed.is_empty() {
            channels = self.take_owed(channels).ok()?;
        }
        channels.take_another(&self.cpus)
    }

    /// A channel for one request. Waits until there is one, or `gives_up` says that none is needed any more: EINTR then.
    fn take(&self, gives_up: &dyn Fn() -> bool) -> Result<Taken<'_>, Errno> {
        let mut channels = lock(&self.channels);
        loop {
            if self.death.get().is_some() {
                return Err(Errno::IO);
            }
            if let Some(channel) = channels.take_idle() {
                return Ok(Taken { client: self, channel: Some(channel) });
            }
            if !channels.owed.is_empty() {
                channels = self.take_owed(channels)?;
                if !channels.idle.is_empty() {
                    continue;
                }
            }
            let (still, waited) =
                self.returned.wait_timeout(channels, TURN).unwrap_or_else(PoisonError::into_inner);
            channels = still;
            if waited.timed_out() {
                drop(channels);
                if gives_up() {
                    return Err(Errno::INTR);
                }
                channels = lock(&self.channels);
            }
        }
    }
}

/// Whom to tell about the end of a connection.
struct Mourner(Box<dyn Fn(Death) + Send + Sync>);

impl std::fmt::Debug for Mourner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mourner")
    }
}

impl Channels {
    /// A channel for the next request: one whose thread is on the caller's processor, if there is one, else the warmest.
    fn take_idle(&mut self) -> Option<Channel> {
        let cpu = stay::current_cpu();
        match self.idle.iter().rposition(|channel| channel.line.cpu() == cpu) {
            Some(at) => Some(self.idle.remove(at)),
            None => self.idle.pop(),
        }
    }

    /// A channel for a request beside another, if there is one: rather one whose thread is on another processor than the caller, which is told.
    fn take_another(&mut self, cpus: &[u16]) -> Option<(Channel, u16)> {
        let own = stay::current_cpu();
        let other = cpus.iter().copied().find(|&cpu| Some(cpu) != own)?;
        let at = self.idle.iter().rposition(|channel| channel.line.cpu() == Some(other));
        let at = at.or_else(|| self.idle.iter().rposition(|channel| channel.line.cpu() != own));
        Some((self.idle.remove(at?), other))
    }

    /// Takes the replies that have come to channels on which nobody waits, which are idle then.
    fn take_owed(&mut self, handles: &mut Vec<Handle>) -> Result<(), Death> {
        for mut channel in std::mem::take(&mut self.owed) {
            match channel.line.take_owed(handles)? {
                true => self.idle.push(channel),
                false => self.owed.push(channel),
            }
        }
        Ok(())
    }
}

/// A channel in use; dropping it makes it free.
#[derive(Debug)]
struct Taken<'c> {
    client: &'c Client,
    channel: Option<Channel>,
}

impl Taken<'_> {
    fn channel(&mut self) -> Result<&mut Channel, Errno> {
        // It is there until the drop.
        self.channel.as_mut().ok_or(Errno::IO)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(mut channel) = self.channel.take() {
            channel.line.close_fds();
            let mut channels = lock(&self.client.channels);
            if channel.line.is_owed() {
                channels.owed.push(channel)
            } else {
                channels.idle.push(channel)
            }
            drop(channels);
            self.client.returned.notify_one();
        }
    }
}

/// A panic in between leaves these lists whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
