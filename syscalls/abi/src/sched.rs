//! Scheduling: policies, parameters, affinity.

constants! {
    /// Policies.
    pub table SCHED_POLICIES: u32 {
        SCHED_NORMAL = 0;
        SCHED_FIFO = 1;
        SCHED_RR = 2;
        SCHED_BATCH = 3;
        SCHED_IDLE = 5;
        SCHED_DEADLINE = 6;
        SCHED_EXT = 7;
    }
}

/// Flag beside the policy of sched_setscheduler(2): children start with the normal one.
pub const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

flags! {
    /// `sched_flags`.
    pub struct SchedFlags: u64, "SCHED_FLAG_" {
        const RESET_ON_FORK = 0x01;
        const RECLAIM = 0x02;
        const DL_OVERRUN = 0x04;
        const KEEP_POLICY = 0x08;
        const KEEP_PARAMS = 0x10;
        const UTIL_CLAMP_MIN = 0x20;
        const UTIL_CLAMP_MAX = 0x40;
    }
}

wire! {
    /// `struct sched_param`.
    pub struct SchedParam {
        pub sched_priority: i32,
    }

    /// `struct sched_attr`.
    pub struct SchedAttr {
        pub size: u32,
        pub sched_policy: u32,
        pub sched_flags: u64,
        pub sched_nice: i32,
        pub sched_priority: u32,
        pub sched_runtime: u64,
        pub sched_deadline: u64,
        pub sched_period: u64,
        pub sched_util_min: u32,
        pub sched_util_max: u32,
    }
}

/// Bytes of the first version of [`SchedAttr`], up to `sched_period`.
pub const SCHED_ATTR_SIZE_VER0: usize = 48;
/// Bytes of the second version.
pub const SCHED_ATTR_SIZE_VER1: usize = 56;
