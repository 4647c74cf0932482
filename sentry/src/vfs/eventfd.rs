//! Event counters (eventfd(2)).
//!
//! The counter is one atomic word: neither side takes a lock.

use std::any::Any;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use abi::Errno;
use abi::poll::PollEvents;

use super::file::{Blocking, File, FileOps};
use super::io::{IoSink, IoSource};
use crate::wait::WaitQueue;

static NEXT_ID: AtomicI32 = AtomicI32::new(0);

/// A counter that a write adds to and a read takes from.
pub struct EventFd {
    count: AtomicU64,
    semaphore: bool,
    id: i32,
    queue: WaitQueue,
}

impl EventFd {
    /// A counter at `count`. With `semaphore`, a read takes one; without, everything.
    pub fn new(count: u32, semaphore: bool) -> EventFd {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        EventFd { count: AtomicU64::new(u64::from(count)), semaphore, id, queue: WaitQueue::new() }
    }

    /// Adds, stopping at the highest value that reads give: what kernel objects do that signal through an eventfd.
    pub fn signal(&self, n: u64) {
        let add = |count: u64| Some(count.saturating_add(n));
        // The closure always gives a value.
        let _ = self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        self.queue.notify(PollEvents::IN);
    }
}

impl FileOps for EventFd {
    fn blocking(&self) -> Blocking {
        Blocking::Record
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize, Errno> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let take = |count: u64| match count {
            0 => None,
            _ if self.semaphore => Some(count - 1),
            _ => Some(0),
        };
        let before =
            self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).map_err(|_| Errno::EAGAIN)?;
        self.queue.notify(PollEvents::OUT);
        // As on Linux, a count that can't be stored is lost.
        let value = if self.semaphore { 1 } else { before };
        match dst.put(&value.to_ne_bytes()) {
            Ok(8) => Ok(8),
            _ => Err(Errno::EFAULT),
        }
    }

    fn write(&self, _file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize, Errno> {
        if src.remaining() != 8 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 8];
        if src.peek(&mut bytes) != Ok(8) {
            return Err(Errno::EFAULT);
        }
        let value = u64::from_ne_bytes(bytes);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        // The highest count is u64::MAX - 1.
        let add = |count: u64| count.checked_add(value).filter(|sum| *sum != u64::MAX);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).map_err(|_| Errno::EAGAIN)?;
        src.advance(8);
        self.queue.notify(PollEvents::IN);
        Ok(8)
    }

    fn poll(&self, _file: &File) -> PollEvents {
        let count = self.count.load(Ordering::SeqCst);
        let mut ready = PollEvents::empty();
        if count > 0 {
            ready |= PollEvents::IN;
        }
        if count == u64::MAX {
            ready |= PollEvents::ERR;
        }
        if count < u64::MAX - 1 {
            ready |= PollEvents::OUT;
        }
        ready
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "anon_inode:[eventfd]".to_owned()
    }

    fn fdinfo(&self, _file: &File) -> String {
        let count = self.count.load(Ordering::SeqCst);
        let semaphore = u8::from(self.semaphore);
        format!("eventfd-count: {count:16x}\neventfd-id: {}\neventfd-semaphore: {semaphore}\n", self.id)
    }
}
