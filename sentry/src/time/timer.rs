//! Telling objects that a moment has come: one thread, all timers of the sandbox.
//!
//! A wait with a time-out does not come here, it parks with it. This is for what goes off while nobody waits in a
//! call for it: timerfd, alarm(2), POSIX timers. The thread starts with the first timer.
//!
//! A waker is called without a lock and may be called once more after [`TimerHandle::cancel`] has answered false: it
//! was on its way. So what it does must hold then too — it looks at the clock, or at a generation of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::poll::PollEvents;
use sync::{Condvar, Mutex};

use crate::wait::Wake;

/// All timers; cheap to clone.
#[derive(Clone, Default)]
pub struct TimerService {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue, sync::levels::Timer>,
    /// The first deadline has changed, or the service ends.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    next_id: u64,
    timers: BTreeMap<(Instant, u64), Arc<dyn Wake>>,
    running: bool,
}

/// One timer that has been set. Dropping it cancels it.
pub struct TimerHandle {
    shared: Arc<Shared>,
    key: (Instant, u64),
}

impl TimerService {
    /// A service without timers and without a thread.
    pub fn new() -> TimerService {
        TimerService::default()
    }

    /// Calls `waker` once `deadline` has come. EAGAIN when there is no thread to be had for it.
    pub fn set(&self, deadline: Instant, waker: Arc<dyn Wake>) -> Result<TimerHandle, Errno> {
        let (key, first, start) = {
            let mut queue = self.shared.queue.lock();
            let key = (deadline, queue.next_id);
            queue.next_id += 1;
            queue.timers.insert(key, waker);
            let first = queue.timers.first_key_value().is_some_and(|(first, _)| *first == key);
            let start = !std::mem::replace(&mut queue.running, true);
            (key, first, start)
        };
        let handle = TimerHandle { shared: Arc::clone(&self.shared), key };
        if start {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("timers".to_owned()).stack_size(256 << 10);
            if thread.spawn(move || shared.run()).is_err() {
                self.shared.queue.lock().running = false;
                return Err(Errno::EAGAIN);
            }
        } else if first {
            self.shared.changed.notify_one();
        }
        Ok(handle)
    }
}

impl TimerHandle {
    /// Takes the timer back; false when its waker has been called or is about to be.
    pub fn cancel(self) -> bool {
        self.remove()
    }

    /// Whether its waker has been called or is about to be.
    pub fn is_due(&self) -> bool {
        !self.shared.queue.lock().timers.contains_key(&self.key)
    }

    fn remove(&self) -> bool {
        let waker = self.shared.queue.lock().timers.remove(&self.key);
        // The waker may be the last reference to something with locks of its own.
        waker.is_some()
    }
}

impl Drop for TimerHandle {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Shared {
    fn run(&self) {
        host::thread::run_anywhere();
        let mut queue = self.queue.lock();
        loop {
            let now = Instant::now();
            let next = match queue.timers.first_key_value() {
                None => {
                    self.changed.wait(&mut queue);
                    continue;
                }
                Some((key, _)) => *key,
            };
            if next.0 > now {
                self.changed.wait_for(&mut queue, next.0 - now);
                continue;
            }
            if let Some(waker) = queue.timers.remove(&next) {
                drop(queue);
                waker.wake(PollEvents::IN);
                drop(waker);
                queue = self.queue.lock();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    struct Send(Mutex<Sender<u32>, sync::levels::Leaf>, u32);

    impl Wake for Send {
        fn wake(&self, _events: PollEvents) -> bool {
            self.0.lock().send(self.1).is_ok()
        }
    }

    #[test]
    fn timers_go_off_in_order_and_not_when_cancelled() {
        let service = TimerService::new();
        let (sender, receiver) = channel();
        let at = |ms: u64, id: u32| {
            let waker = Arc::new(Send(Mutex::new(sender.clone()), id));
            service.set(Instant::now() + Duration::from_millis(ms), waker).expect("a thread")
        };
        let late = at(60, 3);
        let _middle = at(30, 2);
        let cancelled = at(20, 9);
        let _soon = at(10, 1);
        assert!(cancelled.cancel());
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Ok(2));
        assert_eq!(receiver.recv(), Ok(3));
        assert!(!late.cancel());
        drop(at(5, 8));
        assert!(receiver.recv_timeout(Duration::from_millis(30)).is_err());
    }
}
