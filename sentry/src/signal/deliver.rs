//! Delivery: what happens to pending signals on the way back to guest code.

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::signal::{SI_TIMER, SIG_DFL, SIG_IGN, SaFlags, SigAction, SigInfo, SigSet, Signal};

use super::{DefaultAction, GroupSignals, default_action, flags, force};
use crate::error::Restart;
use crate::task::{CurrentTask, Task, WaitEnd, work};

impl CurrentTask {
    /// Looks at everything in [`work`] that concerns signals, until none is left to deliver or the task has to exit.
    /// At most one handler frame a signal is built; several may be nested.
    pub(crate) fn deliver_signals(&mut self) {
        let mut handled = false;
        loop {
            if self.killed() {
                return self.exit_with_group();
            }
            if self.work() & work::STOP != 0 {
                self.take_part_in_stop();
                continue;
            }
            let Some((signal, info)) = self.dequeue_signal() else { break };
            let actions = self.thread_group().actions();
            let action = actions.get(signal);
            match action.sa_handler {
                SIG_IGN => continue,
                SIG_DFL => {
                    self.kernel().table.signal_delivered(self, signal, &info);
                    self.default_signal(signal, &info);
                }
                _ => {
                    self.kernel().table.signal_delivered(self, signal, &info);
                    if flags(&action).contains(SaFlags::RESETHAND) {
                        actions.set(signal, SigAction { sa_handler: SIG_DFL, ..action });
                    }
                    self.finish_restart(Some(&action));
                    handled = true;
                    self.enter_handler(signal, &info, &action);
                }
            }
        }
        if !handled {
            self.finish_restart(None);
        }
        // A mask that sigsuspend or ppoll put in place ends here, unless a handler's frame holds the old one.
        if let Some(mask) = self.take_saved_mask() {
            self.set_mask(mask);
        }
    }

    /// Builds the frame and changes the mask as the action says; SIGSEGV when the stack does not take it.
    fn enter_handler(&mut self, signal: Signal, info: &SigInfo, action: &SigAction) {
        let old_mask = self.take_saved_mask().unwrap_or_else(|| self.mask());
        // A sequence that the signal interrupts is aborted: the handler returns to its abort handler.
        match self.abort_sequence().and_then(|()| self.push_signal_frame(signal, info, action, old_mask)) {
            Ok(()) => {
                let mut mask = self.mask().union(action.sa_mask);
                if !flags(action).contains(SaFlags::NODEFER) {
                    mask.add(signal);
                }
                self.set_mask(mask);
            }
            Err(_) => {
                if signal == Signal::SIGSEGV {
                    // The handler of SIGSEGV can't run: no second try.
                    self.thread_group().actions().set(signal, SigAction { sa_handler: SIG_DFL, ..*action });
                }
                force(self.task(), Signal::SIGSEGV, SigInfo::kernel(Signal::SIGSEGV));
            }
        }
    }

    fn default_signal(&mut self, signal: Signal, info: &SigInfo) {
        // What was blocked when it was sent: see `send`, which lets nothing else come this far.
        let for_init = SigSet::SYNCHRONOUS.contains(signal) || SigSet::UNBLOCKABLE.contains(signal);
        if self.thread_group().is_namespace_init() && !for_init {
            return;
        }
        match default_action(signal) {
            DefaultAction::Ignore => {}
            DefaultAction::Stop => {
                if signal != Signal::SIGSTOP {
                    let tree = self.kernel().tree.lock();
                    let group = tree.process_group(self.thread_group().id());
                    if group.is_none_or(|g| tree.is_orphaned(g.id(), None)) {
                        return;
                    }
                }
                self.start_group_stop(signal);
            }
            DefaultAction::Terminate => self.die_of(signal, false),
            DefaultAction::Core => {
                tracing::debug!(pid = self.tgid(), %signal, rip = self.regs.rip, addr = info.addr(), "fatal signal");
                self.die_of(signal, self.would_dump_core());
            }
        }
    }

