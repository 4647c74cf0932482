//! Sending: into a queue, and waking whoever takes it.

use std::sync::Arc;

use abi::Errno;
use abi::poll::PollEvents;
use abi::resource::RLIMIT_SIGPENDING;
use abi::signal::{
    SI_KERNEL, SI_QUEUE, SI_TIMER, SI_TKILL, SI_USER, SIG_DFL, SIG_IGN, SigAction, SigInfo, SigSet, Signal,
};

use super::stop::StopState;
use super::{GroupSignals, is_ignored};
use crate::Kernel;
use crate::task::{Pid, ProcessGroup, Task, ThreadGroup, work};

/// Who sends a signal, for the receiver's `si_pid` and `si_uid`.
#[derive(Clone)]
pub struct SignalOrigin {
    /// The sender's process.
    pub pid: Arc<Pid>,
    /// Its real user id.
    pub uid: u32,
}

impl SignalOrigin {
    /// kill(2) or tgkill(2) information for `receiver`.
    pub fn info(&self, signal: Signal, si_code: i32, receiver: &ThreadGroup) -> SigInfo {
        let pid = self.pid.number_in(receiver.pid.namespace());
        SigInfo::kill(signal, si_code, pid, self.uid)
    }
}

/// Sends to a process; not under the tree lock when it may be SIGCONT. ESRCH-like conditions (it is gone) are silent, as on Linux; EAGAIN: the queue is full.
pub fn send_to_group(group: &Arc<ThreadGroup>, signal: Signal, info: SigInfo) -> Result<(), Errno> {
    send(group, None, signal, info, false).map(drop)
}

/// Sends to one thread.
pub fn send_to_task(task: &Arc<Task>, signal: Signal, info: SigInfo) -> Result<(), Errno> {
    send(&Arc::clone(task.thread_group()), Some(task), signal, info, false).map(drop)
}

/// Sends the signal of a POSIX timer; false when it was dropped: the process ignores it or is gone.
pub(crate) fn send_timer_signal(
    group: &Arc<ThreadGroup>,
    thread: Option<&Arc<Task>>,
    signal: Signal,
    info: SigInfo,
) -> bool {
    send(group, thread, signal, info, false).unwrap_or(false)
}

/// Whether the signal of a POSIX timer is in a queue of the process.
pub(crate) fn timer_signal_is_queued(group: &ThreadGroup, id: i32) -> bool {
    let state = group.signals.lock();
    state.pending.has_timer(id)
        || state.threads.iter().any(|thread| thread.signals.lock().pending.has_timer(id))
}

/// Takes the signal of a POSIX timer out of the queues of the process.
pub(crate) fn discard_timer_signals(group: &ThreadGroup, id: i32) {
    let mut state = group.signals.lock();
    state.pending.discard_timer(id);
    for thread in &state.threads {
        thread.signals.lock().pending.discard_timer(id);
    }
}

/// A fault of `task` itself: a blocked or ignored one kills (force_sig of Linux).
pub(crate) fn force(task: &Arc<Task>, signal: Signal, info: SigInfo) {
    let actions = task.thread_group().actions();
    let mut action = actions.get(signal);
    let blocked = task.signals.lock().mask.get().contains(signal);
    if blocked || action.sa_handler == SIG_IGN {
        action.sa_handler = SIG_DFL;
        actions.set(signal, action);
        if blocked {
            let mut signals = task.signals.lock();
            let mut mask = signals.mask.get();
            mask.remove(signal);
            signals.mask.set(mask);
        }
    }
    // The queue takes faults whatever its limit is.
    let _ = send(&Arc::clone(task.thread_group()), Some(task), signal, info, true);
}

/// Sends to every process of a process group. Not under the tree lock: SIGCONT tells parents.
pub fn send_to_process_group(kernel: &Kernel, group: &ProcessGroup, signal: Signal, info: SigInfo) {
    let members = kernel.tree.lock().members(group.id());
    for member in members {
        // A full queue of one member does not keep it from the others.
        let _ = send_to_group(&member, signal, info);
    }
}

fn send(
    group: &Arc<ThreadGroup>,
    thread: Option<&Arc<Task>>,
    signal: Signal,
    info: SigInfo,
    forced: bool,
) -> Result<bool, Errno> {
    let mut continued = None;
    let queued;
    {
        let mut state = group.signals.lock();
        if state.threads.is_empty() {
            return Ok(false);
        }
        if signal == Signal::SIGCONT {
            continued = continue_group(&mut state);
        } else if SigSet::STOPS.contains(signal) {
            discard_everywhere(&mut state, SigSet::of(&[Signal::SIGCONT]));
        }
        if !forced && drops(group, &state, thread, signal, &info) {
            drop(state);
            queued = false;
        } else {
            queued = true;
            let from_kernel = matches!(info.si_code, SI_KERNEL | SI_USER | SI_TKILL | SI_TIMER);
            if signal.is_realtime() && !from_kernel && !forced {
                let limit = group.limit(RLIMIT_SIGPENDING).rlim_cur;
                let queued = state.pending.len() + thread.map_or(0, |t| t.signals.lock().pending.len());
                if queued as u64 >= limit {
                    return Err(Errno::EAGAIN);
                }
            }
            match thread {
                Some(thread) => thread.signals.lock().pending.push(signal, info),
                None => state.pending.push(signal, info),
            }
            recall_masks(&mut state, thread);
            wake_one(group, &mut state, thread, signal);
        }
    }
    group.signal_wait.notify(PollEvents::IN);
    if let Some(report) = continued {
        super::stop::notify_parent_continued(group, report);
    }
    Ok(queued)
}

