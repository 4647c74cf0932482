//! What sockets of all families have: directions that are shut down, and an error that is told once.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use abi::Errno;
use abi::socket::{SHUT_RD, SHUT_RDWR, SHUT_WR};

/// Nothing more is received.
pub const SHUT_RECEIVE: u8 = 1;
/// Nothing more is sent.
pub const SHUT_SEND: u8 = 2;
/// Neither.
pub const SHUT_BOTH: u8 = SHUT_RECEIVE | SHUT_SEND;

/// The directions that `how` of shutdown(2) means.
pub fn directions(how: u32) -> Result<u8, Errno> {
    match how {
        SHUT_RD => Ok(SHUT_RECEIVE),
        SHUT_WR => Ok(SHUT_SEND),
        SHUT_RDWR => Ok(SHUT_BOTH),
        _ => Err(Errno::EINVAL),
    }
}

/// The state of one socket. It has no lock: where a direction is checked before something is put into a queue, that
/// queue's lock orders the two.
#[derive(Default)]
pub struct Condition {
    /// [`SHUT_RECEIVE`], [`SHUT_SEND`]
    shutdown: AtomicU8,
    /// Zero: none.
    error: AtomicU32,
}

impl Condition {
    /// What has been shut down.
    pub fn shut(&self) -> u8 {
        self.shutdown.load(Ordering::Acquire)
    }

    /// Shuts `which` down as well.
    pub fn add_shutdown(&self, which: u8) {
        self.shutdown.fetch_or(which, Ordering::AcqRel);
    }

    /// Nothing is shut down, as for a new connection.
    pub fn reopen(&self) {
        self.shutdown.store(0, Ordering::Release);
    }

    /// Somebody will be told this error.
    pub fn set_error(&self, errno: Errno) {
        self.error.store(errno.number(), Ordering::Release);
    }

    /// The error that waits to be told.
    pub fn error(&self) -> Option<Errno> {
        Errno::new(self.error.load(Ordering::Acquire))
    }

    /// Takes the error: it is told once (SO_ERROR, or by the next call).
    pub fn take_error(&self) -> Option<Errno> {
        if self.error.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Errno::new(self.error.swap(0, Ordering::AcqRel))
    }
}
