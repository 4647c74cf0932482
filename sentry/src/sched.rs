//! Scheduling parameters: kept and answered; the host's scheduler decides (sched(7)).

use abi::Errno;
use abi::sched::{SCHED_BATCH, SCHED_DEADLINE, SCHED_EXT, SCHED_FIFO, SCHED_IDLE, SCHED_NORMAL, SCHED_RR};

/// The most CPUs an affinity can name.
pub const MAX_CPUS: usize = 1024;
/// How long a task of a real-time round runs, nanoseconds.
pub const ROUND_NS: i64 = 100_000_000;

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
    pub affinity: [u64; MAX_CPUS / 64],
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
            affinity: [u64::MAX; MAX_CPUS / 64],
            io_priority: 0,
        }
    }
}

/// A change that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct SchedChange {
    /// The new policy; `None` keeps it, and whether children start with the normal one.
    pub policy: Option<u32>,
    /// Children start with the normal policy.
    pub reset_on_fork: bool,
    /// For real-time policies.
    pub priority: u32,
    /// For the others.
    pub nice: i32,
}

/// What the caller may do to a task.
#[derive(Clone, Copy, Debug)]
pub struct SchedRights {
    /// It has the effective user id of the task's real or effective one.
    pub owner: bool,
    /// CAP_SYS_NICE.
    pub capable: bool,
    /// RLIMIT_NICE of the task: 20 - nice at most.
    pub nice_limit: u64,
    /// RLIMIT_RTPRIO of the task.
    pub priority_limit: u64,
}

fn is_real_time(policy: u32) -> bool {
    matches!(policy, SCHED_FIFO | SCHED_RR)
}

fn is_fair(policy: u32) -> bool {
    matches!(policy, SCHED_NORMAL | SCHED_BATCH)
}

/// Lowest and highest priority of a policy, `None` for what is no policy.
pub fn priority_range(policy: u32) -> Option<(i32, i32)> {
    match policy {
        SCHED_FIFO | SCHED_RR => Some((1, 99)),
        SCHED_NORMAL | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE | SCHED_EXT => Some((0, 0)),
        _ => None,
    }
}

impl SchedRights {
    /// Whether the nice value may go from `old` to `new`.
    pub fn may_nice(&self, old: i32, new: i32) -> bool {
        new >= old || (20 - i64::from(new)) as u64 <= self.nice_limit || self.capable
    }
}

impl SchedParams {
    /// What a child starts with.
    pub fn for_child(&self) -> SchedParams {
        let mut child = *self;
        if self.reset_on_fork {
            child.reset_on_fork = false;
            if is_real_time(self.policy) {
                child.policy = SCHED_NORMAL;
                child.priority = 0;
                child.nice = 0;
            }
            child.nice = child.nice.max(0);
        }
        child
    }

    /// sched_setscheduler(2), sched_setparam(2), sched_setattr(2).
    pub fn changed(&self, change: &SchedChange, rights: &SchedRights) -> Result<SchedParams, Errno> {
        let policy = change.policy.unwrap_or(self.policy);
        let reset_on_fork = if change.policy.is_some() { change.reset_on_fork } else { self.reset_on_fork };
        if !matches!(policy, SCHED_NORMAL | SCHED_BATCH | SCHED_IDLE | SCHED_FIFO | SCHED_RR | SCHED_DEADLINE)
            || change.priority > 99
            || is_real_time(policy) != (change.priority != 0)
        {
            return Err(Errno::EINVAL);
        }
        if !rights.capable && self.needs_privilege(policy, reset_on_fork, change, rights) {
            return Err(Errno::EPERM);
        }
        // Nobody can promise bandwidth here: as a system whose bandwidth is all given away.
        if policy == SCHED_DEADLINE {
            return Err(Errno::EBUSY);
        }
        let nice = if is_fair(policy) { change.nice.clamp(-20, 19) } else { self.nice };
        Ok(SchedParams { policy, priority: change.priority as i32, nice, reset_on_fork, ..*self })
    }