/// A signal is pending for the process, or for a thread: who may take it has its mask from now on as the kernel sees it.
fn recall_masks(state: &mut GroupSignals, thread: Option<&Arc<Task>>) {
    let recall = |task: &Arc<Task>| task.signals.lock().mask.recall(|bits| task.set_work(bits));
    match thread {
        Some(thread) => recall(thread),
        None if std::mem::take(&mut state.masks_lent) => state.threads.iter().for_each(recall),
        None => {}
    }
}

/// Whether the signal is dropped at once: ignored, not blocked, and nobody waits for it with sigtimedwait.
fn drops(
    group: &Arc<ThreadGroup>,
    state: &GroupSignals,
    thread: Option<&Arc<Task>>,
    signal: Signal,
    info: &SigInfo,
) -> bool {
    let action = group.actions().get(signal);
    if !is_kept_from_init(group, &action, signal, info) && !is_ignored(signal, &action) {
        return false;
    }
    // What is blocked waits for sigtimedwait, signalfd or another action, also in the init of a PID namespace.
    let blocked = |task: &Arc<Task>| {
        let signals = task.signals.lock();
        signals.mask.get().contains(signal) || signals.waiting_for.contains(signal)
    };
    match thread {
        Some(thread) => !blocked(thread),
        None => !state.threads.iter().any(blocked),
    }
}

/// The init of a PID namespace gets no signal it has no handler for, but SIGKILL and SIGSTOP from outside.
fn is_kept_from_init(group: &ThreadGroup, action: &SigAction, signal: Signal, info: &SigInfo) -> bool {
    if !group.is_namespace_init() || action.sa_handler != SIG_DFL || SigSet::SYNCHRONOUS.contains(signal) {
        return false;
    }
    let outside = info.si_code <= 0 && info.pid() == 0 || info.si_code == SI_KERNEL;
    !(outside && SigSet::UNBLOCKABLE.contains(signal))
}

/// Chooses the thread that takes the signal and gets it out of guest code or its wait.
fn wake_one(group: &Arc<ThreadGroup>, state: &mut GroupSignals, thread: Option<&Arc<Task>>, signal: Signal) {
    let wants = |task: &Arc<Task>| {
        let signals = task.signals.lock();
        signal == Signal::SIGKILL
            || !signals.mask.get().contains(signal)
            || signals.waiting_for.contains(signal)
    };
    if signal == Signal::SIGKILL && state.group_exit.is_none() {
        // Nothing may come between: the process ends now, whatever its threads are doing.
        kill_group(state, abi::wait::killed(signal.number(), false));
        group.mark_exiting();
        return;
    }
    let chosen = match thread {
        Some(thread) => Some(thread).filter(|t| wants(t)),
        None => {
            let leader = state.threads.iter().find(|t| t.is_leader()).filter(|t| wants(t));
            leader.or_else(|| state.threads.iter().find(|t| wants(t)))
        }
    };
    if let Some(task) = chosen {
        task.kick(work::SIGNAL);
    }
}

/// All threads have to exit with this status.
pub(crate) fn kill_group(state: &mut GroupSignals, status: i32) {
    if state.group_exit.is_none() {
        state.group_exit = Some(status);
    }
    state.stop = StopState::Running;
    for thread in &state.threads {
        thread.signals.lock().stop_pending = false;
        thread.kick(work::EXIT);
    }
}

/// SIGCONT: pending stop signals go, stopped threads go on. Gives what the parent has to be told.
fn continue_group(state: &mut GroupSignals) -> Option<Signal> {
    discard_everywhere(state, SigSet::STOPS);
    let was = std::mem::replace(&mut state.stop, StopState::Running);
    let report = match was {
        StopState::Stopped { signal } | StopState::Stopping { signal, .. } => Some(signal),
        StopState::Running => None,
    };
    if report.is_some() {
        state.stop_report = None;
        state.continue_report = true;
    }
    for thread in &state.threads {
        thread.signals.lock().stop_pending = false;
        thread.clear_work(work::STOP);
        thread.unpark();
    }
    report
}

fn discard_everywhere(state: &mut GroupSignals, which: SigSet) {
    state.pending.discard(which);
    for thread in &state.threads {
        thread.signals.lock().pending.discard(which);
    }
}

impl Kernel {
    /// Sends a signal from outside the sandbox to a process that the runtime has started (`init`), or to what belongs
    /// to it, with what sigqueue(3) passed with it.
    pub fn send_external_signal(
        self: &Arc<Self>,
        init: &Arc<ThreadGroup>,
        signal: Signal,
        value: i32,
        to: External,
    ) {
        let group = match to {
            External::Init => None,
            External::Job => self.tree.lock().process_group(init.id()),
            External::Foreground => {
                let session = self.tree.lock().session(init.id());
                session.and_then(|s| s.tty()).and_then(|t| t.foreground())
            }
        };
        let info = match (to, value) {
            (External::Foreground, _) => SigInfo::kernel(signal),
            (_, 0) => SigInfo::kill(signal, SI_USER, 0, 0),
            _ => SigInfo::queue(signal, SI_QUEUE, 0, 0, value as u32 as u64),
        };
        match group {
            Some(group) => send_to_process_group(self, &group, signal, info),
            None => {
                let _ = send_to_group(init, signal, info);
            }
        }
    }
}

/// Where a signal from outside goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum External {
    /// The process itself.
    Init,
    /// Its process group: what a shell outside takes for the job.
    Job,
    /// The foreground process group of its terminal, or the process itself without one.
    Foreground,
}
