//! Shared memory that belongs to no file system: MAP_SHARED | MAP_ANONYMOUS, System V segments, pages of the kernel's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;
use platform::{Frames, MemoryFile};

use super::mappable::{Mappable, Place, Run};
use super::{PAGE, page_up};

/// Device number that such memory shows in /proc/PID/maps: that of the kernel's internal tmpfs.
pub const SHMEM_DEVICE: u64 = 1;

static NEXT_INODE: AtomicU64 = AtomicU64::new(1024);

/// Identities for [`Mappable::futex_id`]: unique over the sandbox.
pub fn next_futex_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A run of the memory file that several address spaces can map. Its size never changes.
pub struct Shmem {
    memory: Arc<MemoryFile>,
    frames: Frames,
    inode: u64,
    futex_id: u64,
}

impl Shmem {
    /// Zero-filled memory of `len` bytes, rounded up to pages.
    pub fn new(memory: &Arc<MemoryFile>, len: u64) -> Result<Arc<Shmem>, Errno> {
        let len = page_up(len).ok_or(Errno::ENOMEM)?;
        let frames = memory.allocate(len).map_err(|_| Errno::ENOMEM)?;
        Ok(Shmem::of(memory, frames))
    }

    /// A zero-filled page that is about to be written: one that was freed a moment ago, if there is one. To clear it costs less than
    /// to have the host make one, and to give it back later.
    pub fn used_page(memory: &Arc<MemoryFile>) -> Result<Arc<Shmem>, Errno> {
        let Some(frames) = memory.allocate_used(PAGE) else { return Shmem::new(memory, PAGE) };
        let page = Shmem::of(memory, frames);
        memory.zero(frames.offset, frames.len).map_err(|_| Errno::ENOMEM)?;
        Ok(page)
    }

    fn of(memory: &Arc<MemoryFile>, frames: Frames) -> Arc<Shmem> {
        let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
        Arc::new(Shmem { memory: Arc::clone(memory), frames, inode, futex_id: next_futex_id() })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.frames.len
    }

    /// Bytes of it that have been touched.
    pub fn resident_bytes(&self) -> u64 {
        self.memory.resident_bytes_in(self.frames)
    }

    /// Where it lies in the memory file.
    pub fn frames(&self) -> Frames {
        self.frames
    }
}

impl Mappable for Shmem {
    fn translate(&self, offset: u64, len: u64, _write: bool) -> Result<Run, Errno> {
        if offset >= self.frames.len {
            return Err(Errno::EFAULT);
        }
        let len = len.min(self.frames.len - offset);
        let frames = Frames { offset: self.frames.offset + offset, len };
        self.memory.incref(frames);
        Ok(Run { place: Place::Memory(frames.offset), len })
    }

    fn sync(&self, _offset: u64, _len: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn punch_hole(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.saturating_add(len).min(self.frames.len);
        if offset < end {
            self.memory.zero_and_release(Frames { offset: self.frames.offset + offset, len: end - offset });
        }
        Ok(())
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (SHMEM_DEVICE, self.inode)
    }

    fn futex_id(&self) -> u64 {
        self.futex_id
    }
}

impl Drop for Shmem {
    fn drop(&mut self) {
        self.memory.decref(self.frames);
    }
}

/// What /dev/zero gives to be mapped: nothing of its own, but a sign that anonymous memory is wanted.
pub struct ZeroDevice;

impl Mappable for ZeroDevice {
    fn translate(&self, _offset: u64, _len: u64, _write: bool) -> Result<Run, Errno> {
        Err(Errno::EFAULT)
    }

    fn sync(&self, _offset: u64, _len: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn is_zero_device(&self) -> bool {
        true
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (SHMEM_DEVICE, 0)
    }

    fn futex_id(&self) -> u64 {
        0
    }
}
