//! An address space: one host process, which comes to it when first needed.
//!
//! What shall change is done by the process's servant, at once and for all threads, whether they run guest code or not.
//! A space that has no process yet (an exec's loader fills it) keeps its changes until it gets one.
//!
//! Lock level: `PlatformSpace`, held while the servant works.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Weak};

use sync::Mutex;
use sync::levels::PlatformSpace as SpaceLevel;

use super::pool::{Process, Shared, Thread};
use super::servant::{MAX_OPERATIONS, Operation};
use crate::api::{AddressSpace, Backing, PAGE_SIZE, PlatformError, Prot, Title};
use crate::guest_process::pending::{Change, Pending, Source};
use crate::guest_process::ranges::Ranges;
use crate::guest_process::{MAP_FLAGS, user_range};

/// Threads that an address space keeps for contexts to come.
const MAX_PARKED: usize = 4;

thread_local! {
    /// Orders that this thread has given.
    static CHANGES: Cell<u32> = const { Cell::new(0) };
}

/// How often this thread has had mappings changed.
pub(super) fn changes() -> u32 {
    CHANGES.get()
}

/// See the module.
pub(super) struct SystrapSpace {
    this: Weak<SystrapSpace>,
    shared: Arc<Shared>,
    state: Mutex<State, SpaceLevel>,
}

#[derive(Default)]
struct State {
    process: Option<Process>,
    /// The process died, or could not be brought into the state that it should have.
    dead: bool,
    /// Changes to be made.
    pending: Pending,
    /// What the host's tools are to show from then on.
    title: Option<Title>,
    /// Where something is mapped, pending changes included.
    mapped: Ranges,
}

fn invalid(what: &'static str) -> PlatformError {
    PlatformError::Host { what, source: std::io::Error::from_raw_os_error(libc::EINVAL) }
}

impl SystrapSpace {
    /// One without a process.
    pub(super) fn new(shared: Arc<Shared>) -> Arc<SystrapSpace> {
        SystrapSpace::with(shared, State::default())
    }

    fn with(shared: Arc<Shared>, state: State) -> Arc<SystrapSpace> {
        Arc::new_cyclic(|this| SystrapSpace { this: this.clone(), shared, state: Mutex::new(state) })
    }

    /// The space behind the trait.
    pub(super) fn of(space: &Arc<dyn AddressSpace>) -> Result<Arc<SystrapSpace>, PlatformError> {
        let own = space.as_any().downcast_ref::<SystrapSpace>();
        own.and_then(|s| s.this.upgrade())
            .ok_or_else(|| invalid("run in an address space of another platform"))
    }

