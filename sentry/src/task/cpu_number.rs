//! The CPU that a thread is told it is on: by getcpu(2), and by the page of the vDSO ([`CpuTable`]).
//!
//! For a thread that uses restartable sequences it is the CPU that those are on ([`CpuSlots`](super::cpu_slots::CpuSlots)).
//! For any other it is one that it may run on, the same as long as its affinity is: the host moves threads without
//! telling, and no number that was true a moment ago is better than another.

use crate::mm::{CpuTable, Who};

use super::CurrentTask;
use super::cpu_slots::Allowed;

/// What the page says of a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Published {
    /// Base of its FS segment.
    base: u64,
    cpu: u16,
    /// [`CpuTable::generation`] before it was written.
    generation: u64,
}

impl CurrentTask {
    /// The number of its CPU.
    pub fn cpu(&self) -> u32 {
        self.rseq_cpu().unwrap_or_else(|| self.any_cpu())
    }

    /// One of those that it may run on.
    fn any_cpu(&self) -> u32 {
        let affinity = Allowed(self.sched.lock().affinity);
        let allowed = || (0..self.kernel().cpus).filter(|cpu| affinity.has(*cpu as usize));
        let count = allowed().count().max(1) as u64;
        allowed().nth((self.id % count) as usize).unwrap_or(0)
    }

    /// Before guest code runs: the page says what getcpu(2) would.
    #[inline]
    pub(super) fn publish_cpu(&mut self) {
        let Some(generation) = self.mm().cpu_table().map(CpuTable::generation) else { return };
        let cpu = match (self.rseq_cpu(), self.published) {
            (Some(cpu), _) => cpu as u16,
            // A new affinity forgets what was published.
            (None, Some(published)) => published.cpu,
            (None, None) => self.any_cpu() as u16,
        };
        let now = Published { base: self.regs.fs_base, cpu, generation };
        if self.published != Some(now) {
            self.publish(now);
        }
    }

    #[cold]
    fn publish(&mut self, now: Published) {
        let id = self.id;
        let who = if self.vfork_done.is_some() { Who::VforkChild(id) } else { Who::Thread(id) };
        let Some(table) = self.mm().cpu_table() else { return };
        if let Some(old) = self.published.filter(|old| old.base != now.base) {
            table.withdraw(old.base, id);
        }
        table.publish(now.base, now.cpu, who);
        self.published = Some(now);
    }

    /// The thread leaves its memory (exec, exit), or may be on other CPUs now.
    pub(super) fn withdraw_cpu(&mut self) {
        if let (Some(table), Some(old)) = (self.mm().cpu_table(), self.published) {
            table.withdraw(old.base, self.id);
        }
        self.published = None;
    }
}
