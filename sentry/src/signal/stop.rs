//! Job control: stopping and continuing processes, and telling their parents.

use std::sync::Arc;

use abi::poll::PollEvents;
use abi::signal::{CLD_CONTINUED, CLD_STOPPED, SaFlags, SigInfo, Signal};

use super::{flags, send_to_group};
use crate::task::{CurrentTask, RunState, ThreadGroup, work};

/// Whether a process is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopState {
    /// No.
    #[default]
    Running,
    /// Some of its threads have still to stop.
    Stopping {
        /// The signal that did it.
        signal: Signal,
        /// Threads that have not stopped yet.
        left: usize,
    },
    /// All its threads have stopped.
    Stopped {
        /// The signal that did it.
        signal: Signal,
    },
}

impl CurrentTask {
    /// The default action of a stop signal: stops the whole process.
    pub(super) fn start_group_stop(&mut self, signal: Signal) {
        let group = Arc::clone(self.thread_group());
        let mut state = group.signals.lock();
        if state.group_exit.is_some() || state.exec_by.is_some() {
            return;
        }
        if state.stop != StopState::Running {
            // Already on the way: this thread joins in.
            drop(state);
            return;
        }
        let mut left = 0;
        for thread in &state.threads {
            thread.signals.lock().stop_pending = true;
            left += 1;
            if thread.id != self.id {
                thread.kick(work::STOP);
            }
        }
        self.set_work(work::STOP);
        state.stop = StopState::Stopping { signal, left };
    }

    /// Stops here if the process has to stop, until it goes on or ends.
    pub(super) fn take_part_in_stop(&mut self) {
        let group = Arc::clone(self.thread_group());
        let mut report = None;
        {
            let mut state = group.signals.lock();
            let mut own = self.task().signals.lock();
            self.clear_work(work::STOP);
            if own.stop_pending {
                own.stop_pending = false;
                if let StopState::Stopping { signal, left } = &mut state.stop {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        let signal = *signal;
                        state.stop = StopState::Stopped { signal };
                        state.stop_report = Some(signal);
                        state.continue_report = false;
                        report = Some(signal);
                    }
                }
            }
        }
        if let Some(signal) = report {
            // Whoever is told looks at it next, and is to find it stopped.
            self.task().set_state(RunState::Stopped);
            notify_parent_stopped(&group, signal);
        }
        loop {
            let stopped = {
                let state = group.signals.lock();
                state.group_exit.is_none()
                    && match state.stop {
                        StopState::Running => false,
                        StopState::Stopping { .. } | StopState::Stopped { .. } => true,
                    }
            };
            if !stopped || self.killed() {
                self.task().set_state(RunState::Running);
                return;
            }
            // A stop has no deadline: only time-outs end this with an error.
            let _ = self.park_in(RunState::Stopped, None);
        }
    }

    /// A thread that exits no longer has to stop: if it was the last one the others waited for, the stop is complete.
    pub(crate) fn leave_group_stop(&self) {
        let group = Arc::clone(self.thread_group());
        let mut report = None;
        {
            let mut state = group.signals.lock();
            let pending = std::mem::take(&mut self.task().signals.lock().stop_pending);
            let others = state.threads.len() > 1;
            if let (true, StopState::Stopping { signal, left }) = (pending, &mut state.stop) {
                *left = left.saturating_sub(1);
                if *left == 0 && others {
                    let signal = *signal;
                    state.stop = StopState::Stopped { signal };
                    state.stop_report = Some(signal);
                    report = Some(signal);
                }
            }
        }
        if let Some(signal) = report {
            notify_parent_stopped(&group, signal);
        }
    }
}

fn notify_parent_stopped(group: &Arc<ThreadGroup>, signal: Signal) {
    notify_parent(group, CLD_STOPPED, signal);
}

/// The process goes on after `was`: SIGCHLD and wait4 for the parent.
pub(super) fn notify_parent_continued(group: &Arc<ThreadGroup>, _was: Signal) {
    notify_parent(group, CLD_CONTINUED, Signal::SIGCONT);
}

fn notify_parent(group: &Arc<ThreadGroup>, code: i32, signal: Signal) {
    let kernel = Arc::clone(&group.kernel);
    let tree = kernel.tree.lock();
    let parent =
        tree.get(group.id()).and_then(|n| n.parent).and_then(|p| tree.get(p)).map(|n| Arc::clone(&n.group));
    let is_main = tree.get(group.id()).is_some_and(|n| n.parent.is_none());
    drop(tree);
    if is_main {
        kernel.stopped_or_continued(group, (code == CLD_STOPPED).then_some(signal));
    }
    let Some(parent) = parent else { return };
    let action = parent.actions().get(Signal::SIGCHLD);
    if !flags(&action).contains(SaFlags::NOCLDSTOP) {
        let usage = group.usage();
        let ticks = |ns: u64| (ns / 10_000_000) as i64;
        let uid = group.any_thread().map_or(0, |t| t.creds().uid);
        let pid = group.pid.number_in(parent.pid.namespace());
        let info = SigInfo::child(
            code,
            pid,
            uid,
            signal.number() as i32,
            ticks(usage.user_ns),
            ticks(usage.system_ns),
        );
        // The parent's queue takes standard signals always.
        let _ = send_to_group(&parent, Signal::SIGCHLD, info);
    }
    parent.child_wait.notify(PollEvents::IN);
}
