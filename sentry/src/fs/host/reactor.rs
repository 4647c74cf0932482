//! Watches host descriptors and tells who waits for them.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use abi::poll::PollEvents;
use host::event::Epoll;
use sync::Mutex;

use crate::wait::WaitQueue;

const EPOLLET: u32 = 1 << 31;
const EPOLLRDHUP: u32 = 0x2000;
const EPOLLIN: u32 = 1;
const EPOLLPRI: u32 = 2;
const EPOLLOUT: u32 = 4;

/// One thread that waits for all watched descriptors, edge-triggered.
pub struct Reactor {
    epoll: Epoll,
    watched: Mutex<Watched, sync::levels::Leaf>,
}

#[derive(Default)]
struct Watched {
    next: u64,
    queues: HashMap<u64, Weak<WaitQueue>>,
}

impl Reactor {
    /// Starts the thread.
    pub fn start() -> std::io::Result<Arc<Reactor>> {
        let reactor = Arc::new(Reactor { epoll: Epoll::new()?, watched: Mutex::default() });
        let own = Arc::clone(&reactor);
        std::thread::Builder::new().name("reactor".into()).stack_size(128 << 10).spawn(move || own.run())?;
        Ok(reactor)
    }

    /// Tells `queue` when something changes at `fd`, until the descriptor is closed. Files that are always ready
    /// (regular ones, directories) can't be watched: false.
    pub fn watch(&self, fd: impl AsFd, queue: &Arc<WaitQueue>) -> bool {
        let token = {
            let mut watched = self.watched.lock();
            watched.next += 1;
            let token = watched.next;
            watched.queues.insert(token, Arc::downgrade(queue));
            token
        };
        let added = self.epoll.add(fd, token, EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET).is_ok();
        if !added {
            self.watched.lock().queues.remove(&token);
        }
        added
    }

    fn run(&self) {
        let mut ready = Vec::new();
        loop {
            ready.clear();
            if let Err(error) = self.epoll.wait(&mut ready, None) {
                tracing::error!(%error, "host descriptors are watched no more");
                return;
            }
            for event in &ready {
                let queue = self.watched.lock().queues.get(&event.token).and_then(Weak::upgrade);
                match queue {
                    // The bits of epoll are those of poll.
                    Some(queue) => queue.notify(PollEvents::from_bits_truncate(event.events) | ALSO),
                    None => drop(self.watched.lock().queues.remove(&event.token)),
                }
            }
        }
    }
}

/// Readiness of one kind is that of the other: waiters test themselves.
const ALSO: PollEvents = PollEvents::RDNORM.union(PollEvents::WRNORM);
