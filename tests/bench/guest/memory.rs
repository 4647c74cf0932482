//! Mappings and faults.

use std::ffi::c_void;
use std::time::Instant;

use crate::timing::{per_call, per_round};

const PAGE: usize = 4096;

fn map(pages: usize) -> *mut c_void {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, where the kernel likes.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), pages * PAGE, protection, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    at
}

fn touch(at: *mut c_void, pages: usize) {
    for page in 0..pages {
        // SAFETY: inside of the mapping that the caller has made.
        unsafe { at.cast::<u8>().add(page * PAGE).write_volatile(1) };
    }
}

fn unmap(at: *mut c_void, pages: usize) {
    // SAFETY: nobody uses the mapping any more.
    assert_eq!(unsafe { libc::munmap(at, pages * PAGE) }, 0);
}

pub fn mmap_touch_munmap() {
    let at = map(64);
    touch(at, 64);
    unmap(at, 64);
}

/// First writes to anonymous pages, one after the other, the mapping itself not counted.
pub fn page_fault() -> f64 {
    const PAGES: usize = 1024;
    per_round(9, || {
        let at = map(PAGES);
        // SAFETY: the mapping is ours. Where there are no huge pages the call fails, which is as good.
        unsafe { libc::madvise(at, PAGES * PAGE, libc::MADV_NOHUGEPAGE) };
        let begun = Instant::now();
        touch(at, PAGES);
        let ns = begun.elapsed().as_nanos() as f64 / PAGES as f64;
        unmap(at, PAGES);
        ns
    })
}

/// One page to read-only and back, touched: a call each.
pub fn mprotect() -> f64 {
    let at = map(16);
    touch(at, 16);
    // SAFETY: a page of the mapping; nobody writes to it while it can't be written.
    let set = |protection| assert_eq!(unsafe { libc::mprotect(at.byte_add(4 * PAGE), PAGE, protection) }, 0);
    per_call(|| {
        set(libc::PROT_READ);
        set(libc::PROT_READ | libc::PROT_WRITE);
    }) / 2.0
}
