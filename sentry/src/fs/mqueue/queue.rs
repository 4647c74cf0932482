//! One message queue.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::poll::PollEvents;
use abi::signal::{SI_MESGQ, SigInfo, Signal};
use sync::Mutex;

use super::Shape;
use super::limits::Charge;
use crate::Result;
use crate::signal::send_to_group;
use crate::task::{CurrentTask, ThreadGroup};
use crate::wait::WaitQueue;

/// Priorities are below this (MQ_PRIO_MAX).
pub const PRIORITIES: u32 = 32_768;

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its priority: the higher ones come first.
    pub priority: u32,
    /// Its contents.
    pub bytes: Box<[u8]>,
}

/// Who is to be told that a message has come to the empty queue, and how.
#[derive(Clone)]
pub struct Notify {
    /// The process.
    pub group: Weak<ThreadGroup>,
    /// The signal; `None`: nobody hears of it, but nobody else can ask either.
    pub signal: Option<Signal>,
    /// What the signal carries.
    pub value: u64,
}

#[derive(Default)]
struct State {
    /// By priority; in one, in the order they came.
    messages: BTreeMap<u32, VecDeque<Box<[u8]>>>,
    count: i64,
    bytes: u64,
    /// Threads that wait for a message.
    receivers: u32,
    notify: Option<Notify>,
}

/// The queue.
pub struct Queue {
    /// What it holds at most.
    pub shape: Shape,
    state: Mutex<State, sync::levels::FileState>,
    waiting: WaitQueue,
    #[allow(dead_code, reason = "given back with the queue")]
    charge: Charge,
}

impl Queue {
    /// An empty one.
    pub fn new(shape: Shape, charge: Charge) -> Arc<Queue> {
        Arc::new(Queue { shape, state: Mutex::default(), waiting: WaitQueue::new(), charge })
    }

    /// Where to wait for room (OUT) and messages (IN).
    pub fn wait_queue(&self) -> &WaitQueue {
        &self.waiting
    }

    /// How many messages there are.
    pub fn count(&self) -> i64 {
        self.state.lock().count
    }

    /// What is ready.
    pub fn poll(&self) -> PollEvents {
        let count = self.count();
        let mut ready = PollEvents::empty();
        ready.set(PollEvents::IN | PollEvents::RDNORM, count > 0);
        ready.set(PollEvents::OUT | PollEvents::WRNORM, count < self.shape.max_messages);
        ready
    }

    /// Adds a message; gives it back when there is no room. `task` sends it.
    pub fn send(&self, message: Message, task: &CurrentTask) -> std::result::Result<(), Message> {
        let notify = {
            let mut state = self.state.lock();
            if state.count >= self.shape.max_messages {
                return Err(message);
            }
            state.count += 1;
            state.bytes += message.bytes.len() as u64;
            state.messages.entry(message.priority).or_default().push_back(message.bytes);
            // Whoever waits for it gets it: then nobody is told.
            if state.count == 1 && state.receivers == 0 { state.notify.take() } else { None }
        };
        self.waiting.notify(PollEvents::IN | PollEvents::RDNORM);
        if let Some(notify) = notify
            && let (Some(signal), Some(group)) = (notify.signal, notify.group.upgrade())
        {
            let pid = task.thread_group().pid.number_in(group.pid.namespace());
            let info = SigInfo::queue(signal, SI_MESGQ, pid, task.own_creds().uid, notify.value);
            // No room for another signal: as on Linux it is lost.
            let _ = send_to_group(&group, signal, info);
        }
        Ok(())
    }

    /// Takes the oldest message of the highest priority.
    pub fn receive(&self) -> Option<Message> {
        let message = {
            let mut state = self.state.lock();
            let mut highest = state.messages.last_entry()?;
            let priority = *highest.key();
            let bytes = highest.get_mut().pop_front()?;
            if highest.get().is_empty() {
                highest.remove();
            }
            state.count -= 1;
            state.bytes -= bytes.len() as u64;
            Message { priority, bytes }
        };
        self.waiting.notify(PollEvents::OUT | PollEvents::WRNORM);
        Some(message)
    }

    /// A thread begins to wait for a message.
    pub fn add_receiver(&self) {
        self.state.lock().receivers += 1;
    }

    /// Takes [`add_receiver`](Self::add_receiver) back.
    pub fn remove_receiver(&self) {
        self.state.lock().receivers -= 1;
    }

    /// mq_notify(2): EBUSY when somebody else has asked.
    pub fn set_notify(&self, notify: Notify) -> Result<()> {
        let mut state = self.state.lock();
        if state.notify.as_ref().is_some_and(|old| old.group.strong_count() > 0) {
            return Err(Errno::EBUSY);
        }
        state.notify = Some(notify);
        Ok(())
    }

    /// The process is not told any more, if it was to be.
    pub fn clear_notify(&self, group: &Arc<ThreadGroup>) {
        let mut state = self.state.lock();
        if state.notify.as_ref().is_some_and(|old| std::ptr::eq(old.group.as_ptr(), Arc::as_ptr(group))) {
            state.notify = None;
        }
    }

    /// What reading the file gives.
    pub fn text(&self) -> String {
        let (bytes, notify) = {
            let state = self.state.lock();
            (state.bytes, state.notify.clone())
        };
        let (kind, signal, pid) = match notify {
            None => (0, 0, 0),
            Some(notify) => {
                let pid = notify.group.upgrade().map_or(0, |g| g.pid.number_in(g.pid.namespace()));
                // SIGEV_SIGNAL is 0, SIGEV_NONE 1.
                let kind = i32::from(notify.signal.is_none());
                (kind, notify.signal.map_or(0, |s| s.number()), pid)
            }
        };
        format!("QSIZE:{bytes:<10} NOTIFY:{kind:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n")
    }
}
