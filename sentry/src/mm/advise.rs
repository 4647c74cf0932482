//! madvise(2).

use std::ops::Range;
use std::sync::Arc;

use abi::Errno;
use abi::mman::{
    MADV_COLD, MADV_DODUMP, MADV_DOFORK, MADV_DONTDUMP, MADV_DONTFORK, MADV_DONTNEED, MADV_DONTNEED_LOCKED,
    MADV_FREE, MADV_HUGEPAGE, MADV_HWPOISON, MADV_KEEPONFORK, MADV_MERGEABLE, MADV_NOHUGEPAGE, MADV_NORMAL,
    MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_RANDOM, MADV_REMOVE, MADV_SEQUENTIAL,
    MADV_SOFT_OFFLINE, MADV_UNMERGEABLE, MADV_WILLNEED, MADV_WIPEONFORK,
};
use platform::{Frames, Prot};

use super::arena::Growth;
use super::fault::{FaultError, Need};
use super::mappable::{Mappable, Place};
use super::ranges::clip;
use super::user::UserAddr;
use super::vma::{Source, Vma, VmaFlags};
use super::{Inner, MemoryManager, PAGE, page_up};

impl MemoryManager {
    /// Does what `advice` says with `[addr, addr + len)`. ENOMEM when there are holes, after the rest has been done.
    pub fn madvise(&self, addr: UserAddr, len: u64, advice: u32) -> Result<(), Errno> {
        if !is_known(advice) || !addr.0.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let len = page_up(len).ok_or(Errno::EINVAL)?;
        let end = addr.0.checked_add(len).ok_or(Errno::EINVAL)?;
        let range = addr.0..end;
        if range.is_empty() {
            return Ok(());
        }
        match advice {
            // Needs CAP_SYS_ADMIN over the machine, which no guest has.
            MADV_HWPOISON | MADV_SOFT_OFFLINE => Err(Errno::EPERM),
            MADV_POPULATE_READ => self.populate_now(range, Need::Read),
            MADV_POPULATE_WRITE => self.populate_now(range, Need::Write),
            MADV_REMOVE => self.remove(range),
            _ => self.inner.write().advise(range, advice),
        }
    }

    /// PR_SET_VMA_ANON_NAME: what /proc/PID/maps shows for anonymous memory. The caller has checked the name.
    pub fn set_anon_name(&self, addr: UserAddr, len: u64, name: Option<&[u8]>) -> Result<(), Errno> {
        if !addr.0.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let len = page_up(len).ok_or(Errno::EINVAL)?;
        let end = addr.0.checked_add(len).ok_or(Errno::EINVAL)?;
        if len == 0 {
            return Ok(());
        }
        self.inner.write().name(addr.0..end, name.map(Arc::from))
    }

    /// As touching each page would; the error tells why that failed.
    fn populate_now(&self, range: Range<u64>, need: Need) -> Result<(), Errno> {
        self.populate_for(range, need).map_err(|error| match error {
            FaultError::PastEnd => Errno::EFAULT,
            FaultError::NotMapped | FaultError::NoMemory => Errno::ENOMEM,
            FaultError::Denied => Errno::EINVAL,
        })
    }

    /// MADV_REMOVE: holes in the files, which tell us afterwards what to show no more. Without the lock: they have
    /// locks of their own.
    fn remove(&self, range: Range<u64>) -> Result<(), Errno> {
        let mut at = range.start;
        let mut result = Ok(());
        while at < range.end {
            let (part, file, offset): (Range<u64>, Arc<dyn Mappable>, u64) = {
                let inner = self.inner.read();
                let Some((whole, vma)) =
                    inner.vmas.find_or_next(at).filter(|(whole, _)| whole.start < range.end)
                else {
                    return Err(Errno::ENOMEM);
                };
                if whole.start > at {
                    result = Err(Errno::ENOMEM);
                }
                let part = clip(&whole, &(at..range.end));
                match &vma.source {
                    _ if vma.flags.contains(VmaFlags::LOCKED) => return Err(Errno::EINVAL),
                    Source::Anonymous => return Err(Errno::EINVAL),
                    _ if !vma.is_shared() || !vma.max_prot.contains(Prot::WRITE) => {
                        return Err(Errno::EACCES);
                    }
                    Source::File { file, .. } => {
                        let offset = vma.offset + (part.start - whole.start);
                        (part, Arc::clone(file), offset)
                    }
                }
            };
            file.punch_hole(offset, part.end - part.start)?;
            at = part.end;
        }
        result
    }
}

fn is_known(advice: u32) -> bool {
    matches!(
        advice,
        MADV_NORMAL
            | MADV_RANDOM
            | MADV_SEQUENTIAL
            | MADV_WILLNEED
            | MADV_DONTNEED
            | MADV_FREE
            | MADV_REMOVE
            | MADV_DONTFORK
            | MADV_DOFORK
            | MADV_MERGEABLE
            | MADV_UNMERGEABLE
            | MADV_HUGEPAGE
            | MADV_NOHUGEPAGE
            | MADV_DONTDUMP
            | MADV_DODUMP
            | MADV_WIPEONFORK
            | MADV_KEEPONFORK
            | MADV_COLD
            | MADV_PAGEOUT
            | MADV_POPULATE_READ
            | MADV_POPULATE_WRITE
            | MADV_DONTNEED_LOCKED
            | MADV_HWPOISON
            | MADV_SOFT_OFFLINE
    )
}

impl Inner {
    fn advise(&mut self, range: Range<u64>, advice: u32) -> Result<(), Errno> {
        self.each_part(range, |inner, part| inner.advise_part(part, advice))
    }

