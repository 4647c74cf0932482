//! What the stub answers by itself: calls that only tell a guest thread about itself.
//!
//! The kernel gives a context a list of call numbers and values ([`Context::set_answers`](crate::Context::set_answers)). It lies
//! in the area of the context's thread, where the signal handler looks before it hands over. A guest can change it there
//! like everything else in its area, and then has lied to itself.
//!
//! [`silence`](Answers::silence) takes the list away from another thread, at once: from its return on no call is answered
//! that is made later. It never waits for the guest.
//!
//! Lock level: `Leaf`.

use std::sync::Arc;

use sync::Mutex;
use sync::levels::Leaf;

use super::area::control;
use super::shm::Shm;
use crate::api::Answer;

/// Most calls that are answered.
pub(super) const MAX_ANSWERS: usize = 8;

/// What no call number is equal to: numbers are compared with 64 bits.
const NO_CALL: u32 = u32::MAX;

/// A context's answers, and where they are shown.
#[derive(Default)]
pub(super) struct Answers(Mutex<State, Leaf>);

#[derive(Default)]
struct State {
    given: Vec<Answer>,
    /// The area of the context's thread: its file, and the place there.
    area: Option<(Arc<Shm>, u64)>,
}

impl State {
    /// The thread of the area is in the Sentry's hands, or the list becomes empty.
    fn write(&self) {
        let Some((shm, at)) = &self.area else { return };
        for place in 0..MAX_ANSWERS {
            let at = at + control::ANSWERS + place as u64 * 8;
            match self.given.get(place) {
                Some(answer) => {
                    shm.store(at + 4, answer.value);
                    shm.store(at, answer.number);
                }
                None => shm.store(at, NO_CALL),
            }
        }
    }
}

impl Answers {
    /// From the context's own thread, which runs no guest code now.
    pub(super) fn give(&self, answers: &[Answer]) {
        let mut state = self.0.lock();
        state.given.clear();
        state.given.extend(answers.iter().take(MAX_ANSWERS).filter(|answer| answer.number != NO_CALL));
        state.write();
    }

    /// The context has a thread with its area there, which waits.
    pub(super) fn attach(&self, shm: &Arc<Shm>, at: u64) {
        let mut state = self.0.lock();
        state.area = Some((Arc::clone(shm), at));
        state.write();
    }

    /// The context has no thread any more.
    pub(super) fn detach(&self) {
        let old = self.0.lock().area.take();
        drop(old);
    }

    /// No more answers until some are given again.
    pub(super) fn silence(&self) {
        let mut state = self.0.lock();
        state.given.clear();
        state.write();
    }
}
