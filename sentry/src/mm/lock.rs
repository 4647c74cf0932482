//! mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2).
//!
//! Guest memory is never swapped by the Sentry; locking means accounting, and that pages are there.

use std::ops::Range;

use abi::Errno;
use abi::mman::MlockallFlags;

use super::fault::FaultError;
use super::limits::MmLimits;
use super::ranges::clip;
use super::user::UserAddr;
use super::vma::VmaFlags;
use super::{Inner, MemoryManager, PAGE, page_down};

const LOCK: VmaFlags = VmaFlags::LOCKED.union(VmaFlags::LOCKONFAULT);

/// Start and length of the pages of `[addr, addr + len)`. A length that wraps around when it is rounded up is 0, as on
/// Linux.
fn pages_from(addr: UserAddr, len: u64) -> (u64, u64) {
    let start = page_down(addr.0);
    (start, page_down(len.wrapping_add(addr.0 - start).wrapping_add(PAGE - 1)))
}

fn pages_of(addr: UserAddr, len: u64) -> Result<Range<u64>, Errno> {
    let (start, len) = pages_from(addr, len);
    Ok(start..start.checked_add(len).ok_or(Errno::EINVAL)?)
}

impl MemoryManager {
    /// Locks, with `on_fault` without making the pages present.
    pub fn mlock(&self, addr: UserAddr, len: u64, on_fault: bool, limits: &MmLimits) -> Result<(), Errno> {
        if limits.memlock == 0 && !limits.may_lock {
            return Err(Errno::EPERM);
        }
        let (start, len) = pages_from(addr, len);
        let range = {
            let mut inner = self.inner.write();
            if !limits.may_lock {
                // Before a range that wraps around is found to be one.
                let already = inner.locked_in(start..start.saturating_add(len));
                if (inner.usage.locked - already).saturating_add(len) > limits.memlock {
                    return Err(Errno::ENOMEM);
                }
            }
            let range = start..start.checked_add(len).ok_or(Errno::EINVAL)?;
            inner.set_lock(range.clone(), if on_fault { LOCK } else { VmaFlags::LOCKED })?;
            range
        };
        if on_fault {
            return Ok(());
        }
        self.populate_all(range).map_err(|error| match error {
            FaultError::NoMemory => Errno::EAGAIN,
            _ => Errno::ENOMEM,
        })
    }

    /// Unlocks.
    pub fn munlock(&self, addr: UserAddr, len: u64) -> Result<(), Errno> {
        let range = pages_of(addr, len)?;
        self.inner.write().set_lock(range, VmaFlags::empty())
    }

    /// Locks everything there is, or will be, or both.
    pub fn mlockall(&self, flags: MlockallFlags, limits: &MmLimits) -> Result<(), Errno> {
        if flags.is_empty() || !MlockallFlags::all().contains(flags) || flags == MlockallFlags::ONFAULT {
            return Err(Errno::EINVAL);
        }
        if limits.memlock == 0 && !limits.may_lock {
            return Err(Errno::EPERM);
        }
        let lock = if flags.contains(MlockallFlags::ONFAULT) { LOCK } else { VmaFlags::LOCKED };
        let current = flags.contains(MlockallFlags::CURRENT);
        let all = {
            let mut inner = self.inner.write();
            if current && !limits.may_lock && inner.usage.total > limits.memlock {
                return Err(Errno::ENOMEM);
            }
            inner.future_flags -= LOCK;
            if flags.contains(MlockallFlags::FUTURE) {
                inner.future_flags |= lock;
            }
            if !current {
                return Ok(());
            }
            inner.lock_all(lock);
            inner.user_range.clone()
        };
        if !flags.contains(MlockallFlags::ONFAULT) {
            let mappings: Vec<Range<u64>> =
                self.inner.read().vmas.overlapping(all).map(|(at, _)| at).collect();
            for range in mappings {
                self.populate(range);
            }
        }
        Ok(())
    }

    /// Unlocks everything, and what is to come.
    pub fn munlockall(&self) {
        let mut inner = self.inner.write();
        inner.future_flags -= LOCK;
        inner.lock_all(VmaFlags::empty());
    }
}

impl Inner {
    fn locked_in(&self, range: Range<u64>) -> u64 {
        let locked =
            self.vmas.overlapping(range.clone()).filter(|(_, vma)| vma.flags.contains(VmaFlags::LOCKED));
        locked.map(|(at, _)| clip(&at, &range)).map(|at| at.end - at.start).sum()
    }

    /// Sets the lock flags of the mappings in `range`, up to the first hole, which is ENOMEM.
    fn set_lock(&mut self, range: Range<u64>, lock: VmaFlags) -> Result<(), Errno> {
        let mut at = range.start;
        while at < range.end {
            let Some((whole, vma)) = self.vmas.find(at) else { return Err(Errno::ENOMEM) };
            let part = clip(&whole, &range);
            at = part.end;
            if vma.flags & LOCK != lock && !vma.flags.contains(VmaFlags::SPECIAL) {
                self.check_pieces(&part)?;
                self.update_vmas(part, |vma| vma.flags = (vma.flags - LOCK) | lock);
            }
        }
        Ok(())
    }

    pub fn lock_all(&mut self, lock: VmaFlags) {
        let all = self.user_range.clone();
        self.update_vmas(all, |vma| {
            if !vma.flags.contains(VmaFlags::SPECIAL) {
                vma.flags = (vma.flags - LOCK) | lock;
            }
        });
    }
}
