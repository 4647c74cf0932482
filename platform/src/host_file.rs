//! A donated host file: an fd that came from the Gofer (or was inherited), with windows through which the Sentry
//! copies from the pages that guests have mapped.
//!
//! A window shows one aligned chunk of the file and is mapped when first used. Most files are smaller than a chunk,
//! so the first window is found with one atomic load. The number of windows is limited over all files (the host
//! limits mappings per process); beyond that, copies fall back to reads and writes of the fd.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{OnceLock, Weak};

use host::io::Pieces;
use host::memory::SharedMapping;
use sync::RwLock;
use sync::levels::Leaf;

use crate::api::PAGE_SIZE;
use crate::memory_file::{CopyFault, Frames, MemoryFile};

/// Bytes of the file that one window shows.
const WINDOW: u64 = 64 << 20;

/// The most windows of all files together: well below the host's limit of mappings (65,530 unless changed).
const MAX_WINDOWS: usize = 16384;

/// Windows mapped now.
static WINDOWS: AtomicUsize = AtomicUsize::new(0);

/// An open host file that can be mapped into guests.
#[derive(Debug)]
pub struct HostFile {
    fd: OwnedFd,
    writable: bool,
    /// Nobody can write the file.
    fixed: AtomicBool,
    /// The window of chunk 0.
    first: OnceLock<Window>,
    /// The others, by number of the chunk. A window is never unmapped before the file is dropped.
    others: RwLock<BTreeMap<u64, Window>, Leaf>,
    /// Who counts references of its pages, if they are given out and taken back.
    counts: Option<Weak<MemoryFile>>,
}

#[derive(Debug)]
struct Window(SharedMapping);