    /// Whether the wait status says "core dumped": a limit above zero and a dumpable process, as on Linux. (No file
    /// is written: there is no place for it that the guest would look at.)
    fn would_dump_core(&self) -> bool {
        self.thread_group().limit(abi::resource::RLIMIT_CORE).rlim_cur > 0 && self.mm().dumpable() == 1
    }

    fn die_of(&mut self, signal: Signal, core: bool) {
        self.start_group_exit(abi::wait::killed(signal.number(), core));
    }

    /// The next signal that is not blocked: the thread's own first, then the process's.
    fn dequeue_signal(&mut self) -> Option<(Signal, SigInfo)> {
        let group = Arc::clone(self.thread_group());
        let mut shared = group.signals.lock();
        let mut own = self.task().signals.lock();
        let mask = own.mask.get();
        let urgent = |set: SigSet| !set.difference(mask).intersection(SigSet::SYNCHRONOUS).is_empty();
        let taken = if urgent(own.pending.set()) || !urgent(shared.pending.set()) {
            own.pending.pop(mask).or_else(|| shared.pending.pop(mask))
        } else {
            shared.pending.pop(mask)
        };
        if taken.is_none() {
            self.clear_work(work::SIGNAL);
            if self.work() & work::RECALLED != 0 {
                // It may have been chosen for what it blocks by now.
                self.clear_work(work::RECALLED);
                self.offer(&shared, shared.pending.set().intersection(mask));
            }
        }
        drop(own);
        drop(shared);
        taken.map(|(signal, info)| (signal, self.timer_signal_taken(info)))
    }

    /// What the interrupted call gives, now that it is known whether a handler runs.
    fn finish_restart(&mut self, action: Option<&SigAction>) {
        let Some(restart) = self.restart.take() else { return };
        let again = match (restart, action) {
            (Restart::NoIntr, _) | (_, None) => true,
            (Restart::Sys, Some(action)) => flags(action).contains(SaFlags::RESTART),
            (Restart::NoHand | Restart::Block, Some(_)) => false,
        };
        if !again {
            self.regs.rax = Errno::EINTR.to_return_value();
            return;
        }
        // Back to the `syscall` instruction, with the number in rax again.
        self.regs.rip = self.regs.rip.wrapping_sub(2);
        self.regs.rax = if restart == Restart::Block { SYS_RESTART_SYSCALL } else { self.regs.orig_rax };
    }

    /// Blocked signals.
    pub fn mask(&self) -> SigSet {
        self.task().signals.lock().mask.get()
    }

    /// Blocks exactly these (never SIGKILL and SIGSTOP) and looks whether one that was blocked is pending now.
    pub fn set_mask(&mut self, mask: SigSet) {
        let mask = mask.difference(SigSet::UNBLOCKABLE);
        let group = Arc::clone(self.thread_group());
        let newly_blocked;
        {
            let mut shared = group.signals.lock();
            let mut own = self.task().signals.lock();
            newly_blocked = mask.difference(own.mask.get());
            own.mask.set(mask);
            let pending = own.pending.set().union(shared.pending.set());
            if pending.difference(mask).is_empty() {
                self.clear_work(work::SIGNAL);
            } else {
                self.set_work(work::SIGNAL);
            }
            if pending.is_empty() {
                shared.masks_lent |= own.mask.lend();
            }
            // A process signal that this thread was woken for and now blocks is another thread's.
            self.offer(&shared, shared.pending.set().intersection(newly_blocked));
        }
    }

    /// Signals of the process that this thread does not take: wakes others that do. The caller has the lock of this thread's signals.
    fn offer(&self, shared: &GroupSignals, signals: SigSet) {
        if signals.is_empty() {
            return;
        }
        for thread in shared.threads.iter().filter(|t| t.id != self.id) {
            let blocked = thread.signals.lock_nested().mask.get();
            if !signals.difference(blocked).is_empty() {
                thread.kick(work::SIGNAL);
            }
        }
    }

