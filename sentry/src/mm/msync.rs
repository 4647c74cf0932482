//! msync(2).

use std::sync::Arc;

use abi::Errno;
use abi::mman::MsyncFlags;

use super::mappable::Mappable;
use super::user::UserAddr;
use super::vma::VmaFlags;
use super::{MemoryManager, PAGE, page_down};

/// A part of a file: offset and length in bytes.
type FilePart = (Arc<dyn Mappable>, u64, u64);

impl MemoryManager {
    /// Writes shared file mappings in `[addr, addr + len)` back. ENOMEM for holes, after the rest has been done.
    pub fn msync(&self, addr: UserAddr, len: u64, flags: MsyncFlags) -> Result<(), Errno> {
        let both = MsyncFlags::ASYNC | MsyncFlags::SYNC;
        if !MsyncFlags::all().contains(flags) || !addr.0.is_multiple_of(PAGE) || flags.contains(both) {
            return Err(Errno::EINVAL);
        }
        // A length that wraps around when it is rounded up is 0.
        let len = page_down(len.wrapping_add(PAGE - 1));
        let end = addr.0.checked_add(len).ok_or(Errno::ENOMEM)?;
        let mut at = addr.0;
        let mut result = Ok(());
        while at < end {
            let (next, file): (u64, Option<FilePart>) = {
                let inner = self.inner.read();
                let found = inner.vmas.find_or_next(at).filter(|(whole, _)| whole.start < end);
                let Some((whole, vma)) = found else { return Err(Errno::ENOMEM) };
                if whole.start > at {
                    if flags == MsyncFlags::ASYNC {
                        return Err(Errno::ENOMEM);
                    }
                    result = Err(Errno::ENOMEM);
                    at = whole.start;
                }
                if flags.contains(MsyncFlags::INVALIDATE) && vma.flags.contains(VmaFlags::LOCKED) {
                    return Err(Errno::EBUSY);
                }
                let part_end = whole.end.min(end);
                let file = vma.file().filter(|_| vma.is_shared() && flags.contains(MsyncFlags::SYNC));
                let offset = vma.offset + (at - whole.start);
                (part_end, file.map(|file| (Arc::clone(file), offset, part_end - at)))
            };
            if let Some((file, offset, len)) = file {
                file.sync(offset, len)?;
            }
            at = next;
        }
        result
    }
}
