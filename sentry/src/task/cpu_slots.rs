//! CPU numbers for restartable sequences (rseq(2)): which thread of an address space has which.
//!
//! A sequence is only right if no other thread works with the same CPU's data between its start and its commit
//! without it being told. Linux tells it when it is preempted or moved, but the host preempts and moves guest
//! threads without telling us, so that numbers of real CPUs would race. Instead the sandbox is a machine of its own:
//! it has as many CPUs as sched_getaffinity(2) shows, and of the threads that share memory and use rseq at most one
//! is in guest code on each. A thread keeps its CPU while its calls are answered, so that nothing changes for it. When one of them has to wait or yields,
//! or its turn is over, another may take the CPU: then it takes one again on its way back, and a sequence it was in is aborted.
//! With more threads in guest code than CPUs they take turns of [`SLICE_NS`], which costs nothing that the host's
//! scheduler would not have made them wait anyway. Threads without rseq take no part.
//!
//! Where a call and its answer are most of what the threads do, one that has two processors of the host, for itself and for the Sentry's
//! thread, gets further than two that have one each ([`width`](super::cpu_width)). So fewer CPUs are given out as long as that is seen to be so.
//!
//! Data in memory that several address spaces share is not protected: numbers are given out for each by itself.
//!
//! State of a CPU: 0 when it is free, else its thread with [`IN_GUEST`], [`WANTED`] and [`RESTS`]. Going into guest code and
//! out of it is one uncontended compare-and-swap each.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sync::Mutex;

use super::cpu_width::Width;
use super::usage::grow;
use super::{Task, work};
use crate::sched::MAX_CPUS;
use crate::wait::Parker;

/// Its thread is in guest code, or on the way there.
const IN_GUEST: u64 = 1;
/// Its thread has to hand it over when it leaves guest code.
const WANTED: u64 = 2;
/// Its thread waits for something, and whoever comes may have it.
const RESTS: u64 = 4;

/// How long a thread has a CPU at least while others wait for one, nanoseconds.
const SLICE_NS: u64 = 4_000_000;
/// How often somebody who waits looks.
const SLICE: Duration = Duration::from_nanos(SLICE_NS);

#[derive(Default)]
struct Slot {
    state: AtomicU64,
    /// When its thread got it, on the sandbox's boot clock.
    since_ns: AtomicU64,
    /// How often a thread has left guest code on it while others waited for one. Written by its thread.
    stops: AtomicU64,
    /// Its thread, to get it out of guest code.
    holder: Mutex<Weak<Task>, sync::levels::Leaf>,
}

/// Somebody who waits for a CPU.
struct Waiter {
    task: Arc<Task>,
    parker: Arc<Parker>,
    allowed: Allowed,
}

/// The CPUs that a thread may be on (sched_setaffinity(2)).
#[derive(Clone, Copy)]
pub(super) struct Allowed(pub [u64; MAX_CPUS / 64]);

impl Allowed {
    pub fn has(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 != 0)
    }
}

/// The CPUs of an address space.
pub(crate) struct CpuSlots {
    slots: Box<[Slot]>,
    /// Length of the queue, to be read without the lock.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Waiter>, sync::levels::Leaf>,
    /// How many are given out, the first ones.
    width: Width,
}

fn held_by(task: &Task) -> u64 {
    (task.id + 1) << 3
}

impl CpuSlots {
    pub(crate) fn new(cpus: u32) -> CpuSlots {
        CpuSlots {
            slots: (0..cpus.max(1)).map(|_| Slot::default()).collect(),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            width: Width::new(cpus.max(1) as usize),
        }
    }

    /// Back to guest code on the CPU that the thread had: false if it has it no more.
    pub(super) fn enter(&self, cpu: usize, task: &Task) -> bool {
        let held = held_by(task);
        cpu < self.width.now()
            && (self.change(cpu, held, held | IN_GUEST) || self.change(cpu, held | RESTS, held | IN_GUEST))
    }

