//! remap_file_pages(2): since Linux 4.0 nothing but mappings in place of mappings.

use std::sync::Arc;

use abi::Errno;
use abi::mman::MapFlags;

use super::limits::MmLimits;
use super::map::{MapBacking, MapRequest};
use super::user::UserAddr;
use super::vma::{Source, VmaFlags};
use super::{MemoryManager, PAGE, page_down};

impl MemoryManager {
    /// Shows other pages of the file that is mapped shared at `addr`: those from page number `page` on.
    pub fn remap_file_pages(
        &self,
        addr: UserAddr,
        len: u64,
        page: u64,
        nonblock: bool,
        limits: MmLimits,
    ) -> Result<(), Errno> {
        let start = page_down(addr.0);
        let len = page_down(len);
        let offset = page.checked_mul(PAGE).ok_or(Errno::EINVAL)?;
        if len == 0 || start.checked_add(len).is_none() || offset.checked_add(len).is_none() {
            return Err(Errno::EINVAL);
        }
        let (prot, max_prot, locked, file, name) = {
            let inner = self.inner.read();
            let found = inner.vmas.find(start).filter(|(_, vma)| vma.is_shared());
            let Some((first, vma)) = found else { return Err(Errno::EINVAL) };
            let Source::File { file, name } = &vma.source else { return Err(Errno::EINVAL) };
            // Several mappings will do if they are of one file, without holes.
            let mut end = first.start;
            for (at, other) in inner.vmas.overlapping(start..start + len) {
                if at.start > end || !other.same_source(vma) || other.prot != vma.prot {
                    return Err(Errno::EINVAL);
                }
                end = at.end;
            }
            if end < start + len {
                return Err(Errno::EINVAL);
            }
            let locked = vma.flags.contains(VmaFlags::LOCKED);
            (vma.prot, vma.max_prot, locked, Arc::clone(file), name.clone())
        };
        let mut flags = MapFlags::SHARED | MapFlags::FIXED | MapFlags::POPULATE;
        flags.set(MapFlags::NONBLOCK, nonblock);
        flags.set(MapFlags::LOCKED, locked);
        let backing = MapBacking::File { file, offset, max_prot, name };
        self.mmap(MapRequest { addr: UserAddr(start), len, prot, flags, backing, limits }).map(drop)
    }
}
