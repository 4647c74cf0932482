//! Reads into and writes out of guest memory, scattered over as many pieces as the guest named.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;

use abi::Errno;
use host::io::{Pieces, preadv, pwritev, readv, writev};
use platform::MemoryFile;
use platform::memory_file::CopyFault;
use smallvec::SmallVec;

use super::MemoryManager;
use super::fault::Need;
use super::mappable::Place;
use super::user::{UserAddr, UserSlice};
use crate::vfs::io::{IoSink, IoSource, host_errno};

/// Up to this size a copy through a buffer costs less than holding the pages for the host.
const SMALL: usize = 16 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `with` with a buffer of this thread of `SMALL` bytes.
fn with_buffer<R>(with: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(SMALL, 0);
        with(buffer)
    })
}

/// A position in a list of slices.
#[derive(Clone)]
struct Cursor {
    slices: SmallVec<[UserSlice; 4]>,
    /// The slice, and bytes of it that are done.
    at: (usize, u64),
    remaining: usize,
}

impl Cursor {
    fn new(slices: &[UserSlice]) -> Cursor {
        let remaining = slices.iter().fold(0u64, |sum, slice| sum.saturating_add(slice.len));
        Cursor { slices: SmallVec::from_slice(slices), at: (0, 0), remaining: remaining as usize }
    }

    /// What is left of the current slice; never empty before the end.
    fn current(&mut self) -> Option<(UserAddr, usize)> {
        loop {
            let slice = self.slices.get(self.at.0)?;
            if self.at.1 < slice.len {
                // An address that wraps is no address: the copy says EFAULT.
                let addr = UserAddr(slice.addr.0.saturating_add(self.at.1));
                return Some((addr, (slice.len - self.at.1) as usize));
            }
            self.at = (self.at.0 + 1, 0);
        }
    }

    /// See [`IoSink::lies_on`].
    fn lies_on(&self, word: u64, block: u64) -> bool {
        let mut rest = self.clone();
        while let Some((addr, len)) = rest.current() {
            if !addr.0.is_multiple_of(word) || !(len as u64).is_multiple_of(block) {
                return false;
            }
            rest.advance(len);
        }
        true
    }

    fn advance(&mut self, mut bytes: usize) {
        bytes = bytes.min(self.remaining);
        self.remaining -= bytes;
        while bytes > 0 {
            let Some((_, left)) = self.current() else { return };
            let step = left.min(bytes);
            self.at.1 += step as u64;
            bytes -= step;
        }
    }

    /// Goes over the next `len` bytes slice by slice: `each(addr, bytes done before, bytes)` answers how many it did.
    /// EFAULT when not a single byte could be done.
    fn each(
        &mut self,
        len: usize,
        mut each: impl FnMut(UserAddr, usize, usize) -> usize,
    ) -> Result<usize, Errno> {
        let len = len.min(self.remaining);
        let mut done = 0;
        while done < len {
            let Some((addr, left)) = self.current() else { break };
            let step = left.min(len - done);
            let did = each(addr, done, step);
            self.advance(did);
            done += did;
            if did < step {
                break;
            }
        }
        if done == 0 && len > 0 { Err(Errno::EFAULT) } else { Ok(done) }
    }
}

/// Guest memory that a read fills.
pub struct UserSink<'a> {
    mm: &'a MemoryManager,
    cursor: Cursor,
}

impl<'a> UserSink<'a> {
    /// Over several slices, in their order.
    pub fn new(mm: &'a MemoryManager, slices: &[UserSlice]) -> Self {
        UserSink { mm, cursor: Cursor::new(slices) }
    }

    /// Over one.
    pub fn at(mm: &'a MemoryManager, addr: UserAddr, len: usize) -> Self {
        Self::new(mm, &[UserSlice { addr, len: len as u64 }])
    }

    /// One chunk through a buffer.
    fn put_buffered(&mut self, fd: BorrowedFd<'_>, offset: Option<u64>, len: usize) -> Result<usize, Errno> {
        let mut len = len.min(SMALL);
        if offset.is_none() {
            // What is read from a stream must find its place.
            let mm = self.mm;
            len = self.cursor.clone().each(len, |addr, _, len| mm.probe(addr, len, Need::Write))?;
        }
        with_buffer(|buffer| {
            let slices = &mut [std::io::IoSliceMut::new(&mut buffer[..len])];
            let got = host_read(fd, &mut Pieces::from_slices_mut(slices), offset)?;
            self.put(&buffer[..got])
        })
    }
}

