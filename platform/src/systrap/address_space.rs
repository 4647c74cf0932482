//! An address space: one host process, which comes to it when first needed.
//!
//! What shall change is done by the process's servant, at once and for all threads, whether they run guest code or not.
//! A space that no thread has been in yet (an exec's loader fills it, a fork gives it pages of its own) keeps its changes until one comes.
//! So does any other with long mappings of files where nothing is shown, until they are touched or the servant has an order anyway:
//! a library is mapped as a whole, and then its segments over that.
//!
//! Lock level: `PlatformSpace`, held while the servant works.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sync::Mutex;
use sync::levels::{Leaf, PlatformSpace as SpaceLevel};

use super::context::Remote;
use super::pool::{Process, Shared, Thread};
use super::servant::{MAX_OPERATIONS, Operation};
use super::text::{Call, Key, Text};
use crate::HostFile;
use crate::api::{AddressSpace, Backing, PAGE_SIZE, PlatformError, Prot, Registers, Title};
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
    /// Its process's id, 0 before it has one: known without the lock, which is held while threads are waited for.
    pid: AtomicI32,
    /// Contexts that run here.
    contexts: Mutex<Vec<Weak<Remote>>, Leaf>,
    /// Rewritten code is, or was, shown: threads want GS for the gate.
    gated: AtomicBool,
    /// No thread may begin to run guest code: rewritten code is being taken away.
    closed: AtomicBool,
    /// Rewritten code that threads may be in.
    copies: Mutex<Copies, Leaf>,
}

type Copies = Vec<(Range<u64>, Arc<Text>)>;

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Shorter mappings of files are shown at once: they are likely to be touched at once.
const LONG: u64 = 16 * PAGE_SIZE;
/// No mapping waits in a process that has made so many changes: each makes two mappings more at most, and the host limits their number.
const MANY_CHANGES: u64 = 10_000;

/// How long the threads of a space may take to leave code that is about to go.
const MAX_LEAVING: Duration = Duration::from_secs(5);
/// The same when nobody wants any of them to run any more.
const MAX_LEAVING_UNWANTED: Duration = Duration::from_millis(500);

/// Code of a file that nobody writes, mapped as it is or rewritten.
#[derive(Clone)]
struct Shown {
    range: Range<u64>,
    prot: Prot,
    file: Arc<HostFile>,
    key: Key,
    text: Option<Arc<Text>>,
}

#[derive(Default)]
struct State {
    process: Option<Process>,
    /// No thread has been here yet: what shall change can wait for the first, as nobody sees it before.
    fresh: bool,
    /// The process died, or could not be brought into the state that it should have.
    dead: bool,
    /// Changes to be made. In a process that threads have been in, mappings of files in places where it shows nothing.
    pending: Pending,
    /// How many changes its process and those that it is a child of have made.
    changes: u64,
    /// What the host's tools are to show from then on.
    title: Option<Title>,
    /// Where something is mapped, pending changes included.
    mapped: Ranges,
    /// What can be rewritten of that.
    shown: Vec<Shown>,
    /// To be dropped when the process is gone.
    kept: Option<Box<dyn Any + Send>>,
    /// Who ends processes expects this one.
    end_is_reserved: bool,
}

impl State {
    /// Whether changes are kept until a thread comes.
    fn waits(&self) -> bool {
        self.process.is_none() || self.fresh
    }

    /// Whether the process shows nothing in `range`.
    fn is_unseen(&self, range: &Range<u64>) -> bool {
        let mapped: u64 = self.mapped.within(range.clone()).map(|part| part.end - part.start).sum();
        mapped == self.pending.len_within(range)
    }

    /// Whether a mapping of a file in `range` can wait until it is touched.
    fn can_wait(&self, range: &Range<u64>) -> bool {
        let is_long = range.end - range.start >= LONG || self.pending.len_within(range) > 0;
        is_long && self.changes < MANY_CHANGES && self.is_unseen(range)
    }
}

fn invalid(what: &'static str) -> PlatformError {
    PlatformError::Host { what, source: std::io::Error::from_raw_os_error(libc::EINVAL) }
}

