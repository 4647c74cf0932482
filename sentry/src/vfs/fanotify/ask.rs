//! Permission events: whoever is about to do something waits until the group has said whether he may.

use std::sync::Arc;

use abi::Errno;
use abi::fanotify as f;
use abi::fanotify::{FanInit, FanMask, FanotifyResponse, FanotifyResponseInfoAuditRule};
use abi::poll::PollEvents;
use sync::Mutex;
use zerocopy::IntoBytes;

use super::Group;
use super::event::{Event, Subject};
use crate::Result;
use crate::task::{PidTrace, Until, current_task, wait_here};
use crate::vfs::io::IoSource;
use crate::vfs::path::Path;

/// A question and its answer.
#[derive(Default)]
pub(super) struct Question {
    state: Mutex<State, sync::levels::Leaf>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nobody has read it.
    #[default]
    New,
    /// It was read, and shown with this descriptor.
    Read(i32),
    /// The same, and who asked has died meanwhile.
    Vain(i32),
    Allowed,
    Denied,
}

impl Question {
    fn answer(&self) -> Option<bool> {
        match *self.state.lock() {
            State::New | State::Read(_) | State::Vain(_) => None,
            State::Allowed => Some(true),
            State::Denied => Some(false),
        }
    }

    /// The descriptor that it is shown with.
    fn shown_as(&self) -> Option<i32> {
        match *self.state.lock_nested() {
            State::Read(fd) | State::Vain(fd) => Some(fd),
            State::New | State::Allowed | State::Denied => None,
        }
    }

    /// Nobody waits for the answer any more.
    fn give_up(&self) {
        let mut state = self.state.lock();
        if let State::Read(fd) = *state {
            *state = State::Vain(fd);
        }
    }

    /// Whoever asked may go on.
    pub fn allow(&self) {
        *self.state.lock() = State::Allowed;
    }
}

impl Group {
    /// Asks whether the calling task may do it: EPERM when not. Only its death ends the wait early.
    pub(super) fn ask(&self, place: &Path, mask: FanMask, pid: Option<PidTrace>) -> Result<()> {
        if current_task().is_none() {
            // The kernel asks nobody.
            return Ok(());
        }
        let question = Arc::<Question>::default();
        let subject = Subject::Path(place.clone());
        let event = Event { mask, pid, subject, question: Some(Arc::clone(&question)) };
        // A full queue loses nothing: what is not asked is allowed, as on Linux.
        let Some(number) = self.push(event) else { return Ok(()) };
        match wait_here(&self.answered, Until::Death, || question.answer()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Errno::EPERM),
            Err(_) => {
                let unread = self.queue.lock().remove(number);
                drop(unread);
                question.give_up();
                Err(Errno::EINTR)
            }
        }
    }

    /// The question was read and is shown with `fd`.
    pub(super) fn question_read(&self, question: Arc<Question>, fd: i32) {
        *question.state.lock() = State::Read(fd);
        let mut asked = self.asked.lock();
        // What was asked in vain is kept for its answer, as on Linux, but no longer than its number.
        asked.retain(|old| *old.state.lock_nested() != State::Vain(fd));
        asked.push(question);
    }

    /// The question could not be shown to who read it.
    pub(super) fn deny(&self, question: &Question) {
        *question.state.lock() = State::Denied;
        self.answered.notify(PollEvents::IN);
    }

    /// Takes the oldest question out that is shown with `fd`.
    fn take_asked(&self, fd: i32) -> Option<Arc<Question>> {
        let mut asked = self.asked.lock();
        let at = asked.iter().position(|question| question.shown_as() == Some(fd))?;
        Some(asked.remove(at))
    }

    /// write(2): an answer; how many bytes it had.
    pub(super) fn take_answer(&self, src: &mut dyn IoSource) -> Result<usize> {
        let mut answer = FanotifyResponse::default();
        if src.remaining() < size_of::<FanotifyResponse>() {
            return Err(Errno::EINVAL);
        }
        take(src, answer.as_mut_bytes())?;
        let FanotifyResponse { fd, response } = answer;
        let choice = response & (f::FAN_ALLOW | f::FAN_DENY);
        let known = f::FAN_ALLOW | f::FAN_DENY | f::FAN_AUDIT | f::FAN_INFO;
        let audits = response & f::FAN_AUDIT != 0 && !self.flags.contains(FanInit::ENABLE_AUDIT);
        if response & !known != 0 || ![f::FAN_ALLOW, f::FAN_DENY].contains(&choice) || audits {
            return Err(Errno::EINVAL);
        }
        let mut len = size_of::<FanotifyResponse>();
        if response & f::FAN_INFO != 0 {
            len += take_info(src)?;
            if fd == f::FAN_NOFD {
                return Ok(len);
            }
        }
        if fd < 0 {
            return Err(Errno::EINVAL);
        }
        let question = self.take_asked(fd).ok_or(Errno::ENOENT)?;
        *question.state.lock() = if choice == f::FAN_ALLOW { State::Allowed } else { State::Denied };
        self.answered.notify(PollEvents::IN);
        Ok(len)
    }
}

/// The record behind an answer, which only an audit would keep.
fn take_info(src: &mut dyn IoSource) -> Result<usize> {
    let mut info = FanotifyResponseInfoAuditRule::default();
    let len = size_of::<FanotifyResponseInfoAuditRule>();
    if src.remaining() != len {
        return Err(Errno::EINVAL);
    }
    take(src, info.as_mut_bytes())?;
    let head = info.hdr;
    let right = (f::FAN_RESPONSE_INFO_AUDIT_RULE, 0, len as u16);
    if (head.info_type, head.pad, head.len) == right { Ok(len) } else { Err(Errno::EINVAL) }
}

fn take(src: &mut dyn IoSource, into: &mut [u8]) -> Result<()> {
    if src.take(into)? == into.len() { Ok(()) } else { Err(Errno::EFAULT) }
}
