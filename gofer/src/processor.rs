//! The processor that a channel's thread runs on: that of whoever asks.
//!
//! The host would wake it on another one that is idle, and the asker again on another: some 45 µs each in a virtual machine, where a switch on one
//! processor takes 2. The asker does not run meanwhile anyway.

use host::thread::{CpuSet, initial_affinity, set_affinity};

/// Of the calling thread.
#[derive(Debug, Default)]
pub(crate) struct Processor {
    /// The one that it is held on.
    on: Option<u16>,
    /// The last one that was told.
    told: Option<u16>,
}

impl Processor {
    /// A request came from `cpu`. The thread moves there if the one before did, too: to move takes as long as several requests. Whoever
    /// asks is not trusted: what this process may not use is passed over.
    pub fn follow(&mut self, cpu: Option<u16>) {
        let again = std::mem::replace(&mut self.told, cpu) == cpu;
        let Some(cpu) = cpu.filter(|_| again && self.on != cpu) else { return };
        self.on = Some(cpu);
        if initial_affinity().contains(cpu.into()) {
            // It may have been taken away since; then the thread stays where it is.
            let _ = set_affinity(0, &CpuSet::single(cpu.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use host::thread::{affinity, current_cpu};

    use super::*;

    #[test]
    fn it_follows_who_asks_twice() {
        let all: Vec<u16> = initial_affinity().iter().map(|cpu| cpu as u16).collect();
        std::thread::spawn(move || {
            let mut processor = Processor::default();
            for &cpu in &all {
                processor.follow(Some(cpu));
                processor.follow(None);
                assert_eq!(affinity(0).unwrap().iter().count() > 1, all.len() > 1 && cpu == all[0]);
                processor.follow(Some(cpu));
                processor.follow(Some(cpu));
                assert_eq!(current_cpu(), usize::from(cpu));
                assert_eq!(affinity(0).unwrap().iter().collect::<Vec<_>>(), [usize::from(cpu)]);
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_it_may_not_use_is_passed_over() {
        std::thread::spawn(|| {
            let before: Vec<_> = affinity(0).unwrap().iter().collect();
            let mut processor = Processor::default();
            for cpu in [1023, 1024, u16::MAX - 1] {
                (0..3).for_each(|_| processor.follow(Some(cpu)));
            }
            assert_eq!(affinity(0).unwrap().iter().collect::<Vec<_>>(), before);
        })
        .join()
        .unwrap();
    }
}
