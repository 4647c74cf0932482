//! Clocks that count the CPU time of a thread or a process.

use std::sync::{Arc, Weak};

use abi::Errno;
use abi::time::{
    CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCKFD, CPUCLOCK_CLOCK_MASK, CPUCLOCK_PERTHREAD_MASK,
    CPUCLOCK_PROF, CPUCLOCK_SCHED, CPUCLOCK_VIRT,
};

use crate::error::Result;
use crate::task::{CurrentTask, Task, ThreadGroup, Usage};

/// Resolution of the kinds that count ticks, nanoseconds.
const TICK_NS: i64 = 4_000_000;

/// A clock that counts CPU time. It does not keep alive whose time it counts.
#[derive(Clone)]
pub struct CpuClock {
    /// `CPUCLOCK_*`.
    which: i32,
    of: Owner,
}

#[derive(Clone)]
enum Owner {
    Thread(Weak<Task>),
    Process(Weak<ThreadGroup>),
}

impl CpuClock {
    /// That of a process. `which` is one of `CPUCLOCK_*`.
    pub fn of_process(process: &Arc<ThreadGroup>, which: i32) -> CpuClock {
        CpuClock { which, of: Owner::Process(Arc::downgrade(process)) }
    }

    fn of_thread(thread: &Arc<Task>, which: i32) -> CpuClock {
        CpuClock { which, of: Owner::Thread(Arc::downgrade(thread)) }
    }

    /// The clock with this id; EINVAL for one that is none, or not the caller's to see.
    pub fn find(task: &CurrentTask, clock: i32) -> Result<CpuClock> {
        match clock {
            CLOCK_PROCESS_CPUTIME_ID => return Ok(Self::of_process(task.thread_group(), CPUCLOCK_SCHED)),
            CLOCK_THREAD_CPUTIME_ID => return Ok(Self::of_thread(task.task(), CPUCLOCK_SCHED)),
            0.. => return Err(Errno::EINVAL),
            _ => {}
        }
        let which = clock & CPUCLOCK_CLOCK_MASK;
        if which == CLOCKFD {
            return Err(Errno::EINVAL);
        }
        // The id holds the complement of a pid above its kind.
        let pid = !(clock >> 3);
        let ns = Arc::clone(task.pid().namespace());
        if clock & CPUCLOCK_PERTHREAD_MASK != 0 {
            if pid == 0 {
                return Ok(Self::of_thread(task.task(), which));
            }
            let thread = ns.task(pid).ok_or(Errno::EINVAL)?;
            let own = Arc::ptr_eq(thread.thread_group(), task.thread_group());
            return if own { Ok(Self::of_thread(&thread, which)) } else { Err(Errno::EINVAL) };
        }
        if pid == 0 || pid == task.tid() {
            return Ok(Self::of_process(task.thread_group(), which));
        }
        Ok(Self::of_process(&ns.thread_group(pid).ok_or(Errno::EINVAL)?, which))
    }

    /// What it shows, nanoseconds; 0 when whose time it counts is gone.
    pub fn now_ns(&self) -> i64 {
        let usage = match &self.of {
            Owner::Thread(thread) => thread.upgrade().map(|thread| thread.usage()),
            Owner::Process(process) => process.upgrade().map(|process| process.usage()),
        };
        usage.map_or(0, |usage| cpu_ns(&usage, self.which))
    }

    /// Its resolution, nanoseconds.
    pub fn resolution_ns(&self) -> i64 {
        if matches!(self.which, CPUCLOCK_PROF | CPUCLOCK_VIRT) { TICK_NS } else { 1 }
    }

    /// Whether it counts the time of this thread alone.
    pub fn is_of_thread(&self, task: &Arc<Task>) -> bool {
        matches!(&self.of, Owner::Thread(thread) if std::ptr::eq(thread.as_ptr(), Arc::as_ptr(task)))
    }

    /// How many threads it may count at once: it runs at most that much faster than real time.
    pub fn threads(&self) -> usize {
        match &self.of {
            Owner::Thread(_) => 1,
            Owner::Process(process) => process.upgrade().map_or(1, |process| process.threads().len().max(1)),
        }
    }
}

fn cpu_ns(usage: &Usage, which: i32) -> i64 {
    let ns = if which == CPUCLOCK_VIRT { usage.user_ns } else { usage.user_ns + usage.system_ns };
    i64::try_from(ns).unwrap_or(i64::MAX)
}