    /// A guest thread for a context; its process's id.
    pub(super) fn enter(&self) -> Result<(i32, Thread), PlatformError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        if state.process.is_none() {
            state.process = Some(self.shared.take_bare()?);
        }
        self.serve(&mut state)?;
        let process = state.process.as_mut().ok_or(PlatformError::Gone)?;
        let thread = process.take_thread(&self.shared);
        let entered = thread.map(|thread| (process.pid(), thread));
        self.seen(&mut state, entered)
    }

    /// Takes a thread back.
    pub(super) fn leave(&self, thread: Thread) {
        let mut state = self.state.lock();
        let dead = state.dead || self.this.strong_count() <= 1;
        // Without a process nobody shows the area any more.
        let Some(process) = &mut state.process else { return };
        if dead {
            process.ended.push(thread);
        } else if process.parked.len() < MAX_PARKED {
            process.parked.push(thread);
        } else {
            let ended = process.end_thread(&self.shared, thread);
            let _ = self.seen(&mut state, ended);
        }
    }

    /// The process is of no use any more: ends it. What the guest did, if that was why it ended.
    pub(super) fn fail(&self) -> PlatformError {
        self.fail_locked(&mut self.state.lock())
    }

    fn fail_locked(&self, state: &mut State) -> PlatformError {
        let Some(process) = &state.process else { return PlatformError::Gone };
        let was_dead = std::mem::replace(&mut state.dead, true);
        let error = match host::process::killed_by(process.pid()) {
            Some(libc::SIGKILL) => PlatformError::Gone,
            Some(libc::SIGSYS) => PlatformError::Tampered("it made a host call from its stub"),
            Some(_) => PlatformError::Tampered("its stub faulted"),
            None if was_dead => PlatformError::Gone,
            None => PlatformError::Tampered("one of its threads has left the stub"),
        };
        // An error means that it is dead already.
        let _ = host::process::kill_child(process.pid());
        error
    }

    /// Marks the space dead where an error says so.
    fn seen<T>(&self, state: &mut State, done: Result<T, PlatformError>) -> Result<T, PlatformError> {
        match done {
            Err(PlatformError::Gone) => Err(self.fail_locked(state)),
            done => done,
        }
    }

    /// Makes the changes that are pending, with as few orders as possible.
    fn serve(&self, state: &mut State) -> Result<(), PlatformError> {
        if state.pending.is_empty() && state.title.is_none() {
            return Ok(());
        }
        // All of them stay until the end: they keep files open that the operations name by fd.
        let changes: Vec<_> = state.pending.take().collect();
        let mut operations = Vec::with_capacity(changes.len());
        for (range, change) in &changes {
            self.operations(&state.mapped, range, change, &mut operations);
        }
        let titled = self.title_operations(state, &mut operations);
        let served = titled.and_then(|()| self.order(state, &operations));
        if served.is_err() {
            self.fail_locked(state);
        }
        served
    }

    /// What the servant has to do for a change.
    fn operations(&self, mapped: &Ranges, range: &Range<u64>, change: &Change, into: &mut Vec<Operation>) {
        let len = range.end - range.start;
        match change {
            Change::Map(source, prot) => {
                let (fd, offset) = match source {
                    Source::Memory(offset) => (self.shared.memory.fd().as_raw_fd(), *offset),
                    Source::File(file, offset) => (file.fd().as_raw_fd(), *offset),
                };
                let prot = u64::from(prot.bits());
                // Neighbours that continue each other are one mapping.
                if let Some(last) = into.last_mut()
                    && last.number == libc::SYS_mmap
                    && last.arguments[0] + last.arguments[1] == range.start
                    && last.arguments[2..5] == [prot, MAP_FLAGS, fd as u64]
                    && last.arguments[5] + last.arguments[1] == offset
                {
                    last.arguments[1] += len;
                    return;
                }
                let arguments = [range.start, len, prot, MAP_FLAGS, fd as u64, offset];
                into.push(Operation::call(libc::SYS_mmap, arguments));
            }
            Change::Unmap => {
                into.push(Operation::call(libc::SYS_munmap, [range.start, len, 0, 0, 0, 0]));
            }
            Change::Protect(prot) => {
                for part in mapped.within(range.clone()) {
                    let arguments = [part.start, part.end - part.start, prot.bits().into(), 0, 0, 0];
                    into.push(Operation::call(libc::SYS_mprotect, arguments));
                }
            }
        }
    }

    /// What the servant has to do for the title that is to be shown.
    fn title_operations(&self, state: &mut State, into: &mut Vec<Operation>) -> Result<(), PlatformError> {
        let Some(title) = state.title.take() else { return Ok(()) };
        let process = state.process.as_mut().ok_or(PlatformError::Gone)?;
        into.extend(process.title(&self.shared, &title)?);
        Ok(())
    }

    fn order(&self, state: &mut State, operations: &[Operation]) -> Result<(), PlatformError> {
        for some in operations.chunks(MAX_OPERATIONS) {
            let process = state.process.as_mut().ok_or(PlatformError::Gone)?;
            let done = process.obey(some);
            CHANGES.set(CHANGES.get().wrapping_add(1));
            match self.seen(state, done)? {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                    return Err(PlatformError::Exhausted("mappings of a guest process"));
                }
                Err(source) => {
                    return Err(PlatformError::Host { what: "change guest memory", source });
                }
            }
        }
        Ok(())
    }

    fn change(&self, addr: u64, len: u64, change: Change) -> Result<(), PlatformError> {
        let page = |value: u64| value.is_multiple_of(PAGE_SIZE);
        let end = addr.checked_add(len).ok_or_else(|| invalid("change guest memory"))?;
        let user = user_range(self.shared.layout.base());
        if len == 0 || !page(addr) || !page(len) || addr < user.start || end > user.end {
            return Err(invalid("change guest memory"));
        }
        let range = addr..end;
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        if !matches!(change, Change::Map(..)) && state.mapped.within(range.clone()).next().is_none() {
            return Ok(());
        }
        if state.process.is_some() {
            let mut operations = Vec::new();
            self.operations(&state.mapped, &range, &change, &mut operations);
            self.order(&mut state, &operations)?;
        }
        match &change {
            Change::Map(..) => state.mapped.insert(range.clone()),
            Change::Unmap => state.mapped.remove(range.clone()),
            Change::Protect(_) => {}
        }
        if state.process.is_none() {
            state.pending.add(range, change);
        }
        Ok(())
    }
}

impl AddressSpace for SystrapSpace {
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
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        let process = match &mut state.process {
            Some(process) => {
                let made = process.fork(&self.shared);
                Some(self.seen(&mut state, made)?)
            }
            None => None,
        };
        let (pending, mapped, title) = (state.pending.clone(), state.mapped.clone(), state.title.clone());
        let state = State { process, dead: false, pending, mapped, title };
        Ok(SystrapSpace::with(Arc::clone(&self.shared), state))
    }

    fn cpu_time_ns(&self) -> u64 {
        let state = self.state.lock();
        state.process.as_ref().and_then(|p| host::process::cpu_time_ns(p.pid()).ok()).unwrap_or(0)
    }

    fn set_title(&self, title: Title) {
        if !self.shared.shows_titles {
            return;
        }
        let mut state = self.state.lock();
        state.title = Some(title);
        if state.process.is_some() && !state.dead {
            // An error ends the process, which its next change tells.
            let _ = self.serve(&mut state);
        }
    }

    fn host_process(&self) -> Option<i32> {
        self.state.lock().process.as_ref().map(Process::pid)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for SystrapSpace {
    fn drop(&mut self) {
        if let Some(process) = self.state.get_mut().process.take() {
            self.shared.discard(process);
        }
    }
}
