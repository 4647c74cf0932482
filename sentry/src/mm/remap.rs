//! mremap(2).

use std::ops::Range;

use abi::Errno;
use abi::mman::MremapFlags;

use super::arena::Growth;
use super::limits::{MAX_MAP_COUNT, MmLimits, overcommits};
use super::map::EAGER_LIMIT;
use super::ranges::Piece;
use super::user::UserAddr;
use super::vma::{Vma, VmaFlags};
use super::{Inner, MemoryManager, PAGE, Trash, page_up};

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

fn check<'a>(
    addr: UserAddr,
    old_len: u64,
    new_len: u64,
    flags: MremapFlags,
    new_addr: UserAddr,
    limits: &'a MmLimits,
) -> Result<Remap<'a>, Errno> {
    let moves = flags.contains(MremapFlags::MAYMOVE);
    if !MremapFlags::all().contains(flags) || (flags.contains(MremapFlags::FIXED) && !moves) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(MremapFlags::DONTUNMAP) && (!moves || old_len != new_len) {
        return Err(Errno::EINVAL);
    }
    if !addr.0.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let old_len = page_up(old_len).unwrap_or(0);
    let new_len = page_up(new_len).filter(|len| *len > 0).ok_or(Errno::EINVAL)?;
    let old_end = addr.0.checked_add(old_len).ok_or(Errno::EINVAL)?;
    Ok(Remap { old: addr.0..old_end, new_len, flags, new_addr: new_addr.0, limits })
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
        let at = remap.old.start;
        if self.vmas.find(at).is_none() {
            return Err(Errno::EFAULT);
        }
        if remap.has(MremapFlags::FIXED) || remap.has(MremapFlags::DONTUNMAP) {
            return self.remap_to(remap, trash);
        }
        let old_len = remap.old_len();
        if old_len >= remap.new_len {
            if old_len > remap.new_len {
                self.unmap(at + remap.new_len..remap.old.end, trash)?;
            }
            return Ok(at);
        }
        let (whole, vma) = self.check_resize(remap)?;
        if remap.old.end == whole.end && old_len > 0 {
            let more = whole.end..at + remap.new_len;
            if more.end <= self.user_range.end && more.end > more.start && self.vmas.is_free(more.clone()) {
                self.expand(more, &vma, whole.end - whole.start)?;
                return Ok(at);
            }
        }
        if !remap.has(MremapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
        }
        let to = self.find_free(0, remap.new_len, false).ok_or(Errno::ENOMEM)?;
        self.move_to(remap, to, trash)
    }

    /// Moves to a given place, or (MREMAP_DONTUNMAP) to one near a hint.
    fn remap_to(&mut self, remap: &Remap<'_>, trash: &mut Trash) -> Result<u64, Errno> {
        let (at, old_len, new_len) = (remap.old.start, remap.old_len(), remap.new_len);
        let all = &self.user_range;
        if !remap.new_addr.is_multiple_of(PAGE) || new_len > all.end || remap.new_addr > all.end - new_len {
            return Err(Errno::EINVAL);
        }
        let new = remap.new_addr..remap.new_addr + new_len;
        if remap.old.end > new.start && new.end > at {
            return Err(Errno::EINVAL);
        }
        if self.vmas.len() + 2 >= MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        let fixed = remap.has(MremapFlags::FIXED);
        if fixed {
            if new.start < all.start {
                return Err(Errno::EPERM);
            }
            self.unmap(new.clone(), trash)?;
        }
        let mut old = remap.old.clone();
        if old_len > new_len {
            self.unmap(at + new_len..old.end, trash)?;
            old.end = at + new_len;
        }
        let remap = Remap { old, ..*remap };
        // Several mappings may be moved together, as they are.
        let several = fixed && remap.old_len() == new_len && !remap.has(MremapFlags::DONTUNMAP);
        if !several {
            let (_, vma) = self.check_resize(&remap)?;
            if remap.has(MremapFlags::DONTUNMAP) {
                self.check_growth(&vma, new_len, 0, remap.limits)?;
            }
        }
        let to = if fixed { Some(new.start) } else { self.find_free(new.start, new_len, false) };
        self.move_to(&remap, to.ok_or(Errno::ENOMEM)?, trash)
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
        let mut vmas = self.vmas.clipped(old.clone());
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
        let pages = self.pages.pmas.clipped(old.clone());
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
        self.update_vmas(old.clone(), |vma| vma.flags -= VmaFlags::LOCKED | VmaFlags::LOCKONFAULT);
        for (at, vma) in self.vmas.clipped(old.clone()) {
            self.show_anonymous(at, &vma)?;
        }
        Ok(())
    }
}