    /// Out of guest code, at `now_ns` of the sandbox's boot clock. The thread keeps the CPU, unless somebody waits for it and its turn
    /// is over.
    pub(super) fn leave(&self, cpu: usize, task: &Task, now_ns: u64) {
        let held = held_by(task);
        if self.waiting.load(Ordering::Relaxed) != 0 {
            grow(&self.slots[cpu].stops, 1);
            if self.width.is_due(now_ns) {
                self.reconsider_width(now_ns);
            }
        }
        if !self.change(cpu, held | IN_GUEST, held) {
            self.slots[cpu].state.store(held, Ordering::SeqCst);
            self.hand_over(cpu, held);
        }
    }

    /// The thread, which is not in guest code, is going to wait: others may have the CPU, at once or when they come.
    pub(super) fn rest(&self, cpu: usize, task: &Task) {
        let held = held_by(task);
        // Who comes to wait meanwhile sees the state after this, or is seen in the queue.
        if self.change(cpu, held, held | RESTS) && self.waiting.load(Ordering::SeqCst) != 0 {
            self.hand_over(cpu, held | RESTS);
        }
    }

    /// The thread, which is not in guest code, needs no CPU any more.
    pub(super) fn give_up(&self, cpu: usize, task: &Task) {
        self.rest(cpu, task);
        self.change(cpu, held_by(task) | RESTS, 0);
    }

    /// Takes one of the CPUs that are `allowed`, waiting for a turn, which it says by `waits`. `None` when the thread has other things to look at
    /// first, such as a change of those.
    pub(super) fn take(
        &self,
        last: Option<usize>,
        task: &Arc<Task>,
        parker: &Arc<Parker>,
        allowed: Allowed,
        waits: impl FnOnce(),
    ) -> Option<usize> {
        if !(0..self.slots.len()).all(|cpu| allowed.has(cpu)) {
            self.width.fix();
        }
        if let Some(cpu) = self.try_take(last, task, &allowed) {
            return Some(cpu);
        }
        {
            let mut queue = self.queue.lock();
            queue.push_back(Waiter { task: Arc::clone(task), parker: Arc::clone(parker), allowed });
            self.waiting.store(queue.len(), Ordering::SeqCst);
        }
        waits();
        loop {
            if let Some(cpu) = self.handed_to(task) {
                return Some(cpu);
            }
            let taken = self.try_take(last, task, &allowed);
            if taken.is_some() || task.work() != 0 {
                self.stop_waiting(task, taken);
                return taken;
            }
            parker.park(Some(SLICE));
            self.preempt(&allowed, task);
        }
    }

