//! Shared mappings of files, as address ranges without Rust references; this program's own code.

use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

/// A shared mapping of a file, unmapped when dropped. Whoever else has the file open may change the bytes or truncate
/// them away at any time: they are to be touched by `usercopy` or the host only, never through a reference.
#[derive(Debug)]
pub struct SharedMapping {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: the value is an address range; all access is by raw pointer and synchronised by those who do it.
unsafe impl Send for SharedMapping {}
// SAFETY: as above.
unsafe impl Sync for SharedMapping {}

impl SharedMapping {
    /// Maps `len` bytes from `offset`, without reserving memory for them. The range may reach beyond the file's end.
    pub fn new(fd: impl AsFd, offset: u64, len: usize, writable: bool) -> Result<SharedMapping> {
        let prot = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address of the host's choice disturbs nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, offset as i64) };
        if at == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        // Not part of a core dump: it would hold the whole guest. Failing costs nothing but the size of the dump.
        // SAFETY: the range is the new mapping; the advice does not change its contents.
        unsafe { libc::madvise(at, len, libc::MADV_DONTDUMP) };
        let at = NonNull::new(at.cast()).ok_or_else(|| Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(SharedMapping { at, len })
    }

    /// First address.
    pub fn as_ptr(&self) -> *mut u8 {
        self.at.as_ptr()
    }

    /// Bytes mapped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is mapped (never so).
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// mincore(2) of `pages` pages from page `first` of the mapping: bit 0 of each byte says that the host has the
    /// page in memory.
    pub fn in_memory(&self, first: usize, pages: usize) -> Result<Vec<u8>> {
        const PAGE: usize = 4096;
        if first.checked_add(pages).is_none_or(|end| end > self.len / PAGE) {
            return Err(Error::from_raw_os_error(libc::EINVAL));
        }
        let mut present = vec![0u8; pages];
        let at = self.as_ptr().wrapping_add(first * PAGE);
        // SAFETY: the range lies in the mapping, and the vector has a byte for each page.
        match unsafe { libc::mincore(at.cast(), pages * PAGE, present.as_mut_ptr()) } {
            0 => Ok(present),
            _ => Err(Error::last_os_error()),
        }
    }
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours; borrowers of its addresses (`Pieces`) can't outlive it.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// Forgets which of this program's code it has used so far: pages of the file that are needed again come back by cheap faults. For
/// processes that are about to do the same few things for a long time, after a start that took much code.
pub fn forget_code() {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    const PAGE: usize = 4096;
    let start = &raw const __executable_start as usize / PAGE * PAGE;
    // The last page is shared with what comes next.
    let end = &raw const etext as usize / PAGE * PAGE;
    let at = std::ptr::with_exposed_provenance_mut(start);
    // An error means that everything stays.
    // SAFETY: what lies between is only read and executed, and is as the file has it: nothing is lost.
    unsafe { libc::madvise(at, end.saturating_sub(start), libc::MADV_DONTNEED) };
}
