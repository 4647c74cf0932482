//! Scheduling parameters: kept and answered; the host's scheduler decides (sched(7)).

use abi::sched::SCHED_NORMAL;

/// What sched_setattr(2) and friends set.
#[derive(Clone, Copy, Debug)]
pub struct SchedParams {
    /// SCHED_*.
    pub policy: u32,
    /// 1 to 99 for real-time policies, else 0.
    pub priority: i32,
    /// -20 to 19.
    pub nice: i32,
    /// SCHED_RESET_ON_FORK.
    pub reset_on_fork: bool,
    /// Affinity, one bit a CPU.
    pub affinity: [u64; 16],
    /// ioprio_set(2).
    pub io_priority: u16,
}

impl Default for SchedParams {
    fn default() -> Self {
        SchedParams {
            policy: SCHED_NORMAL,
            priority: 0,
            nice: 0,
            reset_on_fork: false,
            affinity: [u64::MAX; 16],
            io_priority: 0,
        }
    }
}

impl SchedParams {
    /// What a child starts with.
    pub fn for_child(&self) -> SchedParams {
        let mut child = *self;
        if self.reset_on_fork {
            child.reset_on_fork = false;
            if self.policy != SCHED_NORMAL && self.priority > 0 {
                child.policy = SCHED_NORMAL;
                child.priority = 0;
            }
            child.nice = child.nice.max(0);
        }
        child
    }
}
