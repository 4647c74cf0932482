//! Page faults: of the guest, and of the kernel on the guest's behalf.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::signal::{BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR, Signal};
use platform::{Access, Prot};

use super::arena::Growth;
use super::held_run::HeldRun;
use super::mappable::Mappable;
use super::pma::Pma;
use super::vma::{Source, Vma, VmaFlags};
use super::{Inner, MemoryManager, PAGE, Run, page_down};

/// The signal that a fault ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSignal {
    /// SIGSEGV or SIGBUS.
    pub signal: Signal,
    /// si_code.
    pub code: i32,
}

/// What somebody wants to do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    Write,
    Execute,
    /// The host did not say; the page has to be shown with all that the mapping permits.
    Any,
    /// A debugger reads: protection does not count.
    ForceRead,
    /// A debugger writes.
    ForceWrite,
}

impl Need {
    pub fn writes(self) -> bool {
        matches!(self, Need::Write | Need::ForceWrite)
    }
}

/// Why a page can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultError {
    /// Nothing is mapped there.
    NotMapped,
    /// The mapping does not permit it.
    Denied,
    /// The file has no such page.
    PastEnd,
    /// No memory, or no host mappings, left.
    NoMemory,
}

impl FaultError {
    fn signal(self) -> FaultSignal {
        match self {
            FaultError::NotMapped => FaultSignal { signal: Signal::SIGSEGV, code: SEGV_MAPERR },
            FaultError::Denied => FaultSignal { signal: Signal::SIGSEGV, code: SEGV_ACCERR },
            FaultError::PastEnd | FaultError::NoMemory => {
                FaultSignal { signal: Signal::SIGBUS, code: BUS_ADRERR }
            }
        }
    }
}

/// A page that can be used.
pub(super) struct Found {
    /// Something had to be done for it.
    changed: bool,
    /// Generation of the pages when it was found.
    generation: u64,
}

/// How far [`Inner::resolve`] came.
enum Step {
    /// The page can be used.
    Ready,
    /// The file has to say where its bytes are, without the lock.
    AskFile(Question),
}

struct Question {
    file: Arc<dyn Mappable>,
    offset: u64,
    len: u64,
    write: bool,
}

/// Pages of a file that can be truncated are looked up in runs: at first few, then more as the run before grows.
const FIRST_RUN: u64 = 16 * PAGE;
const LONGEST_RUN: u64 = 512 * PAGE;

/// Frames for huge mappings come in aligned windows of this size.
const HUGE_WINDOW: u64 = 1 << 30;

/// So often another thread may take away what was just looked up.
const ATTEMPTS: usize = 1000;

thread_local! {
    /// The last fault of this thread that found nothing to do: address space, page, and generation of its pages. The
    /// same again means that trying again does not help.
    static LAST_IDLE: Cell<(u64, u64, u64)> = const { Cell::new((0, 0, 0)) };
}

impl MemoryManager {
    /// Resolves a fault of guest code of the calling thread at `address`, or answers which signal it gets. `signal` and
    /// `code` are what the host said.
    pub fn handle_fault(
        &self,
        address: u64,
        access: Access,
        signal: i32,
        code: i32,
    ) -> Result<(), FaultSignal> {
        let page = page_down(address);
        if signal == Signal::SIGBUS.number() as i32 {
            // Past the end of a host file, unless somebody has changed the mapping since.
            let generation = self.inner.read().pages.generation;
            return self.retry_once(page, generation, FaultSignal { signal: Signal::SIGBUS, code });
        }
        let need = match access {
            Access::Read => Need::Read,
            Access::Write => Need::Write,
            Access::Execute => Need::Execute,
            Access::Unknown => Need::Any,
        };
        let found = self.fault_in(address, need).map_err(FaultError::signal)?;
        if found.changed {
            return Ok(());
        }
        // Nothing was missing. Either another thread was faster, or the access is one that the mapping does not permit
        // and the host could not tell us so.
        self.retry_once(page, found.generation, FaultError::Denied.signal())
    }

    /// `Ok` when nothing says that the same access would fault again.
    fn retry_once(&self, page: u64, generation: u64, otherwise: FaultSignal) -> Result<(), FaultSignal> {
        let now = (self.id, page, generation);
        if LAST_IDLE.replace(now) == now { Err(otherwise) } else { Ok(()) }
    }

    /// Makes the page of `addr` usable for `need`.
    pub(super) fn fault_in(&self, addr: u64, need: Need) -> Result<Found, FaultError> {
        let stack_limit = self.stack_limit.load(Ordering::Relaxed);
        let mut changed = false;
        for _ in 0..ATTEMPTS {
            let question = {
                let mut inner = self.inner.write();
                let before = inner.pages.generation;
                let step = inner.resolve(addr, need, stack_limit)?;
                let generation = inner.pages.generation;
                changed |= generation != before;
                match step {
                    Step::Ready => return Ok(Found { changed, generation }),
                    Step::AskFile(question) => question,
                }
            };
            self.ask_file(addr, question)?;
            changed = true;
        }
        Err(FaultError::NotMapped)
    }

