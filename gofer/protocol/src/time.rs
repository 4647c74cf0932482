//! How long a thread has waited for replies, for profiles. Nothing is measured, and no clock read, until somebody asks.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static MEASURED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static SPENT: Cell<(u64, Duration)> = const { Cell::new((0, Duration::ZERO)) };
}

/// Measures from now on.
pub fn measure() {
    MEASURED.store(true, Ordering::Relaxed);
}

/// Measures no more.
pub fn stop() {
    MEASURED.store(false, Ordering::Relaxed);
}

/// Requests of this thread, and the time for them.
pub fn spent() -> (u64, Duration) {
    SPENT.get()
}

/// A request that is under way, if it is to be measured.
pub(crate) struct Watch(Option<Instant>);

impl Watch {
    pub(crate) fn start() -> Watch {
        Watch(MEASURED.load(Ordering::Relaxed).then(Instant::now))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(begun) = self.0 {
            let (requests, time) = SPENT.get();
            SPENT.set((requests + 1, time + begun.elapsed()));
        }
    }
}
