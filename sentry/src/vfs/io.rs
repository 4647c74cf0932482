//! Where the bytes of a read go and where those of a write come from.
//!
//! File operations never see guest addresses: they are handed a sink or a source. The ones over guest memory
//! (`mm::UserSink`, `mm::UserSource`) copy straight into the guest's pages and can let the host read or write them in
//! place; the ones here are for the kernel's own buffers.

use std::os::fd::BorrowedFd;

use abi::Errno;

/// A place that takes bytes, of a length fixed at the start.
pub trait IoSink {
    /// How many bytes it still takes.
    fn remaining(&self) -> usize;

    /// Whether every piece of it is of so many times `block` bytes, on an address that is a multiple of `word`.
    fn lies_on(&self, word: u64, block: u64) -> bool {
        let _ = word;
        (self.remaining() as u64).is_multiple_of(block)
    }

    /// Takes the first `min(bytes.len(), remaining())` bytes and says how many. EFAULT when not a single byte could
    /// be stored; fewer than asked when a fault came later. Zero only when nothing was asked or nothing remains.
    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno>;

    /// `len` zero bytes, as [`put`](Self::put).
    fn put_zeros(&mut self, len: usize) -> Result<usize, Errno> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut done = 0;
        while done < len && self.remaining() > 0 {
            match self.put(&ZEROS[..(len - done).min(ZEROS.len())]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Takes up to `len` bytes out of the memory file at `offset` (a tmpfs page).
    fn put_memory(&mut self, memory: &platform::MemoryFile, offset: u64, len: usize) -> Result<usize, Errno> {
        let mut buffer = [0u8; 4096];
        let mut done = 0;
        while done < len && self.remaining() > 0 {
            let n = (len - done).min(buffer.len()).min(self.remaining());
            memory.read(offset + done as u64, &mut buffer[..n]).map_err(|_| Errno::EIO)?;
            match self.put(&buffer[..n]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Lets the host read up to `len` bytes from `fd` at `offset` (or at the fd's own position) into the sink; one
    /// host call when the sink can.
    fn put_from_host(&mut self, fd: BorrowedFd<'_>, offset: Option<u64>, len: usize) -> Result<usize, Errno>;
}

/// A place that gives bytes, of a length fixed at the start.
pub trait IoSource {
    /// How many bytes are left.
    fn remaining(&self) -> usize;

    /// As [`IoSink::lies_on`].
    fn lies_on(&self, word: u64, block: u64) -> bool {
        let _ = word;
        (self.remaining() as u64).is_multiple_of(block)
    }

    /// Fills `buffer` from the front with up to `min(buffer.len(), remaining())` bytes and says how many; errors as
    /// [`IoSink::put`].
    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Copies without advancing; for operations that must know whether the copy works before they commit.
    fn peek(&self, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Passes over bytes that were peeked.
    fn advance(&mut self, bytes: usize);

    /// Stores up to `len` bytes into the memory file at `offset` (a tmpfs page).
    fn take_to_memory(
        &mut self,
        memory: &platform::MemoryFile,
        offset: u64,
        len: usize,
    ) -> Result<usize, Errno> {
        let mut buffer = [0u8; 4096];
        let mut done = 0;
        while done < len && self.remaining() > 0 {
            let n = (len - done).min(buffer.len());
            match self.take(&mut buffer[..n]) {
                Ok(0) => break,
                Ok(n) => {
                    memory.write(offset + done as u64, &buffer[..n]).map_err(|_| Errno::EIO)?;
                    done += n;
                }
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Lets the host write up to `len` bytes to `fd` at `offset` (or at the fd's own position); one host call when
    /// the source can.
    fn take_to_host(&mut self, fd: BorrowedFd<'_>, offset: Option<u64>, len: usize) -> Result<usize, Errno>;
}

/// The guest's error number for an error of a host call on a file that stands behind a guest's file. Numbers that
/// Linux does not have are EIO.
pub fn host_errno(error: std::io::Error) -> Errno {
    error.raw_os_error().and_then(|e| Errno::new(e.unsigned_abs())).unwrap_or(Errno::EIO)
}

/// A sink over a kernel buffer.
pub struct BufSink<'a> {
    buffer: &'a mut [u8],
    done: usize,
}

impl<'a> BufSink<'a> {
    /// Fills `buffer` from the front.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        BufSink { buffer, done: 0 }
    }
    /// Bytes stored so far.
    pub fn done(&self) -> usize {
        self.done
    }
}

impl IoSink for BufSink<'_> {
    fn remaining(&self) -> usize {
        self.buffer.len() - self.done
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let n = bytes.len().min(self.remaining());
        self.buffer[self.done..self.done + n].copy_from_slice(&bytes[..n]);
        self.done += n;
        Ok(n)
    }

    fn put_from_host(&mut self, fd: BorrowedFd<'_>, offset: Option<u64>, len: usize) -> Result<usize, Errno> {
        let n = len.min(self.remaining());
        let buffer = &mut self.buffer[self.done..self.done + n];
        let slices = &mut [std::io::IoSliceMut::new(buffer)];
        let mut pieces = host::io::Pieces::from_slices_mut(slices);
        let n = match offset {
            Some(offset) => host::io::preadv(fd, &mut pieces, offset, 0),
            None => host::io::readv(fd, &mut pieces),
        };
        let n = n.map_err(host_errno)?;
        self.done += n;
        Ok(n)
    }
}

/// A source over a kernel buffer.
pub struct BufSource<'a> {
    bytes: &'a [u8],
}

impl<'a> BufSource<'a> {
    /// Gives `bytes` from the front.
    pub fn new(bytes: &'a [u8]) -> Self {
        BufSource { bytes }
    }
}

impl IoSource for BufSource<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let n = self.peek(buffer)?;
        self.advance(n);
        Ok(n)
    }

    fn peek(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let n = buffer.len().min(self.bytes.len());
        buffer[..n].copy_from_slice(&self.bytes[..n]);
        Ok(n)
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes = &self.bytes[bytes.min(self.bytes.len())..];
    }

    fn take_to_host(&mut self, fd: BorrowedFd<'_>, offset: Option<u64>, len: usize) -> Result<usize, Errno> {
        let n = len.min(self.bytes.len());
        let slices = &[std::io::IoSlice::new(&self.bytes[..n])];
        let pieces = host::io::Pieces::from_slices(slices);
        let n = match offset {
            Some(offset) => host::io::pwritev(fd, &pieces, offset, 0),
            None => host::io::writev(fd, &pieces),
        };
        let n = n.map_err(host_errno)?;
        self.advance(n);
        Ok(n)
    }
}
