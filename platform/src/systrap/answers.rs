//! What the stub answers by itself: calls that only tell a guest thread about itself, rt_sigprocmask(2) and
//! set_robust_list(2).
//!
//! The kernel gives a context a list of call numbers and values ([`Context::set_answers`](crate::Context::set_answers)). It lies
//! in memory that all guests can read and none can write, at a place of the context's thread, where the stub looks before
//! it hands over: in the slot that the lower bits of the number say. Of two calls with the same bits the first is answered.
//!
//! [`silence`](Answers::silence) takes the list away from another thread, at once: from its return on no call is answered
//! that is made later. It never waits for the guest.
//!
//! The signal mask lies in the thread's area, where the stub changes it and the guest can write it, while the context has a thread;
//! before and after that it is kept here. A word beside the list says whether the stub may change it: it is *open*, and there is a list.
//! The stub changes the mask by an atomic exchange and looks at the word afterwards; [`open_mask`](Answers::open_mask) clears the word
//! by one and the mask is read afterwards. So either the new mask is seen, or the stub sees that it has to stop. The robust list lies beside
//! it; the stub may change it as long as there is a list of answers.
//!
//! Lock level: `Leaf`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync::Mutex;
use sync::levels::Leaf;

use super::area::control;
use super::layout::{LIST_IS_OPEN, MASK_IS_OPEN, MAX_KNOWN};
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
    /// Where the context's thread has its own.
    place: Option<Shown>,
    /// The signal mask, while there is no such place.
    mask: u64,
    mask_is_open: bool,
    /// The robust list, likewise.
    robust_list: u64,
}

/// The file, and the places there.
struct Shown {
    shm: Arc<Shm>,
    known: u64,
    area: u64,
}

impl Shown {
    fn mask(&self) -> &AtomicU64 {
        self.shm.wide_word(self.area + control::MASK)
    }

    fn robust_list(&self) -> &AtomicU64 {
        self.shm.wide_word(self.area + control::ROBUST_LIST)
    }
}

/// The slot of a call.
fn slot(number: u32) -> usize {
    number as usize % MAX_KNOWN
}

impl State {
    /// The thread is in the Sentry's hands, or the list becomes empty.
    fn write(&self) {
        let Some(Shown { shm, known, .. }) = &self.place else { return };
        for place in 0..MAX_KNOWN {
            let at = known + place as u64 * 8;
            match self.given.iter().find(|answer| slot(answer.number) == place) {
                Some(answer) => {
                    shm.store(at + 4, answer.value);
                    shm.store(at, answer.number);
                }
                None => shm.store(at, no_call(place)),
            }
        }
        self.write_whether_open();
    }

    fn write_whether_open(&self) {
        if let Some(Shown { shm, known, .. }) = &self.place {
            let open = self.mask_is_open && !self.given.is_empty();
            shm.swap(known + MASK_IS_OPEN, open.into());
            shm.store(known + LIST_IS_OPEN, (!self.given.is_empty()).into());
        }
    }

    fn mask(&self) -> u64 {
        self.place.as_ref().map_or(self.mask, |place| place.mask().load(Ordering::SeqCst))
    }

    fn set_mask(&mut self, new: u64) {
        match &self.place {
            Some(place) => place.mask().store(new, Ordering::SeqCst),
            None => self.mask = new,
        }
    }

    fn robust_list(&self) -> u64 {
        self.place.as_ref().map_or(self.robust_list, |place| place.robust_list().load(Ordering::Relaxed))
    }

    fn set_robust_list(&mut self, address: u64) {
        match &self.place {
            Some(place) => place.robust_list().store(address, Ordering::Relaxed),
            None => self.robust_list = address,
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
    pub(super) fn attach(&self, shm: &Arc<Shm>, known: u64, area: u64) {
        let mut state = self.0.lock();
        let (mask, robust_list) = (state.mask, state.robust_list);
        state.place = Some(Shown { shm: Arc::clone(shm), known, area });
        state.set_mask(mask);
        state.set_robust_list(robust_list);
        state.write();
    }

    /// The context has no thread any more.
    pub(super) fn detach(&self) {
        let mut state = self.0.lock();
        (state.mask, state.robust_list) = (state.mask(), state.robust_list());
        let old = state.place.take();
        drop(state);
        drop(old);
    }

    pub(super) fn mask(&self) -> u64 {
        self.0.lock().mask()
    }

    /// The context's thread runs no guest code.
    pub(super) fn set_mask(&self, mask: u64) {
        self.0.lock().set_mask(mask);
    }

    pub(super) fn robust_list(&self) -> u64 {
        self.0.lock().robust_list()
    }

    /// The context's thread runs no guest code.
    pub(super) fn set_robust_list(&self, address: u64) {
        self.0.lock().set_robust_list(address);
    }

    /// Whether the stub may change the mask. Once it is closed [`mask`](Self::mask) sees each change that the stub has gone on from.
    pub(super) fn open_mask(&self, open: bool) {
        let mut state = self.0.lock();
        state.mask_is_open = open;
        state.write_whether_open();
    }

    /// No more answers until some are given again.
    pub(super) fn silence(&self) {
        let mut state = self.0.lock();
        state.given.clear();
        state.write();
    }
}
