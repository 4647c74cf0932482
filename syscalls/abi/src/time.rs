//! Clocks and timers.

wire! {
    /// `struct timespec`.
    pub struct Timespec {
        pub tv_sec: i64,
        pub tv_nsec: i64,
    }

    /// `struct timeval`.
    pub struct Timeval {
        pub tv_sec: i64,
        pub tv_usec: i64,
    }

    /// `struct itimerval`.
    pub struct Itimerval {
        pub it_interval: Timeval,
        pub it_value: Timeval,
    }

    /// `struct itimerspec`.
    pub struct Itimerspec {
        pub it_interval: Timespec,
        pub it_value: Timespec,
    }

    /// `struct timezone`.
    pub struct Timezone {
        pub tz_minuteswest: i32,
        pub tz_dsttime: i32,
    }

    /// `struct statx_timestamp`.
    pub struct StatxTimestamp {
        pub tv_sec: i64,
        pub tv_nsec: u32,
        pub reserved: i32,
    }

    /// `struct tms` of times(2), in clock ticks.
    pub struct Tms {
        pub tms_utime: i64,
        pub tms_stime: i64,
        pub tms_cutime: i64,
        pub tms_cstime: i64,
    }

    /// `struct utimbuf`.
    pub struct Utimbuf {
        pub actime: i64,
        pub modtime: i64,
    }

    /// `struct sigevent`.
    pub struct SigEvent {
        pub sigev_value: u64,
        pub sigev_signo: i32,
        pub sigev_notify: i32,
        /// Thread to signal with SIGEV_THREAD_ID.
        pub sigev_notify_thread_id: i32,
        pub pad: [i32; 11],
    }

    /// `struct __kernel_timex` of adjtimex(2).
    pub struct Timex {
        pub modes: u32,
        pub pad0: u32,
        pub offset: i64,
        pub freq: i64,
        pub maxerror: i64,
        pub esterror: i64,
        pub status: i32,
        pub pad1: u32,
        pub constant: i64,
        pub precision: i64,
        pub tolerance: i64,
        pub time: Timeval,
        pub tick: i64,
        pub ppsfreq: i64,
        pub jitter: i64,
        pub shift: i32,
        pub pad2: u32,
        pub stabil: i64,
        pub jitcnt: i64,
        pub calcnt: i64,
        pub errcnt: i64,
        pub stbcnt: i64,
        pub tai: i32,
        pub pad3: [u32; 11],
    }
}

/// `tv_nsec` of utimensat(2): now.
pub const UTIME_NOW: i64 = (1 << 30) - 1;
/// `tv_nsec` of utimensat(2): leave it.
pub const UTIME_OMIT: i64 = (1 << 30) - 2;
/// Clock ticks in a second, as times(2) and /proc count.
pub const CLK_TCK: i64 = 100;

constants! {
    /// Clocks.
    pub table CLOCKS: i32 {
        CLOCK_REALTIME = 0;
        CLOCK_MONOTONIC = 1;
        CLOCK_PROCESS_CPUTIME_ID = 2;
        CLOCK_THREAD_CPUTIME_ID = 3;
        CLOCK_MONOTONIC_RAW = 4;
        CLOCK_REALTIME_COARSE = 5;
        CLOCK_MONOTONIC_COARSE = 6;
        CLOCK_BOOTTIME = 7;
        CLOCK_REALTIME_ALARM = 8;
        CLOCK_BOOTTIME_ALARM = 9;
        CLOCK_TAI = 11;
    }
}

/// Low bits of the clock of another process or thread (`~pid << 3 | which`): user and system time.
pub const CPUCLOCK_PROF: i32 = 0;
/// User time.
pub const CPUCLOCK_VIRT: i32 = 1;
/// Scheduled time.
pub const CPUCLOCK_SCHED: i32 = 2;
/// Mask of the three.
pub const CPUCLOCK_CLOCK_MASK: i32 = 3;
/// The clock of a thread, not of a process.
pub const CPUCLOCK_PERTHREAD_MASK: i32 = 4;
/// The clock of a device behind a descriptor (`~fd << 3 | 3`).
pub const CLOCKFD: i32 = 3;

constants! {
    /// Interval timers.
    pub table ITIMERS: u32 {
        ITIMER_REAL = 0;
        ITIMER_VIRTUAL = 1;
        ITIMER_PROF = 2;
    }
}

flags! {
    /// Flags of clock_nanosleep(2) and timer_settime(2).
    pub struct TimerFlags: u32, "TIMER_" {
        const ABSTIME = 1;
    }
}

flags! {
    /// Flags of timerfd_settime(2).
    pub struct TfdTimerFlags: u32, "TFD_TIMER_" {
        const ABSTIME = 1;
        const CANCEL_ON_SET = 2;
    }
}

flags! {
    /// Flags of timerfd_create(2).
    pub struct TfdFlags: u32, "TFD_" {
        const NONBLOCK = 0o4000;
        const CLOEXEC = 0o2000000;
    }
}

constants! {
    /// How a timer tells.
    pub table SIGEV_NOTIFY: i32 {
        SIGEV_SIGNAL = 0;
        SIGEV_NONE = 1;
        SIGEV_THREAD = 2;
        SIGEV_THREAD_ID = 4;
    }
}

constants! {
    /// `modes` of adjtimex(2).
    pub table ADJTIMEX_MODES: u32 {
        ADJ_OFFSET = 0x0001;
        ADJ_FREQUENCY = 0x0002;
        ADJ_MAXERROR = 0x0004;
        ADJ_ESTERROR = 0x0008;
        ADJ_STATUS = 0x0010;
        ADJ_TIMECONST = 0x0020;
        ADJ_TAI = 0x0080;
        ADJ_SETOFFSET = 0x0100;
        ADJ_MICRO = 0x1000;
        ADJ_NANO = 0x2000;
        ADJ_TICK = 0x4000;
        ADJ_OFFSET_SINGLESHOT = 0x8001;
        ADJ_OFFSET_SS_READ = 0xa001;
    }
}

constants! {
    /// `status` bits of adjtimex(2).
    pub table ADJTIMEX_STATUS: i32 {
        STA_PLL = 0x0001;
        STA_UNSYNC = 0x0040;
        STA_NANO = 0x2000;
    }
}

constants! {
    /// What adjtimex(2) returns.
    pub table ADJTIMEX_STATES: i32 {
        TIME_OK = 0;
        TIME_INS = 1;
        TIME_DEL = 2;
        TIME_OOP = 3;
        TIME_WAIT = 4;
        TIME_ERROR = 5;
    }
}
