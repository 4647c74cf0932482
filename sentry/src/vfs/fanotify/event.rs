//! Events that wait to be read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use abi::fanotify::FanMask;

use super::ask::Question;
use crate::task::PidTrace;
use crate::vfs::handle::HANDLE_BYTES;
use crate::vfs::path::Path;

/// A file as its handle.
pub(super) type Handle = [u8; HANDLE_BYTES];

/// A directory, and mostly a name in it.
pub(super) type DirAndName = (Handle, Option<Arc<[u8]>>);

/// The files that an event is about, for groups that are told their handles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Files {
    pub fsid: [i32; 2],
    pub dir: Option<DirAndName>,
    /// Where it was moved to.
    pub new_dir: Option<DirAndName>,
    pub file: Option<Handle>,
}

/// What an event shows besides its mask.
#[derive(Debug)]
pub(super) enum Subject {
    /// The queue was full.
    Overflow,
    /// A file that is opened for who reads the event.
    Path(Path),
    /// Handles.
    Files(Arc<Files>),
}

/// Something that has happened, or (with a question) is about to.
pub(super) struct Event {
    pub mask: FanMask,
    /// Who did it.
    pub pid: Option<PidTrace>,
    pub subject: Subject,
    pub question: Option<Arc<Question>>,
}

/// Events with the same become one.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    pid: u64,
    on_dir: bool,
    is_rename: bool,
    subject: SubjectKey,
}

#[derive(PartialEq, Eq, Hash)]
enum SubjectKey {
    /// Addresses of mount and dentry, which the event holds.
    Path(usize, usize),
    Files(Arc<Files>),
}

impl Event {
    pub fn question(&self) -> Option<&Arc<Question>> {
        self.question.as_ref()
    }

    /// `None`: never one with another.
    fn key(&self) -> Option<Key> {
        let subject = match &self.subject {
            Subject::Overflow => return None,
            Subject::Path(path) => {
                SubjectKey::Path(Arc::as_ptr(&path.mount) as usize, Arc::as_ptr(&path.dentry) as usize)
            }
            Subject::Files(files) => SubjectKey::Files(Arc::clone(files)),
        };
        if self.question.is_some() {
            return None;
        }
        Some(Key {
            pid: self.pid.as_ref().map_or(0, |pid| pid.identity),
            on_dir: self.mask.contains(FanMask::ONDIR),
            is_rename: self.mask.contains(FanMask::RENAME),
            subject,
        })
    }
}

/// What has become of an event.
pub(super) enum Pushed {
    /// It waits, under this number.
    Waits(u64),
    /// It is part of one that waits; to be dropped without locks.
    Merged(#[allow(dead_code, reason = "kept for its drop")] Event),
    /// There is no room; whether that is news. To be dropped without locks.
    Full(#[allow(dead_code, reason = "kept for its drop")] Event, bool),
}

/// Events in their order.
pub(super) struct Queue {
    events: BTreeMap<u64, Event>,
    by_key: HashMap<Key, u64>,
    next: u64,
    max: usize,
    /// The overflow waits to be told.
    overflow: Option<u64>,
    closed: bool,
}

impl Queue {
    pub fn new(max: usize) -> Queue {
        let (events, by_key) = (BTreeMap::new(), HashMap::new());
        Queue { events, by_key, next: 0, max, overflow: None, closed: false }
    }

    /// Adds an event, or adds its mask to that of one that says the same.
    pub fn push(&mut self, event: Event) -> Pushed {
        if self.closed {
            return Pushed::Full(event, false);
        }
        if self.events.len() - usize::from(self.overflow.is_some()) >= self.max {
            let is_news = self.overflow.is_none();
            if is_news {
                let overflow = Event {
                    mask: FanMask::Q_OVERFLOW,
                    pid: None,
                    subject: Subject::Overflow,
                    question: None,
                };
                self.overflow = Some(self.append(overflow));
            }
            return Pushed::Full(event, is_news);
        }
        let key = event.key();
        if let Some(same) = key.as_ref().and_then(|key| self.by_key.get(key))
            && let Some(there) = self.events.get_mut(same)
        {
            there.mask |= event.mask;
            return Pushed::Merged(event);
        }
        let number = self.append(event);
        if let Some(key) = key {
            self.by_key.insert(key, number);
        }
        Pushed::Waits(number)
    }

    fn append(&mut self, event: Event) -> u64 {
        let number = self.next;
        self.next += 1;
        self.events.insert(number, event);
        number
    }

    /// The oldest event.
    pub fn first(&self) -> Option<&Event> {
        self.events.first_key_value().map(|(_, event)| event)
    }

    /// Takes the oldest event out.
    pub fn pop(&mut self) -> Option<Event> {
        let (number, event) = self.events.pop_first()?;
        self.forget(number, &event);
        Some(event)
    }

    /// Takes one out that nobody needs any more.
    pub fn remove(&mut self, number: u64) -> Option<Event> {
        let event = self.events.remove(&number)?;
        self.forget(number, &event);
        Some(event)
    }

    fn forget(&mut self, number: u64, event: &Event) {
        if self.overflow == Some(number) {
            self.overflow = None;
        }
        if let Some(key) = event.key() {
            self.by_key.remove(&key);
        }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Nothing more is taken; what waits.
    pub fn close(&mut self) -> Vec<Event> {
        self.closed = true;
        self.by_key.clear();
        std::mem::take(&mut self.events).into_values().collect()
    }
}
