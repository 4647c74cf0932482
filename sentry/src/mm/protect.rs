//! mprotect(2).

use std::ops::Range;

use abi::Errno;
use abi::mman::ProtFlags;
use platform::Prot;

use super::arena::Growth;
use super::limits::{MAX_MAP_COUNT, MmLimits, overcommits};
use super::map::EAGER_LIMIT;
use super::ranges::clip;
use super::user::UserAddr;
use super::vma::VmaFlags;
use super::{Inner, MemoryManager, PAGE, page_up};

impl MemoryManager {
    /// Changes the protection of `[addr, addr + len)`. Mappings before a hole, or before one that may not have it, are
    /// changed although the call fails, as on Linux.
    pub fn mprotect(
        &self,
        addr: UserAddr,
        len: u64,
        prot: ProtFlags,
        limits: &MmLimits,
    ) -> Result<(), Errno> {
        let grows = prot & (ProtFlags::GROWSDOWN | ProtFlags::GROWSUP);
        if grows == ProtFlags::GROWSDOWN | ProtFlags::GROWSUP || !addr.0.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let end = page_up(len).and_then(|len| addr.0.checked_add(len)).ok_or(Errno::ENOMEM)?;
        if end <= addr.0 {
            return Err(Errno::ENOMEM);
        }
        let access = prot - grows;
        if !(ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC | ProtFlags::SEM).contains(access) {
            return Err(Errno::EINVAL);
        }
        let new = Prot::from_bits_truncate(access.bits() as u32);
        let mut inner = self.inner.write();
        let mut start = addr.0;
        let (first, vma) = inner.vmas.find_or_next(start).ok_or(Errno::ENOMEM)?;
        if grows.contains(ProtFlags::GROWSDOWN) {
            if first.start >= end {
                return Err(Errno::ENOMEM);
            }
            if !vma.flags.contains(VmaFlags::GROWSDOWN) {
                return Err(Errno::EINVAL);
            }
            start = first.start;
        } else if first.start > start {
            return Err(Errno::ENOMEM);
        } else if grows.contains(ProtFlags::GROWSUP) {
            // No mapping grows upwards on x86.
            return Err(Errno::EINVAL);
        }
        inner.protect(start..end, new, limits)
    }
}

impl Inner {
    fn protect(&mut self, range: Range<u64>, prot: Prot, limits: &MmLimits) -> Result<(), Errno> {
        let mut at = range.start;
        while at < range.end {
            let Some((whole, vma)) = self.vmas.find(at) else { return Err(Errno::ENOMEM) };
            if !vma.max_prot.contains(prot) {
                return Err(Errno::EACCES);
            }
            let part = clip(&whole, &range);
            at = part.end;
            if vma.prot == prot {
                continue;
            }
            self.check_becoming_data(&part, prot, limits)?;
            self.protect_part(part, prot)?;
        }
        Ok(())
    }

    /// Limits for memory that becomes writable.
    fn check_becoming_data(&self, part: &Range<u64>, prot: Prot, limits: &MmLimits) -> Result<(), Errno> {
        let Some((_, vma)) = self.vmas.find(part.start) else { return Ok(()) };
        let mut new = vma.clone();
        new.prot = prot;
        if !new.is_data() || vma.is_data() {
            return Ok(());
        }
        let len = part.end - part.start;
        if self.usage.data.saturating_add(len) > limits.data {
            return Err(Errno::ENOMEM);
        }
        if !vma.flags.contains(VmaFlags::NORESERVE) && overcommits(len) {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Changes one mapping, or a part of it.
    fn protect_part(&mut self, part: Range<u64>, prot: Prot) -> Result<(), Errno> {
        self.check_pieces(&part)?;
        self.change_pages(part.clone(), |_, pma| pma.prot = prot)?;
        self.update_vmas(part.clone(), |vma| vma.prot = prot);
        let anonymous = self.vmas.find(part.start).is_some_and(|(_, vma)| vma.is_anonymous());
        if anonymous && !prot.is_empty() && part.end - part.start <= EAGER_LIMIT {
            // Reserved until now: it gets its frames. Without room left, the fault will say so.
            let _ = self.fill_with_zero_pages(part, prot, Growth::Up);
        }
        Ok(())
    }

    /// Whether there is room for the pieces that come of it when `range` becomes different from what is around it:
    /// ENOMEM when there are as many mappings as there may be.
    pub fn check_pieces(&self, range: &Range<u64>) -> Result<(), Errno> {
        let splits = |at: u64| self.vmas.find(at).is_some_and(|(whole, _)| whole.start < at);
        let more = usize::from(splits(range.start)) + usize::from(splits(range.end));
        if more > 0 && self.vmas.len() + more > MAX_MAP_COUNT { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Changes mappings in `range`, splitting and merging, and keeps the sums.
    pub fn update_vmas(&mut self, range: Range<u64>, change: impl Fn(&mut super::vma::Vma)) {
        let usage = &mut self.usage;
        self.vmas.update(range, |at, vma| {
            let len = at.end - at.start;
            usage.sub(vma, len);
            change(vma);
            usage.add(vma, len);
        });
    }
}
