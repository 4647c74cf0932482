//! Threads: ids, processors, priorities.

use std::io::Result;
use std::sync::OnceLock;

use crate::{check, check_int};

/// The calling thread's id.
pub fn gettid() -> i32 {
    // SAFETY: no arguments, no memory.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// The processor that the caller runs on (it may have moved since).
pub fn current_cpu() -> usize {
    // SAFETY: no arguments, no memory.
    unsafe { libc::sched_getcpu() }.max(0) as usize
}

/// Gives the processor to another thread.
pub fn yield_now() {
    // SAFETY: no arguments, no memory.
    unsafe { libc::sched_yield() };
}

/// A set of processors.
#[derive(Clone, Copy)]
pub struct CpuSet(libc::cpu_set_t);

impl CpuSet {
    /// None.
    pub fn empty() -> CpuSet {
        // SAFETY: the structure is an array of integers.
        CpuSet(unsafe { std::mem::zeroed() })
    }

    /// Just one.
    pub fn single(cpu: usize) -> CpuSet {
        let mut set = CpuSet::empty();
        set.insert(cpu);
        set
    }

    /// Adds one; numbers beyond the structure are ignored.
    pub fn insert(&mut self, cpu: usize) {
        if cpu < libc::CPU_SETSIZE as usize {
            // SAFETY: the number was checked.
            unsafe { libc::CPU_SET(cpu, &mut self.0) };
        }
    }

    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: usize) -> bool {
        // SAFETY: the number is checked first.
        cpu < libc::CPU_SETSIZE as usize && unsafe { libc::CPU_ISSET(cpu, &self.0) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        // SAFETY: reads the structure only.
        unsafe { libc::CPU_COUNT(&self.0) as usize }
    }

    /// Their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| self.contains(cpu))
    }
}

impl std::fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The processors that thread `tid` (0: the caller) may run on.
pub fn affinity(tid: i32) -> Result<CpuSet> {
    let mut set = CpuSet::empty();
    // SAFETY: the structure is valid for its size.
    check_int(unsafe { libc::sched_getaffinity(tid, size_of::<libc::cpu_set_t>(), &mut set.0) })?;
    Ok(set)
}

/// Restricts thread `tid` (0: the caller) to `set`.
pub fn set_affinity(tid: i32, set: &CpuSet) -> Result<()> {
    // SAFETY: the structure is valid for its size.
    check_int(unsafe { libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &set.0) }).map(drop)
}

/// The processors that the process could use when this was first asked for (early, before any thread is restricted).
pub fn initial_affinity() -> &'static CpuSet {
    static SET: OnceLock<CpuSet> = OnceLock::new();
    SET.get_or_init(|| affinity(0).unwrap_or_else(|_| CpuSet::empty()))
}

/// Lets the calling thread run on all of them again. For threads that do work of their own: they inherit what the
/// thread that started them may use, and a platform may hold a guest's thread on one processor.
pub fn run_anywhere() {
    // It can fail only where the host has taken processors away since, and then the thread stays where it may be.
    let _ = set_affinity(0, initial_affinity());
}

/// Processor time that thread `tid` of this process has used.
pub fn cpu_time_ns(tid: i32) -> Result<u64> {
    // Linux makes the id of a thread's clock from its thread id, as that of a process's (clock_getcpuclockid(3)).
    const SCHEDULER_CLOCK: i32 = 2;
    const PER_THREAD: i32 = 4;
    crate::process::read_clock_ns((!tid << 3) | PER_THREAD | SCHEDULER_CLOCK)
}

/// Sends `signal` to one thread of process `tgid`.
pub fn tgkill(tgid: i32, tid: i32, signal: i32) -> Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, signal) }).map(drop)
}

/// How many threads the calling process has.
pub fn count() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Returns when every running thread of the machine has gone through a memory barrier. Takes milliseconds.
pub fn memory_barrier_everywhere() -> Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) }).map(drop)
}
