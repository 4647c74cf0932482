//! An address space: one host process, which comes to it when first needed.
//!
//! A host call inside the process can be made by the tracer of one of its threads only, while that thread is stopped.
//! So a change is made
//!
//! - at once, when the calling thread traces a thread of the process (the common case: a guest's own system call);
//! - later, when no thread of the process is in guest code: nobody can see the difference, and whoever runs guest code
//!   next makes the change first. An exec's loader fills a space that has no process yet in this way;
//! - else by a thread that is in guest code: it is made to stop, its tracer makes the change for all, and the caller
//!   waits for that. A tracer inside `run` waits for nothing but its tracee, so two callers that do this to each
//!   other's spaces don't wait for each other.
//!
//! `attention` tells tracers that there is something to do. It is set before the caller looks who is in guest code, and
//! read after a tracer has announced that it goes there and again after it came back, so one of the two sees the
//! other.
//!
//! Lock level: `PlatformSpace`, held while the process makes host calls.

mod change;
mod fork;
mod threads;

use std::any::Any;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use sync::levels::PlatformSpace as SpaceLevel;
use sync::{Condvar, Mutex};

use super::context::{Remote, with_own_tracee};
use super::pool::{Process, Shared};
use super::tracee::Tracee;
use crate::api::{AddressSpace, Backing, PlatformError, Prot};
use crate::guest_process::pending::{Change, Pending, Source};
use crate::guest_process::ranges::Ranges;

/// Most threads that callers of `prepare_thread` may have reserved and not used.
const MAX_PROMISED: usize = 16;

/// See the module.
pub(super) struct PtraceSpace {
    this: Weak<PtraceSpace>,
    shared: Arc<Shared>,
    attention: AtomicBool,
    state: Mutex<State, SpaceLevel>,
    /// Notified when `state` was served, or its process died.
    served: Condvar,
}

#[derive(Default)]
struct State {
    process: Option<Process>,
    /// The process died, or could not be brought into the state that it should have.
    dead: bool,
    /// Contexts that trace a thread of the process.
    contexts: Vec<Arc<Remote>>,
    /// Changes to be made.
    pending: Pending,
    /// Where something is mapped, pending changes included.
    mapped: Ranges,
    /// Contexts that wait for a thread.
    waiting: usize,
    /// Threads to be made for those.
    threads_wanted: usize,
    /// The host had no thread to give to those.
    threads_refused: bool,
    /// Threads that `prepare_thread` promised.
    promised: usize,
    /// Callers that wait for a child, and children made for them.
    forks_wanted: usize,
    forked: Vec<Result<i32, PlatformError>>,
    /// Changes that had to be made at once, counted, and how many of them were.
    asked: u64,
    answered: u64,
    /// Processor time that the process had used before it came here.
    earlier_cpu_ns: u64,
}

/// A context's thread in a space.
pub(super) struct Attachment {
    pub(super) space: Arc<PtraceSpace>,
    pub(super) tracee: Tracee,
}

impl Attachment {
    pub(super) fn is_in(&self, space: &PtraceSpace) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.space), space)
    }

    pub(super) fn is_at(&self, space: &Arc<dyn AddressSpace>) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.space), Arc::as_ptr(space))
    }
}

fn invalid(what: &'static str) -> PlatformError {
    PlatformError::Host { what, source: std::io::Error::from_raw_os_error(libc::EINVAL) }
}

impl PtraceSpace {
    /// One without a process.
    pub(super) fn new(shared: Arc<Shared>) -> Arc<PtraceSpace> {
        PtraceSpace::with(shared, State::default())
    }

    fn with(shared: Arc<Shared>, state: State) -> Arc<PtraceSpace> {
        Arc::new_cyclic(|this| PtraceSpace {
            this: this.clone(),
            shared,
            attention: AtomicBool::new(!state.pending.is_empty()),
            state: Mutex::new(state),
            served: Condvar::new(),
        })
    }

    /// The space behind the trait.
    pub(super) fn of(space: &Arc<dyn AddressSpace>) -> Result<Arc<PtraceSpace>, PlatformError> {
        let own = space.as_any().downcast_ref::<PtraceSpace>();
        own.and_then(|s| s.this.upgrade())
            .ok_or_else(|| invalid("run in an address space of another platform"))
    }

    /// Whether a tracer has to call [`serve`](Self::serve).
    #[inline]
    pub(super) fn wants_attention(&self) -> bool {
        self.attention.load(Ordering::SeqCst)
    }

    /// Does what others wait for, by means of the caller's tracee.
    pub(super) fn serve(&self, tracee: &mut Tracee) -> Result<(), PlatformError> {
        self.serve_locked(&mut self.state.lock(), tracee)
    }