impl Window {
    fn new(file: &HostFile, chunk: u64) -> Result<Window, CopyFault> {
        usercopy::install().map_err(|_| CopyFault)?;
        if WINDOWS.fetch_add(1, Ordering::Relaxed) >= MAX_WINDOWS {
            WINDOWS.fetch_sub(1, Ordering::Relaxed);
            return Err(CopyFault);
        }
        match SharedMapping::new(&file.fd, chunk * WINDOW, WINDOW as usize, file.writable) {
            Ok(mapping) => Ok(Window(mapping)),
            Err(_) => {
                WINDOWS.fetch_sub(1, Ordering::Relaxed);
                Err(CopyFault)
            }
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        WINDOWS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HostFile {
    /// Takes over `fd`. `writable`: shared mappings may be written.
    pub fn new(fd: OwnedFd, writable: bool) -> HostFile {
        HostFile {
            fd,
            writable,
            fixed: AtomicBool::new(false),
            first: OnceLock::new(),
            others: RwLock::new(BTreeMap::new()),
            counts: None,
        }
    }

    /// The same for a file whose pages `counts` gives out.
    pub(crate) fn counted(fd: OwnedFd, counts: Weak<MemoryFile>) -> HostFile {
        HostFile { counts: Some(counts), ..HostFile::new(fd, true) }
    }

    /// A file without a page: whatever the host is to read into it, or to write out of it, is a fault (EFAULT).
    pub fn nowhere() -> io::Result<HostFile> {
        Ok(HostFile::new(rustix::fs::memfd_create("nowhere", rustix::fs::MemfdFlags::CLOEXEC)?, true))
    }

    /// One more reference on each page, where they are counted: nobody else gets them.
    pub fn incref(&self, frames: Frames) {
        if let Some(counts) = self.counts.as_ref().and_then(Weak::upgrade) {
            counts.incref(frames);
        }
    }

    /// One reference less on each page, where they are counted. Without the file that they were given out of, nobody can get them.
    pub fn decref(&self, frames: Frames) {
        if let Some(counts) = self.counts.as_ref().and_then(Weak::upgrade) {
            counts.decref(frames);
        }
    }

    /// The fd, for host calls.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Whether shared mappings may be written.
    pub fn writable(&self) -> bool {
        self.writable
    }

    /// Says that nobody writes the file while guests have it mapped: a copy of it is as good.
    pub fn set_fixed(&self) {
        self.fixed.store(true, Ordering::Relaxed);
    }

    /// Whether that was said.
    pub fn is_fixed(&self) -> bool {
        self.fixed.load(Ordering::Relaxed)
    }

    /// The address of the page bytes at `offset` and how many follow in the same window.
    fn at(&self, offset: u64) -> Result<(*mut u8, u64), CopyFault> {
        let (chunk, within) = (offset / WINDOW, offset % WINDOW);
        let base = match chunk {
            0 => match self.first.get() {
                Some(window) => window.0.as_ptr(),
                None => {
                    let window = Window::new(self, 0)?;
                    self.first.get_or_init(|| window).0.as_ptr()
                }
            },
            // Offsets behind this can't be mapped on any host (loff_t).
            _ if offset > i64::MAX as u64 - WINDOW => return Err(CopyFault),
            _ => self.other(chunk)?,
        };
        Ok((base.wrapping_add(within as usize), WINDOW - within))
    }

    fn other(&self, chunk: u64) -> Result<*mut u8, CopyFault> {
        if let Some(window) = self.others.read().get(&chunk) {
            return Ok(window.0.as_ptr());
        }
        let window = Window::new(self, chunk)?;
        Ok(self.others.write().entry(chunk).or_insert(window).0.as_ptr())
    }

    /// Copies from the file's pages (a mapping, not a read): behind the last page it is a fault.
    pub fn read(&self, offset: u64, dst: &mut [u8]) -> Result<(), CopyFault> {
        let (mut offset, mut rest) = (offset, dst);
        while !rest.is_empty() {
            let Ok((src, left)) = self.at(offset) else { return self.read_by_call(offset, rest) };
            let len = (rest.len() as u64).min(left);
            let (now, later) = rest.split_at_mut(len as usize);
            // SAFETY: the source lies in a window, to which no references exist; the destination is a slice.
            unsafe { usercopy::copy(now.as_mut_ptr(), src, now.len()) }?;
            (offset, rest) = (offset + len, later);
        }
        Ok(())
    }

    /// Copies into the file's pages through a shared mapping.
    pub fn write(&self, offset: u64, src: &[u8]) -> Result<(), CopyFault> {
        if !self.writable {
            return Err(CopyFault);
        }
        let (mut offset, mut rest) = (offset, src);
        while !rest.is_empty() {
            let Ok((dst, left)) = self.at(offset) else { return self.write_by_call(offset, rest) };
            let len = (rest.len() as u64).min(left);
            let (now, later) = rest.split_at(len as usize);
            // SAFETY: the destination lies in a window, to which no references exist; the source is a slice.
            unsafe { usercopy::copy(dst, now.as_ptr(), now.len()) }?;
            (offset, rest) = (offset + len, later);
        }
        Ok(())
    }

    /// As a mapping would read: zeros up to the end of the last page, a fault behind it.
    fn read_by_call(&self, offset: u64, dst: &mut [u8]) -> Result<(), CopyFault> {
        self.check_backed(offset, dst.len() as u64)?;
        let mut done = 0;
        while done < dst.len() {
            match rustix::io::pread(&self.fd, &mut dst[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Err(CopyFault),
            }
        }
        dst[done..].fill(0);
        Ok(())
    }

    /// As a mapping would write: what lies behind the end of the file is lost.
    fn write_by_call(&self, offset: u64, src: &[u8]) -> Result<(), CopyFault> {
        let end = self.check_backed(offset, src.len() as u64)?;
        let len = end.saturating_sub(offset).min(src.len() as u64) as usize;
        let mut done = 0;
        while done < len {
            match rustix::io::pwrite(&self.fd, &src[done..len], offset + done as u64) {
                Ok(n) if n > 0 => done += n,
                Err(rustix::io::Errno::INTR) => {}
                _ => return Err(CopyFault),
            }
        }
        Ok(())
    }

    /// The size of the file, if the range lies in its pages.
    fn check_backed(&self, offset: u64, len: u64) -> Result<u64, CopyFault> {
        let size = rustix::fs::fstat(&self.fd).map_err(|_| CopyFault)?.st_size as u64;
        match offset.checked_add(len) {
            Some(end) if end <= size.next_multiple_of(PAGE_SIZE) => Ok(size),
            _ => Err(CopyFault),
        }
    }

    /// Atomic load of an aligned word (futex).
    pub fn load_u32(&self, offset: u64) -> Result<u32, CopyFault> {
        let at = self.word_at(offset)?;
        // SAFETY: the word lies in a window, to which no references exist.
        Ok(unsafe { usercopy::load_u32(at) }?)
    }

    /// Atomic compare and exchange of an aligned word, as [`MemoryFile::compare_exchange_u32`].
    ///
    /// [`MemoryFile::compare_exchange_u32`]: crate::memory_file::MemoryFile::compare_exchange_u32
    pub fn compare_exchange_u32(
        &self,
        offset: u64,
        current: u32,
        new: u32,
    ) -> Result<Result<u32, u32>, CopyFault> {
        if !self.writable {
            return Err(CopyFault);
        }
        let at = self.word_at(offset)?;
        // SAFETY: the word lies in a window, to which no references exist.
        Ok(unsafe { usercopy::compare_exchange_u32(at, current, new) }?)
    }

    fn word_at(&self, offset: u64) -> Result<*mut u32, CopyFault> {
        if !offset.is_multiple_of(4) {
            return Err(CopyFault);
        }
        Ok(self.at(offset)?.0.cast())
    }

    /// The ranges `(offset, length)` of the file's pages as pieces for a host call, as
    /// [`MemoryFile::pieces`](crate::memory_file::MemoryFile::pieces). An error when they can't be mapped.
    pub fn pieces(&self, ranges: impl IntoIterator<Item = (u64, u64)>) -> Result<Pieces<'_>, CopyFault> {
        let mut pieces = Pieces::new();
        for (mut offset, mut len) in ranges {
            while len > 0 {
                let (at, left) = self.at(offset)?;
                let part = len.min(left);
                // SAFETY: the range lies in a window, which stays mapped as long as `self` is borrowed, and to which
                // no references exist.
                unsafe { pieces.push(at, part as usize) };
                offset += part;
                len -= part;
            }
        }
        Ok(pieces)
    }

    /// Which pages from `offset` (a page multiple) the host has in memory, one bool a page; `None` when it does
    /// not say.
    pub fn resident(&self, offset: u64, pages: usize) -> Option<Vec<bool>> {
        let mut present = Vec::with_capacity(pages);
        while present.len() < pages {
            let at = offset.checked_add(present.len() as u64 * PAGE_SIZE)?;
            let (_, left) = self.at(at).ok()?;
            let part = (pages - present.len()).min((left / PAGE_SIZE) as usize);
            let first = (at % WINDOW / PAGE_SIZE) as usize;
            present.extend(self.in_memory(at / WINDOW, first, part).ok()?.iter().map(|b| b & 1 == 1));
        }
        Some(present)
    }

    fn in_memory(&self, chunk: u64, first: usize, pages: usize) -> io::Result<Vec<u8>> {
        let unmapped = || io::Error::from_raw_os_error(libc::ENOMEM);
        match chunk {
            0 => self.first.get().ok_or_else(unmapped)?.0.in_memory(first, pages),
            _ => self.others.read().get(&chunk).ok_or_else(unmapped)?.0.in_memory(first, pages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    fn file(contents: &[u8]) -> (File, HostFile) {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(contents).expect("write");
        let twin = file.try_clone().expect("clone");
        (file, HostFile::new(twin.into(), true))
    }

    #[test]
    fn pages_are_read_and_written() {
        let (disk, f) = file(b"hello world");
        let mut bytes = [1u8; 16];
        f.read(6, &mut bytes).expect("the rest of the page reads as zero");
        assert_eq!(&bytes, b"world\0\0\0\0\0\0\0\0\0\0\0");
        f.write(0, b"HELLO").expect("write");
        let mut back = [0u8; 5];
        disk.read_exact_at(&mut back, 0).expect("read");
        assert_eq!(&back, b"HELLO");
        assert_eq!(f.read(PAGE_SIZE - 1, &mut [0; 2]), Err(CopyFault));
        assert_eq!(f.compare_exchange_u32(8, u32::from_le_bytes(*b"rld\0"), 5), Ok(Ok(0x0064_6c72)));
        assert_eq!(f.load_u32(8), Ok(5));
        disk.set_len(0).expect("truncate");
        assert_eq!(f.load_u32(8), Err(CopyFault));
        assert_eq!(f.read(0, &mut [0; 1]), Err(CopyFault));
        assert_eq!(f.read(u64::MAX, &mut [0; 1]), Err(CopyFault));
    }

    #[test]
    fn windows_join_up() {
        let (disk, f) = file(b"");
        disk.set_len(3 * WINDOW).expect("sparse");
        disk.write_all_at(b"0123456789", 2 * WINDOW - 5).expect("write");
        let mut bytes = [0u8; 10];
        f.read(2 * WINDOW - 5, &mut bytes).expect("read");
        assert_eq!(&bytes, b"0123456789");
        f.write(WINDOW - 2, b"abcd").expect("write");
        disk.read_exact_at(&mut bytes[..4], WINDOW - 2).expect("read");
        assert_eq!(&bytes[..4], b"abcd");
        let pieces = f.pieces([(2 * WINDOW - 5, 10)]).expect("pieces").read_only();
        assert_eq!(pieces.bytes(), 10);
        assert!(f.resident(2 * WINDOW - PAGE_SIZE, 2).expect("resident")[0]);
    }

    #[test]
    fn without_a_window_the_fd_is_read() {
        let (disk, f) = file(b"hello");
        let mut bytes = [1u8; 8];
        f.read_by_call(2, &mut bytes).expect("read");
        assert_eq!(&bytes, b"llo\0\0\0\0\0");
        f.write_by_call(4, b"0 lost").expect("write");
        assert_eq!(disk.metadata().expect("stat").len(), 5);
        assert_eq!(f.read_by_call(4096, &mut bytes), Err(CopyFault));
    }

    #[test]
    fn nothing_is_taken_out_of_a_pipe_to_nowhere() {
        let nowhere = HostFile::nowhere().expect("a file");
        let read = |pipe: &OwnedFd| {
            let read = host::io::readv(pipe, &mut nowhere.pieces([(0, 1)]).expect("a window"));
            read.map_err(|error| error.raw_os_error())
        };
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("a pipe");
        assert_eq!(read(&reader), Err(Some(libc::EAGAIN)));
        rustix::io::write(&writer, b"x").expect("write");
        assert_eq!(read(&reader), Err(Some(libc::EFAULT)));
        assert_eq!(rustix::io::read(&reader, &mut [0; 2]), Ok(1));
        drop(writer);
        assert_eq!(read(&reader), Ok(0));
    }

    #[test]
    fn a_read_only_file_is_not_written() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("f");
        std::fs::write(&path, b"data").expect("write");
        let f = HostFile::new(File::open(&path).expect("open").into(), false);
        assert_eq!(f.load_u32(0), Ok(u32::from_le_bytes(*b"data")));
        assert_eq!(f.write(0, b"x"), Err(CopyFault));
        assert_eq!(f.compare_exchange_u32(0, 0, 1), Err(CopyFault));
    }
}
