//! The memory file: all guest memory of a sandbox, in one sparse memfd.
//!
//! The contents of files in memory can be in another one, which is a file of the host's ([`MemoryFile::on_disk`]).
//!
//! Page ranges have reference counts (copy on write shares them). The whole offset space is cheap: a range that
//! nobody touched costs nothing. Freed ranges are punched out and used again.
//!
//! Where the host has it, the upper half of the offsets is a second file, in which many pages can be made at once for the price of
//! a few (`large.rs`). Everything but [`MemoryFile::host_place`] speaks of offsets alone.
//!
//! The Sentry sees all of it through one window that is mapped at the start: an address is a base and an offset, a copy
//! is a memcpy, and the host fills page tables only where the Sentry looks. Guests write that memory at any time, so
//! there are no Rust references into it: every access goes through `usercopy` and survives a fault, or is
//! made by the host (see [`MemoryFile::pieces`]).
//!
//! Lock level: `MemoryFile` for counts and free list, never held across a host call.

mod disk;
mod free_list;
mod large;
mod recycled;
mod references;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use host::io::{Pieces, ReadOnlyPieces};
use host::memory::SharedMapping;
use rustix::fs::{FallocateFlags, MemfdFlags, SeekFrom};
use sync::{Mutex, MutexGuard};

pub use self::disk::{DiskFull, DiskRoom};
use self::free_list::FreeList;
pub use self::large::LargeFile;
use self::recycled::Recycled;
use self::references::References;
use crate::api::PAGE_SIZE;
use crate::host_file::HostFile;

/// The host mapping behind an address faulted: the guest sees EFAULT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyFault;

impl From<usercopy::Fault> for CopyFault {
    fn from(_: usercopy::Fault) -> CopyFault {
        CopyFault
    }
}

/// A run of pages in the memory file: byte offset and length, both page multiples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frames {
    /// Byte offset in the memory file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// No room left under the sandbox's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// The file. All methods may be called from any thread.
pub struct MemoryFile {
    /// Of the offsets below `boundary`.
    fd: OwnedFd,
    /// Of those above, where the host has that.
    large: Option<OwnedFd>,
    boundary: u64,
    window: SharedMapping,
    state: Mutex<State, sync::levels::MemoryFile>,
    /// Pages given out, times PAGE_SIZE.
    allocated: AtomicU64,
    /// Most bytes that the host may hold for the file.
    limit: Option<u64>,
    /// Bytes that may still be given out before `limit` has to be compared with what the host holds.
    unchecked: AtomicI64,
    /// On disk: the same file, as guests map it.
    on_disk: Option<Arc<HostFile>>,
}

struct State {
    references: References,
    free: FreeList,
    free_large: FreeList,
    recycled: Recycled,
}

/// Sizes of the offset space, best first: smaller ones are for processes whose address space is limited.
const SIZES: [u64; 4] = [64 << 40, 8 << 40, 1 << 40, 64 << 30];

/// From this size on, runs start at a multiple of it, so that the host may use huge pages.
pub const HUGE_PAGE_SIZE: u64 = 2 << 20;

impl MemoryFile {
    /// A new file; `limit` bytes of *touched* memory at most are given out when set. It has a [`LargeFile`] if this process may
    /// make one.
    pub fn new(limit: Option<u64>) -> io::Result<Arc<MemoryFile>> {
        MemoryFile::with(limit, LargeFile::new().ok())
    }

    /// A new file, with a [`LargeFile`] that somebody else has made or without one.
    pub fn with(limit: Option<u64>, large: Option<LargeFile>) -> io::Result<Arc<MemoryFile>> {
        let fd = create_memfd()?;
        let large = large.map(LargeFile::into_fd);
        let window = match &large {
            None => disk::largest_window(&[&fd], &SIZES)?,
            Some(large) => {
                host::prctl::set_thp_disabled(true)?;
                disk::largest_window(&[&fd, large], &SIZES)?
            }
        };
        Ok(Arc::new(MemoryFile::over(fd, large, window, limit, None)))
    }

