//! What a futex word is known by.

use abi::Errno;
use platform::Prot;

use super::MemoryManager;
use super::fault::Need;
use super::user::UserAddr;

/// Identity of a futex word: two calls mean the same futex when their keys are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FutexKey {
    /// FUTEX_PRIVATE_FLAG: this address space only.
    Private {
        /// [`MemoryManager::id`].
        space: u64,
        /// Address of the word.
        addr: u64,
    },
    /// Without the flag, in private memory: found only by calls without the flag.
    Local {
        /// [`MemoryManager::id`].
        space: u64,
        /// Address of the word.
        addr: u64,
    },
    /// Without the flag, in a shared mapping.
    Shared {
        /// [`Mappable::futex_id`](super::Mappable::futex_id).
        object: u64,
        /// Byte in the object.
        offset: u64,
    },
}

impl MemoryManager {
    /// The key of the word at `addr`. Errors: EINVAL when it is not aligned, EFAULT when it can't be a futex.
    pub fn futex_key(&self, addr: UserAddr, private: bool) -> Result<FutexKey, Errno> {
        if !addr.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if !addr.access_ok(4) {
            return Err(Errno::EFAULT);
        }
        if private {
            return Ok(FutexKey::Private { space: self.id, addr: addr.0 });
        }
        // Linux looks for the page: it has to be there, and writable if it is private.
        let (key, need, there) = {
            let inner = self.inner.read();
            let Some((range, vma)) = inner.vmas.find(addr.0) else { return Err(Errno::EFAULT) };
            let writable = vma.prot.contains(Prot::WRITE);
            let key = match vma.file() {
                Some(file) if vma.is_shared() || !writable => {
                    FutexKey::Shared { object: file.futex_id(), offset: vma.offset + (addr.0 - range.start) }
                }
                _ if writable => FutexKey::Local { space: self.id, addr: addr.0 },
                _ => return Err(Errno::EFAULT),
            };
            let need = if vma.is_shared() || !writable { Need::Read } else { Need::Write };
            let there =
                inner.pages.pmas.find(addr.0).is_some_and(|(_, pma)| inner.is_ready(addr.0, pma, need));
            (key, need, there)
        };
        if !there {
            self.fault_in(addr.0, need).map_err(|_| Errno::EFAULT)?;
        }
        Ok(key)
    }
}
