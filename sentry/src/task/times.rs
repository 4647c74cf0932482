//! Sums that a thread keeps for itself, as a profile wants them.

use std::sync::atomic::Ordering;

use super::{CurrentTask, Task};

/// Sums of a guest thread, as of now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// In the platform: the way to guest code, there, and back.
    pub stays_ns: u64,
    /// Looking at faults.
    pub faults_ns: u64,
    /// How many.
    pub faults: u64,
    /// Waiting, in the call that is being answered.
    pub waited_ns: u64,
}

impl Task {
    /// Its sums at this moment, for any thread that asks; its waiting is left out.
    pub fn times_so_far(&self) -> Times {
        let now_ns = self.thread_group().kernel.boot_ns();
        Times {
            stays_ns: self.in_guest.sum_ns(now_ns),
            faults_ns: self.fault_ns.load(Ordering::Relaxed),
            faults: self.minor_faults.load(Ordering::Relaxed),
            waited_ns: 0,
        }
    }
}

impl CurrentTask {
    /// Its sums. For the thread itself, which is not in guest code.
    pub fn times(&self) -> Times {
        Times {
            stays_ns: self.task.in_guest.sum_ns(0),
            faults_ns: self.task.fault_ns.load(Ordering::Relaxed),
            faults: self.task.minor_faults.load(Ordering::Relaxed),
            waited_ns: self.waited.as_nanos() as u64,
        }
    }
}
