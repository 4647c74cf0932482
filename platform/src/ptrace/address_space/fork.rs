//! Children of a space.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::pool::Process;
use super::super::tracee::Tracee;
use super::{PtraceSpace, State};
use crate::api::PlatformError;

impl PtraceSpace {
    pub(super) fn fork_from_outside(&self) -> Result<Arc<PtraceSpace>, PlatformError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        let Some(process) = &mut state.process else {
            // Nothing ever ran there.
            let (pending, mapped) = (state.pending.clone(), state.mapped.clone());
            return Ok(PtraceSpace::with(
                Arc::clone(&self.shared),
                State { pending, mapped, ..State::default() },
            ));
        };
        let pid = process.pid;
        if let Some(tid) = process.parked.pop() {
            let mut tracee = Tracee::seize(self.shared.stub, pid, tid)?;
            let made = self.fork_now(&mut state, &mut tracee);
            self.leave_thread(&mut state, tracee)?;
            return made;
        }
        state.forks_wanted += 1;
        self.attention.store(true, Ordering::SeqCst);
        if !state.contexts.iter().any(|context| context.kick()) {
            // It would have to wait for a thread that is busy in the kernel, for as long as that may be.
            state.forks_wanted -= 1;
            return Err(PlatformError::Exhausted("threads that could fork the address space"));
        }
        loop {
            if let Some(made) = state.forked.pop() {
                return Ok(self.child(&state, made?));
            }
            if state.dead {
                return Err(PlatformError::Gone);
            }
            self.served.wait(&mut state);
        }
    }

    pub(super) fn fork_now(
        &self,
        state: &mut State,
        tracee: &mut Tracee,
    ) -> Result<Arc<PtraceSpace>, PlatformError> {
        self.serve_locked(state, tracee)?;
        let made = tracee.fork(self.shared.sentry)?;
        Ok(self.child(state, made.map_err(|_| PlatformError::Exhausted("host processes"))?))
    }

    /// The space of a child that was just forked.
    fn child(&self, state: &State, pid: i32) -> Arc<PtraceSpace> {
        let process = Some(Process { pid, parked: vec![pid] });
        let mapped = state.mapped.clone();
        PtraceSpace::with(Arc::clone(&self.shared), State { process, mapped, ..State::default() })
    }
}