impl SystrapSpace {
    /// One without a process.
    pub(super) fn new(shared: Arc<Shared>) -> Arc<SystrapSpace> {
        SystrapSpace::with(shared, State::default(), Copies::default())
    }

    fn with(shared: Arc<Shared>, state: State, copies: Copies) -> Arc<SystrapSpace> {
        Arc::new_cyclic(|this| SystrapSpace {
            this: this.clone(),
            shared,
            pid: AtomicI32::new(state.process.as_ref().map_or(0, Process::pid)),
            contexts: Mutex::new(Vec::new()),
            state: Mutex::new(state),
            gated: AtomicBool::new(!copies.is_empty()),
            closed: AtomicBool::new(false),
            copies: Mutex::new(copies),
        })
    }

    /// Before rewritten code is shown.
    fn begin_copy(&self, range: &Range<u64>, text: &Arc<Text>) {
        self.gated.store(true, Ordering::Relaxed);
        self.copies.lock().push((range.clone(), Arc::clone(text)));
    }

    /// When no rewritten code is shown in `range` any more, and no thread is there.
    fn end_copies(&self, range: &Range<u64>) {
        let mut copies = self.copies.lock();
        let (gone, rest): (Copies, Copies) = copies.drain(..).partition(|(at, _)| overlap(at, range));
        *copies = rest;
        drop(copies);
        drop(gone);
    }

    /// Whether calls may come through the gate.
    pub(super) fn is_gated(&self) -> bool {
        self.gated.load(Ordering::Relaxed)
    }

    /// Whether no thread may begin to run guest code. To be asked when it counts as running: either this is seen, or that is.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Waits until threads may run again.
    #[cold]
    pub(super) fn wait_until_open(&self) {
        // Who has closed it holds the lock until then.
        drop(self.state.lock());
    }

    /// The space behind the trait.
    pub(super) fn of(space: &Arc<dyn AddressSpace>) -> Result<Arc<SystrapSpace>, PlatformError> {
        let own = space.as_any().downcast_ref::<SystrapSpace>();
        own.and_then(|s| s.this.upgrade())
            .ok_or_else(|| invalid("run in an address space of another platform"))
    }