    /// The offsets are those of `window`, which shows `fd` and `large`, a half each.
    fn over(
        fd: OwnedFd,
        large: Option<OwnedFd>,
        window: SharedMapping,
        limit: Option<u64>,
        on_disk: Option<Arc<HostFile>>,
    ) -> MemoryFile {
        let size = window.len() as u64;
        let boundary = if large.is_some() { size / 2 } else { size };
        let state = State {
            references: References::new(),
            free: FreeList::new(0, boundary),
            // Runs of the two never touch, as a run that is given back lies in one of them.
            free_large: FreeList::new((boundary + HUGE_PAGE_SIZE).min(size), size),
            recycled: Recycled::default(),
        };
        MemoryFile {
            fd,
            large,
            boundary,
            window,
            state: Mutex::new(state),
            allocated: AtomicU64::new(0),
            limit,
            unchecked: AtomicI64::new(0),
            on_disk,
        }
    }

    /// The host's file that holds `offset`, and where in it, for mappings: they may reach as far as one run of frames.
    pub fn host_place(&self, offset: u64) -> (BorrowedFd<'_>, u64) {
        match &self.large {
            Some(large) if offset >= self.boundary => (large.as_fd(), offset - self.boundary),
            _ => (self.fd.as_fd(), offset),
        }
    }

    /// Bytes of the offset space.
    pub fn size(&self) -> u64 {
        self.window.len() as u64
    }

    /// A fresh zero-filled run of `len` bytes (page multiple), contiguous, one reference on each page.
    pub fn allocate(&self, len: u64) -> Result<Frames, OutOfMemory> {
        if len == 0 || !len.is_multiple_of(PAGE_SIZE) || len > self.size() {
            return Err(OutOfMemory);
        }
        self.check_limit(len)?;
        let align = if len >= HUGE_PAGE_SIZE { HUGE_PAGE_SIZE } else { PAGE_SIZE };
        let mut state = self.state.lock();
        let offset = state.free.take(len, align, 0).ok_or(OutOfMemory)?;
        Ok(self.give_out(state, Frames { offset, len }))
    }

    /// As [`allocate`](Self::allocate), of the offsets whose pages [`provide`](Self::provide) can make many at once. The run starts
    /// as far above a multiple of [`HUGE_PAGE_SIZE`] as `address` does, where it is to be shown: the host shows a large piece
    /// by one fault only if all of it lies in one page table. `None`: the host has no such pages, or there is no room.
    pub fn allocate_large(&self, len: u64, address: u64) -> Option<Frames> {
        if self.large.is_none() || len == 0 || !len.is_multiple_of(PAGE_SIZE) || len > self.size() {
            return None;
        }
        self.check_limit(len).ok()?;
        let phase = address & (HUGE_PAGE_SIZE - 1) & !(PAGE_SIZE - 1);
        let mut state = self.state.lock();
        let offset = state.free_large.take(len, HUGE_PAGE_SIZE, phase)?;
        Some(self.give_out(state, Frames { offset, len }))
    }

    /// Has the host make the pages of a run of [`allocate_large`](Self::allocate_large) that are not there yet, in pieces as large
    /// as fit between those that are there. They are zero. For pages that are wanted soon; of other runs nothing is made, and
    /// without room the host makes them one by one when they are touched, as ever.
    ///
    /// The host does not stop at the end of what it is asked for, but before the next page that is there: with `stop` that is the
    /// one behind `frames`, which is the caller's too, and made alone.
    pub fn provide(&self, frames: Frames, stop: bool) {
        if frames.offset < self.boundary || self.check_limit(frames.len).is_err() {
            return;
        }
        let end = frames.offset + frames.len;
        if stop && !end.is_multiple_of(HUGE_PAGE_SIZE) {
            let _ = self.compare_exchange_u32(end, 0, 0);
        }
        let (fd, offset) = self.host_place(frames.offset);
        let _ = rustix::fs::fallocate(fd, FallocateFlags::KEEP_SIZE, offset, frames.len);
    }