    fn change(&self, cpu: usize, from: u64, to: u64) -> bool {
        self.slots[cpu].state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Takes an allowed CPU that nobody is using: free ones first, then those of threads that wait, or are not in guest code and have had their
    /// turn.
    fn try_take(&self, last: Option<usize>, task: &Arc<Task>, allowed: &Allowed) -> Option<usize> {
        let width = self.width.now();
        let all = || (0..width).filter(|cpu| allowed.has(*cpu));
        let free = |cpu: &usize| self.slots[*cpu].state.load(Ordering::SeqCst) == 0;
        let last = last.into_iter().filter(|cpu| *cpu < width && allowed.has(*cpu));
        let cpu = last.chain(all().filter(free)).chain(all()).find(|cpu| {
            let state = self.slots[*cpu].state.load(Ordering::SeqCst);
            let may = || state == 0 || state & RESTS != 0 || self.had_turn(*cpu, task);
            state & IN_GUEST == 0 && may() && self.change(*cpu, state, held_by(task) | IN_GUEST)
        })?;
        self.taken(cpu, task);
        Some(cpu)
    }

    /// Whether the turn of the thread that has the CPU is over.
    fn had_turn(&self, cpu: usize, asks: &Task) -> bool {
        let since_ns = self.slots[cpu].since_ns.load(Ordering::Relaxed);
        asks.kernel().boot_ns().saturating_sub(since_ns) >= SLICE_NS
    }

    fn taken(&self, cpu: usize, task: &Arc<Task>) {
        self.slots[cpu].since_ns.store(task.kernel().boot_ns(), Ordering::Relaxed);
        *self.slots[cpu].holder.lock() = Arc::downgrade(task);
    }

    fn handed_to(&self, task: &Arc<Task>) -> Option<usize> {
        let held = held_by(task) | IN_GUEST;
        self.slots.iter().position(|slot| slot.state.load(Ordering::SeqCst) & !WANTED == held)
    }

    /// After a while of so many CPUs: whether so many are right.
    #[cold]
    fn reconsider_width(&self, now_ns: u64) {
        let stops = self.slots.iter().map(|slot| slot.stops.load(Ordering::Relaxed));
        if !self.width.reconsider(now_ns, stops) {
            return;
        }
        // More than before: who waits may have those that are free.
        for cpu in 1..self.width.now() {
            let state = self.slots[cpu].state.load(Ordering::SeqCst);
            if state == 0 || state & RESTS != 0 {
                self.hand_over(cpu, state);
            }
        }
    }

    /// Gives a CPU whose thread is not in guest code to the first who waits for it.
    fn hand_over(&self, cpu: usize, held: u64) {
        if cpu >= self.width.now() {
            return;
        }
        let next = {
            let mut queue = self.queue.lock();
            let Some(at) = queue.iter().position(|waiter| waiter.allowed.has(cpu)) else { return };
            // Somebody may have taken it already. The one whose turn it was looks again by itself.
            if !self.change(cpu, held, held_by(&queue[at].task) | IN_GUEST) {
                return;
            }
            let next = queue.remove(at);
            self.waiting.store(queue.len(), Ordering::SeqCst);
            next
        };
        if let Some(next) = next {
            self.taken(cpu, &next.task);
            next.parker.unpark();
        }
    }

    /// Leaves the queue with the CPU `taken` or none; one that was handed over meanwhile goes to the next.
    fn stop_waiting(&self, task: &Arc<Task>, taken: Option<usize>) {
        let found = {
            let mut queue = self.queue.lock();
            let at = queue.iter().position(|waiter| Arc::ptr_eq(&waiter.task, task));
            let found = at.and_then(|at| queue.remove(at));
            self.waiting.store(queue.len(), Ordering::SeqCst);
            found
        };
        if found.is_some() {
            return;
        }
        let held = held_by(task);
        for (cpu, slot) in self.slots.iter().enumerate().filter(|(cpu, _)| Some(*cpu) != taken) {
            if slot.state.load(Ordering::SeqCst) & !WANTED == held | IN_GUEST {
                slot.state.store(held, Ordering::SeqCst);
                self.rest(cpu, task);
            }
        }
    }

    /// Somebody who waits gets the thread out of guest code that has been longest on a CPU that he may be on, once its turn is
    /// over.
    fn preempt(&self, allowed: &Allowed, task: &Arc<Task>) {
        let since = |slot: &Slot| slot.since_ns.load(Ordering::Relaxed);
        let allowed = self.slots.iter().enumerate().filter(|(cpu, _)| allowed.has(*cpu));
        let Some((cpu, slot)) = allowed.min_by_key(|(_, slot)| since(slot)) else { return };
        if !self.had_turn(cpu, task) {
            return;
        }
        let state = slot.state.load(Ordering::SeqCst);
        if state & IN_GUEST == 0
            || slot.state.compare_exchange(state, state | WANTED, Ordering::SeqCst, Ordering::SeqCst).is_err()
        {
            return;
        }
        let holder = slot.holder.lock().upgrade();
        if let Some(holder) = holder {
            holder.kick(work::NOTIFY);
        }
    }
}
