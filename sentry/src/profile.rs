//! What the Gofer has to do with a profile: how long this thread has waited for it.

use std::time::Duration;

/// Requests to the Gofer and the time for them, of this thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoferTime {
    /// How many.
    pub requests: u64,
    /// How long.
    pub ns: u64,
}

impl GoferTime {
    /// What has come since.
    pub fn since(self, before: GoferTime) -> GoferTime {
        GoferTime { requests: self.requests - before.requests, ns: self.ns - before.ns }
    }
}

/// From now on the time for requests is measured.
pub fn measure_gofer() {
    gofer_protocol::time::measure();
}

/// It is measured no more.
pub fn forget_gofer() {
    gofer_protocol::time::stop();
}

/// This thread's sums so far.
pub fn gofer_time() -> GoferTime {
    let (requests, spent): (u64, Duration) = gofer_protocol::time::spent();
    GoferTime { requests, ns: spent.as_nanos() as u64 }
}
