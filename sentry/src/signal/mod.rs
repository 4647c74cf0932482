//! Signals (signal(7)).
//!
//! Pending signals are in two kinds of queue: a process's ([`GroupSignals`], level `Signal`) and a thread's
//! ([`TaskSignals`], level `SignalTask`, taken second). Dispositions ([`SignalActions`]) are a leaf.
//! `send` puts signals in and chooses who is woken; `deliver` takes them out on the way back to guest code; `mask` is where a thread's mask
//! is kept, which guest code may change without the kernel;
//! `stop` is job control; `frame` is what a handler finds on its stack.

mod deliver;
mod frame;
mod mask;
mod queue;
mod send;
pub mod signalfd;
mod stop;

use std::sync::Arc;

use abi::signal::{SIG_DFL, SIG_IGN, SaFlags, SigAction, SigSet, SigStack, Signal, SsFlags};
use sync::Mutex;

pub use mask::BlockedSignals;
pub use queue::PendingQueue;
pub use send::{External, SignalOrigin, send_to_group, send_to_process_group, send_to_task};
pub(crate) use send::{discard_timer_signals, force, kill_group, send_timer_signal, timer_signal_is_queued};
pub use stop::StopState;

use crate::task::Task;

/// Signal state of a process.
#[derive(Default)]
pub struct GroupSignals {
    /// Threads that have not exited.
    pub threads: Vec<Arc<Task>>,
    /// Signals for any thread.
    pub pending: PendingQueue,
    /// A thread's mask may be lent to its guest code.
    pub masks_lent: bool,
    /// Job control.
    pub stop: StopState,
    /// The signal that stopped it, until wait4 has reported that.
    pub stop_report: Option<Signal>,
    /// It went on, and wait4 has not reported that yet.
    pub continue_report: bool,
    /// The wait status with which all threads exit.
    pub group_exit: Option<i32>,
    /// The thread that is in exec and waits for the others to go.
    pub exec_by: Option<u64>,
}

/// Signal state of a thread that others may touch.
#[derive(Default)]
pub struct TaskSignals {
    /// Blocked signals.
    pub mask: BlockedSignals,
    /// What sigtimedwait waits for, though blocked: a sender wakes this thread.
    pub waiting_for: SigSet,
    /// Signals for this thread only.
    pub pending: PendingQueue,
    /// Alternative stack.
    pub alt_stack: AltStack,
    /// Has to stop with its process and has not yet.
    pub stop_pending: bool,
}

/// sigaltstack(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// SS_DISABLE, SS_AUTODISARM.
    pub flags: SsFlags,
}

impl AltStack {
    /// None any more: what SS_AUTODISARM and a new thread leave. (One that was never set has no flags.)
    pub const RESET: AltStack = AltStack { base: 0, size: 0, flags: SsFlags::DISABLE };

    /// Whether the stack pointer `rsp` is on it. One with SS_AUTODISARM never counts as in use.
    pub fn in_use(&self, rsp: u64) -> bool {
        !self.flags.contains(SsFlags::AUTODISARM) && self.contains(rsp)
    }

    /// Whether `rsp` lies in it: the bottom does not, the end does.
    pub fn contains(&self, rsp: u64) -> bool {
        rsp > self.base && rsp - self.base <= self.size
    }

    /// As sigaltstack(2) reports it.
    pub fn to_abi(self, rsp: u64) -> SigStack {
        let mut flags = self.flags;
        if self.size == 0 {
            flags |= SsFlags::DISABLE;
        } else if self.in_use(rsp) {
            flags |= SsFlags::ONSTACK;
        }
        SigStack { ss_sp: self.base, ss_flags: flags.bits(), pad: 0, ss_size: self.size }
    }
}

/// Dispositions of all signals.
pub struct SignalActions(Mutex<[SigAction; 64], sync::levels::Leaf>);

const DEFAULT: SigAction =
    SigAction { sa_handler: SIG_DFL, sa_flags: 0, sa_restorer: 0, sa_mask: SigSet::EMPTY };

impl SignalActions {
    /// All default.
    pub fn new() -> SignalActions {
        SignalActions(Mutex::new([DEFAULT; 64]))
    }

    /// One disposition.
    pub fn get(&self, signal: Signal) -> SigAction {
        self.0.lock()[signal.index()]
    }

    /// Sets one and gives the old one.
    pub fn set(&self, signal: Signal, action: SigAction) -> SigAction {
        std::mem::replace(&mut self.0.lock()[signal.index()], action)
    }

    /// An independent copy (fork).
    pub fn copy(&self) -> SignalActions {
        SignalActions(Mutex::new(*self.0.lock()))
    }

    /// exec: handlers go back to the default, ignored signals stay ignored.
    pub fn reset_for_exec(&self) {
        for action in self.0.lock().iter_mut() {
            let ignored = action.sa_handler == SIG_IGN;
            *action = DEFAULT;
            if ignored {
                action.sa_handler = SIG_IGN;
            }
        }
    }

    /// Ignores these.
    pub fn ignore(&self, which: SigSet) {
        let mut actions = self.0.lock();
        for signal in which.difference(SigSet::UNBLOCKABLE).iter() {
            actions[signal.index()].sa_handler = SIG_IGN;
        }
    }

    /// CLONE_CLEAR_SIGHAND: handlers go back to the default.
    pub fn clear_handlers(&self) {
        self.reset_for_exec();
    }

    /// Signals that are ignored and those that have handlers (SigIgn, SigCgt of /proc/PID/status).
    pub fn ignored_and_caught(&self) -> (SigSet, SigSet) {
        let actions = self.0.lock();
        let of = |test: &dyn Fn(&SigAction) -> bool| {
            Signal::all().filter(|s| test(&actions[s.index()])).collect::<SigSet>()
        };
        (of(&|a| a.sa_handler == SIG_IGN), of(&|a| a.sa_handler != SIG_IGN && a.sa_handler != SIG_DFL))
    }
}

impl Default for SignalActions {
    fn default() -> Self {
        SignalActions::new()
    }
}

/// What a signal does without a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Ends the process.
    Terminate,
    /// Ends the process with a core dump.
    Core,
    /// Stops the process.
    Stop,
    /// Nothing (SIGCONT has had its effect when it was sent).
    Ignore,
}

/// The default action of `signal` (signal(7)).
pub fn default_action(signal: Signal) -> DefaultAction {
    use Signal as S;
    match signal {
        S::SIGCHLD | S::SIGURG | S::SIGWINCH | S::SIGCONT => DefaultAction::Ignore,
        S::SIGSTOP | S::SIGTSTP | S::SIGTTIN | S::SIGTTOU => DefaultAction::Stop,
        S::SIGQUIT
        | S::SIGILL
        | S::SIGTRAP
        | S::SIGABRT
        | S::SIGBUS
        | S::SIGFPE
        | S::SIGSEGV
        | S::SIGXCPU
        | S::SIGXFSZ
        | S::SIGSYS => DefaultAction::Core,
        _ => DefaultAction::Terminate,
    }
}

/// Whether this disposition means that the signal has no effect at all.
pub fn is_ignored(signal: Signal, action: &SigAction) -> bool {
    action.sa_handler == SIG_IGN
        || (action.sa_handler == SIG_DFL && default_action(signal) == DefaultAction::Ignore)
}

/// The flags of an action as a set.
pub fn flags(action: &SigAction) -> SaFlags {
    SaFlags::from_bits_retain(action.sa_flags)
}
