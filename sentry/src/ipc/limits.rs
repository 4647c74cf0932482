//! What /proc/sys/kernel says of a namespace: sem, msgmax, msgmnb, msgmni, shmmax, shmall, shmmni.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// The limits of a namespace.
#[derive(Debug)]
pub struct Limits {
    /// Semaphores of a set at most (first number of `sem`).
    pub semmsl: AtomicU32,
    /// Semaphores of all sets at most (second).
    pub semmns: AtomicU32,
    /// Operations of a semop(2) at most (third).
    pub semopm: AtomicU32,
    /// Sets at most (fourth).
    pub semmni: AtomicU32,
    /// Bytes of a message at most.
    pub msgmax: AtomicU32,
    /// Bytes of a new queue at most.
    pub msgmnb: AtomicU32,
    /// Queues at most.
    pub msgmni: AtomicU32,
    /// Bytes of a segment at most.
    pub shmmax: AtomicU64,
    /// Pages of all segments at most.
    pub shmall: AtomicU64,
    /// Segments at most.
    pub shmmni: AtomicU32,
}

/// SEMMSL, SEMMNI.
const SETS: u32 = 32_000;
/// SHMMAX, SHMALL.
const SHARED: u64 = u64::MAX - (1 << 24);

impl Default for Limits {
    fn default() -> Self {
        Limits {
            semmsl: AtomicU32::new(SETS),
            semmns: AtomicU32::new(SETS * SETS),
            semopm: AtomicU32::new(500),
            semmni: AtomicU32::new(SETS),
            msgmax: AtomicU32::new(8192),
            msgmnb: AtomicU32::new(16_384),
            msgmni: AtomicU32::new(32_000),
            shmmax: AtomicU64::new(SHARED),
            shmall: AtomicU64::new(SHARED),
            shmmni: AtomicU32::new(4096),
        }
    }
}
