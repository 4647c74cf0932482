//! msgsnd(2).

use std::sync::Arc;

use abi::Errno;

use super::{End, Inner, Message, Receiver, Sender, Slot, Woken};
use crate::error::{Restart, SysError, SysResult};
use crate::ipc::permission::{Asker, now};
use crate::task::{CurrentTask, PidTrace};

impl Inner {
    /// Whether there is room for so many bytes more.
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes as u64 <= self.most_bytes && (self.messages.len() as u64) < self.most_bytes
    }

    /// Takes a message for which there is room: to who waits for one like it, else to those that are there.
    fn put(&mut self, message: Message, process: Arc<PidTrace>, woken: &mut Woken) {
        self.last_sender = Some(process);
        self.sent_at = now();
        let mut at = 0;
        while let Some(receiver) = self.receivers.get(at) {
            if !receiver.wanted.takes(message.kind) {
                at += 1;
                continue;
            }
            let fits = message.bytes.len() <= receiver.wanted.most_bytes;
            let Some(Receiver { slot, waker, process, .. }) = self.receivers.remove(at) else { break };
            if fits {
                self.last_receiver = Some(process);
                self.received_at = now();
                woken.serve(&slot, waker, End::Done(Ok(message)));
                return;
            }
            woken.serve(&slot, waker, End::Done(Err(Errno::E2BIG)));
        }
        self.bytes += message.bytes.len() as u64;
        self.messages.push_back(message);
    }

    /// There is room: lets those in who wait for that, in their order.
    pub(super) fn admit(&mut self, woken: &mut Woken) {
        while let Some(sender) = self.senders.front()
            && self.has_room(sender.message.bytes.len())
        {
            let Some(Sender { message, process, slot, waker, .. }) = self.senders.pop_front() else { break };
            self.put(message, process, woken);
            woken.serve(&slot, waker, End::Done(Ok(())));
        }
    }
}

impl CurrentTask {
    /// msgsnd(2). `waits` is whether it does so for room.
    pub fn msg_send(&mut self, id: i32, message: Message, waits: bool) -> SysResult<()> {
        let namespace = Arc::clone(&self.namespaces().ipc);
        let queue = namespace.msg.queues.find(id)?;
        let mut message = message;
        loop {
            let asker = Asker::of(self, &namespace);
            let process = asker.trace();
            let mut woken = Woken::default();
            let (slot, key) = {
                let mut inner = queue.inner.lock();
                asker.may(&inner.perm, 0o222)?;
                inner.check()?;
                if inner.has_room(message.bytes.len()) {
                    inner.put(message, process, &mut woken);
                    drop(inner);
                    woken.wake();
                    return Ok(());
                }
                if !waits {
                    return Err(Errno::EAGAIN.into());
                }
                let (slot, key) = (Slot::new(), inner.key());
                let waker = self.waker();
                inner.senders.push_back(Sender { key, message, process, slot: Arc::clone(&slot), waker });
                (slot, key)
            };
            let outcome = slot.wait(self);
            let withdrawn = {
                let mut inner = queue.inner.lock();
                let at = inner.senders.iter().position(|sender| sender.key == key);
                at.and_then(|at| inner.senders.remove(at))
            };
            // Somebody may have been faster than the signal.
            match outcome.or_else(|| slot.take()) {
                Some(End::Done(outcome)) => return Ok(outcome?),
                Some(End::Again) => match withdrawn {
                    Some(own) => message = own.message,
                    None => return Err(Errno::EIDRM.into()),
                },
                None => return Err(SysError::Restart(Restart::NoHand)),
            }
        }
    }
}