    fn serve_locked(&self, state: &mut State, tracee: &mut Tracee) -> Result<(), PlatformError> {
        if !self.wants_attention() {
            return Ok(());
        }
        self.attention.store(false, Ordering::SeqCst);
        let served = self.serve_all(state, tracee);
        if served.is_err() {
            self.fail_locked(state);
        }
        state.answered = state.asked;
        self.served.notify_all();
        served
    }

    fn serve_all(&self, state: &mut State, tracee: &mut Tracee) -> Result<(), PlatformError> {
        self.apply_pending(state, tracee)?;
        while state.threads_wanted > 0 {
            state.threads_wanted -= 1;
            match tracee.spawn_thread()? {
                Ok(tid) => state.park(tid),
                Err(_) => state.threads_refused = true,
            }
        }
        while state.forks_wanted > 0 {
            state.forks_wanted -= 1;
            let made = tracee.fork(self.shared.sentry)?;
            state.forked.push(made.map_err(|_| PlatformError::Exhausted("host processes")));
        }
        Ok(())
    }

    /// The process is of no use any more: ends it, and tells those that wait.
    pub(super) fn fail(&self) {
        self.fail_locked(&mut self.state.lock());
    }

    fn fail_locked(&self, state: &mut State) {
        state.dead = true;
        if let Some(process) = &state.process {
            // An error means that it is dead already.
            let _ = host::process::kill_child(process.pid);
        }
        self.served.notify_all();
    }
}

impl State {
    /// Keeps `mapped` up to date.
    fn note(&mut self, range: Range<u64>, change: &Change) {
        match change {
            Change::Map(..) => self.mapped.insert(range),
            Change::Unmap => self.mapped.remove(range),
            Change::Protect(_) => {}
        }
    }

    /// Gives a parked thread to a context.
    fn take_parked(&mut self, remote: &Arc<Remote>) -> Option<(i32, i32)> {
        let process = self.process.as_mut()?;
        let (pid, tid) = (process.pid, process.parked.pop()?);
        self.promised = self.promised.saturating_sub(1);
        remote.set_thread(pid, tid);
        self.contexts.push(Arc::clone(remote));
        Some((pid, tid))
    }

    fn park(&mut self, tid: i32) {
        if let Some(process) = &mut self.process {
            process.parked.push(tid);
        }
    }

    fn forget(&mut self, remote: &Arc<Remote>) {
        self.contexts.retain(|c| !Arc::ptr_eq(c, remote));
    }
}

impl AddressSpace for PtraceSpace {
    fn map(&self, addr: u64, len: u64, prot: Prot, backing: Backing<'_>) -> Result<(), PlatformError> {
        self.change(addr, len, Change::Map(Source::new(backing), prot))
    }

    fn unmap(&self, addr: u64, len: u64) -> Result<(), PlatformError> {
        self.change(addr, len, Change::Unmap)
    }

    fn protect(&self, addr: u64, len: u64, prot: Prot) -> Result<(), PlatformError> {
        self.change(addr, len, Change::Protect(prot))
    }

    fn fork(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        let own = with_own_tracee(self, |own| self.fork_now(&mut self.state.lock(), &mut own.tracee));
        Ok(own.unwrap_or_else(|| self.fork_from_outside())?)
    }

    fn prepare_thread(&self) -> Result<(), PlatformError> {
        with_own_tracee(self, |own| {
            let mut state = self.state.lock();
            self.serve_locked(&mut state, &mut own.tracee)?;
            state.promised = (state.promised + 1).min(MAX_PROMISED);
            while state.process.as_ref().is_some_and(|p| p.parked.len() < state.promised) {
                match own.tracee.spawn_thread()? {
                    Ok(tid) => state.park(tid),
                    Err(_) => {
                        state.promised -= 1;
                        return Err(PlatformError::Exhausted("host threads"));
                    }
                }
            }
            Ok(())
        })
        // Without a tracee here the new context finds its own way in.
        .unwrap_or(Ok(()))
    }

    fn cpu_time_ns(&self) -> u64 {
        let state = self.state.lock();
        let Some(process) = &state.process else { return 0 };
        host::process::cpu_time_ns(process.pid).unwrap_or(0).saturating_sub(state.earlier_cpu_ns)
    }

    fn host_process(&self) -> Option<i32> {
        self.state.lock().process.as_ref().map(|process| process.pid)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for PtraceSpace {
    fn drop(&mut self) {
        if let Some(process) = self.state.get_mut().process.take() {
            self.shared.discard(process.pid);
        }
    }
}
