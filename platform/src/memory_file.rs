//! The memory file: all guest memory of a sandbox, in one sparse memfd.
//!
//! Page ranges have reference counts (copy on write shares them). The whole offset space is cheap: a range that
//! nobody touched costs nothing. Freed ranges are punched out and used again.
//!
//! The Sentry sees it through large windows that are mapped when first used, so that a copy is a memcpy; every
//! access goes through `usercopy` and survives a fault.

use std::sync::Arc;

/// The host mapping behind an address faulted: the guest sees EFAULT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyFault;

/// A run of pages in the memory file: byte offset and length, both page multiples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frames {
    /// Byte offset in the memory file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// The file. All methods may be called from any thread.
pub struct MemoryFile {}

/// No room left under the sandbox's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl MemoryFile {
    /// A new file; `limit` bytes of *touched* memory at most are given out when set.
    pub fn new(_limit: Option<u64>) -> std::io::Result<Arc<MemoryFile>> {
        Ok(Arc::new(MemoryFile {}))
    }
    /// A fresh zero-filled run of `len` bytes (page multiple), contiguous, one reference on each page.
    pub fn allocate(&self, _len: u64) -> Result<Frames, OutOfMemory> {
        Err(OutOfMemory)
    }
    /// One more reference on each page.
    pub fn incref(&self, _frames: Frames) {}
    /// One reference less on each page; pages at zero are given back to the host.
    pub fn decref(&self, _frames: Frames) {}
    /// The longest prefix of `frames` whose pages all have one reference, or all more than one; and which.
    /// `(length, true)` when the prefix has exactly one reference a page.
    pub fn unique_prefix(&self, frames: Frames) -> (u64, bool) {
        (frames.len, true)
    }
    /// Makes the pages read as zero again and gives their memory back (MADV_DONTNEED); references stay.
    pub fn zero_and_release(&self, _frames: Frames) {}
    /// Copies out of the file. `offset` need not be aligned.
    pub fn read(&self, _offset: u64, _dst: &mut [u8]) -> Result<(), CopyFault> {
        Err(CopyFault)
    }
    /// Copies into the file.
    pub fn write(&self, _offset: u64, _src: &[u8]) -> Result<(), CopyFault> {
        Err(CopyFault)
    }
    /// Fills with zero bytes.
    pub fn zero(&self, _offset: u64, _len: u64) -> Result<(), CopyFault> {
        Err(CopyFault)
    }
    /// Copies whole or part pages inside the file (copy on write).
    pub fn copy(&self, _from: u64, _to: u64, _len: u64) -> Result<(), CopyFault> {
        Err(CopyFault)
    }
    /// Atomic load of an aligned word (futex).
    pub fn load_u32(&self, _offset: u64) -> Result<u32, CopyFault> {
        Err(CopyFault)
    }
    /// Atomic compare and exchange of an aligned word: `Ok(Ok(old))` when it was `current`, else `Ok(Err(seen))`.
    pub fn compare_exchange_u32(
        &self,
        _offset: u64,
        _current: u32,
        _new: u32,
    ) -> Result<Result<u32, u32>, CopyFault> {
        Err(CopyFault)
    }
    /// Bytes handed out and not given back, as references of pages (not what the host has in memory).
    pub fn allocated_bytes(&self) -> u64 {
        0
    }
    /// Bytes that the host holds in memory for the file (st_blocks).
    pub fn resident_bytes(&self) -> u64 {
        0
    }
    /// Which pages of `frames` the host holds in memory, one bool a page (for mincore and RSS).
    pub fn resident(&self, frames: Frames) -> Vec<bool> {
        vec![false; (frames.len / 4096) as usize]
    }
}