impl IoSink for UserSink<'_> {
    fn remaining(&self) -> usize {
        self.cursor.remaining
    }

    fn lies_on(&self, word: u64, block: u64) -> bool {
        self.cursor.lies_on(word, block)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let mm = self.mm;
        self.cursor
            .each(bytes.len(), |addr, done, len| mm.write_some(addr, &bytes[done..done + len], Need::Write))
    }

    fn put_zeros(&mut self, len: usize) -> Result<usize, Errno> {
        let mm = self.mm;
        self.cursor.each(len, |addr, _, len| mm.zero_some(addr, len as u64) as usize)
    }

    fn put_memory(&mut self, memory: &MemoryFile, offset: u64, len: usize) -> Result<usize, Errno> {
        let mm = self.mm;
        self.cursor.each(len, |addr, done, len| {
            mm.put_memory(addr, memory, offset + done as u64, len as u64) as usize
        })
    }

    fn put_from_host(&mut self, fd: BorrowedFd<'_>, offset: Option<u64>, len: usize) -> Result<usize, Errno> {
        let len = len.min(self.remaining());
        let mut done = 0;
        while done < len {
            let at = offset.map(|offset| offset + done as u64);
            let step = match len - done {
                small @ ..=SMALL => self.put_buffered(fd, at, small),
                _ => {
                    let mut pinned = self.mm.pins(true);
                    match self
                        .cursor
                        .clone()
                        .each(len - done, |addr, _, len| pinned.add(addr, len as u64) as usize)
                    {
                        // Nothing there can be pinned; a copy will do, or say EFAULT.
                        Err(_) => self.put_buffered(fd, at, len - done),
                        Ok(_) => {
                            let mut pieces = pinned.pieces().ok_or(Errno::EFAULT)?;
                            let wanted = pieces.bytes();
                            let got = host_read(fd, &mut pieces, at);
                            if let Ok(got) = got {
                                self.cursor.advance(got);
                                if got < wanted {
                                    return Ok(done + got);
                                }
                            }
                            got
                        }
                    }
                }
            };
            match step {
                Ok(0) => break,
                Ok(got) => done += got,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            // A stream may have no more for now: asking again might wait.
            if offset.is_none() {
                break;
            }
        }
        Ok(done)
    }
}

/// Guest memory that a write takes from.
pub struct UserSource<'a> {
    mm: &'a MemoryManager,
    cursor: Cursor,
}

impl<'a> UserSource<'a> {
    /// Over several slices, in their order.
    pub fn new(mm: &'a MemoryManager, slices: &[UserSlice]) -> Self {
        UserSource { mm, cursor: Cursor::new(slices) }
    }

    /// Over one.
    pub fn at(mm: &'a MemoryManager, addr: UserAddr, len: usize) -> Self {
        Self::new(mm, &[UserSlice { addr, len: len as u64 }])
    }

    fn take_buffered(&mut self, fd: BorrowedFd<'_>, offset: Option<u64>, len: usize) -> Result<usize, Errno> {
        with_buffer(|buffer| {
            let got = self.peek(&mut buffer[..len.min(SMALL)])?;
            let slices = &[std::io::IoSlice::new(&buffer[..got])];
            let pieces = Pieces::from_slices(slices);
            let done = match offset {
                Some(offset) => pwritev(fd, &pieces, offset, 0),
                None => writev(fd, &pieces),
            };
            let done = done.map_err(host_errno)?;
            self.advance(done);
            Ok(done)
        })
    }
}