    /// Goes over the mappings in `range`, each cut to it. The first error ends it; holes are ENOMEM at the end.
    fn each_part(
        &mut self,
        range: Range<u64>,
        mut each: impl FnMut(&mut Inner, Range<u64>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let parts: Vec<Range<u64>> =
            self.vmas.overlapping(range.clone()).map(|(whole, _)| clip(&whole, &range)).collect();
        let mut at = range.start;
        let mut result = Ok(());
        for part in parts {
            if part.start > at {
                result = Err(Errno::ENOMEM);
            }
            at = part.end;
            each(self, part)?;
        }
        if at < range.end { Err(Errno::ENOMEM) } else { result }
    }

    /// Gives anonymous mappings in `range` a name, or takes it away.
    fn name(&mut self, range: Range<u64>, name: Option<Arc<[u8]>>) -> Result<(), Errno> {
        self.each_part(range, |inner, part| {
            let Some((_, vma)) = inner.vmas.find(part.start) else { return Err(Errno::ENOMEM) };
            if !vma.is_anonymous() && !vma.is_shared_anonymous() {
                return Err(Errno::EBADF);
            }
            // No room for one more mapping: "try again" in this family of calls.
            inner.check_pieces(&part).map_err(|_| Errno::EAGAIN)?;
            inner.update_vmas(part, |vma| vma.anon_name = name.clone());
            Ok(())
        })
    }

    /// One mapping, or a part of it.
    fn advise_part(&mut self, part: Range<u64>, advice: u32) -> Result<(), Errno> {
        let Some((_, vma)) = self.vmas.find(part.start) else { return Err(Errno::ENOMEM) };
        let special = vma.flags.intersects(VmaFlags::IO | VmaFlags::DONTEXPAND);
        let locked = vma.flags.contains(VmaFlags::LOCKED);
        let refused = match advice {
            MADV_DONTNEED | MADV_COLD | MADV_PAGEOUT => locked || vma.flags.contains(VmaFlags::IO),
            MADV_DONTNEED_LOCKED => vma.flags.contains(VmaFlags::IO),
            MADV_FREE => !vma.is_anonymous() || locked,
            MADV_WIPEONFORK => !vma.is_anonymous(),
            MADV_DOFORK => vma.flags.contains(VmaFlags::IO),
            MADV_DODUMP | MADV_HUGEPAGE => special,
            _ => false,
        };
        if refused {
            return Err(Errno::EINVAL);
        }
        let (set, clear) = match advice {
            MADV_NORMAL => (VmaFlags::empty(), VmaFlags::RANDOM | VmaFlags::SEQUENTIAL),
            MADV_RANDOM => (VmaFlags::RANDOM, VmaFlags::SEQUENTIAL),
            MADV_SEQUENTIAL => (VmaFlags::SEQUENTIAL, VmaFlags::RANDOM),
            MADV_DONTFORK => (VmaFlags::DONTFORK, VmaFlags::empty()),
            MADV_DOFORK => (VmaFlags::empty(), VmaFlags::DONTFORK),
            MADV_WIPEONFORK => (VmaFlags::WIPEONFORK, VmaFlags::empty()),
            MADV_KEEPONFORK => (VmaFlags::empty(), VmaFlags::WIPEONFORK),
            MADV_DONTDUMP => (VmaFlags::DONTDUMP, VmaFlags::empty()),
            MADV_DODUMP => (VmaFlags::empty(), VmaFlags::DONTDUMP),
            MADV_MERGEABLE => (VmaFlags::MERGEABLE, VmaFlags::empty()),
            MADV_UNMERGEABLE => (VmaFlags::empty(), VmaFlags::MERGEABLE),
            MADV_HUGEPAGE => (VmaFlags::HUGEPAGE, VmaFlags::NOHUGEPAGE),
            MADV_NOHUGEPAGE => (VmaFlags::NOHUGEPAGE, VmaFlags::HUGEPAGE),
            MADV_DONTNEED | MADV_DONTNEED_LOCKED | MADV_FREE => {
                let vma = vma.clone();
                return self.discard(part, &vma);
            }
            // Hints: the host decides by itself.
            _ => return Ok(()),
        };
        if (vma.flags | set) - clear == vma.flags {
            return Ok(());
        }
        self.check_pieces(&part).map_err(|_| Errno::EAGAIN)?;
        self.update_vmas(part, |vma| vma.flags = (vma.flags | set) - clear);
        Ok(())
    }

    /// Private pages are as new after this: zero, or the file's. Shared ones keep their contents.
    fn discard(&mut self, part: Range<u64>, vma: &Vma) -> Result<(), Errno> {
        if vma.is_shared() {
            return Ok(());
        }
        for (at, pma) in self.pages.pmas.clipped(part.clone()) {
            if !pma.private {
                continue;
            }
            let Place::Memory(offset) = pma.place else { continue };
            if !vma.is_anonymous() {
                // The file's own page comes back with the next touch.
                self.unmap_pages(at)?;
                continue;
            }
            // What only we hold is zeroed in place; what relatives hold is let go.
            let mut done = at.start;
            while done < at.end {
                let rest = Frames { offset: offset + (done - at.start), len: at.end - done };
                let (len, unique) = self.pages.memory.unique_prefix(rest);
                if unique {
                    self.pages.memory.zero_and_release(Frames { len, ..rest });
                } else {
                    self.unmap_pages(done..done + len)?;
                }
                done += len.max(PAGE);
            }
        }
        if vma.is_anonymous() && !vma.prot.is_empty() && part.end - part.start <= super::map::EAGER_LIMIT {
            self.fill_with_zero_pages(part, vma.prot, Growth::Around)?;
        }
        Ok(())
    }
}
