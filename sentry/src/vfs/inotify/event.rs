//! Events of inotify, and the queue of an instance.

use std::collections::VecDeque;
use std::sync::Arc;

use abi::inotify::{InotifyEvent, InotifyMask};
use zerocopy::IntoBytes;

/// Events that wait in a queue at most (`/proc/sys/fs/inotify/max_queued_events`).
pub const MAX_QUEUED: usize = 16_384;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To what.
    pub wd: i32,
    /// What.
    pub mask: InotifyMask,
    /// The same for both sides of a rename.
    pub cookie: u32,
    /// Name in a watched directory.
    pub name: Option<Arc<[u8]>>,
}

impl Event {
    /// Bytes of the name as it is read: with a NUL at least, in whole events.
    fn name_len(&self) -> usize {
        let size = size_of::<InotifyEvent>();
        self.name.as_ref().map_or(0, |name| (name.len() + 1).next_multiple_of(size))
    }

    fn len(&self) -> usize {
        size_of::<InotifyEvent>() + self.name_len()
    }

    fn store(&self, into: &mut Vec<u8>) {
        let name_len = self.name_len();
        let head =
            InotifyEvent { wd: self.wd, mask: self.mask.bits(), cookie: self.cookie, len: name_len as u32 };
        into.extend_from_slice(head.as_bytes());
        let end = into.len() + name_len;
        into.extend_from_slice(self.name.as_deref().unwrap_or_default());
        into.resize(end, 0);
    }
}

/// Events that have not been read yet.
#[derive(Default)]
pub struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
}

impl Queue {
    /// Adds an event, unless it says the same as the last one; one too many becomes Q_OVERFLOW. Says whether it was
    /// added.
    pub fn push(&mut self, event: Event) -> bool {
        if self.events.back() == Some(&event) {
            return false;
        }
        let event = if self.events.len() < MAX_QUEUED {
            event
        } else if self.events.len() == MAX_QUEUED {
            Event { wd: -1, mask: InotifyMask::Q_OVERFLOW, cookie: 0, name: None }
        } else {
            return false;
        };
        self.bytes += event.len();
        self.events.push_back(event);
        true
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many bytes a read would give (FIONREAD).
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes as many whole events out as `room` bytes hold: as bytes, and for [`put_back`](Self::put_back).
    pub fn take(&mut self, room: usize) -> (Vec<u8>, Vec<Event>) {
        let (mut bytes, mut taken) = (Vec::new(), Vec::new());
        while let Some(event) = self.events.front() {
            if bytes.len() + event.len() > room {
                break;
            }
            event.store(&mut bytes);
            taken.extend(self.events.pop_front());
        }
        self.bytes -= bytes.len();
        (bytes, taken)
    }

    /// Puts events back to the front.
    pub fn put_back(&mut self, events: Vec<Event>) {
        for event in events.into_iter().rev() {
            self.bytes += event.len();
            self.events.push_front(event);
        }
    }
}
