//! munmap(2).

use std::ops::Range;
use std::sync::Arc;

use abi::Errno;

use super::limits::MAX_MAP_COUNT;
use super::user::UserAddr;
use super::{Inner, MemoryManager, PAGE, TASK_SIZE, Trash, page_up};

impl MemoryManager {
    /// Removes the mappings in `[addr, addr + len)`; holes are fine.
    pub fn munmap(&self, addr: UserAddr, len: u64) -> Result<(), Errno> {
        let range = unmap_range(addr, len)?;
        let mut trash = Trash::default();
        let result = {
            let mut inner = self.inner.write();
            inner.check_hole(&range)?;
            inner.unmap(range, &mut trash)
        };
        drop(trash);
        result
    }

    /// shmdt(2): removes all that is left of the System V segment that was attached at `addr`. EINVAL without one.
    pub fn detach_segment(&self, addr: UserAddr) -> Result<(), Errno> {
        if !addr.0.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let mut trash = Trash::default();
        let result = self.inner.write().detach_segment(addr.0, &mut trash);
        drop(trash);
        result
    }

    /// Removes everything (exec keeps the object out of use; tests).
    pub fn unmap_all(&self) -> Result<(), Errno> {
        let mut trash = Trash::default();
        let result = {
            let mut inner = self.inner.write();
            let all = inner.user_range.clone();
            inner.unmap(all, &mut trash)
        };
        drop(trash);
        result
    }
}

/// Checks of munmap: a page-aligned start, a length, and an end inside user addresses.
pub(super) fn unmap_range(addr: UserAddr, len: u64) -> Result<Range<u64>, Errno> {
    let start = addr.0;
    if !start.is_multiple_of(PAGE) || start > TASK_SIZE || len > TASK_SIZE - start {
        return Err(Errno::EINVAL);
    }
    match page_up(len) {
        None | Some(0) => Err(Errno::EINVAL),
        Some(len) => Ok(start..start + len),
    }
}

impl Inner {
    fn detach_segment(&mut self, addr: u64, trash: &mut Trash) -> Result<(), Errno> {
        // The part of it that holds its first bytes may have gone already.
        let first = self.vmas.overlapping(addr..u64::MAX).find_map(|(at, vma)| {
            let file = vma.file().filter(|_| at.start >= addr && at.start - addr == vma.offset)?;
            Some((Arc::clone(file), file.segment_size()?))
        });
        let (segment, size) = first.ok_or(Errno::EINVAL)?;
        let end = addr.saturating_add(size);
        let parts: Vec<Range<u64>> = self
            .vmas
            .overlapping(addr..end)
            .filter(|(at, vma)| {
                let same = vma.file().is_some_and(|file| Arc::ptr_eq(file, &segment));
                same && at.start >= addr && at.start - addr == vma.offset
            })
            .map(|(at, _)| at)
            .collect();
        for part in parts {
            self.unmap(part, trash)?;
        }
        Ok(())
    }

    /// ENOMEM when `range` going would make two of one mapping, and there are as many as there may be.
    pub fn check_hole(&self, range: &Range<u64>) -> Result<(), Errno> {
        let around = self.vmas.find(range.start);
        let splits = around.is_some_and(|(at, _)| at.start < range.start && at.end > range.end);
        if splits && self.vmas.len() >= MAX_MAP_COUNT { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Removes mappings and pages in `range`. When the host can't, nothing has changed.
    pub fn unmap(&mut self, range: Range<u64>, trash: &mut Trash) -> Result<(), Errno> {
        if self.vmas.is_free(range.clone()) {
            return Ok(());
        }
        self.retire_pages(range.clone())?;
        self.forget_vmas(range, trash);
        Ok(())
    }

    /// Takes mappings out of the books alone.
    pub fn forget_vmas(&mut self, range: Range<u64>, trash: &mut Trash) {
        let removed = self.vmas.remove(range.clone());
        if !removed.is_empty() {
            self.note_hole(&range);
        }
        for (at, vma) in removed {
            self.usage.sub(&vma, at.end - at.start);
            trash.0.push(vma);
        }
    }
}
