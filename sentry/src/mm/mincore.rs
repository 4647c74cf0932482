//! mincore(2).

use abi::Errno;
use platform::{Frames, Prot};

use super::mappable::Place;
use super::user::UserAddr;
use super::{MemoryManager, PAGE, page_up};

/// Pages that one step looks at.
const STEP: u64 = 4096;

impl MemoryManager {
    /// Which pages of `[addr, addr + len)` are in memory: calls `emit` with one byte a page, in order and piecewise.
    pub fn mincore(
        &self,
        addr: UserAddr,
        len: u64,
        mut emit: impl FnMut(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if !addr.0.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if !addr.access_ok(len) {
            return Err(Errno::ENOMEM);
        }
        let end = page_up(len).and_then(|len| addr.0.checked_add(len)).ok_or(Errno::ENOMEM)?;
        let mut at = addr.0;
        while at < end {
            let step_end = end.min(at + STEP * PAGE);
            let (pages, next) = self.present(at, step_end)?;
            emit(&pages)?;
            at = next;
        }
        Ok(())
    }

    /// One byte a page from `at` to the end of the mapping or of the range.
    fn present(&self, at: u64, end: u64) -> Result<(Vec<u8>, u64), Errno> {
        let inner = self.inner.read();
        let (whole, vma) = inner.vmas.find(at).ok_or(Errno::ENOMEM)?;
        let end = end.min(whole.end);
        let mut present = vec![0; ((end - at) / PAGE) as usize];
        for (part, pma) in inner.pages.pmas.clipped(at..end) {
            let first = ((part.start - at) / PAGE) as usize;
            let count = ((part.end - part.start) / PAGE) as usize;
            let slots = &mut present[first..first + count];
            match &pma.place {
                Place::Memory(offset) => {
                    let frames = Frames { offset: *offset, len: part.end - part.start };
                    let resident = self.memory.resident(frames);
                    slots.iter_mut().zip(resident).for_each(|(slot, is)| *slot = u8::from(is));
                }
                // What the host has cached of a file is told only to those who may write it.
                Place::Host(file, offset) if vma.max_prot.contains(Prot::WRITE) && file.writable() => {
                    let resident = file.resident(*offset, count).unwrap_or_else(|| vec![true; count]);
                    slots.iter_mut().zip(resident).for_each(|(slot, is)| *slot = u8::from(is));
                }
                Place::Host(..) => slots.fill(1),
            }
        }
        Ok((present, end))
    }
}
