//! Futex words, looked at under the lock of a futex bucket.
//!
//! Nothing here waits or makes pages: what is not there at once is for the caller to bring in with
//! [`load_u32`](MemoryManager::load_u32) after it has let its lock go. (Linux: accesses with page faults disabled.)

use platform::memory_file::CopyFault;

use super::MemoryManager;
use super::fault::Need;
use super::mappable::Place;
use super::user::UserAddr;

/// The word can't be touched at once: let go, touch it, and try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotThere;

impl From<CopyFault> for NotThere {
    fn from(_: CopyFault) -> Self {
        NotThere
    }
}

impl MemoryManager {
    /// Atomic load of an aligned word that is there.
    pub fn try_load_u32(&self, addr: UserAddr) -> Result<u32, NotThere> {
        self.try_word(addr, Need::Read, |place| {
            Ok(match place {
                Place::Memory(offset) => self.memory.load_u32(offset)?,
                Place::Host(file, offset) => file.load_u32(offset)?,
            })
        })
    }

    /// Atomic compare and exchange of an aligned word that is there: `Ok(Ok(old))` when it was `current`, else
    /// `Ok(Err(seen))`.
    pub fn try_compare_exchange_u32(
        &self,
        addr: UserAddr,
        current: u32,
        new: u32,
    ) -> Result<Result<u32, u32>, NotThere> {
        self.try_word(addr, Need::Write, |place| {
            Ok(match place {
                Place::Memory(offset) => self.memory.compare_exchange_u32(offset, current, new)?,
                Place::Host(file, offset) => file.compare_exchange_u32(offset, current, new)?,
            })
        })
    }

    fn try_word<R>(
        &self,
        addr: UserAddr,
        need: Need,
        access: impl FnOnce(Place) -> Result<R, NotThere>,
    ) -> Result<R, NotThere> {
        // Waiting for a writer here would stop all futexes of the bucket for a fork or an mmap of this process.
        let inner = self.inner.try_read().ok_or(NotThere)?;
        let (range, pma) = inner.pages.pmas.find(addr.0).ok_or(NotThere)?;
        if !inner.is_ready(addr.0, pma, need) {
            return Err(NotThere);
        }
        let skip = addr.0 - range.start;
        access(pma.place.behind(skip))
    }
}
