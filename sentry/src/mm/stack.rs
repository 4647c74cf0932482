//! Growth of mappings that grow downwards.

use abi::Errno;

use super::arena::Growth;
use super::limits::overcommits;
use super::vma::VmaFlags;
use super::{Inner, PAGE, STACK_GUARD_GAP, page_down};

/// How much the first thread's stack grows at once if there is room: fewer faults on the way down. Others grow by what is
/// touched, as on Linux, which programs can see.
const STEP: u64 = 16 * PAGE;

impl Inner {
    /// Makes the mapping above `addr` grow to contain it, if it is one that grows. False: it is not, or it may not.
    pub fn grow_stack(&mut self, addr: u64, stack_limit: u64) -> Result<bool, Errno> {
        let Some((range, vma)) = self.vmas.find_or_next(addr) else { return Ok(false) };
        if !vma.flags.contains(VmaFlags::GROWSDOWN) || addr >= range.start {
            return Ok(false);
        }
        let page = page_down(addr);
        // How far down the limit and the mapping below allow.
        let mut lowest = range.end.saturating_sub(page_down(stack_limit)).max(self.user_range.start);
        if let Some((below, previous)) = self.vmas.before(range.start) {
            // No gap to another stack, nor to pages that can't be touched: those are a gap themselves.
            let needs_gap = !previous.flags.contains(VmaFlags::GROWSDOWN) && !previous.prot.is_empty();
            let gap = if needs_gap { STACK_GUARD_GAP } else { 0 };
            lowest = lowest.max(below.end.saturating_add(gap));
        }
        if page < lowest {
            return Ok(false);
        }
        let step = if range.contains(&self.layout.start_stack) { STEP } else { 0 };
        let to = lowest.max(page.min(range.start.saturating_sub(step)));
        let vma = vma.clone();
        if overcommits(range.start - to) {
            return Err(Errno::ENOMEM);
        }
        if !vma.prot.is_empty() {
            self.fill_with_zero_pages(to..range.start, vma.prot, Growth::Down)?;
        }
        self.vmas.extend_down(range.start, to);
        self.usage.add(&vma, range.start - to);
        Ok(true)
    }
}
