//! mremap(2).

use std::ops::Range;

use abi::Errno;
use abi::mman::MremapFlags;

use super::arena::Growth;
use super::limits::{MAX_MAP_COUNT, MmLimits, overcommits};
use super::map::EAGER_LIMIT;
use super::ranges::Piece;
use super::unmap::unmap_range;
use super::user::UserAddr;
use super::vma::{Vma, VmaFlags};
use super::{Inner, MemoryManager, PAGE, TASK_SIZE, Trash, page_down};

/// The arguments, checked and rounded to pages.
struct Remap<'a> {
    old: Range<u64>,
    new_len: u64,
    flags: MremapFlags,
    new_addr: u64,
    limits: &'a MmLimits,
}

impl MemoryManager {
    /// Changes the size of the mapping at `addr`, or moves it.
    pub fn mremap(
        &self,
        addr: UserAddr,
        old_len: u64,
        new_len: u64,
        flags: MremapFlags,
        new_addr: UserAddr,
        limits: &MmLimits,
    ) -> Result<UserAddr, Errno> {
        let remap = check(addr, old_len, new_len, flags, new_addr, limits)?;
        let mut trash = Trash::default();
        let done = {
            let mut inner = self.inner.write();
            let at = inner.remap(&remap, &mut trash);
            at.map(|at| {
                (at, inner.vmas.find(at).is_some_and(|(_, vma)| vma.flags.contains(VmaFlags::LOCKED)))
            })
        };
        drop(trash);
        let (at, locked) = done?;
        if locked {
            self.populate(at..at + remap.new_len);
        }
        Ok(UserAddr(at))
    }
}

/// The checks that need no look at the mappings, in Linux's order (check_mremap_params).
fn check<'a>(
    addr: UserAddr,
    old_len: u64,
    new_len: u64,
    flags: MremapFlags,
    new_addr: UserAddr,
    limits: &'a MmLimits,
) -> Result<Remap<'a>, Errno> {
    // Lengths that wrap around when they are rounded up are 0.
    let round = |len: u64| page_down(len.wrapping_add(PAGE - 1));
    let (old_len, new_len) = (round(old_len), round(new_len));
    if !MremapFlags::all().contains(flags) || !addr.0.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if new_len == 0 || new_len > TASK_SIZE {
        return Err(Errno::EINVAL);
    }
    let old = addr.0..addr.0.saturating_add(old_len);
    if flags.intersects(MremapFlags::FIXED | MremapFlags::DONTUNMAP) {
        if new_addr.0 > TASK_SIZE - new_len || !new_addr.0.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if !flags.contains(MremapFlags::MAYMOVE)
            || (flags.contains(MremapFlags::DONTUNMAP) && old_len != new_len)
            || (addr.0.wrapping_add(old_len) > new_addr.0 && new_addr.0 + new_len > addr.0)
        {
            return Err(Errno::EINVAL);
        }
    }
    Ok(Remap { old, new_len, flags, new_addr: new_addr.0, limits })
}

impl Remap<'_> {
    fn old_len(&self) -> u64 {
        self.old.end - self.old.start
    }

    fn has(&self, flag: MremapFlags) -> bool {
        self.flags.contains(flag)
    }
}

