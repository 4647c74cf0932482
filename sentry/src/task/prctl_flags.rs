//! What prctl(2) sets and the kernel only keeps.

use std::sync::atomic::Ordering;

use super::Task;

bitflags::bitflags! {
    /// Bits of [`Task::prctl_flags`]. Children inherit them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PrctlFlags: u32 {
        /// PR_SET_THP_DISABLE.
        const THP_DISABLE = 1;
        /// PR_SET_IO_FLUSHER.
        const IO_FLUSHER = 1 << 1;
        /// PR_MCE_KILL_SET was called: [`MCE_EARLY`](Self::MCE_EARLY) counts.
        const MCE_SET = 1 << 2;
        /// PR_MCE_KILL_EARLY.
        const MCE_EARLY = 1 << 3;
        /// PR_SET_MEMORY_MERGE.
        const MEMORY_MERGE = 1 << 4;
        /// PR_TIMER_CREATE_RESTORE_IDS.
        const TIMER_RESTORE_IDS = 1 << 5;
        /// Another thread has set PR_SET_NO_NEW_PRIVS for all (seccomp with TSYNC): credentials get it at exec.
        const NO_NEW_PRIVS = 1 << 6;
    }
}

impl Task {
    /// Whether all of `flags` are set.
    pub fn has_prctl(&self, flags: PrctlFlags) -> bool {
        PrctlFlags::from_bits_retain(self.prctl_flags.load(Ordering::Relaxed)).contains(flags)
    }

    /// Sets or clears flags.
    pub fn set_prctl(&self, flags: PrctlFlags, on: bool) {
        if on {
            self.prctl_flags.fetch_or(flags.bits(), Ordering::Relaxed);
        } else {
            self.prctl_flags.fetch_and(!flags.bits(), Ordering::Relaxed);
        }
    }
}
