//! Shared mappings of files, as address ranges without Rust references; this program's own code.

use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
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
        let at = map(None, len, prot, fd.as_fd(), offset)?;
        Ok(SharedMapping { at, len })
    }

    /// Maps files one behind the other, as many bytes of the beginning of each as is said, to be read and written.
    pub fn joined(files: &[(BorrowedFd<'_>, usize)]) -> Result<SharedMapping> {
        let invalid = || Error::from_raw_os_error(libc::EINVAL);
        let (&(first, first_len), others) = files.split_first().ok_or_else(invalid)?;
        let len = files.iter().try_fold(0usize, |sum, (_, len)| sum.checked_add(*len)).ok_or_else(invalid)?;
        // The first one's mapping takes the addresses for all.
        let whole = SharedMapping::new(first, 0, len, true)?;
        let mut at = first_len;
        for &(fd, len) in others {
            map(Some((&whole, at)), len, libc::PROT_READ | libc::PROT_WRITE, fd, 0)?;
            at += len;
        }
        Ok(whole)
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

/// Maps a file at an address of the host's choice, or so far into a mapping that nobody else knows of yet.
fn map(
    over: Option<(&SharedMapping, usize)>,
    len: usize,
    prot: i32,
    fd: BorrowedFd<'_>,
    offset: u64,
) -> Result<NonNull<u8>> {
    let (at, fixed) = match over {
        None => (std::ptr::null_mut(), 0),
        Some((whole, from)) if from.checked_add(len).is_some_and(|end| end <= whole.len) => {
            (whole.as_ptr().wrapping_add(from), libc::MAP_FIXED)
        }
        Some(_) => return Err(Error::from_raw_os_error(libc::EINVAL)),
    };
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE | fixed;
    // SAFETY: a new mapping at an address of the host's choice disturbs nothing, nor does one inside of a mapping of this
    // module's own that nobody uses yet. The advice does not change what is mapped.
    let mapped = unsafe {
        let mapped = libc::mmap(at.cast(), len, prot, flags, fd.as_raw_fd(), offset as i64);
        if mapped == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        // Not part of a core dump: it would hold the whole guest. Failing costs nothing but the size of the dump.
        libc::madvise(mapped, len, libc::MADV_DONTDUMP);
        mapped
    };
    NonNull::new(mapped.cast()).ok_or_else(|| Error::from_raw_os_error(libc::ENOMEM))
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours; borrowers of its addresses (`Pieces`) can't outlive it.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// To be called before some hundred small allocations: makes room for them where this thread allocates. The C library makes the heaps of
/// threads longer by one page at a time, with a host call for each, and keeps what it has been given back at their end.
pub fn widen_heap() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(HEAP_STEP)));
}

/// Less than what the C library takes a mapping for, or gives back to the host (128 KiB).
const HEAP_STEP: usize = 96 * 1024;

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
