//! Which context traces which thread of a space's process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::context::{Remote, with_own_tracee};
use super::super::pool::Process;
use super::super::tracee::Tracee;
use super::{Attachment, PtraceSpace, State};
use crate::api::PlatformError;

/// Threads that an address space keeps for contexts to come.
const MAX_PARKED: usize = 4;
/// How often a context that waits for a host thread looks whether it was interrupted.
const POLL: Duration = Duration::from_millis(10);

impl PtraceSpace {
    /// Gives a context a thread in `space`, for the one that it has (if any). `None` when it was interrupted while it
    /// waited.
    pub(in crate::ptrace) fn enter(
        space: &Arc<PtraceSpace>,
        remote: &Arc<Remote>,
        old: Option<Attachment>,
    ) -> Result<Option<Attachment>, PlatformError> {
        if let Some(old) = old
            && let Some((tracee, process)) = PtraceSpace::vacate(old, remote)
        {
            let mut state = space.state.lock();
            if state.process.is_none() && !state.dead {
                // Exec in a process of its own: the tracee stays with the context.
                state.earlier_cpu_ns = host::process::cpu_time_ns(process.pid).unwrap_or(0);
                state.process = Some(process);
                state.contexts.push(Arc::clone(remote));
                drop(state);
                return Ok(Some(Attachment { space: Arc::clone(space), tracee }));
            }
            drop(state);
            space.shared.give_back(tracee, process);
        }
        let Some((pid, tid)) = space.take_thread(remote)? else { return Ok(None) };
        match Tracee::seize(space.shared.stub, pid, tid) {
            Ok(tracee) => Ok(Some(Attachment { space: Arc::clone(space), tracee })),
            Err(error) => {
                space.state.lock().forget(remote);
                space.fail();
                Err(error)
            }
        }
    }

    /// Takes a context out of its space for good.
    pub(in crate::ptrace) fn leave(old: Attachment, remote: &Arc<Remote>) {
        let shared = Arc::clone(&old.space.shared);
        if let Some((tracee, process)) = PtraceSpace::vacate(old, remote) {
            shared.give_back(tracee, process);
        }
    }

    /// Takes a context out of its space. When nobody else uses that, its process comes back, empty, with the context's
    /// thread still traced.
    fn vacate(old: Attachment, remote: &Arc<Remote>) -> Option<(Tracee, Process)> {
        let Attachment { space, mut tracee } = old;
        let mut state = space.state.lock();
        state.forget(remote);
        // Nobody can make another reference from ours meanwhile.
        let alone = Arc::strong_count(&space) == 1;
        if !alone && !state.dead {
            if space.leave_thread(&mut state, tracee).is_err() {
                space.fail_locked(&mut state);
            }
            return None;
        }
        let process = if alone { state.process.take() } else { None };
        let emptied = !state.dead && space.empty(&state, &mut tracee);
        drop(state);
        match process {
            Some(process) if emptied => return Some((tracee, process)),
            Some(process) => space.shared.discard(process.pid),
            None => {}
        }
        // A leader is reaped with its process; another thread only by its tracer.
        if tracee.tid() != tracee.pid() {
            tracee.reap();
        }
        None
    }

    /// Takes away all that the process shows.
    fn empty(&self, state: &State, tracee: &mut Tracee) -> bool {
        let all = 0..self.shared.stub.base;
        // While an unmapping is pending, the process shows more than `mapped` says.
        (state.pending.is_empty() && state.mapped.within(all.clone()).next().is_none())
            || matches!(tracee.call(libc::SYS_munmap, [all.start, all.end, 0, 0, 0, 0]), Ok(Ok(_)))
    }

    /// Leaves a thread for contexts to come, or ends it when there are enough.
    pub(super) fn leave_thread(&self, state: &mut State, mut tracee: Tracee) -> Result<(), PlatformError> {
        self.serve_locked(state, &mut tracee)?;
        let Some(process) = &mut state.process else { return Err(PlatformError::Gone) };
        // The leader has to stay: a process without one can't be traced as a whole.
        if tracee.tid() != tracee.pid() && process.parked.len() >= MAX_PARKED {
            return tracee.exit();
        }
        process.parked.push(tracee.tid());
        tracee.park()?;
        self.served.notify_all();
        Ok(())
    }

    /// Takes a parked thread, or waits until somebody makes one.
    fn take_thread(&self, remote: &Arc<Remote>) -> Result<Option<(i32, i32)>, PlatformError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        if state.process.is_none() {
            let process = self.shared.take_bare()?;
            state.earlier_cpu_ns = host::process::cpu_time_ns(process.pid).unwrap_or(0);
            state.process = Some(process);
        }
        if let Some(taken) = state.take_parked(remote) {
            return Ok(Some(taken));
        }
        state.threads_refused = false;
        state.waiting += 1;
        drop(state);
        let taken = self.wait_for_thread(remote);
        let mut state = self.state.lock();
        state.waiting -= 1;
        state.threads_wanted = state.threads_wanted.min(state.waiting);
        taken
    }

    fn wait_for_thread(&self, remote: &Arc<Remote>) -> Result<Option<(i32, i32)>, PlatformError> {
        let mut state = self.state.lock();
        loop {
            if let Some(taken) = state.take_parked(remote) {
                return Ok(Some(taken));
            }
            if state.dead {
                return Err(PlatformError::Gone);
            }
            if state.threads_refused {
                return Err(PlatformError::Exhausted("host threads"));
            }
            // Also when we have been here before: another context may have taken the thread that was made for us.
            if state.threads_wanted < state.waiting {
                state.threads_wanted = state.waiting;
                self.attention.store(true, Ordering::SeqCst);
                drop(state);
                // Another context of this very thread could not serve us while we wait.
                with_own_tracee(self, |own| self.serve(&mut own.tracee)).transpose()?;
                state = self.state.lock();
                continue;
            }
            for context in &state.contexts {
                context.kick();
            }
            if self.served.wait_for(&mut state, POLL) && remote.take_interrupt() {
                return Ok(None);
            }
        }
    }
}