    /// `len` bytes with one reference a page, **not zero-filled**: they hold what somebody else wrote. For callers that
    /// write every byte before anybody sees them. `None`: there is nothing of that kind; [`allocate`](Self::allocate).
    pub fn allocate_used(&self, len: u64) -> Option<Frames> {
        let mut state = self.state.lock();
        let frames = state.recycled.take(len)?;
        Some(self.give_out(state, frames))
    }

    /// Books a run that was free: one reference on each page.
    fn give_out(&self, mut state: MutexGuard<'_, State, sync::levels::MemoryFile>, run: Frames) -> Frames {
        state.references.insert(run.offset, run.len);
        drop(state);
        self.allocated.fetch_add(run.len, Ordering::Relaxed);
        run
    }

    /// Gives what is kept for [`allocate_used`](Self::allocate_used) back to the host.
    pub fn trim(&self) {
        let kept = self.state.lock().recycled.drain();
        for run in kept {
            self.give_back(run);
        }
    }

    fn check_limit(&self, len: u64) -> Result<(), OutOfMemory> {
        let Some(limit) = self.limit else { return Ok(()) };
        let amount = i64::try_from(len).unwrap_or(i64::MAX);
        if self.unchecked.fetch_sub(amount, Ordering::Relaxed) >= amount {
            return Ok(());
        }
        let mut left = limit.saturating_sub(self.resident_bytes());
        if left < PAGE_SIZE {
            self.trim();
            left = limit.saturating_sub(self.resident_bytes());
        }
        self.unchecked.store(i64::try_from(left / 2).unwrap_or(i64::MAX), Ordering::Relaxed);
        if left < PAGE_SIZE { Err(OutOfMemory) } else { Ok(()) }
    }

    /// One more reference on each page.
    pub fn incref(&self, frames: Frames) {
        self.state.lock().references.increment(frames.offset, frames.len);
    }

    /// One reference less on each page; pages at zero are given back to the host.
    pub fn decref(&self, frames: Frames) {
        let freed = {
            let mut state = self.state.lock();
            let mut others = Vec::new();
            for run in state.references.decrement(frames.offset, frames.len) {
                self.allocated.fetch_sub(run.len, Ordering::Relaxed);
                // Room on a disk is others' as well.
                if run.offset >= self.boundary || self.on_disk.is_some() {
                    others.push(run);
                } else {
                    state.recycled.keep(run, &mut others);
                }
            }
            others
        };
        for run in freed {
            self.give_back(run);
        }
    }

    /// Only when the old contents are gone may the run be given out again; while it is being punched it is in neither map.
    fn give_back(&self, run: Frames) {
        if self.punch(run).is_ok() {
            let mut state = self.state.lock();
            let free = if run.offset >= self.boundary { &mut state.free_large } else { &mut state.free };
            free.put(run.offset, run.len);
        } else {
            tracing::error!(?run, "the host does not take memory back; the run is not used again");
        }
    }

    /// The longest prefix of `frames` whose pages all have one reference, or all more than one; and which.
    /// `(length, true)` when the prefix has exactly one reference a page.
    pub fn unique_prefix(&self, frames: Frames) -> (u64, bool) {
        self.state.lock().references.unique_prefix(frames.offset, frames.len)
    }

    /// Makes the pages read as zero again and gives their memory back (MADV_DONTNEED); references stay.
    pub fn zero_and_release(&self, frames: Frames) {
        if self.punch(frames).is_err() && self.zero(frames.offset, frames.len).is_err() {
            tracing::error!(?frames, "pages could be neither released nor zeroed");
        }
    }

