//! Pending signals: at most one of each standard signal, a queue for real-time ones.

use std::collections::VecDeque;

use abi::signal::{SI_TIMER, SigInfo, SigSet, Signal};

/// Signals that are pending for a process or a thread.
#[derive(Default)]
pub struct PendingQueue {
    set: SigSet,
    queue: VecDeque<(Signal, SigInfo)>,
}

impl PendingQueue {
    /// Which signals are pending.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// How many entries are queued (RLIMIT_SIGPENDING).
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Adds one. A standard signal that is pending already stays as it is: the new one is lost.
    pub fn push(&mut self, signal: Signal, info: SigInfo) {
        // Each timer has its own place in the queue.
        if !signal.is_realtime() && self.set.contains(signal) && info.si_code != SI_TIMER {
            return;
        }
        self.set.add(signal);
        self.queue.push_back((signal, info));
    }

    /// Takes the next that is not in `mask`: faults of the thread first, then by number, equal ones in order.
    pub fn pop(&mut self, mask: SigSet) -> Option<(Signal, SigInfo)> {
        let candidates = self.set.difference(mask);
        let urgent = candidates.intersection(SigSet::SYNCHRONOUS).first();
        let signal = urgent.or(candidates.first())?;
        self.take(signal)
    }

    /// Takes the oldest entry of one signal.
    pub fn take(&mut self, signal: Signal) -> Option<(Signal, SigInfo)> {
        let at = self.queue.iter().position(|e| e.0 == signal)?;
        let entry = self.queue.remove(at)?;
        if !self.queue.iter().any(|e| e.0 == signal) {
            self.set.remove(signal);
        }
        Some(entry)
    }

    /// Whether the signal of a POSIX timer is queued.
    pub fn has_timer(&self, id: i32) -> bool {
        self.queue.iter().any(|(_, info)| info.si_code == SI_TIMER && info.timer_id() == id)
    }

    /// Drops the signal of a POSIX timer.
    pub fn discard_timer(&mut self, id: i32) {
        self.queue.retain(|(_, info)| info.si_code != SI_TIMER || info.timer_id() != id);
        self.set = self.queue.iter().map(|(signal, _)| *signal).collect();
    }

    /// Drops all entries of the signals in `which`.
    pub fn discard(&mut self, which: SigSet) {
        if !self.set.intersection(which).is_empty() {
            self.queue.retain(|e| !which.contains(e.0));
            self.set = self.set.difference(which);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_signals_merge_and_realtime_ones_queue() {
        let mut pending = PendingQueue::default();
        let rt = Signal::new(40).expect("a signal");
        for value in 0..3 {
            pending.push(Signal::SIGUSR1, SigInfo::kernel(Signal::SIGUSR1));
            pending.push(rt, SigInfo::queue(rt, -1, 1, 0, value));
        }
        assert_eq!(pending.pop(SigSet::EMPTY).map(|e| e.0), Some(Signal::SIGUSR1));
        for value in 0..3 {
            assert_eq!(pending.pop(SigSet::EMPTY).map(|e| e.1.value()), Some(value));
        }
        assert!(pending.pop(SigSet::EMPTY).is_none());
    }

    #[test]
    fn faults_come_first() {
        let mut pending = PendingQueue::default();
        pending.push(Signal::SIGHUP, SigInfo::kernel(Signal::SIGHUP));
        pending.push(Signal::SIGSEGV, SigInfo::kernel(Signal::SIGSEGV));
        assert_eq!(pending.pop(SigSet::EMPTY).map(|e| e.0), Some(Signal::SIGSEGV));
        assert!(pending.pop(SigSet::of(&[Signal::SIGHUP])).is_none());
    }
}