impl Inner {
    fn remap(&mut self, remap: &Remap<'_>, trash: &mut Trash) -> Result<u64, Errno> {
        let (at, old_len, new_len) = (remap.old.start, remap.old_len(), remap.new_len);
        let fixed = remap.has(MremapFlags::FIXED);
        if (fixed || remap.has(MremapFlags::DONTUNMAP)) && self.vmas.len() + 5 >= MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        if fixed && old_len == new_len {
            return self.move_all(remap, trash);
        }
        if self.vmas.find(at).is_none() {
            return Err(Errno::EFAULT);
        }
        if fixed || remap.has(MremapFlags::DONTUNMAP) {
            // What shrinks is checked as it will be after the cut.
            self.check_resize(&Remap { old: at..at + old_len.min(new_len), ..*remap })?;
            return self.remap_to(remap, trash);
        }
        if old_len >= new_len {
            if old_len > new_len {
                let gone = unmap_range(UserAddr(at + new_len), old_len - new_len)?;
                self.check_hole(&gone)?;
                self.unmap(gone, trash)?;
            }
            return Ok(at);
        }
        let (whole, vma) = self.check_resize(remap)?;
        if remap.old.end == whole.end && old_len > 0 {
            let more = whole.end..at + new_len;
            if more.end <= self.user_range.end && more.end > more.start && self.vmas.is_free(more.clone()) {
                self.expand(more, &vma, whole.end - whole.start)?;
                return Ok(at);
            }
        }
        if !remap.has(MremapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
        }
        if self.vmas.len() + 3 >= MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        let to = self.find_free(0, new_len, false).ok_or(Errno::ENOMEM)?;
        self.move_to(remap, to, trash)
    }

    /// MREMAP_FIXED without a change of size: each mapping in the range goes along, and gaps stay gaps.
    fn move_all(&mut self, remap: &Remap<'_>, trash: &mut Trash) -> Result<u64, Errno> {
        let parts = self.vmas.clipped(remap.old.clone());
        if parts.first().is_none_or(|(first, _)| first.start > remap.old.start) {
            return Err(Errno::EFAULT);
        }
        for (part, _) in parts {
            let new_addr = remap.new_addr + (part.start - remap.old.start);
            let new_len = part.end - part.start;
            let remap = Remap { old: part, new_len, new_addr, ..*remap };
            self.check_resize(&remap)?;
            self.remap_to(&remap, trash)?;
        }
        Ok(remap.new_addr)
    }

    /// Moves one mapping to a given place, or (MREMAP_DONTUNMAP) to one near a hint.
    fn remap_to(&mut self, remap: &Remap<'_>, trash: &mut Trash) -> Result<u64, Errno> {
        let (at, old_len, new_len) = (remap.old.start, remap.old_len(), remap.new_len);
        let new = remap.new_addr..remap.new_addr + new_len;
        let fixed = remap.has(MremapFlags::FIXED);
        if fixed {
            self.unmap(new.clone(), trash)?;
        }
        let mut old = remap.old.clone();
        if old_len > new_len {
            self.unmap(unmap_range(UserAddr(at + new_len), old_len - new_len)?, trash)?;
            old.end = at + new_len;
        }
        if remap.has(MremapFlags::DONTUNMAP) {
            let (_, vma) = self.vmas.find(at).ok_or(Errno::EFAULT)?;
            self.check_growth(vma, new_len, 0, remap.limits)?;
        }
        let to = match fixed {
            true if new.start < self.user_range.start => return Err(Errno::EPERM),
            true if new.end > self.user_range.end => return Err(Errno::ENOMEM),
            true => new.start,
            false => self.find_free(new.start, new_len, false).ok_or(Errno::ENOMEM)?,
        };
        self.move_to(&Remap { old, ..*remap }, to, trash)
    }

    /// Checks that the mapping can have the new size. Answers it, and its whole range.
    fn check_resize(&self, remap: &Remap<'_>) -> Result<(Range<u64>, Vma), Errno> {
        let (at, old_len, new_len) = (remap.old.start, remap.old_len(), remap.new_len);
        let (whole, vma) = self.vmas.find(at).ok_or(Errno::EFAULT)?;
        if old_len == 0 && !vma.is_shared() {
            return Err(Errno::EINVAL);
        }
        let fixed_size = vma.flags.intersects(VmaFlags::DONTEXPAND | VmaFlags::IO);
        if remap.has(MremapFlags::DONTUNMAP) && fixed_size {
            return Err(Errno::EINVAL);
        }
        if old_len > whole.end - at {
            return Err(Errno::EFAULT);
        }
        if new_len == old_len {
            return Ok((whole, vma.clone()));
        }
        if vma.file().is_some() && vma.offset.checked_add(at - whole.start + new_len).is_none() {
            return Err(Errno::EINVAL);
        }
        if fixed_size {
            return Err(Errno::EFAULT);
        }
        let more = new_len - old_len;
        if vma.flags.contains(VmaFlags::LOCKED) {
            self.check_locked(more, remap.limits)?;
        }
        self.check_growth(vma, more, 0, remap.limits)?;
        if vma.is_data() && !vma.flags.contains(VmaFlags::NORESERVE) && overcommits(more) {
            return Err(Errno::ENOMEM);
        }
        Ok((whole, vma.clone()))
    }

