//! Where the caller of a request runs.
//!
//! To wake a thread on the own processor takes some 2 µs, on another one that is idle many times that, and the host wakes threads on idle ones. So
//! the Gofer's thread of a channel runs where its requests come from, and whoever asks stays where it is until the reply has come.

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The processor that the calling thread runs on (it may have moved since).
pub(super) fn current_cpu() -> Option<u16> {
    u16::try_from(sched_getcpu()).ok()
}

/// Those that the calling thread may use.
pub(super) fn all_cpus() -> Vec<u16> {
    let all = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).map(|cpu| cpu as u16).collect()
}

/// Keeps the calling thread on its processor, as long as it lives.
///
/// Others must not change which ones this thread may use meanwhile, unless it is held on one already: then this does nothing.
pub(super) struct Stay {
    before: Option<CpuSet>,
}

impl Stay {
    pub(super) fn here() -> Stay {
        let cpu = sched_getcpu();
        let before = sched_getaffinity(None).ok().filter(|all| all.count() > 1 && cpu < CpuSet::MAX_CPU);
        let before = before.filter(|_| {
            let mut here = CpuSet::new();
            here.set(cpu);
            sched_setaffinity(None, &here).is_ok()
        });
        Stay { before }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // It can fail only where the host has taken processors away since.
            let _ = sched_setaffinity(None, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_and_may_go_again() {
        let before = sched_getaffinity(None).unwrap();
        {
            let _stay = Stay::here();
            let held = sched_getaffinity(None).unwrap();
            assert_eq!(held.count(), 1);
            assert!(held.is_set(sched_getcpu()));
            // Within another nothing changes.
            drop(Stay::here());
            assert_eq!(sched_getaffinity(None).unwrap(), held);
        }
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
