//! brk(2).

use abi::Errno;
use platform::Prot;

use super::limits::{MmLimits, overcommits};
use super::numa::Policy;
use super::placement::start_with_gap;
use super::user::UserAddr;
use super::vma::{Source, Vma, VmaFlags};
use super::{MemoryManager, PAGE, Trash, page_up};

impl MemoryManager {
    /// Moves the end of the heap to `to` and answers where it is now: unchanged when that can't be done.
    pub fn brk(&self, to: UserAddr, limits: &MmLimits) -> UserAddr {
        let mut trash = Trash::default();
        let end = {
            let mut inner = self.inner.write();
            match inner.set_brk(to.0, limits, &mut trash) {
                Ok(()) => to.0,
                Err(_) => inner.layout.brk,
            }
        };
        drop(trash);
        UserAddr(end)
    }
}

impl super::Inner {
    fn set_brk(&mut self, to: u64, limits: &MmLimits, trash: &mut Trash) -> Result<(), Errno> {
        let layout = &self.layout;
        if to < layout.start_brk || to > self.user_range.end {
            return Err(Errno::ENOMEM);
        }
        let heap = to - layout.start_brk;
        if heap.saturating_add(layout.end_data.saturating_sub(layout.start_data)) > limits.data {
            return Err(Errno::ENOMEM);
        }
        let new = page_up(to).ok_or(Errno::ENOMEM)?;
        let old = page_up(layout.brk).ok_or(Errno::ENOMEM)?;
        if new < old {
            self.unmap(new..old, trash)?;
        } else if new > old {
            self.grow_heap(old, new, limits)?;
        }
        self.layout.brk = to;
        Ok(())
    }

    fn grow_heap(&mut self, old: u64, new: u64, limits: &MmLimits) -> Result<(), Errno> {
        let len = new - old;
        if new > self.user_range.end || old < self.user_range.start {
            return Err(Errno::ENOMEM);
        }
        // A page, and the gap of a stack, stay free above the heap.
        if let Some((next, vma)) = self.vmas.find_or_next(old)
            && (next.start < new + PAGE || start_with_gap(&next, vma) < new + PAGE)
        {
            return Err(Errno::ENOMEM);
        }
        let vma = Vma {
            prot: Prot::READ | Prot::WRITE,
            max_prot: Prot::all(),
            flags: self.future_flags,
            source: Source::Anonymous,
            offset: 0,
            anon_name: None,
            policy: Policy::default(),
        };
        if vma.flags.contains(VmaFlags::LOCKED) {
            self.check_locked(len, limits)?;
        }
        self.check_growth(&vma, len, 0, limits)?;
        if overcommits(len) {
            return Err(Errno::ENOMEM);
        }
        let start = page_up(self.layout.start_brk).ok_or(Errno::ENOMEM)?;
        self.fill_heap(start, old..new, vma.prot)?;
        self.add_vma(old..new, vma);
        Ok(())
    }
}
