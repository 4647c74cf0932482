//! Waiting for several files at once: what poll(2) and select(2) share.
//!
//! The first look registers nothing: often something is ready. Only then the task's waker goes to every file, and
//! comes back when the wait ends.

use std::sync::Arc;
use std::time::Instant;

use abi::poll::PollEvents;

use super::file::File;
use crate::task::{CurrentTask, WaitEnd};
use crate::wait::WaitKey;

/// A file that is waited for.
pub struct Polled {
    file: Option<Arc<File>>,
    interest: PollEvents,
    /// What was found: a part of the interest, `ERR`, `HUP`, `NVAL`.
    pub found: PollEvents,
    key: Option<WaitKey>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Only look.
    None,
    /// Until then.
    At(Instant),
    /// For ever.
    Never,
}

impl Polled {
    /// Waits for these events, and errors and hang-ups.
    pub fn new(file: Arc<File>, interest: PollEvents) -> Polled {
        Polled::exactly(file, interest | PollEvents::ERR | PollEvents::HUP)
    }

    /// Waits for exactly these events: what else happens does not count.
    pub fn exactly(file: Arc<File>, interest: PollEvents) -> Polled {
        Polled { file: Some(file), interest, found: PollEvents::empty(), key: None }
    }

    /// An entry that is not looked at; `found` is what it answers.
    pub fn fixed(found: PollEvents) -> Polled {
        Polled { file: None, interest: PollEvents::empty(), found, key: None }
    }

    fn look(&mut self) -> bool {
        if let Some(file) = &self.file {
            self.found = file.poll() & self.interest;
        }
        !self.found.is_empty()
    }
}

/// Waits until something is found; answers how many entries have something. `Err` only when nothing was.
pub fn wait(task: &mut CurrentTask, entries: &mut [Polled], timeout: Timeout) -> Result<usize, WaitEnd> {
    let deadline = match timeout {
        Timeout::None => None,
        Timeout::At(deadline) => Some(deadline),
        Timeout::Never => None,
    };
    let count = look(entries);
    if count > 0 || timeout == Timeout::None {
        return Ok(count);
    }
    register(task, entries);
    let result = loop {
        let count = look(entries);
        if count > 0 {
            break Ok(count);
        }
        if let Err(end) = task.park(deadline) {
            // What comes together with the end counts.
            break match look(entries) {
                0 => Err(end),
                count => Ok(count),
            };
        }
    };
    unregister(entries);
    result
}

fn look(entries: &mut [Polled]) -> usize {
    entries.iter_mut().map(|entry| usize::from(entry.look())).sum()
}

fn register(task: &CurrentTask, entries: &mut [Polled]) {
    let waker = task.waker();
    for entry in entries {
        if let Some(file) = &entry.file {
            entry.key = file.ops().register(file, entry.interest, Arc::clone(&waker));
        }
    }
}

fn unregister(entries: &mut [Polled]) {
    for entry in entries {
        if let (Some(file), Some(key)) = (&entry.file, entry.key.take()) {
            file.ops().unregister(file, key);
        }
    }
}
