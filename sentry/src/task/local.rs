//! The task of the calling thread, for those whom no [`CurrentTask`](super::CurrentTask) is passed: files whose
//! contents depend on who reads them, or that wait for another task (a file system whose server is one).

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::poll::PollEvents;
use abi::signal::{SIG_DFL, SigSet, Signal};

use super::block::WaitEnd;
use super::{PidTrace, RunState, Task, work};
use crate::signal::{DefaultAction, default_action};
use crate::wait::{WaitQueue, Wake};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
    /// Process and thread of the task that has just ended, while what it had is taken apart.
    static ENDED: RefCell<Option<(PidTrace, PidTrace)>> = const { RefCell::new(None) };
    /// How long the current call has waited in [`wait_here`].
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The task that the calling thread runs; `None` on threads of the kernel itself.
pub fn current_task() -> Option<Arc<Task>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Notes the task of the calling thread, or that it has ended.
pub(super) fn set_current_task(task: Option<Arc<Task>>) {
    let old = CURRENT.with(|current| current.replace(task));
    ENDED.set(old.as_ref().map(|old| (old.thread_group().pid.trace(), old.pid().trace())));
    drop(old);
}

/// The process for which the calling thread does something, also when that is only to close what it had.
pub fn acting_process() -> Option<PidTrace> {
    match current_task() {
        Some(task) => Some(task.thread_group().pid.trace()),
        None => ENDED.try_with(|ended| Some(ended.borrow().as_ref()?.0.clone())).ok()?,
    }
}

/// As [`acting_process`], the thread.
pub fn acting_thread() -> Option<PidTrace> {
    match current_task() {
        Some(task) => Some(task.pid().trace()),
        None => ENDED.try_with(|ended| Some(ended.borrow().as_ref()?.1.clone())).ok()?,
    }
}

/// What ends a wait early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Any signal.
    Signal,
    /// Only what ends the process.
    Death,
}

/// As [`CurrentTask::wait_for`](super::CurrentTask::wait_for), for those who have none. A thread of the kernel itself
/// does not wait. No lock may be held but sleeping ones.
pub fn wait_here<T>(
    queue: &WaitQueue,
    until: Until,
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<T, WaitEnd> {
    if let Some(value) = attempt() {
        return Ok(value);
    }
    let task = current_task().ok_or(WaitEnd::Interrupted)?;
    let parker = task.parker.get().cloned().ok_or(WaitEnd::Interrupted)?;
    let ends = || match until {
        Until::Signal => task.work() & work::INTERRUPTS != 0,
        Until::Death => task.is_dying(),
    };
    let key = queue.register(PollEvents::IN, Arc::clone(&parker) as Arc<dyn Wake>);
    let result = loop {
        if let Some(value) = attempt() {
            break Ok(value);
        }
        if ends() {
            break Err(WaitEnd::Interrupted);
        }
        task.set_state(if until == Until::Signal { RunState::Sleeping } else { RunState::DiskSleep });
        let parked = Instant::now();
        parker.park(None);
        WAITED.set(WAITED.get() + parked.elapsed());
        task.set_state(RunState::Running);
    };
    queue.unregister(key);
    result
}

/// How long the calling thread has waited in [`wait_here`] since it was last asked.
pub(super) fn take_waited() -> Duration {
    WAITED.take()
}

impl Task {
    /// Whether it has to exit, or a signal is pending that will make it.
    pub fn is_dying(&self) -> bool {
        let work = self.work();
        if work & work::EXIT != 0 {
            return true;
        }
        if work & work::SIGNAL == 0 {
            return false;
        }
        let pending = {
            let shared = self.thread_group().signals.lock();
            let own = self.signals.lock();
            let blocked: SigSet = own.mask.get();
            own.pending.set().union(shared.pending.set()).intersection(blocked.complement())
        };
        let actions = self.thread_group().actions();
        (1..=64).filter_map(Signal::new).filter(|signal| pending.contains(*signal)).any(|signal| {
            signal == Signal::SIGKILL
                || actions.get(signal).sa_handler == SIG_DFL
                    && matches!(default_action(signal), DefaultAction::Terminate | DefaultAction::Core)
        })
    }
}