    fn needs_privilege(&self, policy: u32, reset: bool, change: &SchedChange, rights: &SchedRights) -> bool {
        if is_fair(policy) && change.nice < self.nice && !rights.may_nice(self.nice, change.nice) {
            return true;
        }
        if is_real_time(policy) {
            if policy != self.policy && rights.priority_limit == 0 {
                return true;
            }
            if i64::from(change.priority) > i64::from(self.priority)
                && u64::from(change.priority) > rights.priority_limit
            {
                return true;
            }
        }
        let leaves_idle = self.policy == SCHED_IDLE && policy != SCHED_IDLE;
        policy == SCHED_DEADLINE
            || leaves_idle && (20 - i64::from(self.nice)) as u64 > rights.nice_limit
            || !rights.owner
            || self.reset_on_fork && !reset
    }

    /// Affinity cut to the CPUs that there are; EINVAL when none is left.
    pub fn with_affinity(&self, mut affinity: [u64; MAX_CPUS / 64], cpus: u32) -> Result<SchedParams, Errno> {
        for (i, word) in affinity.iter_mut().enumerate() {
            *word &= cpus_in_word(cpus, i);
        }
        if affinity.iter().all(|word| *word == 0) {
            return Err(Errno::EINVAL);
        }
        Ok(SchedParams { affinity, ..*self })
    }

    /// One word of the affinity, CPUs that there are only.
    pub fn affinity_word(&self, index: usize, cpus: u32) -> u64 {
        self.affinity.get(index).copied().unwrap_or(0) & cpus_in_word(cpus, index)
    }
}

/// Bits of the CPUs that there are in word `index` of a set.
fn cpus_in_word(cpus: u32, index: usize) -> u64 {
    let rest = (cpus as usize).saturating_sub(index * 64);
    if rest >= 64 { u64::MAX } else { (1 << rest) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: SchedRights = SchedRights { owner: true, capable: false, nice_limit: 0, priority_limit: 0 };
    const ROOT: SchedRights = SchedRights { capable: true, ..NOBODY };

    fn change(policy: u32, priority: u32) -> SchedChange {
        SchedChange { policy: Some(policy), reset_on_fork: false, priority, nice: 0 }
    }

    #[test]
    fn real_time_needs_a_priority_and_a_privilege() {
        let params = SchedParams::default();
        assert_eq!(params.changed(&change(SCHED_FIFO, 0), &ROOT).unwrap_err(), Errno::EINVAL);
        assert_eq!(params.changed(&change(SCHED_NORMAL, 1), &ROOT).unwrap_err(), Errno::EINVAL);
        assert_eq!(params.changed(&change(SCHED_FIFO, 1), &NOBODY).unwrap_err(), Errno::EPERM);
        assert_eq!(params.changed(&change(SCHED_RR, 99), &ROOT).unwrap().priority, 99);
        let limited = SchedRights { priority_limit: 5, ..NOBODY };
        assert!(params.changed(&change(SCHED_FIFO, 5), &limited).is_ok());
        assert_eq!(params.changed(&change(SCHED_FIFO, 6), &limited).unwrap_err(), Errno::EPERM);
        assert_eq!(params.changed(&change(77, 0), &ROOT).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn idle_is_left_only_as_far_as_nice_allows() {
        let idle = SchedParams::default().changed(&change(SCHED_IDLE, 0), &NOBODY).unwrap();
        assert_eq!(idle.changed(&change(SCHED_NORMAL, 0), &NOBODY).unwrap_err(), Errno::EPERM);
        let limited = SchedRights { nice_limit: 20, ..NOBODY };
        assert!(idle.changed(&change(SCHED_NORMAL, 0), &limited).is_ok());
    }

    #[test]
    fn affinity_is_cut_to_what_there_is() {
        let params = SchedParams::default();
        assert_eq!(params.affinity_word(0, 2), 3);
        assert_eq!(params.affinity_word(1, 2), 0);
        assert_eq!(params.affinity_word(0, 64), u64::MAX);
        let mut none = [0; MAX_CPUS / 64];
        none[0] = 4;
        assert_eq!(params.with_affinity(none, 2).unwrap_err(), Errno::EINVAL);
        none[0] = 6;
        assert_eq!(params.with_affinity(none, 2).unwrap().affinity_word(0, 2), 2);
    }

    #[test]
    fn children_start_anew_where_asked_to() {
        let fifo = SchedChange { reset_on_fork: true, ..change(SCHED_FIFO, 3) };
        let child = SchedParams::default().changed(&fifo, &ROOT).unwrap().for_child();
        assert_eq!((child.policy, child.priority, child.reset_on_fork), (SCHED_NORMAL, 0, false));
    }
}
