//! Resource limits (getrlimit(2)).

use abi::resource::{RLIM_INFINITY, RLIM_NLIMITS, RLimit};

/// All limits of a process.
#[derive(Clone, Debug)]
pub struct Limits([RLimit; RLIM_NLIMITS]);

impl Limits {
    /// One limit. Numbers that do not exist are unlimited: handlers check before.
    pub fn get(&self, resource: u32) -> RLimit {
        let unlimited = RLimit { rlim_cur: RLIM_INFINITY, rlim_max: RLIM_INFINITY };
        self.0.get(resource as usize).copied().unwrap_or(unlimited)
    }

    /// Sets one limit.
    pub fn set(&mut self, resource: u32, limit: RLimit) {
        if let Some(slot) = self.0.get_mut(resource as usize) {
            *slot = limit;
        }
    }
}

impl Default for Limits {
    /// What Linux gives its first process (include/asm-generic/resource.h).
    fn default() -> Self {
        use abi::resource as r;
        let unlimited = RLimit { rlim_cur: RLIM_INFINITY, rlim_max: RLIM_INFINITY };
        let mut limits = Limits([unlimited; RLIM_NLIMITS]);
        let mut set =
            |which: u32, cur: u64, max: u64| limits.set(which, RLimit { rlim_cur: cur, rlim_max: max });
        set(r::RLIMIT_STACK, 8 << 20, RLIM_INFINITY);
        set(r::RLIMIT_CORE, 0, RLIM_INFINITY);
        set(r::RLIMIT_NOFILE, 1024, 1_048_576);
        set(r::RLIMIT_MEMLOCK, 8 << 20, 8 << 20);
        set(r::RLIMIT_NPROC, 65536, 65536);
        set(r::RLIMIT_SIGPENDING, 65536, 65536);
        set(r::RLIMIT_MSGQUEUE, 819_200, 819_200);
        set(r::RLIMIT_NICE, 0, 0);
        set(r::RLIMIT_RTPRIO, 0, 0);
        limits
    }
}