    /// Makes the host hold all pages of `frames` in memory (MAP_POPULATE, mlock): those that it does not hold yet are zero.
    pub fn populate(&self, frames: Frames) -> Result<(), OutOfMemory> {
        self.check_limit(frames.len)?;
        for at in (frames.offset..frames.offset.saturating_add(frames.len)).step_by(PAGE_SIZE as usize) {
            // A write that changes nothing, whatever guests do with the page meanwhile. Pages that fallocate makes would
            // not do: the host counts them as holes until somebody has written them.
            self.compare_exchange_u32(at, 0, 0).map_err(|CopyFault| OutOfMemory)?.ok();
        }
        Ok(())
    }

    fn punch(&self, frames: Frames) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let (fd, offset) = self.host_place(frames.offset);
        loop {
            match rustix::fs::fallocate(fd, flags, offset, frames.len) {
                Err(rustix::io::Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }

    /// The address of `offset` in the window, when `len` bytes from there are inside.
    #[inline]
    fn at(&self, offset: u64, len: u64) -> Result<*mut u8, CopyFault> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size() => Ok(self.window.as_ptr().wrapping_add(offset as usize)),
            _ => Err(CopyFault),
        }
    }

    /// Copies out of the file. `offset` need not be aligned.
    #[inline]
    pub fn read(&self, offset: u64, dst: &mut [u8]) -> Result<(), CopyFault> {
        let src = self.at(offset, dst.len() as u64)?;
        // SAFETY: the source lies in the window, to which no references exist; the destination is a slice.
        Ok(unsafe { usercopy::copy(dst.as_mut_ptr(), src, dst.len()) }?)
    }

    /// Copies into the file.
    #[inline]
    pub fn write(&self, offset: u64, src: &[u8]) -> Result<(), CopyFault> {
        let dst = self.at(offset, src.len() as u64)?;
        // SAFETY: the destination lies in the window, to which no references exist; the source is a slice.
        Ok(unsafe { usercopy::copy(dst, src.as_ptr(), src.len()) }?)
    }

    /// Fills with zero bytes.
    pub fn zero(&self, offset: u64, len: u64) -> Result<(), CopyFault> {
        let dst = self.at(offset, len)?;
        // SAFETY: the range lies in the window, to which no references exist.
        Ok(unsafe { usercopy::zero(dst, len as usize) }?)
    }

    /// Copies whole or part pages inside the file (copy on write).
    pub fn copy(&self, from: u64, to: u64, len: u64) -> Result<(), CopyFault> {
        let (src, dst) = (self.at(from, len)?, self.at(to, len)?);
        // SAFETY: both ranges lie in the window, to which no references exist. An overlap would only garble guest
        // bytes.
        Ok(unsafe { usercopy::copy(dst, src, len as usize) }?)
    }

    /// [`copy`](Self::copy) to pages that nobody has touched yet: the host is asked to write them, which saves a fault
    /// a page and the zeros that it would have to fill them with first.
    pub fn copy_to_fresh(&self, from: u64, to: u64, len: u64) -> Result<(), CopyFault> {
        self.write_pieces(to, &self.pieces([(from, len)])?.read_only())
    }

    /// Writes all pieces one behind the other, by a host call.
    pub fn write_pieces(&self, offset: u64, pieces: &ReadOnlyPieces<'_>) -> Result<(), CopyFault> {
        self.at(offset, pieces.bytes() as u64)?;
        let (fd, offset) = self.host_place(offset);
        loop {
            match host::io::pwritev(fd, pieces, offset, 0) {
                Ok(written) if written == pieces.bytes() => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(CopyFault),
            }
        }
    }

    /// Atomic load of an aligned word (futex).
    #[inline]
    pub fn load_u32(&self, offset: u64) -> Result<u32, CopyFault> {
        let at = self.word_at(offset)?;
        // SAFETY: the word lies in the window, to which no references exist.
        Ok(unsafe { usercopy::load_u32(at) }?)
    }

