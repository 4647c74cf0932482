//! Resource usage (getrusage(2)), and what has been read and written (proc(5), /proc/PID/io).

use std::sync::atomic::{AtomicU64, Ordering};

use super::CurrentTask;
use crate::error::SysResult;

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
    /// What calls have read and written.
    pub io: IoUsage,
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
        self.io.add(&other.io);
    }
}

/// What calls have read and written, whatever files they are: read(2), write(2) and their kin, sendfile(2),
/// copy_file_range(2). As on Linux not splice(2), not what only sockets have, and not aio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoUsage {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Calls that read, failed ones too.
    pub reads: u64,
    /// Calls that write, failed ones too.
    pub writes: u64,
}

impl IoUsage {
    fn add(&mut self, other: &IoUsage) {
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
        self.reads += other.reads;
        self.writes += other.writes;
    }
}

/// The sums of a thread, which it alone changes.
#[derive(Debug, Default)]
pub(super) struct IoTally {
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl IoTally {
    pub fn sums(&self) -> IoUsage {
        IoUsage {
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }
}

/// Adds to a number that only the calling thread changes.
pub(super) fn grow(sum: &AtomicU64, by: u64) {
    sum.store(sum.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

impl CurrentTask {
    /// Counts a call that reads, which gave `done`.
    pub fn count_read(&self, done: &SysResult<usize>) {
        let io = &self.task().io;
        grow(&io.reads, 1);
        grow(&io.read_bytes, *done.as_ref().unwrap_or(&0) as u64);
    }

    /// Counts a call that writes, which gave `done`.
    pub fn count_written(&self, done: &SysResult<usize>) {
        let io = &self.task().io;
        grow(&io.writes, 1);
        grow(&io.written_bytes, *done.as_ref().unwrap_or(&0) as u64);
    }
}
