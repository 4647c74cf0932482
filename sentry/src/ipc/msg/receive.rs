//! msgrcv(2).

use std::sync::Arc;

use abi::Errno;
use abi::ipc::MsgRcvFlags;

use super::{End, Inner, Message, Receiver, Slot, Woken};
use crate::Result;
use crate::error::{Restart, SysError, SysResult};
use crate::ipc::permission::{Asker, now};
use crate::task::CurrentTask;

/// Which message msgrcv(2) asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The first.
    Any,
    /// The first of this type.
    Of(i64),
    /// The first of another type (MSG_EXCEPT).
    Except(i64),
    /// The first of the lowest type, which is at most this.
    Lowest(i64),
    /// A copy of the one in this place (MSG_COPY).
    Place(i64),
}

impl Selection {
    /// As `msgtyp` and the flags say it.
    pub fn new(kind: i64, flags: MsgRcvFlags) -> Selection {
        match kind {
            place if flags.contains(MsgRcvFlags::COPY) => Selection::Place(place),
            0 => Selection::Any,
            // The lowest number of all has no opposite.
            ..0 => Selection::Lowest(kind.checked_neg().unwrap_or(i64::MAX)),
            _ if flags.contains(MsgRcvFlags::EXCEPT) => Selection::Except(kind),
            _ => Selection::Of(kind),
        }
    }
}

/// What a receiver takes.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which message.
    pub which: Selection,
    /// Bytes at most; a longer message is E2BIG.
    pub most_bytes: usize,
}

impl Wanted {
    /// Whether a message of this type is one.
    pub(super) fn takes(&self, kind: i64) -> bool {
        match self.which {
            Selection::Any => true,
            Selection::Of(wanted) => kind == wanted,
            Selection::Except(unwanted) => kind != unwanted,
            Selection::Lowest(most) => kind <= most,
            Selection::Place(_) => false,
        }
    }

    /// The place of the first message that is one.
    fn find(&self, inner: &Inner) -> Option<usize> {
        let mut kinds = inner.messages.iter().map(|message| message.kind).enumerate();
        match self.which {
            Selection::Place(place) => usize::try_from(place).ok().filter(|at| *at < inner.messages.len()),
            // Of those of the lowest type the first comes first.
            Selection::Lowest(most) => {
                kinds.filter(|(_, kind)| *kind <= most).min_by_key(|(_, kind)| *kind).map(|(at, _)| at)
            }
            _ => kinds.find(|(_, kind)| self.takes(*kind)).map(|(at, _)| at),
        }
    }
}

impl Inner {
    /// The place of a message to take: E2BIG for one that is too long.
    fn look_for(&self, wanted: &Wanted) -> Result<Option<usize>> {
        let Some(at) = wanted.find(self) else { return Ok(None) };
        match self.messages.get(at) {
            Some(message) if message.bytes.len() > wanted.most_bytes => Err(Errno::E2BIG),
            _ => Ok(Some(at)),
        }
    }
}

impl CurrentTask {
    /// msgrcv(2) with MSG_COPY: type and contents of the message in a place, at most `most` bytes. ENOMSG without one.
    pub fn msg_copy(&mut self, id: i32, wanted: &Wanted, most: usize) -> SysResult<(i64, Vec<u8>)> {
        let namespace = Arc::clone(&self.namespaces().ipc);
        let queue = namespace.msg.queues.find(id)?;
        let inner = queue.inner.lock();
        Asker::of(self, &namespace).may(&inner.perm, 0o444)?;
        inner.check()?;
        let message = inner.look_for(wanted)?.and_then(|at| inner.messages.get(at)).ok_or(Errno::ENOMSG)?;
        // A copy is not shortened.
        if message.bytes.len() > most {
            return Err(Errno::EINVAL.into());
        }
        Ok((message.kind, message.bytes.to_vec()))
    }

    /// msgrcv(2). `waits` is whether it does so for a message; without, ENOMSG.
    pub fn msg_receive(&mut self, id: i32, wanted: Wanted, waits: bool) -> SysResult<Message> {
        let namespace = Arc::clone(&self.namespaces().ipc);
        let queue = namespace.msg.queues.find(id)?;
        loop {
            let asker = Asker::of(self, &namespace);
            let process = asker.trace();
            let mut woken = Woken::default();
            let (slot, key) = {
                let mut inner = queue.inner.lock();
                asker.may(&inner.perm, 0o444)?;
                inner.check()?;
                let at = inner.look_for(&wanted)?;
                if let Some(message) = at.and_then(|at| inner.messages.remove(at)) {
                    inner.bytes -= message.bytes.len() as u64;
                    inner.last_receiver = Some(process);
                    inner.received_at = now();
                    inner.admit(&mut woken);
                    drop(inner);
                    woken.wake();
                    return Ok(message);
                }
                if !waits {
                    return Err(Errno::ENOMSG.into());
                }
                let (slot, key) = (Slot::new(), inner.key());
                let waker = self.waker();
                inner.receivers.push_back(Receiver { key, wanted, process, slot: Arc::clone(&slot), waker });
                (slot, key)
            };
            let outcome = slot.wait(self);
            {
                let mut inner = queue.inner.lock();
                let at = inner.receivers.iter().position(|receiver| receiver.key == key);
                drop(at.and_then(|at| inner.receivers.remove(at)));
            }
            // Somebody may have been faster than the signal.
            match outcome.or_else(|| slot.take()) {
                Some(End::Done(outcome)) => return Ok(outcome?),
                Some(End::Again) => {}
                None => return Err(SysError::Restart(Restart::NoHand)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_chosen_as_asked() {
        let none = MsgRcvFlags::empty();
        assert_eq!(Selection::new(0, none), Selection::Any);
        assert_eq!(Selection::new(0, MsgRcvFlags::EXCEPT), Selection::Any);
        assert_eq!(Selection::new(5, none), Selection::Of(5));
        assert_eq!(Selection::new(5, MsgRcvFlags::EXCEPT), Selection::Except(5));
        assert_eq!(Selection::new(-5, MsgRcvFlags::EXCEPT), Selection::Lowest(5));
        assert_eq!(Selection::new(i64::MIN, none), Selection::Lowest(i64::MAX));
        assert_eq!(Selection::new(-5, MsgRcvFlags::COPY), Selection::Place(-5));
    }
}
