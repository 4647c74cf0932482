//! System V message queues (msgget(2), msgop(2), msgctl(2)).
//!
//! - [`MsgTable`]: the queues of a namespace. [`MsgQueue`]: one, with its messages and who waits.
//! - `send`, `receive`: msgsnd(2) and msgrcv(2), at once or later. `control`: msgctl(2).
//!
//! A message goes straight to the first task that waits for one like it. A task whose message does not fit leaves it with
//! the queue, and whoever takes a message out lets it in.

mod control;
mod receive;
mod send;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::ipc::IpcPerm;
use sync::Mutex;

pub use self::receive::{Selection, Wanted};
use super::IpcNamespace;
use super::budget::Charge;
use super::permission::{Asker, now};
use super::registry::{Asked, Object, Registry};
use super::woken::{Slot, Woken};
use crate::Result;
use crate::task::PidTrace;
use crate::wait::Wake;

/// Bytes that a queue is charged for, and a message besides its own.
const QUEUE_BYTES: u64 = 512;
const MESSAGE_BYTES: u64 = 96;

/// The queues of a namespace.
#[derive(Default)]
pub struct MsgTable {
    pub(super) queues: Registry<MsgQueue>,
}

/// A queue.
pub struct MsgQueue {
    inner: Mutex<Inner, sync::levels::FileStateInner>,
}

struct Inner {
    perm: IpcPerm,
    sent_at: i64,
    received_at: i64,
    changed_at: i64,
    /// Bytes at most.
    most_bytes: u64,
    bytes: u64,
    messages: VecDeque<Message>,
    last_sender: Option<Arc<PidTrace>>,
    last_receiver: Option<Arc<PidTrace>>,
    /// Both in the order of coming.
    receivers: VecDeque<Receiver>,
    senders: VecDeque<Sender>,
    next_key: u64,
    removed: bool,
    _charge: Charge,
}

/// A message.
pub struct Message {
    /// Its type, 1 or more.
    pub kind: i64,
    /// Its contents.
    pub bytes: Box<[u8]>,
    _charge: Charge,
}

/// A task that waits for a message.
struct Receiver {
    key: u64,
    wanted: Wanted,
    process: Arc<PidTrace>,
    slot: Arc<Slot<End<Message>>>,
    waker: Arc<dyn Wake>,
}

/// A task that waits for room.
struct Sender {
    key: u64,
    message: Message,
    process: Arc<PidTrace>,
    slot: Arc<Slot<End<()>>>,
    waker: Arc<dyn Wake>,
}

/// How a wait ends.
enum End<T> {
    /// With this.
    Done(Result<T>),
    /// The queue has changed: the task has to ask anew.
    Again,
}

impl Object for MsgQueue {
    fn perm(&self) -> IpcPerm {
        self.inner.lock().perm
    }

    fn set_sequence(&self, sequence: u16) {
        self.inner.lock().perm.seq = sequence;
    }
}

impl Inner {
    /// EIDRM once it has been removed.
    fn check(&self) -> Result<()> {
        if self.removed { Err(Errno::EIDRM) } else { Ok(()) }
    }

    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// It is removed: nobody waits any more. What was in it is to be dropped without its lock.
    fn end(&mut self, woken: &mut Woken) -> VecDeque<Message> {
        self.removed = true;
        for receiver in self.receivers.drain(..) {
            woken.serve(&receiver.slot, receiver.waker, End::Done(Err(Errno::EIDRM)));
        }
        let mut messages = std::mem::take(&mut self.messages);
        for Sender { message, slot, waker, .. } in self.senders.drain(..) {
            messages.push_back(message);
            woken.serve(&slot, waker, End::Done(Err(Errno::EIDRM)));
        }
        messages
    }
}

impl IpcNamespace {
    /// msgget(2): the id of the queue with a key.
    pub fn msg_get(&self, key: i32, flags: u32, asker: Asker<'_>) -> Result<i32> {
        let asked = Asked { key, flags, most: self.limits.msgmni.load(Ordering::Relaxed) };
        self.msg.queues.get(
            asked,
            &asker,
            |_| Ok(()),
            |_| {
                let inner = Inner {
                    perm: asker.new_perm(key, flags),
                    sent_at: 0,
                    received_at: 0,
                    changed_at: now(),
                    most_bytes: u64::from(self.limits.msgmnb.load(Ordering::Relaxed)),
                    bytes: 0,
                    messages: VecDeque::new(),
                    last_sender: None,
                    last_receiver: None,
                    receivers: VecDeque::new(),
                    senders: VecDeque::new(),
                    next_key: 0,
                    removed: false,
                    _charge: self.budget.charge(QUEUE_BYTES)?,
                };
                Ok(MsgQueue { inner: Mutex::new(inner) })
            },
        )
    }

    /// A message of this type and size, still empty. ENOMEM when all of a sandbox's are too much.
    pub fn new_message(&self, kind: i64, size: usize) -> Result<Message> {
        let charge = self.budget.charge(size as u64 + MESSAGE_BYTES)?;
        Ok(Message { kind, bytes: vec![0; size].into(), _charge: charge })
    }
}
