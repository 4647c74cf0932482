//! NUMA policies: kept and answered. The sandbox has one node, so that all of them mean the same.

use std::ops::Range;

use abi::Errno;
use abi::mman::{MPOL_BIND, MPOL_DEFAULT, MPOL_PREFERRED_MANY};

use super::ranges::clip;
use super::user::UserAddr;
use super::{Inner, MemoryManager, PAGE, page_down};

/// Mode with its flags, and nodes, of a task or a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `MPOL_*`, and flags in the high bits.
    pub mode: u16,
    /// The first 48 nodes of the mask; all zero in the default policy.
    pub nodes: u64,
}

impl Policy {
    /// As one number, for an atomic.
    pub fn pack(self) -> u64 {
        u64::from(self.mode) | self.nodes << 16
    }

    /// From [`pack`](Self::pack).
    pub fn unpack(packed: u64) -> Policy {
        Policy { mode: packed as u16, nodes: packed >> 16 }
    }
}

impl MemoryManager {
    /// mbind(2). EFAULT: holes.
    pub fn set_policy(&self, addr: UserAddr, len: u64, policy: Policy) -> Result<(), Errno> {
        let range = range_of(addr, len)?;
        if range.is_empty() {
            return Ok(());
        }
        let mut inner = self.inner.write();
        // Holes inside are fine for the default policy alone.
        let refused = if u32::from(policy.mode) == MPOL_DEFAULT {
            inner.vmas.is_free(range.clone())
        } else {
            !inner.vmas.holes(range.clone()).is_empty()
        };
        if refused {
            return Err(Errno::EFAULT);
        }
        inner.check_pieces(&range)?;
        inner.update_vmas(range, |vma| vma.policy = policy);
        Ok(())
    }

    /// The policy of the mapping at `addr`, `None` for the default one. EFAULT without a mapping.
    pub fn policy_at(&self, addr: UserAddr) -> Result<Option<Policy>, Errno> {
        let inner = self.inner.read();
        let (_, vma) = inner.vmas.find(addr.0).ok_or(Errno::EFAULT)?;
        Ok((vma.policy != Policy::default()).then_some(vma.policy))
    }

    /// Whether the page at `addr` is in memory: the error that move_pages(2) has for it if not.
    pub fn page_status(&self, addr: UserAddr) -> Result<(), Errno> {
        self.policy_at(addr)?;
        let mut present = 0;
        self.mincore(UserAddr(page_down(addr.0)), PAGE, |pages| {
            present = pages.first().copied().unwrap_or(0);
            Ok(())
        })?;
        if present == 1 { Ok(()) } else { Err(Errno::ENOENT) }
    }

    /// set_mempolicy_home_node(2), for the only node. ENOENT: no mapping there has a policy.
    pub fn check_home_node(&self, addr: UserAddr, len: u64) -> Result<(), Errno> {
        let range = range_of(addr, len)?;
        if range.is_empty() {
            return Ok(());
        }
        self.inner.read().check_home_node(range)
    }
}

impl Inner {
    fn check_home_node(&self, range: Range<u64>) -> Result<(), Errno> {
        let mut result = Err(Errno::ENOENT);
        for (at, vma) in self.vmas.overlapping(range.clone()) {
            debug_assert!(!clip(&at, &range).is_empty());
            // Flags of the policy are in the bits above.
            match u32::from(vma.policy.mode & 0xff) {
                MPOL_DEFAULT => {}
                MPOL_BIND | MPOL_PREFERRED_MANY => result = Ok(()),
                _ => return Err(Errno::EOPNOTSUPP),
            }
        }
        result
    }
}

fn range_of(addr: UserAddr, len: u64) -> Result<Range<u64>, Errno> {
    if !addr.0.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let len = page_down(len.wrapping_add(PAGE - 1));
    Ok(addr.0..addr.0.checked_add(len).ok_or(Errno::EINVAL)?)
}
