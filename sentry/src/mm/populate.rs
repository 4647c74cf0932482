//! Pages that are wanted in memory before they are touched: MAP_POPULATE, mlock(2), MADV_POPULATE_READ and _WRITE.

use std::ops::Range;

use platform::{Frames, HostFile, Prot};

use super::fault::{FaultError, Need};
use super::mappable::Place;
use super::ranges::Piece;
use super::vma::{Vma, VmaFlags};
use super::{Inner, MemoryManager, PAGE};

/// Another thread may take a page away so often before we give up.
const ATTEMPTS: usize = 1000;

/// How the pages of a mapping are touched when nobody says how: written where that makes them the mapping's own.
fn natural_need(vma: &Vma) -> Need {
    if vma.prot.contains(Prot::WRITE) && !vma.is_shared() { Need::Write } else { Need::Read }
}

impl MemoryManager {
    /// As far as possible; mappings that can't be accessed are left out.
    pub(super) fn populate(&self, range: Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let (end, need) = {
                let inner = self.inner.read();
                let Some((whole, vma)) = inner.vmas.find(at) else { return };
                (whole.end.min(range.end), (!vma.prot.is_empty()).then(|| natural_need(vma)))
            };
            if let Some(need) = need
                && self.make_present(at..end, |_| Ok(need)).is_err()
            {
                return;
            }
            at = end;
        }
    }

    /// All of a range, for mlock: the error says why not.
    pub(super) fn populate_all(&self, range: Range<u64>) -> Result<(), FaultError> {
        self.make_present(range, |vma| Ok(natural_need(vma)))
    }

    /// All of a range, touched as `need` says. Denied: a mapping does not permit it.
    pub(super) fn populate_for(&self, range: Range<u64>, need: Need) -> Result<(), FaultError> {
        self.make_present(range, |vma| {
            // Stricter than a touch: pages that can be written need not be readable here.
            let wanted = if need.writes() { Prot::WRITE } else { Prot::READ };
            let refused = vma.flags.contains(VmaFlags::IO) || !vma.prot.contains(wanted);
            if refused { Err(FaultError::Denied) } else { Ok(need) }
        })
    }

    fn make_present(
        &self,
        range: Range<u64>,
        need: impl Fn(&Vma) -> Result<Need, FaultError>,
    ) -> Result<(), FaultError> {
        let (mut at, mut attempts) = (range.start, 0);
        while at < range.end {
            let (need, ready) = {
                let inner = self.inner.read();
                let Some((_, vma)) = inner.vmas.find(at) else { return Err(FaultError::NotMapped) };
                let need = need(vma)?;
                (need, inner.ready_run(at, range.end, need))
            };
            let Some((end, place)) = ready else {
                attempts += 1;
                if attempts > ATTEMPTS {
                    return Err(FaultError::NotMapped);
                }
                self.fault_in(at, need)?;
                continue;
            };
            match place {
                Place::Memory(offset) => {
                    let frames = Frames { offset, len: end - at };
                    self.memory.populate(frames).map_err(|_| FaultError::NoMemory)?;
                }
                Place::Host(file, offset) => touch(&file, offset, end - at)?,
            }
            (at, attempts) = (end, 0);
        }
        Ok(())
    }
}

/// Reads a byte of each page: the host gets it, or there is none.
fn touch(file: &HostFile, offset: u64, len: u64) -> Result<(), FaultError> {
    for at in (offset..offset + len).step_by(PAGE as usize) {
        file.read(at, &mut [0]).map_err(|_| FaultError::PastEnd)?;
    }
    Ok(())
}

impl Inner {
    /// Where the pages at `at` that can be used for `need` end, and where they are; `None` when there are none.
    fn ready_run(&self, at: u64, end: u64, need: Need) -> Option<(u64, Place)> {
        let (shown, pma) = self.pages.pmas.find(at)?;
        if !self.is_ready(at, pma, need) {
            return None;
        }
        let mut part = pma.clone();
        part.advance(at - shown.start);
        Some((shown.end.min(end), part.place))
    }
}