    /// Atomic compare and exchange of an aligned word: `Ok(Ok(old))` when it was `current`, else `Ok(Err(seen))`.
    #[inline]
    pub fn compare_exchange_u32(
        &self,
        offset: u64,
        current: u32,
        new: u32,
    ) -> Result<Result<u32, u32>, CopyFault> {
        let at = self.word_at(offset)?;
        // SAFETY: the word lies in the window, to which no references exist.
        Ok(unsafe { usercopy::compare_exchange_u32(at, current, new) }?)
    }

    #[inline]
    fn word_at(&self, offset: u64) -> Result<*mut u32, CopyFault> {
        if !offset.is_multiple_of(4) {
            return Err(CopyFault);
        }
        Ok(self.at(offset, 4)?.cast())
    }

    /// The ranges `(offset, length)` as pieces for a host call, so that the host copies straight between an fd and
    /// guest memory (see [`host::io`]).
    pub fn pieces(&self, ranges: impl IntoIterator<Item = (u64, u64)>) -> Result<Pieces<'_>, CopyFault> {
        let mut pieces = Pieces::new();
        for (offset, len) in ranges {
            let at = self.at(offset, len)?;
            // SAFETY: the range lies in the window, which stays mapped as long as `self` is borrowed, and to which
            // no references exist.
            unsafe { pieces.push(at, len as usize) };
        }
        Ok(pieces)
    }

    /// Bytes handed out and not given back, as references of pages (not what the host has in memory).
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    /// Bytes that the host holds in memory for the file (st_blocks).
    pub fn resident_bytes(&self) -> u64 {
        let files = [Some(&self.fd), self.large.as_ref()];
        let held = |file| rustix::fs::fstat(file).map_or(0, |stat| stat.st_blocks as u64 * 512);
        files.into_iter().flatten().map(held).sum()
    }

    /// Which pages of `frames` the host holds in memory, one bool a page (for mincore and RSS).
    pub fn resident(&self, frames: Frames) -> Vec<bool> {
        let mut present = vec![false; (frames.len / PAGE_SIZE) as usize];
        self.for_each_resident(frames, |run| {
            let first = ((run.offset - frames.offset) / PAGE_SIZE) as usize;
            present[first..first + (run.len / PAGE_SIZE) as usize].fill(true);
        });
        present
    }

    /// How many bytes of `frames` the host holds in memory. The cost goes with the number of runs, not with the
    /// length.
    pub fn resident_bytes_in(&self, frames: Frames) -> u64 {
        let mut bytes = 0;
        self.for_each_resident(frames, |run| bytes += run.len);
        bytes
    }

    fn for_each_resident(&self, frames: Frames, mut each: impl FnMut(Frames)) {
        let (fd, begin) = self.host_place(frames.offset);
        let base = frames.offset - begin;
        let end = begin.saturating_add(frames.len).min(self.size() - base);
        let mut at = begin;
        while at < end {
            // Nobody uses the file's position, so moving it does no harm.
            let Ok(data) = rustix::fs::seek(fd, SeekFrom::Data(at)) else { return };
            if data >= end {
                return;
            }
            let Ok(hole) = rustix::fs::seek(fd, SeekFrom::Hole(data)) else { return };
            let (first, last) = (data & !(PAGE_SIZE - 1), hole.next_multiple_of(PAGE_SIZE).min(end));
            if last <= first {
                return;
            }
            each(Frames { offset: base + first, len: last - first });
            at = last;
        }
    }
}

impl std::fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFile")
            .field("fd", &self.fd)
            .field("allocated", &self.allocated_bytes())
            .finish()
    }
}

/// Guests execute from the file, which newer hosts want to be told; older ones don't know the flag.
fn create_memfd() -> io::Result<OwnedFd> {
    const EXEC: MemfdFlags = MemfdFlags::EXEC;
    match rustix::fs::memfd_create("runsc-memory", MemfdFlags::CLOEXEC | EXEC) {
        Err(rustix::io::Errno::INVAL) => Ok(rustix::fs::memfd_create("runsc-memory", MemfdFlags::CLOEXEC)?),
        made => Ok(made?),
    }
}

#[cfg(test)]
mod tests;
