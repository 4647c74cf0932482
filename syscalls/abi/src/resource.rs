//! Resource limits and use, priorities.

constants! {
    /// Resources with limits.
    pub table RLIMITS: u32 {
        RLIMIT_CPU = 0;
        RLIMIT_FSIZE = 1;
        RLIMIT_DATA = 2;
        RLIMIT_STACK = 3;
        RLIMIT_CORE = 4;
        RLIMIT_RSS = 5;
        RLIMIT_NPROC = 6;
        RLIMIT_NOFILE = 7;
        RLIMIT_MEMLOCK = 8;
        RLIMIT_AS = 9;
        RLIMIT_LOCKS = 10;
        RLIMIT_SIGPENDING = 11;
        RLIMIT_MSGQUEUE = 12;
        RLIMIT_NICE = 13;
        RLIMIT_RTPRIO = 14;
        RLIMIT_RTTIME = 15;
    }
}

/// How many there are.
pub const RLIM_NLIMITS: usize = 16;
/// No limit.
pub const RLIM_INFINITY: u64 = u64::MAX;

constants! {
    /// Whose use getrusage(2) tells.
    pub table RUSAGE_WHO: i32 {
        RUSAGE_SELF = 0;
        RUSAGE_CHILDREN = -1;
        RUSAGE_THREAD = 1;
    }
}

constants! {
    /// Whose priority getpriority(2) tells.
    pub table PRIORITY_WHICH: u32 {
        PRIO_PROCESS = 0;
        PRIO_PGRP = 1;
        PRIO_USER = 2;
    }
}

constants! {
    /// Whose priority ioprio_get(2) tells.
    pub table IOPRIO_WHICH: u32 {
        IOPRIO_WHO_PROCESS = 1;
        IOPRIO_WHO_PGRP = 2;
        IOPRIO_WHO_USER = 3;
    }
}

constants! {
    /// Classes of input/output priority, in bits 13 and up.
    pub table IOPRIO_CLASSES: u32 {
        IOPRIO_CLASS_NONE = 0;
        IOPRIO_CLASS_RT = 1;
        IOPRIO_CLASS_BE = 2;
        IOPRIO_CLASS_IDLE = 3;
    }
}

/// Where in an input/output priority the class is.
pub const IOPRIO_CLASS_SHIFT: u32 = 13;

wire! {
    /// `struct rlimit64`.
    pub struct RLimit {
        pub rlim_cur: u64,
        pub rlim_max: u64,
    }

    /// `struct rusage`.
    pub struct RUsage {
        pub ru_utime: super::time::Timeval,
        pub ru_stime: super::time::Timeval,
        /// KiB.
        pub ru_maxrss: i64,
        pub ru_ixrss: i64,
        pub ru_idrss: i64,
        pub ru_isrss: i64,
        pub ru_minflt: i64,
        pub ru_majflt: i64,
        pub ru_nswap: i64,
        /// Blocks of 512 bytes.
        pub ru_inblock: i64,
        pub ru_oublock: i64,
        pub ru_msgsnd: i64,
        pub ru_msgrcv: i64,
        pub ru_nsignals: i64,
        pub ru_nvcsw: i64,
        pub ru_nivcsw: i64,
    }
}
