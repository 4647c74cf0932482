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

use std::any::Any;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sync::levels::PlatformSpace as SpaceLevel;
use sync::{Condvar, Mutex};

use super::context::{Remote, with_own_tracee};
use super::pending::{Change, Pending, Source};
use super::pool::{Process, Shared};
use super::ranges::Ranges;
use super::tracee::Tracee;
use crate::api::{AddressSpace, Backing, PAGE_SIZE, PlatformError, Prot};

/// Threads that an address space keeps for contexts to come.
const MAX_PARKED: usize = 4;
/// Most threads that callers of `prepare_thread` may have reserved and not used.
const MAX_PROMISED: usize = 16;
/// How often a context that waits for a host thread looks whether it was interrupted.
const POLL: Duration = Duration::from_millis(10);

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
        for (range, change) in state.pending.take() {
            if let Err(error) = self.apply(&state.mapped, tracee, range, &change) {
                self.fail_locked(state);
                return Err(error);
            }
        }
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
        state.answered = state.asked;
        self.served.notify_all();
        Ok(())
    }

    /// Makes one change.
    fn apply(
        &self,
        mapped: &Ranges,
        tracee: &mut Tracee,
        range: Range<u64>,
        change: &Change,
    ) -> Result<(), PlatformError> {
        let len = range.end - range.start;
        let (what, done) = match change {
            Change::Map(source, prot) => {
                let (fd, offset) = match source.as_backing() {
                    Backing::Memory(offset) => (self.shared.memory.fd().as_raw_fd(), offset),
                    Backing::File(file, offset) => (file.fd().as_raw_fd(), offset),
                };
                let flags = (libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_NORESERVE) as u64;
                let args = [range.start, len, prot.bits().into(), flags, fd as u64, offset];
                ("map guest memory", tracee.call(libc::SYS_mmap, args)?)
            }
            Change::Unmap => {
                ("unmap guest memory", tracee.call(libc::SYS_munmap, [range.start, len, 0, 0, 0, 0])?)
            }
            Change::Protect(prot) => {
                let mut done = Ok(0);
                for part in mapped.within(range) {
                    let args = [part.start, part.end - part.start, prot.bits().into(), 0, 0, 0];
                    done = tracee.call(libc::SYS_mprotect, args)?;
                    if done.is_err() {
                        break;
                    }
                }
                ("protect guest memory", done)
            }
        };
        match done {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                Err(PlatformError::Exhausted("mappings of a guest process"))
            }
            Err(source) => Err(PlatformError::Host { what, source }),
        }
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

    /// Makes a change in the way that fits (see the module).
    fn change(&self, addr: u64, len: u64, change: Change) -> Result<(), PlatformError> {
        let page = |value: u64| value.is_multiple_of(PAGE_SIZE);
        let end = addr.checked_add(len).ok_or_else(|| invalid("change guest memory"))?;
        let user = super::user_range(self.shared.stub);
        if len == 0 || !page(addr) || !page(len) || addr < user.start || end > user.end {
            return Err(invalid("change guest memory"));
        }
        let range = addr..end;
        let own = with_own_tracee(self, |own| self.change_now(&mut own.tracee, range.clone(), &change));
        match own {
            Some(done) => done,
            None => self.change_from_outside(range, change),
        }
    }

    fn change_now(
        &self,
        tracee: &mut Tracee,
        range: Range<u64>,
        change: &Change,
    ) -> Result<(), PlatformError> {
        let mut state = self.state.lock();
        self.serve_locked(&mut state, tracee)?;
        if matches!(change, Change::Unmap) && state.mapped.within(range.clone()).next().is_none() {
            return Ok(());
        }
        self.apply(&state.mapped, tracee, range.clone(), change)?;
        state.note(range, change);
        Ok(())
    }

    fn change_from_outside(&self, range: Range<u64>, change: Change) -> Result<(), PlatformError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        if !matches!(change, Change::Map(..)) && state.mapped.within(range.clone()).next().is_none() {
            return Ok(());
        }
        state.note(range.clone(), &change);
        state.pending.add(range, change);
        self.attention.store(true, Ordering::SeqCst);
        if !state.contexts.iter().any(|context| context.kick()) {
            return Ok(());
        }
        state.asked += 1;
        let asked = state.asked;
        while state.answered < asked {
            if state.dead {
                return Err(PlatformError::Gone);
            }
            self.served.wait(&mut state);
        }
        Ok(())
    }

    /// Gives a context a thread in `space`, for the one that it has (if any). `None` when it was interrupted while it
    /// waited.
    pub(super) fn enter(
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
    pub(super) fn leave(old: Attachment, remote: &Arc<Remote>) {
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
        let emptied = !state.dead
            && matches!(tracee.call(libc::SYS_munmap, [0, space.shared.stub.base, 0, 0, 0, 0]), Ok(Ok(_)));
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

    /// Leaves a thread for contexts to come, or ends it when there are enough.
    fn leave_thread(&self, state: &mut State, mut tracee: Tracee) -> Result<(), PlatformError> {
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
            state.process = Some(self.shared.take_bare()?);
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

    fn fork_from_outside(&self) -> Result<Arc<PtraceSpace>, PlatformError> {
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

    fn fork_now(&self, state: &mut State, tracee: &mut Tracee) -> Result<Arc<PtraceSpace>, PlatformError> {
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
