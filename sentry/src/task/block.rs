//! Waiting inside a system call.
//!
//! A call that waits parks its thread on its [`Parker`]; events, time-outs and signals end that. What the call was
//! doing must be restartable: it either gives [`Restart::Sys`]/[`Restart::NoHand`] and is done again with the same
//! arguments, or leaves a [`RestartBlock`] for restart_syscall(2).

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::poll::PollEvents;

use super::{CurrentTask, RunState, work};
use crate::error::{Restart, SysError};
use crate::mm::UserAddr;
use crate::wait::{WaitQueue, Wake};

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// A signal, a stop or the end of the process.
    Interrupted,
    /// The deadline has passed.
    TimedOut,
}

impl WaitEnd {
    /// As the end of a call: the given restart, or the given error on time-out.
    pub fn into_error(self, restart: Restart, timed_out: Errno) -> SysError {
        match self {
            WaitEnd::Interrupted => SysError::Restart(restart),
            WaitEnd::TimedOut => SysError::Errno(timed_out),
        }
    }
}

/// What restart_syscall(2) goes on with after a stop or an ignored signal: calls whose relative time-out must not
/// start again.
#[derive(Clone, Copy, Debug)]
pub enum RestartBlock {
    /// nanosleep(2), clock_nanosleep(2): when to wake up, and where the rest goes.
    Nanosleep {
        /// Clock id.
        clock: i32,
        /// When, on the host's monotonic clock.
        deadline: Instant,
        /// `rem`, may be null.
        remaining: UserAddr,
    },
    /// poll(2).
    Poll {
        /// `fds`.
        fds: UserAddr,
        /// `nfds`.
        count: u32,
        /// When it times out.
        deadline: Option<Instant>,
    },
    /// futex(2) FUTEX_WAIT and FUTEX_WAIT_BITSET with a relative time-out.
    FutexWait {
        /// The word.
        address: UserAddr,
        /// What it should hold.
        value: u32,
        /// Bits to wake on.
        bitset: u32,
        /// FUTEX_PRIVATE_FLAG.
        private: bool,
        /// When it times out.
        deadline: Option<Instant>,
    },
}

impl CurrentTask {
    /// Whether a wait would be interrupted at once.
    pub fn interrupted(&self) -> bool {
        self.task.work() & work::INTERRUPTS != 0
    }

    /// Whether the task has to exit: the only thing that ends an uninterruptible wait.
    pub fn killed(&self) -> bool {
        self.task.work() & work::EXIT != 0
    }

    /// What to register with wait queues: wakes this task.
    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.parker) as Arc<dyn Wake>
    }

    /// Parks until something unparks the task, once. The caller has registered its waker and tested its condition,
    /// and tests again after `Ok`.
    pub fn park(&mut self, deadline: Option<Instant>) -> Result<(), WaitEnd> {
        if self.interrupted() {
            return Err(WaitEnd::Interrupted);
        }
        self.park_in(RunState::Sleeping, deadline)?;
        if self.interrupted() { Err(WaitEnd::Interrupted) } else { Ok(()) }
    }

    /// As [`park`](Self::park), but only the end of the process interrupts it.
    pub fn park_killable(&mut self) -> Result<(), WaitEnd> {
        if self.killed() {
            return Err(WaitEnd::Interrupted);
        }
        self.park_in(RunState::DiskSleep, None)?;
        if self.killed() { Err(WaitEnd::Interrupted) } else { Ok(()) }
    }

    pub(crate) fn park_in(&mut self, state: RunState, deadline: Option<Instant>) -> Result<(), WaitEnd> {
        let timeout = match deadline {
            None => None,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(WaitEnd::TimedOut);
                }
                Some(left)
            }
        };
        self.rest_cpu();
        self.task.set_state(state);
        let parked = Instant::now();
        self.parker.park(timeout);
        self.waited += parked.elapsed();
        self.task.set_state(RunState::Running);
        self.task.voluntary_switches.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Tries `attempt` until it gives something, waiting on `queue` in between. A success that comes together with a
    /// signal or a time-out is a success.
    pub fn wait_for<T>(
        &mut self,
        queue: &WaitQueue,
        interest: PollEvents,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, WaitEnd> {
        if let Some(value) = attempt(self) {
            return Ok(value);
        }
        let key = queue.register(interest, self.waker());
        let result = loop {
            if let Some(value) = attempt(self) {
                break Ok(value);
            }
            if let Err(end) = self.park(deadline) {
                break attempt(self).ok_or(end);
            }
        };
        queue.unregister(key);
        result
    }
}
