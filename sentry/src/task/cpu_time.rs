//! CPU time of threads and processes: what the host counts, shared out.
//!
//! On the way to guest code and back only the wall clock is read ([`RunClock`](super::run_clock::RunClock)): a host call
//! there would cost as much as many a system call. But a thread that the host makes wait for a processor does not use
//! one, so wall time is the most that it can have used, and too much on a busy machine. The host counts truly, by
//! process and, for threads of the Sentry, by thread; it is asked when somebody wants to know ([`ThreadGroup::settle`]):
//!
//! - *user time*: what the host process of the address space has used since the last time is shared out among the
//!   threads by the wall time that each was in guest code meanwhile. One host process runs all threads of an address
//!   space and the host tells no other process what each of its threads has used, so the sum is true, and the share of
//!   one of several busy threads is an estimate.
//! - *system time*: what the Sentry thread of a guest thread has used.
//!
//! Both never more than the wall time. What has been told stands: clocks made of this only go forward. A space that two
//! processes share (after vfork, until exec) counts for both, within the same bound.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use super::{Resources, Task, ThreadGroup, Usage};

/// What a thread has used up to the last time that its process was settled, nanoseconds. Changed under the process's
/// [`Reading`] alone.
#[derive(Default)]
pub(super) struct CpuTime {
    /// User time, and the wall time in guest code that it was reckoned from.
    user_ns: AtomicU64,
    user_wall_ns: AtomicU64,
    /// The same in system calls.
    system_ns: AtomicU64,
    system_wall_ns: AtomicU64,
    /// What its Sentry thread had used, and which that is (0: none yet).
    sentry_ns: AtomicU64,
    sentry_thread: AtomicI32,
}

/// What the host had counted for a process when that was settled last.
#[derive(Default)]
pub(super) struct Reading {
    /// Which address space it was of.
    mm: u64,
    used_ns: u64,
}

impl Reading {
    /// Nothing counts that `resources`' address space has used so far.
    pub fn from_now(resources: &Resources) -> Reading {
        Reading { mm: resources.mm.id(), used_ns: resources.mm.space().cpu_time_ns() }
    }
}

impl CpuTime {
    /// Called by the Sentry thread of the guest thread, before that runs. It may have run another.
    pub fn start(&self) {
        let thread = host::thread::gettid();
        self.sentry_ns.store(host::thread::cpu_time_ns(thread).unwrap_or(0), Ordering::Relaxed);
        self.sentry_thread.store(thread, Ordering::Relaxed);
    }

    /// Called by the same thread when the guest thread has been settled for the last time.
    pub fn end(&self) {
        self.sentry_thread.store(0, Ordering::Relaxed);
    }
}

/// What of `wall` passed with `used` used of `all` that passed.
fn share(wall: u64, used: u64, all: u64) -> u64 {
    if used >= all { wall } else { (u128::from(wall) * u128::from(used) / u128::from(all.max(1))) as u64 }
}

impl ThreadGroup {
    /// Asks the host, and brings the CPU times of all threads up to date.
    pub(super) fn settle(&self) {
        let threads = self.threads();
        let Some(mm) = threads.iter().find_map(|thread| Some(thread.resources()?.mm)) else { return };
        let used_ns = mm.space().cpu_time_ns();
        let now_ns = self.kernel.boot_ns();
        let mut reading = self.reading.lock();
        if reading.mm != mm.id() {
            *reading = Reading { mm: mm.id(), used_ns: 0 };
        }
        // Less: the process is gone, or another thread has asked at the same time and was faster.
        if used_ns > reading.used_ns {
            let used = used_ns - std::mem::replace(&mut reading.used_ns, used_ns);
            let walls: Vec<u64> = threads.iter().map(|thread| thread.unsettled_user_ns(now_ns)).collect();
            let all = walls.iter().sum();
            for (thread, wall) in threads.iter().zip(walls) {
                thread.cpu_time.user_wall_ns.fetch_add(wall, Ordering::Relaxed);
                thread.cpu_time.user_ns.fetch_add(share(wall, used, all), Ordering::Relaxed);
            }
        }
        threads.iter().for_each(|thread| thread.settle_system());
    }
}

impl Task {
    /// Wall time in guest code that has not been reckoned with.
    fn unsettled_user_ns(&self, now_ns: u64) -> u64 {
        self.in_guest.sum_ns(now_ns).saturating_sub(self.cpu_time.user_wall_ns.load(Ordering::Relaxed))
    }

    fn settle_system(&self) {
        let time = &self.cpu_time;
        let wall = self.system_ns.load(Ordering::Relaxed);
        let since = wall.saturating_sub(time.system_wall_ns.load(Ordering::Relaxed));
        if since == 0 {
            return;
        }
        // Where there is none (any more), what it was last seen with has to do.
        let thread = time.sentry_thread.load(Ordering::Relaxed);
        if thread == 0 {
            return;
        }
        let Ok(sentry_ns) = host::thread::cpu_time_ns(thread) else { return };
        let used = sentry_ns.saturating_sub(time.sentry_ns.swap(sentry_ns, Ordering::Relaxed));
        time.system_wall_ns.store(wall, Ordering::Relaxed);
        time.system_ns.fetch_add(used.min(since), Ordering::Relaxed);
    }

    /// User and system time as of the last time that the process was settled.
    pub(super) fn settled_ns(&self) -> (u64, u64) {
        let time = &self.cpu_time;
        (time.user_ns.load(Ordering::Relaxed), time.system_ns.load(Ordering::Relaxed))
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        self.thread_group().settle();
        self.settled_usage()
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn nobody_gets_more_than_passed() {
        assert_eq!(share(100, 50, 200), 25);
        assert_eq!(share(100, 500, 200), 100);
        assert_eq!(share(0, 5, 0), 0);
        assert_eq!(share(u64::MAX / 2, u64::MAX / 4, u64::MAX / 2), u64::MAX / 4);
    }
}
