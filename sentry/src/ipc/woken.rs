//! What a task waits for that another does for it.

use std::sync::Arc;

use abi::poll::PollEvents;
use smallvec::SmallVec;
use sync::Mutex;

use crate::task::CurrentTask;
use crate::wait::Wake;

/// Where whoever serves a waiting task leaves what came of it.
pub(super) struct Slot<T> {
    outcome: Mutex<Option<T>, sync::levels::Leaf>,
}

impl<T> Slot<T> {
    /// With nothing in it.
    pub fn new() -> Arc<Slot<T>> {
        Arc::new(Slot { outcome: Mutex::new(None) })
    }

    /// What came of it, once.
    pub fn take(&self) -> Option<T> {
        self.outcome.lock().take()
    }

    /// Parks the calling task until it is served, or `None` until a signal comes for it.
    pub fn wait(&self, task: &mut CurrentTask) -> Option<T> {
        loop {
            let parked = task.park(None);
            match self.take() {
                None if parked.is_ok() => {}
                outcome => return outcome,
            }
        }
    }
}

/// Tasks that have been served: to be woken once the lock of the object is let go.
#[derive(Default)]
pub(super) struct Woken(SmallVec<[Arc<dyn Wake>; 4]>);

impl Woken {
    /// A task has been served.
    pub fn serve<T>(&mut self, slot: &Slot<T>, waker: Arc<dyn Wake>, outcome: T) {
        *slot.outcome.lock() = Some(outcome);
        self.0.push(waker);
    }

    /// Wakes them.
    pub fn wake(self) {
        for waker in self.0 {
            waker.wake(PollEvents::IN);
        }
    }
}
