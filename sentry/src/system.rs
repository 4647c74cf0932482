//! What the kernel tells about the machine and about itself (uname(2), sysinfo(2), /proc/meminfo).

use crate::Kernel;
use crate::error::Result;
use crate::mm::total_memory;

/// `sysname` of uname(2).
pub const SYSNAME: &str = "Linux";
/// `release` of uname(2): the Linux that calls behave like.
pub const RELEASE: &str = "6.18.0";
/// `release` that a task with the personality UNAME26 sees.
pub const RELEASE_26: &str = "2.6.78";
/// `version` of uname(2).
pub const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC runsc";
/// `machine` of uname(2).
pub const MACHINE: &str = "x86_64";

/// Bytes of memory as guests see them.
#[derive(Clone, Copy, Debug)]
pub struct MemoryInfo {
    /// What there is.
    pub total: u64,
    /// What nobody uses.
    pub free: u64,
}

impl Kernel {
    /// The sandbox's memory: what it may believe in, less what it uses.
    pub fn memory_info(&self) -> MemoryInfo {
        let host = host::system::memory();
        let total = total_memory().min(host.total);
        let used = self.platform.memory().resident_bytes();
        MemoryInfo { total, free: total.saturating_sub(used).min(host.free) }
    }

    /// The CPU that the calling thread is on, one of those that guests see.
    pub fn current_cpu(&self) -> u32 {
        host::thread::current_cpu() as u32 % self.cpus.max(1)
    }
}

/// Fills `bytes` with random ones.
pub fn fill_random(bytes: &mut [u8]) -> Result<()> {
    host::random::fill(bytes).map_err(|_| abi::Errno::EIO)
}
