//! Restartable sequences (rseq(2)): the area of a thread, and aborting the sequence it was in.
//!
//! The kernel writes the number of the thread's CPU to an area that the thread has registered. A sequence of
//! instructions that the area points to while it runs is left for its abort handler when a signal comes, or when
//! others may have run on that CPU. What the CPU numbers are and why this is right: [`CpuSlots`].

use std::sync::Arc;

use abi::Errno;
use abi::rseq::{ORIG_RSEQ_SIZE, RSEQ_CPU_ID_UNINITIALIZED, RSEQ_FEATURE_SIZE, RseqCs};
use abi::signal::{SigInfo, Signal};

use super::CurrentTask;
use super::cpu_slots::{Allowed, CpuSlots};
use crate::error::Result;
use crate::mm::{TASK_SIZE, UserAddr, UserRef};

/// Offsets in `struct rseq`.
const CPU_ID_START: u64 = 0;
const SECTION: u64 = 8;
const FLAGS: u64 = 16;
const NODE_ID: u64 = 20;

/// What a thread has registered.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Registration {
    area: UserAddr,
    len: u32,
    signature: u32,
}

/// The registration of a thread, and the CPU that it has.
#[derive(Default)]
pub(super) struct Rseq {
    active: Option<Active>,
}

struct Active {
    registration: Registration,
    slots: Arc<CpuSlots>,
    cpu: Option<usize>,
    /// The CPU that the area says.
    told: Option<usize>,
    /// The CPU may be no good any more: a way back to guest code takes one again.
    look_again: bool,
}

impl Rseq {
    /// What a child that has a copy of the memory starts with.
    pub(super) fn for_fork(&self, slots: impl FnOnce() -> Arc<CpuSlots>) -> Rseq {
        Rseq { active: self.active.as_ref().map(|active| Active::new(active.registration, slots())) }
    }
}

impl Active {
    fn new(registration: Registration, slots: Arc<CpuSlots>) -> Active {
        Active { registration, slots, cpu: None, told: None, look_again: true }
    }
}

/// What came of going to guest code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EnterCpu {
    /// Nothing had to be done for it.
    Kept,
    /// The thread has taken a CPU, and may have waited for it.
    Taken,
    /// There is something to look at first.
    Not,
}

impl CurrentTask {
    /// Registers the area of this thread.
    pub fn register_rseq(&mut self, area: UserAddr, len: u32, signature: u32) -> Result<()> {
        let wanted = Registration { area, len, signature };
        if let Some(active) = &self.rseq.active {
            let now = active.registration;
            return Err(match () {
                () if (now.area, now.len) != (area, len) => Errno::EINVAL,
                () if now.signature != signature => Errno::EPERM,
                () => Errno::EBUSY,
            });
        }
        let aligned = area.0.is_multiple_of(u64::from(ORIG_RSEQ_SIZE));
        if len < ORIG_RSEQ_SIZE || !aligned || u64::from(len) < RSEQ_FEATURE_SIZE {
            return Err(Errno::EINVAL);
        }
        if !area.access_ok(u64::from(len)) {
            return Err(Errno::EFAULT);
        }
        let section = area.add(SECTION)?;
        // What an area that was used before still points to is no sequence of this thread.
        if self.read_obj(UserRef::<u64>::new(section))? != 0 {
            self.write_obj(UserRef::new(section), &0u64)?;
        }
        let slots = self.mm().cpu_slots(self.kernel().cpus);
        self.rseq.active = Some(Active::new(wanted, slots));
        Ok(())
    }

    /// Takes the registration back.
    pub fn unregister_rseq(&mut self, area: UserAddr, len: u32, signature: u32) -> Result<()> {
        let Some(active) = &self.rseq.active else { return Err(Errno::EINVAL) };
        let now = active.registration;
        if (now.area, now.len) != (area, len) {
            return Err(Errno::EINVAL);
        }
        if now.signature != signature {
            return Err(Errno::EPERM);
        }
        self.write_ids(area, 0, RSEQ_CPU_ID_UNINITIALIZED)?;
        self.forget_rseq();
        Ok(())
    }

    /// The area is no more: exec, exit.
    pub(super) fn forget_rseq(&mut self) {
        if let Some(Active { slots, cpu: Some(cpu), .. }) = self.rseq.active.take() {
            slots.give_up(cpu, &self.task);
        }
    }

    /// The CPU that this thread is on, if it is one that has registered an area.
    pub fn rseq_cpu(&self) -> Option<u32> {
        self.rseq.active.as_ref()?.cpu.map(|cpu| cpu as u32)
    }

    /// Before guest code runs.
    pub(super) fn enter_cpu(&mut self) -> EnterCpu {
        match &self.rseq.active {
            None => EnterCpu::Kept,
            Some(Active { slots, cpu: Some(cpu), look_again: false, .. })
                if slots.enter(*cpu, &self.task) =>
            {
                EnterCpu::Kept
            }
            Some(_) => {
                if self.take_cpu() {
                    EnterCpu::Taken
                } else {
                    EnterCpu::Not
                }
            }
        }
    }