    /// Looks up where the file's bytes for the page of `addr` are, and shows them if the mapping is still the same.
    fn ask_file(&self, addr: u64, question: Question) -> Result<(), FaultError> {
        let Question { file, offset, len, write } = question;
        let seen = file.mappings().map(|mappings| mappings.generation());
        let run = file.translate(offset, len, write).map_err(|error| match error {
            Errno::ENOMEM | Errno::ENOSPC => FaultError::NoMemory,
            _ => FaultError::PastEnd,
        })?;
        let Run { len, .. } = run;
        let mut held = HeldRun::new(&self.memory, run);
        let mut inner = self.inner.write();
        // A truncation in between has visited this address space before the page was there.
        if file.mappings().map(|mappings| mappings.generation()) != seen {
            return Ok(());
        }
        let page = page_down(addr);
        let Some((range, vma)) = inner.vmas.find(page) else { return Ok(()) };
        let same = vma.file().is_some_and(|now| Arc::ptr_eq(now, &file));
        if !same || vma.offset + (page - range.start) != offset || inner.pages.pmas.find(page).is_some() {
            return Ok(());
        }
        let end = inner.pages.pmas.hole_end(page, range.end).min(page + len);
        let (prot, cow) = (vma.prot, !vma.is_shared());
        let Some(place) = held.take(end - page) else { return Ok(()) };
        let pma = Pma { place, prot, private: false, cow };
        inner.map_pages(page..end, pma).map_err(|_| FaultError::NoMemory)
    }
}

impl Inner {
    /// Does what can be done under the lock to make the page of `addr` usable for `need`.
    fn resolve(&mut self, addr: u64, need: Need, stack_limit: u64) -> Result<Step, FaultError> {
        if self.vmas.find(addr).is_none()
            && !self.grow_stack(addr, stack_limit).map_err(|_| FaultError::NoMemory)?
        {
            return Err(FaultError::NotMapped);
        }
        let Some((range, vma)) = self.vmas.find(addr) else { return Err(FaultError::NotMapped) };
        if !permits(vma, need) {
            return Err(FaultError::Denied);
        }
        let page = page_down(addr);
        let Some((_, pma)) = self.pages.pmas.find(page) else {
            let hole_end = self.pages.pmas.hole_end(page, range.end);
            let Source::File { file, .. } = &vma.source else {
                let prot = vma.prot;
                let mut hole = range.start..hole_end;
                if let Some((below, _)) = self.pages.pmas.before(page) {
                    hole.start = hole.start.max(below.end);
                }
                if let Some(shown) = self.show_window(page, &hole, prot) {
                    shown.map_err(|_| FaultError::NoMemory)?;
                    return Ok(Step::Ready);
                }
                if hole.end - hole.start > HUGE_WINDOW {
                    let window = page / HUGE_WINDOW * HUGE_WINDOW;
                    hole = super::ranges::clip(&hole, &(window..window + HUGE_WINDOW));
                }
                self.fill_with_zero_pages(hole, prot, Growth::Down).map_err(|_| FaultError::NoMemory)?;
                return Ok(Step::Ready);
            };
            let longest = if file.is_eager() { u64::MAX } else { self.run_length(page) };
            return Ok(Step::AskFile(Question {
                file: Arc::clone(file),
                offset: vma.offset + (page - range.start),
                len: (hole_end - page).min(longest),
                write: vma.is_shared() && vma.max_prot.contains(Prot::WRITE),
            }));
        };
        let writes = need.writes() || (need == Need::Any && pma.prot.contains(Prot::WRITE));
        if writes && pma.cow {
            self.break_cow(page)?;
        }
        Ok(Step::Ready)
    }

    /// How many bytes of a file to look up at once: twice what was found right before.
    fn run_length(&self, page: u64) -> u64 {
        match self.pages.pmas.before(page) {
            Some((before, _)) if before.end == page => {
                (2 * (before.end - before.start)).clamp(FIRST_RUN, LONGEST_RUN)
            }
            _ => FIRST_RUN,
        }
    }
}

/// Whether the mapping permits it.
pub(super) fn permits(vma: &Vma, need: Need) -> bool {
    match need {
        // x86 pages that can be written or executed can be read.
        Need::Read | Need::Any => !vma.prot.is_empty(),
        Need::Write => vma.prot.contains(Prot::WRITE),
        Need::Execute => vma.prot.contains(Prot::EXEC),
        Need::ForceRead => !vma.flags.contains(VmaFlags::IO) && vma.max_prot.contains(Prot::READ),
        Need::ForceWrite => {
            !vma.flags.contains(VmaFlags::IO) && (vma.prot.contains(Prot::WRITE) || vma.may_be_private())
        }
    }
}