impl IoSource for UserSource<'_> {
    fn remaining(&self) -> usize {
        self.cursor.remaining
    }

    fn lies_on(&self, word: u64, block: u64) -> bool {
        self.cursor.lies_on(word, block)
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mm = self.mm;
        self.cursor.each(buffer.len(), |addr, done, len| {
            mm.read_some(addr, &mut buffer[done..done + len], Need::Read)
        })
    }

    fn peek(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mm = self.mm;
        let mut cursor = self.cursor.clone();
        cursor.each(buffer.len(), |addr, done, len| {
            mm.read_some(addr, &mut buffer[done..done + len], Need::Read)
        })
    }

    fn advance(&mut self, bytes: usize) {
        self.cursor.advance(bytes);
    }

    fn take_to_memory(&mut self, memory: &MemoryFile, offset: u64, len: usize) -> Result<usize, Errno> {
        let mm = self.mm;
        self.cursor.each(len, |addr, done, len| {
            mm.take_memory(addr, memory, offset + done as u64, len as u64) as usize
        })
    }

    fn take_to_host(&mut self, fd: BorrowedFd<'_>, offset: Option<u64>, len: usize) -> Result<usize, Errno> {
        let len = len.min(self.remaining());
        let mut done = 0;
        while done < len {
            let at = offset.map(|offset| offset + done as u64);
            let (step, wanted) = match len - done {
                small @ ..=SMALL => (self.take_buffered(fd, at, small), small),
                _ => {
                    let mut pinned = self.mm.pins(false);
                    match self
                        .cursor
                        .clone()
                        .each(len - done, |addr, _, len| pinned.add(addr, len as u64) as usize)
                    {
                        Err(_) => (self.take_buffered(fd, at, len - done), SMALL),
                        Ok(_) => {
                            let pieces = pinned.pieces().ok_or(Errno::EFAULT)?.read_only();
                            let put = match at {
                                Some(at) => pwritev(fd, &pieces, at, 0),
                                None => writev(fd, &pieces),
                            };
                            let put = put.map_err(host_errno);
                            self.cursor.advance(*put.as_ref().unwrap_or(&0));
                            (put, pieces.bytes())
                        }
                    }
                }
            };
            match step {
                Ok(put) => {
                    done += put;
                    if put < wanted || offset.is_none() {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

fn host_read(fd: BorrowedFd<'_>, pieces: &mut Pieces<'_>, offset: Option<u64>) -> Result<usize, Errno> {
    match offset {
        Some(offset) => preadv(fd, pieces, offset, 0),
        None => readv(fd, pieces),
    }
    .map_err(host_errno)
}

impl MemoryManager {
    /// How many of the bytes at `addr` can be accessed, each page made ready for it.
    fn probe(&self, addr: UserAddr, len: usize, need: Need) -> usize {
        self.each_run(addr, len as u64, need, |_, _, _| Ok(())) as usize
    }

    /// Copies from a memory file (that of the sandbox) to guest memory.
    fn put_memory(&self, addr: UserAddr, memory: &MemoryFile, offset: u64, len: u64) -> u64 {
        self.each_run(addr, len, Need::Write, |place, len, done| match place {
            Place::Memory(to) if std::ptr::eq(memory, &*self.memory) => memory.copy(offset + done, *to, len),
            place => through_pages(len, |at, page| {
                memory.read(offset + done + at, page)?;
                match place {
                    Place::Memory(to) => self.memory.write(to + at, page),
                    Place::Host(file, to) => file.write(to + at, page),
                }
            }),
        })
    }

    /// Copies from guest memory to a memory file.
    fn take_memory(&self, addr: UserAddr, memory: &MemoryFile, offset: u64, len: u64) -> u64 {
        self.each_run(addr, len, Need::Read, |place, len, done| match place {
            Place::Memory(from) if std::ptr::eq(memory, &*self.memory) => {
                memory.copy(*from, offset + done, len)
            }
            place => through_pages(len, |at, page| {
                match place {
                    Place::Memory(from) => self.memory.read(from + at, page),
                    Place::Host(file, from) => file.read(from + at, page),
                }?;
                memory.write(offset + done + at, page)
            }),
        })
    }
}

/// `len` bytes through a buffer of a page: `copy(offset, buffer)`.
fn through_pages(
    len: u64,
    mut copy: impl FnMut(u64, &mut [u8]) -> Result<(), CopyFault>,
) -> Result<(), CopyFault> {
    let mut page = [0; 4096];
    let mut at = 0;
    while at < len {
        let step = (len - at).min(page.len() as u64);
        copy(at, &mut page[..step as usize])?;
        at += step;
    }
    Ok(())
}
