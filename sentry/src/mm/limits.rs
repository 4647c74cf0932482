//! Limits of a process that its memory calls obey, and what its address space uses.

use std::sync::atomic::{AtomicU64, Ordering};

use super::vma::{Vma, VmaFlags};

/// Resource limits (soft values) that a memory call is checked against; `u64::MAX` is RLIM_INFINITY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmLimits {
    /// RLIMIT_AS in bytes.
    pub address_space: u64,
    /// RLIMIT_DATA in bytes.
    pub data: u64,
    /// RLIMIT_MEMLOCK in bytes.
    pub memlock: u64,
    /// CAP_IPC_LOCK: RLIMIT_MEMLOCK does not count.
    pub may_lock: bool,
}

impl MmLimits {
    /// No limits: for the kernel's own mappings.
    pub const UNLIMITED: MmLimits =
        MmLimits { address_space: u64::MAX, data: u64::MAX, memlock: u64::MAX, may_lock: true };
}

/// Mappings a process may have (vm.max_map_count).
pub const MAX_MAP_COUNT: usize = 65530;

static TOTAL_MEMORY: AtomicU64 = AtomicU64::new(u64::MAX);

/// Sets how much memory guests may believe in: one allocation above that is refused, as Linux does with
/// vm.overcommit_memory = 0.
pub fn set_total_memory(bytes: u64) {
    TOTAL_MEMORY.store(bytes, Ordering::Relaxed);
}

/// See [`set_total_memory`].
pub fn total_memory() -> u64 {
    TOTAL_MEMORY.load(Ordering::Relaxed)
}

/// Whether `bytes` at once are too many (the obvious overcommit of Linux's heuristic).
pub(super) fn overcommits(bytes: u64) -> bool {
    bytes > total_memory()
}

/// What the mappings of an address space add up to, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All mappings (VmSize).
    pub total: u64,
    /// The highest `total` so far (VmPeak).
    pub peak: u64,
    /// Private, writable (VmData).
    pub data: u64,
    /// Stacks (VmStk).
    pub stack: u64,
    /// Executable (VmExe and VmLib).
    pub code: u64,
    /// Locked (VmLck).
    pub locked: u64,
}

impl Usage {
    pub(super) fn add(&mut self, vma: &Vma, len: u64) {
        self.total += len;
        self.peak = self.peak.max(self.total);
        self.each(vma, |sum| *sum += len);
    }

    pub(super) fn sub(&mut self, vma: &Vma, len: u64) {
        self.total -= len;
        self.each(vma, |sum| *sum -= len);
    }

    fn each(&mut self, vma: &Vma, change: impl Fn(&mut u64)) {
        if vma.is_data() {
            change(&mut self.data);
        }
        if vma.is_stack() {
            change(&mut self.stack);
        }
        if vma.is_code() {
            change(&mut self.code);
        }
        if vma.flags.contains(VmaFlags::LOCKED) {
            change(&mut self.locked);
        }
    }
}