    /// Lets guest code change the mask, if nothing is pending.
    pub(crate) fn lend_mask(&self) {
        let mut shared = self.thread_group().signals.lock();
        let mut own = self.task().signals.lock();
        if own.pending.is_empty() && shared.pending.is_empty() {
            shared.masks_lent |= own.mask.lend();
        }
    }

    /// Puts `mask` in place for the time of a wait (sigsuspend, ppoll, pselect, epoll_pwait). The old one comes back
    /// when signals have been looked at: a handler runs under the temporary one and returns to the old one.
    pub fn set_temporary_mask(&mut self, mask: SigSet) {
        if self.saved_mask.is_none() {
            self.saved_mask = Some(self.mask());
        }
        self.set_mask(mask);
        // Even without a signal the old mask has to come back.
        self.set_work(work::NOTIFY);
    }

    /// Ends a temporary mask now: the wait has given a result, so that signals that only it let through stay pending.
    pub fn end_temporary_mask(&mut self) {
        if let Some(mask) = self.take_saved_mask() {
            self.set_mask(mask);
        }
    }

    fn take_saved_mask(&mut self) -> Option<SigSet> {
        self.saved_mask.take()
    }

    /// Sends a fault to this task.
    pub fn force_fault(&mut self, signal: Signal, code: i32, address: u64) {
        force(self.task(), signal, SigInfo::fault(signal, code, address));
    }

    /// Signals pending for this thread: its own and its process's (sigpending).
    pub fn pending_signals(&self) -> SigSet {
        let shared = self.thread_group().signals.lock();
        let own = self.task().signals.lock();
        own.pending.set().union(shared.pending.set()).intersection(own.mask.get())
    }

    /// Waits for one of the signals in `set`, which may be blocked, and takes it (sigtimedwait).
    pub fn wait_for_signal(
        &mut self,
        set: SigSet,
        deadline: Option<Instant>,
    ) -> Result<(Signal, SigInfo), WaitEnd> {
        if let Some(taken) = self.take_signal(set) {
            return Ok(taken);
        }
        self.task().signals.lock().waiting_for = set;
        let result = loop {
            if let Some(taken) = self.take_signal(set) {
                break Ok(taken);
            }
            if let Err(end) = self.park(deadline) {
                // A signal that is waited for interrupts like any other: it may have come just now.
                break self.take_signal(set).ok_or(end);
            }
        };
        self.task().signals.lock().waiting_for = SigSet::EMPTY;
        self.set_mask(self.mask());
        result
    }
}

/// Number of restart_syscall(2) on x86-64: an interrupted call with a restart block goes on there.
const SYS_RESTART_SYSCALL: u64 = 219;

impl Task {
    /// Whether a signal in `which` is pending, blocked or not.
    pub fn has_pending(&self, which: SigSet) -> bool {
        let shared = self.thread_group().signals.lock();
        let own = self.signals.lock();
        !own.pending.set().union(shared.pending.set()).intersection(which).is_empty()
    }

    /// Takes a pending signal in `which`, blocked or not (sigtimedwait, signalfd).
    pub fn take_signal(&self, which: SigSet) -> Option<(Signal, SigInfo)> {
        let group = Arc::clone(self.thread_group());
        let mut shared = group.signals.lock();
        let mut own = self.signals.lock();
        let taken = own.pending.pop(which.complement()).or_else(|| shared.pending.pop(which.complement()));
        drop(own);
        drop(shared);
        taken.map(|(signal, info)| (signal, self.timer_signal_taken(info)))
    }

    /// A POSIX timer's signal has been taken: its overruns are known now, and it may send the next.
    fn timer_signal_taken(&self, info: SigInfo) -> SigInfo {
        if info.si_code == SI_TIMER {
            self.thread_group().timers.signal_taken(self.thread_group(), info)
        } else {
            info
        }
    }
}