    /// A guest thread for a context; its process's id.
    pub(super) fn enter(&self, remote: &Arc<Remote>) -> Result<(i32, Thread), PlatformError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        if state.process.is_none() {
            let process = self.shared.take_bare()?;
            self.pid.store(process.pid(), Ordering::Relaxed);
            state.process = Some(process);
        }
        self.serve(&mut state)?;
        state.fresh = false;
        let process = state.process.as_mut().ok_or(PlatformError::Gone)?;
        let thread = process.take_thread(&self.shared);
        let entered = thread.map(|thread| (process.pid(), thread));
        let entered = self.seen(&mut state, entered)?;
        // Before it runs, so that whoever takes code away finds it.
        let mut contexts = self.contexts.lock();
        contexts.retain(|context| context.strong_count() > 0);
        contexts.push(Arc::downgrade(remote));
        Ok(entered)
    }

    /// Whether nobody wants any of its contexts to run any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.running_here().iter().all(|context| context.is_given_up())
    }

    fn running_here(&self) -> Vec<Arc<Remote>> {
        self.contexts.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Takes a thread back.
    pub(super) fn leave(&self, thread: Thread, remote: &Arc<Remote>) {
        let mut state = self.state.lock();
        self.contexts.lock().retain(|context| !std::ptr::eq(context.as_ptr(), Arc::as_ptr(remote)));
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
        if state.fresh {
            // What a child has of its own so soon was copied because it is about to be written: no faults for that.
            operations.iter_mut().for_each(Operation::populate_few);
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
                    Source::Memory(offset) => {
                        let (fd, offset) = self.shared.memory.host_place(*offset);
                        (fd.as_raw_fd(), offset)
                    }
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
        state.changes += operations.len() as u64;
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

    /// What a map of a file's code shows instead, if there is a rewritten copy; the code that becomes known.
    fn rewritten(&self, range: &Range<u64>, change: &mut Change) -> Option<Shown> {
        let texts = self.shared.texts.as_ref()?;
        let Change::Map(Source::File(file, offset), prot) = &*change else { return None };
        if !prot.contains(Prot::EXEC) || prot.contains(Prot::WRITE) {
            return None;
        }
        let (prot, key) = (*prot, Key::new(file, *offset, range.end - range.start)?);
        let text = match texts.find(&key) {
            // No copy can be made.
            Some(None) => return None,
            Some(Some(text)) => Some(text),
            None => None,
        };
        let shown = Shown { range: range.clone(), prot, file: Arc::clone(file), key, text };
        if let Some(text) = &shown.text {
            *change = Change::Map(Source::Memory(text.offset()), prot);
            self.begin_copy(range, text);
        }
        Some(shown)
    }

    /// Before `change` of `range`: rewritten code stays or goes as a whole. (Its parts need each other.)
    fn restore(&self, state: &mut State, range: &Range<u64>, change: &Change) -> Result<(), PlatformError> {
        let touched = |shown: &Shown| overlap(&shown.range, range);
        let touches: Vec<Shown> = state.shown.iter().filter(|shown| touched(shown)).cloned().collect();
        if touches.is_empty() {
            return Ok(());
        }
        let goes = |shown: &&Shown| {
            let covers = range.start <= shown.range.start && shown.range.end <= range.end;
            shown.text.is_some() && !(covers && matches!(change, Change::Unmap))
        };
        let goes: Vec<&Shown> = touches.iter().filter(goes).collect();
        if !goes.is_empty() {
            self.show_all(state)?;
            // Nobody may be on the way from a call to the gate meanwhile: who is stopped there is said to be at the call.
            self.closed.store(true, Ordering::SeqCst);
            let shown = self
                .expel(state)
                .and_then(|()| goes.iter().try_for_each(|shown| self.show_file(state, shown)));
            self.closed.store(false, Ordering::SeqCst);
            shown?;
        }
        state.shown.retain(|shown| !touched(shown));
        self.end_copies(range);
        Ok(())
    }

    /// Shows the file itself where it is mapped.
    fn show_file(&self, state: &mut State, shown: &Shown) -> Result<(), PlatformError> {
        let part = shown.range.clone();
        let change = Change::Map(Source::File(Arc::clone(&shown.file), shown.key.offset()), shown.prot);
        if state.waits() {
            state.pending.add(part, change);
            return Ok(());
        }
        let mut operations = Vec::new();
        self.operations(&state.mapped, &part, &change, &mut operations);
        self.order(state, &operations)
    }

    /// Makes sure that every thread has been stopped since: in a closed space none runs guest code then.
    fn expel(&self, state: &mut State) -> Result<(), PlatformError> {
        let began = Instant::now();
        for remote in self.running_here() {
            let Some(seen) = remote.running() else { continue };
            let mut pause = Duration::from_micros(10);
            while remote.running() == Some(seen) {
                remote.kick();
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
                let waited = began.elapsed();
                if waited > MAX_LEAVING || (waited > MAX_LEAVING_UNWANTED && self.is_given_up()) {
                    self.fail_locked(state);
                    return Err(PlatformError::Gone);
                }
            }
        }
        Ok(())
    }

    /// So many calls of the guest at `rip` were seen: shows a rewritten copy of the code there, if there is one. Has one made if they are
    /// enough: it may be there when the place is seen the next time.
    #[cold]
    pub(super) fn rewrite(&self, rip: u64, calls: u32) {
        let Some(texts) = &self.shared.texts else { return };
        let at_rip = |shown: &&mut Shown| shown.range.contains(&rip) && shown.text.is_none();
        let found = {
            let mut state = self.state.lock();
            let shown = state.shown.iter_mut().find(at_rip);
            shown.map(|shown| (shown.key, Arc::clone(&shown.file), rip - shown.range.start))
        };
        let Some((key, file, seen)) = found else { return };
        let text = match calls >= key.worth() {
            true => texts.make_later(&key, &file, seen),
            false => texts.find(&key).flatten(),
        };
        let Some(text) = text else { return };
        let mut state = self.state.lock();
        if state.dead || state.process.is_none() {
            return;
        }
        // Others may have changed it meanwhile.
        let Some(shown) = state.shown.iter_mut().find(at_rip).filter(|shown| shown.key == key) else {
            return;
        };
        let before = shown.clone();
        shown.text = Some(Arc::clone(&text));
        self.begin_copy(&before.range, &text);
        let change = Change::Map(Source::Memory(text.offset()), before.prot);
        if self.show_all(&mut state).is_err() {
            return;
        }
        let mut operations = Vec::new();
        self.operations(&state.mapped, &before.range, &change, &mut operations);
        if self.order(&mut state, &operations).is_err() {
            // It may be gone: then it is the file again, or nothing is.
            if self.show_file(&mut state, &before).is_err() {
                self.fail_locked(&mut state);
            }
            state.shown.retain(|shown| shown.range != before.range);
            self.end_copies(&before.range);
        }
    }

    /// The rewritten call that a thread is on its way from, if it is at such a place. To be asked before the thread counts as
    /// stopped: who takes the code away waits for that, under the lock of the space.
    pub(super) fn call_at(&self, regs: &Registers) -> Option<Call> {
        let rip = regs.rip;
        if !self.is_gated() {
            return None;
        }
        let copies = self.copies.lock();
        let (range, text) = copies.iter().find(|(range, _)| range.contains(&rip))?;
        text.call(range.start, rip - range.start, regs)
    }

    /// The range, if it is one that can be changed.
    fn checked(&self, addr: u64, len: u64) -> Result<Range<u64>, PlatformError> {
        let page = |value: u64| value.is_multiple_of(PAGE_SIZE);
        let end = addr.checked_add(len).ok_or_else(|| invalid("change guest memory"))?;
        let user = user_range(self.shared.layout.base());
        if len == 0 || !page(addr) || !page(len) || addr < user.start || end > user.end {
            return Err(invalid("change guest memory"));
        }
        Ok(addr..end)
    }

    /// Protects all `parts` with as few orders as possible.
    fn protect_parts(&self, parts: &[(Range<u64>, Prot)]) -> Result<(), PlatformError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        self.show_all(&mut state)?;
        let mut operations = Vec::with_capacity(parts.len());
        for (at, prot) in parts {
            let range = self.checked(at.start, at.end - at.start)?;
            if state.mapped.within(range.clone()).next().is_none() {
                continue;
            }
            let change = Change::Protect(*prot);
            self.restore(&mut state, &range, &change)?;
            if state.waits() {
                state.pending.add(range, change);
            } else {
                self.operations(&state.mapped, &range, &change, &mut operations);
            }
        }
        if operations.is_empty() { Ok(()) } else { self.order(&mut state, &operations) }
    }

    fn change(&self, addr: u64, len: u64, change: Change) -> Result<(), PlatformError> {
        self.change_by(addr, len, change, |_| ())
    }

    /// Makes a change. What is done for it at once, not later, is `adjust`ed.
    fn change_by(
        &self,
        addr: u64,
        len: u64,
        mut change: Change,
        adjust: impl Fn(&mut Operation),
    ) -> Result<(), PlatformError> {
        let range = self.checked(addr, len)?;
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        if !matches!(change, Change::Map(..)) && state.mapped.within(range.clone()).next().is_none() {
            return Ok(());
        }
        self.restore(&mut state, &range, &change)?;
        let shown = self.rewritten(&range, &mut change);
        let of_file = matches!(change, Change::Map(Source::File(..), _)) || shown.is_some();
        let keep = state.waits() || (of_file && state.can_wait(&range));
        if !keep {
            let changed = self.change_now(&mut state, &range, &change, adjust);
            if changed.is_err() && shown.is_some() {
                self.end_copies(&range);
            }
            changed?;
        }
        match &change {
            Change::Map(..) => state.mapped.insert(range.clone()),
            Change::Unmap => state.mapped.remove(range.clone()),
            Change::Protect(_) => {}
        }
        state.shown.extend(shown);
        if keep {
            state.pending.add(range, change);
        }
        Ok(())
    }

    /// Has a change made, with what waits.
    fn change_now(
        &self,
        state: &mut State,
        range: &Range<u64>,
        change: &Change,
        adjust: impl Fn(&mut Operation),
    ) -> Result<(), PlatformError> {
        match change {
            Change::Map(..) => state.pending.forget(range.clone()),
            Change::Unmap => {
                let unseen = state.is_unseen(range);
                state.pending.forget(range.clone());
                if unseen {
                    return Ok(());
                }
            }
            Change::Protect(_) => {}
        }
        let mut operations = Vec::new();
        let waiting: Vec<_> = state.pending.take().collect();
        for (at, change) in &waiting {
            self.operations(&state.mapped, at, change, &mut operations);
        }
        let mut own = Vec::new();
        self.operations(&state.mapped, range, change, &mut own);
        own.iter_mut().for_each(adjust);
        operations.extend(own);
        let changed = self.order(state, &operations);
        if changed.is_err() && !waiting.is_empty() {
            // Nobody knows what of that it shows.
            self.fail_locked(state);
        }
        changed
    }

    /// Shows what waits to be touched.
    fn show_all(&self, state: &mut State) -> Result<(), PlatformError> {
        if state.waits() { Ok(()) } else { self.serve(state) }
    }

    /// A thread has touched `address`: shows what waits, if that is there. Whether it was.
    pub(super) fn show_waiting(&self, address: u64) -> Result<bool, PlatformError> {
        let mut state = self.state.lock();
        if state.dead || !state.pending.holds(address) {
            return Ok(false);
        }
        self.serve(&mut state)?;
        Ok(true)
    }
}

impl AddressSpace for SystrapSpace {
    fn map(&self, addr: u64, len: u64, prot: Prot, backing: Backing<'_>) -> Result<(), PlatformError> {
        self.change(addr, len, Change::Map(Source::new(backing), prot))
    }

    fn map_present(
        &self,
        addr: u64,
        len: u64,
        prot: Prot,
        backing: Backing<'_>,
    ) -> Result<(), PlatformError> {
        self.change_by(addr, len, Change::Map(Source::new(backing), prot), Operation::populate_present)
    }

    fn unmap(&self, addr: u64, len: u64) -> Result<(), PlatformError> {
        self.change(addr, len, Change::Unmap)
    }

    fn protect(&self, addr: u64, len: u64, prot: Prot) -> Result<(), PlatformError> {
        self.change(addr, len, Change::Protect(prot))
    }

    fn protect_all(&self, parts: &[(Range<u64>, Prot)]) -> Result<(), PlatformError> {
        self.protect_parts(parts)
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
        let state = State {
            process,
            fresh: true,
            dead: false,
            pending: state.pending.clone(),
            changes: state.changes,
            title: state.title.clone(),
            mapped: state.mapped.clone(),
            shown: state.shown.clone(),
            kept: None,
            end_is_reserved: false,
        };
        let copies = self.copies.lock().clone();
        Ok(SystrapSpace::with(Arc::clone(&self.shared), state, copies))
    }

    fn retire(&self, kept: Box<dyn Any + Send>) -> Result<(), Box<dyn Any + Send>> {
        let mut state = self.state.lock();
        if state.kept.is_some() {
            return Err(kept);
        }
        // Its process is ended when the last context has left it.
        state.dead = true;
        state.kept = Some(kept);
        Ok(())
    }

    fn reserve_end(&self) -> bool {
        let has_process = {
            let state = self.state.lock();
            state.process.is_some() && !state.end_is_reserved
        };
        if has_process {
            self.shared.reserve_end();
            self.state.lock().end_is_reserved = true;
        }
        has_process
    }

    fn cpu_time_ns(&self) -> u64 {
        self.host_process().and_then(|pid| host::process::cpu_time_ns(pid).ok()).unwrap_or(0)
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
        let pid = self.pid.load(Ordering::Relaxed);
        (pid != 0).then_some(pid)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for SystrapSpace {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if let Some(process) = state.process.take() {
            self.shared.discard(process, state.kept.take(), state.end_is_reserved);
        }
    }
}
