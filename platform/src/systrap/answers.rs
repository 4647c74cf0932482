//! What the stub answers by itself: calls that only tell a guest thread about itself.
//!
//! The kernel gives a context a list of call numbers and values ([`Context::set_answers`](crate::Context::set_answers)). It lies
//! in memory that all guests can read and none can write, at a place of the context's thread, where the stub looks before
//! it hands over: in the slot that the lower bits of the number say. Of two calls with the same bits the first is answered.
//!
//! [`silence`](Answers::silence) takes the list away from another thread, at once: from its return on no call is answered
//! that is made later. It never waits for the guest.
//!
//! Lock level: `Leaf`.

use std::sync::Arc;

use sync::Mutex;
use sync::levels::Leaf;

use super::layout::MAX_KNOWN;
use super::shm::Shm;
use crate::api::Answer;

/// One of so many calls that are signals and could be answered is handed over all the same.
pub(super) const SELDOM: u32 = 256;

/// What no call number that is looked for in a slot is equal to: it belongs into another.
fn no_call(slot: usize) -> u32 {
    !(slot as u32)
}

/// A context's answers, and where they are shown.
#[derive(Default)]
pub(super) struct Answers(Mutex<State, Leaf>);

#[derive(Default)]
struct State {
    given: Vec<Answer>,
    /// Where the context's thread has its own: the file, and the place there.
    place: Option<(Arc<Shm>, u64)>,
}

/// The slot of a call.
fn slot(number: u32) -> usize {
    number as usize % MAX_KNOWN
}

impl State {
    /// The thread is in the Sentry's hands, or the list becomes empty.
    fn write(&self) {
        let Some((shm, at)) = &self.place else { return };
        for place in 0..MAX_KNOWN {
            let at = at + place as u64 * 8;
            match self.given.iter().find(|answer| slot(answer.number) == place) {
                Some(answer) => {
                    shm.store(at + 4, answer.value);
                    shm.store(at, answer.number);
                }
                None => shm.store(at, no_call(place)),
            }
        }
    }
}

impl Answers {
    /// From the context's own thread, which runs no guest code now.
    pub(super) fn give(&self, answers: &[Answer]) {
        let mut state = self.0.lock();
        state.given.clear();
        state.given.extend(answers);
        state.write();
    }

    /// The answer to a call that was handed over.
    pub(super) fn to(&self, number: u64) -> Option<u32> {
        let state = self.0.lock();
        state.given.iter().find(|answer| u64::from(answer.number) == number).map(|answer| answer.value)
    }

    /// The context has a thread, which waits, and is shown what is there.
    pub(super) fn attach(&self, shm: &Arc<Shm>, at: u64) {
        let mut state = self.0.lock();
        state.place = Some((Arc::clone(shm), at));
        state.write();
    }

    /// The context has no thread any more.
    pub(super) fn detach(&self) {
        let old = self.0.lock().place.take();
        drop(old);
    }

    /// No more answers until some are given again.
    pub(super) fn silence(&self) {
        let mut state = self.0.lock();
        state.given.clear();
        state.write();
    }
}