    /// Adds `more` behind a mapping of `len` bytes.
    fn expand(&mut self, more: Range<u64>, vma: &Vma, len: u64) -> Result<(), Errno> {
        let mut tail = vma.clone();
        tail.advance(len);
        self.show_anonymous(more.clone(), &tail)?;
        self.add_vma(more, tail);
        Ok(())
    }

    fn show_anonymous(&mut self, range: Range<u64>, vma: &Vma) -> Result<(), Errno> {
        if vma.is_anonymous() && !vma.prot.is_empty() && range.end - range.start <= EAGER_LIMIT {
            return self.fill_with_zero_pages(range, vma.prot, Growth::Up);
        }
        Ok(())
    }

    /// Moves what is mapped in `remap.old` to `to`, which is free, and grows the last mapping there to the new length.
    fn move_to(&mut self, remap: &Remap<'_>, to: u64, trash: &mut Trash) -> Result<u64, Errno> {
        let old = remap.old.clone();
        let moved = |at: &Range<u64>| at.start - old.start + to..at.end - old.start + to;
        let mut vmas = if old.is_empty() { Vec::new() } else { self.vmas.clipped(old.clone()) };
        if old.is_empty() {
            // Length 0 of a shared mapping: a second mapping of the same, from `addr` on.
            let (whole, vma) = self.vmas.find(old.start).ok_or(Errno::EFAULT)?;
            let mut vma = vma.clone();
            vma.advance(old.start - whole.start);
            vmas.push((old.start..old.start + remap.new_len, vma));
        } else if let Some((last, _)) = vmas.last_mut()
            && last.end == old.end
        {
            last.end = old.start + remap.new_len;
        }
        let pages = if old.is_empty() { Vec::new() } else { self.pages.pmas.clipped(old.clone()) };
        for (at, pma) in pages {
            pma.incref(&self.pages.memory, at.end - at.start);
            if let Err(error) = self.map_pages(moved(&at), pma) {
                // Whatever is there already is a second view of the same pages: take it away again.
                let _ = self.unmap_pages(to..to + remap.new_len);
                return Err(error);
            }
        }
        for (at, vma) in &vmas {
            let grown = at.start.max(old.end)..at.end;
            if !grown.is_empty()
                && let Err(error) = self.show_anonymous(moved(&grown), vma)
            {
                let _ = self.unmap_pages(to..to + remap.new_len);
                return Err(error);
            }
        }
        if remap.has(MremapFlags::DONTUNMAP) {
            self.leave_behind(&old)?;
        } else if !old.is_empty() {
            self.unmap(old.clone(), trash)?;
        }
        for (at, vma) in vmas {
            self.add_vma(moved(&at), vma);
        }
        Ok(to)
    }

    /// MREMAP_DONTUNMAP: the old mapping stays, without its pages and no longer locked.
    fn leave_behind(&mut self, old: &Range<u64>) -> Result<(), Errno> {
        self.unmap_pages(old.clone())?;
        // Not only the part that was moved: the mapping is not split for that.
        let whole = self.vmas.find(old.start).map_or(old.clone(), |(whole, _)| whole);
        self.update_vmas(whole, |vma| vma.flags -= VmaFlags::LOCKED | VmaFlags::LOCKONFAULT);
        for (at, vma) in self.vmas.clipped(old.clone()) {
            self.show_anonymous(at, &vma)?;
        }
        Ok(())
    }
}
