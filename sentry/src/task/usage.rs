//! Resource usage (getrusage(2)).

/// What a thread, a process or a process's children have used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time in guest code, nanoseconds.
    pub user_ns: u64,
    /// Time in system calls, nanoseconds.
    pub system_ns: u64,
    /// Largest resident set, KiB.
    pub max_rss_kib: u64,
    /// Faults that the Sentry resolved.
    pub minor_faults: u64,
    /// Waits.
    pub voluntary_switches: u64,
    /// Interruptions.
    pub involuntary_switches: u64,
}

impl Usage {
    /// Adds another's.
    pub fn add(&mut self, other: &Usage) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.max_rss_kib = self.max_rss_kib.max(other.max_rss_kib);
        self.minor_faults += other.minor_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
    }
}