    /// After guest code has run, at `now_ns` of the sandbox's boot clock.
    pub(super) fn leave_cpu(&self, now_ns: u64) {
        if let Some(Active { slots, cpu: Some(cpu), .. }) = &self.rseq.active {
            slots.leave(*cpu, &self.task, now_ns);
        }
    }

    /// Before the thread waits.
    pub(super) fn rest_cpu(&self) {
        if let Some(Active { slots, cpu: Some(cpu), .. }) = &self.rseq.active {
            slots.rest(*cpu, &self.task);
        }
    }

    /// Others may run first (sched_yield).
    pub fn yield_cpu(&self) {
        self.rest_cpu();
        std::thread::yield_now();
    }

    /// The CPU is to be chosen again (sched_setaffinity).
    pub(super) fn reconsider_cpu(&mut self) {
        let affinity = self.affinity();
        if let Some(active) = &mut self.rseq.active {
            active.look_again |= active.cpu.is_some_and(|cpu| !affinity.has(cpu));
        } else {
            self.withdraw_cpu();
        }
    }

    fn affinity(&self) -> Allowed {
        Allowed(self.task.sched.lock().affinity)
    }

    /// Takes a CPU, tells the thread which, and aborts the sequence it is in: others may have been on this CPU since.
    fn take_cpu(&mut self) -> bool {
        let affinity = self.affinity();
        let Some(active) = &mut self.rseq.active else { return true };
        if let Some(cpu) = active.cpu.take() {
            active.slots.give_up(cpu, &self.task);
            active.look_again = true;
        }
        let context = &mut self.context;
        let rest = || context.rest();
        let Some(cpu) = active.slots.take(active.told, &self.task, &self.parker, affinity, rest) else {
            return false;
        };
        active.cpu = Some(cpu);
        let (area, told) = (active.registration.area, active.told);
        let mut done = self.abort_sequence();
        if done.is_ok() && told != Some(cpu) {
            done = self.write_ids(area, cpu as u32, cpu as u32);
        }
        if done.is_err() {
            crate::signal::force(&self.task, Signal::SIGSEGV, SigInfo::kernel(Signal::SIGSEGV));
            self.leave_cpu(self.kernel().boot_ns());
            return false;
        }
        if let Some(active) = &mut self.rseq.active {
            (active.told, active.look_again) = (Some(cpu), false);
        }
        true
    }

    /// The two CPU numbers, the node and the concurrency id, which is the CPU number: no two running threads share it.
    fn write_ids(&self, area: UserAddr, start: u32, cpu: u32) -> Result<()> {
        self.write_obj(UserRef::new(area.add(CPU_ID_START)?), &[start, cpu])?;
        self.write_obj(UserRef::new(area.add(NODE_ID)?), &[0, start])
    }

    /// If the thread is in a sequence, it goes on in its abort handler. An error is the thread's own: SIGSEGV.
    pub(crate) fn abort_sequence(&mut self) -> Result<()> {
        let Some(active) = &self.rseq.active else { return Ok(()) };
        let Registration { area, signature, .. } = active.registration;
        let pointer = UserRef::<u64>::new(area.add(SECTION)?);
        let address = self.read_obj(pointer)?;
        if address == 0 {
            return Ok(());
        }
        let sequence: RseqCs = match address {
            address if address < TASK_SIZE => self.read_obj(UserRef::new(UserAddr(address)))?,
            _ => return Err(Errno::EINVAL),
        };
        let RseqCs { start_ip: start, post_commit_offset: len, abort_ip, .. } = sequence;
        let end = start.checked_add(len).filter(|end| *end < TASK_SIZE);
        let outside = abort_ip.wrapping_sub(start) >= len;
        if sequence.version > 0 || start >= TASK_SIZE || end.is_none() || abort_ip >= TASK_SIZE || !outside {
            return Err(Errno::EINVAL);
        }
        let mark: u32 = self.read_obj(UserRef::new(UserAddr(abort_ip.wrapping_sub(4))))?;
        if mark != signature {
            return Err(Errno::EINVAL);
        }
        if self.regs.rip.wrapping_sub(start) >= len {
            // Left behind by a sequence that has committed.
            return self.write_obj(pointer, &0u64);
        }
        let flags: u32 = self.read_obj(UserRef::new(area.add(FLAGS)?))?;
        // Sequences that want no restart are no longer supported (Linux 6.1).
        if sequence.flags != 0 || flags != 0 {
            return Err(Errno::EINVAL);
        }
        self.write_obj(pointer, &0u64)?;
        self.regs.rip = abort_ip;
        Ok(())
    }
}
