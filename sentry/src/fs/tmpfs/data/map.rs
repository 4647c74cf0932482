//! Mappings of a file in memory: guests see its pages where they are.

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::Seals;
use platform::{Frames, PAGE_SIZE, Prot};

use super::{FileData, Made};
use crate::Result;
use crate::mm::{FileMappings, Mappable, Place, Run};

impl Mappable for FileData {
    fn translate(&self, offset: u64, len: u64, _write: bool) -> Result<Run> {
        // Nobody may take the pages away before they have a reference more.
        let _stable = self.stable.read();
        let size = self.size();
        if offset >= size {
            return Err(Errno::EFAULT);
        }
        let len = len.min(size.next_multiple_of(PAGE_SIZE) - offset);
        let Made { memory: at, len: made, .. } = self.make_pages(offset, len)?;
        let frames = Frames { offset: at, len: made.next_multiple_of(PAGE_SIZE) };
        self.memory.incref(frames);
        let place = match self.memory.mapped_as() {
            None => Place::Memory(at),
            Some(file) => Place::Host(Arc::clone(file), at),
        };
        Ok(Run { place, len: frames.len })
    }

    fn mappings(&self) -> Option<&FileMappings> {
        Some(&self.mappings)
    }

    fn sync(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }

    fn may_map(&self, shared: bool, prot: Prot) -> Result<Prot> {
        if !shared || !self.seals().intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
            return Ok(Prot::all());
        }
        if prot.contains(Prot::WRITE) { Err(Errno::EPERM) } else { Ok(Prot::all() - Prot::WRITE) }
    }

    fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        self.punch(offset, len);
        Ok(())
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    fn futex_id(&self) -> u64 {
        self.futex_id
    }
}
