//! Reads and writes between an fd and memory to which no Rust reference may exist (guest memory).

use std::io::{IoSlice, IoSliceMut, Result};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};

use crate::check;

/// Pieces on the list itself; longer lists spill into a heap vector.
const INLINE: usize = 8;

/// The most pieces that one host call takes.
pub const IOV_MAX: usize = 1024;

/// A list of memory pieces for one host call: the host copies straight from or to them. Guests may change that
/// memory at any time, and the host answers EFAULT where it is not backed.
///
/// Lists are made by the memory file (see `platform::MemoryFile::pieces`), and from ordinary slices.
#[derive(Debug)]
pub struct Pieces<'a> {
    inline: [libc::iovec; INLINE],
    /// All of them, once there are more than fit inline.
    spill: Vec<libc::iovec>,
    len: usize,
    bytes: usize,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Pieces<'a> {
    /// An empty list.
    pub fn new() -> Pieces<'a> {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Pieces { inline: [empty; INLINE], spill: Vec::new(), len: 0, bytes: 0, memory: PhantomData }
    }

    /// Ordinary memory to write from.
    pub fn from_slices(slices: &'a [IoSlice<'a>]) -> ReadOnlyPieces<'a> {
        let mut pieces = Pieces::new();
        for slice in slices {
            pieces.add(slice.as_ptr().cast_mut(), slice.len());
        }
        ReadOnlyPieces(pieces)
    }

    /// Ordinary memory to read into.
    pub fn from_slices_mut(slices: &'a mut [IoSliceMut<'_>]) -> Pieces<'a> {
        let mut pieces = Pieces::new();
        for slice in slices {
            pieces.add(slice.as_mut_ptr(), slice.len());
        }
        pieces
    }

    /// Adds a piece; one that continues the last piece is merged with it.
    ///
    /// # Safety
    ///
    /// For `'a`, the addresses stay reserved for memory that the host may read and write at any time: no Rust
    /// reference to it exists, and nothing that Rust owns is ever placed there.
    pub unsafe fn push(&mut self, at: *mut u8, len: usize) {
        self.add(at, len);
    }

    fn add(&mut self, at: *mut u8, len: usize) {
        if len == 0 {
            return;
        }
        self.bytes = self.bytes.saturating_add(len);
        if let Some(last) = self.last_mut()
            && last.iov_base.cast::<u8>().wrapping_add(last.iov_len) == at
        {
            last.iov_len += len;
            return;
        }
        let piece = libc::iovec { iov_base: at.cast(), iov_len: len };
        if self.len < INLINE {
            self.inline[self.len] = piece;
        } else {
            if self.spill.is_empty() {
                self.spill.extend_from_slice(&self.inline);
            }
            self.spill.push(piece);
        }
        self.len += 1;
    }

    fn last_mut(&mut self) -> Option<&mut libc::iovec> {
        match self.spill.is_empty() {
            true => self.inline[..self.len].last_mut(),
            false => self.spill.last_mut(),
        }
    }

    fn as_iovecs(&self) -> &[libc::iovec] {
        if self.spill.is_empty() { &self.inline[..self.len] } else { &self.spill }
    }

    /// Number of bytes in all pieces.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of pieces; above [`IOV_MAX`] only that many are used by one call.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no piece.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For a call that may not change the memory.
    pub fn read_only(self) -> ReadOnlyPieces<'a> {
        ReadOnlyPieces(self)
    }

    pub(crate) fn raw(&self) -> (*const libc::iovec, usize) {
        let all = self.as_iovecs();
        (all.as_ptr(), all.len().min(IOV_MAX))
    }
}

impl Default for Pieces<'_> {
    fn default() -> Self {
        Pieces::new()
    }
}

/// [`Pieces`] that may only be written from.
#[derive(Debug)]
pub struct ReadOnlyPieces<'a>(Pieces<'a>);

impl ReadOnlyPieces<'_> {
    pub(crate) fn raw(&self) -> (*const libc::iovec, usize) {
        self.0.raw()
    }

    /// Number of bytes in all pieces.
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }
}

/// readv(2): from the file's position.
pub fn readv(fd: impl AsFd, pieces: &mut Pieces<'_>) -> Result<usize> {
    let (iov, count) = pieces.raw();
    // SAFETY: the pieces may be written at any time (see `Pieces::push`).
    let done = check(unsafe { libc::readv(fd.as_fd().as_raw_fd(), iov, count as i32) } as libc::c_long)?;
    Ok(done as usize)
}

/// writev(2): at the file's position.
pub fn writev(fd: impl AsFd, pieces: &ReadOnlyPieces<'_>) -> Result<usize> {
    let (iov, count) = pieces.raw();
    // SAFETY: the pieces may be read at any time (see `Pieces::push`).
    let done = check(unsafe { libc::writev(fd.as_fd().as_raw_fd(), iov, count as i32) } as libc::c_long)?;
    Ok(done as usize)
}

/// preadv2(2): `flags` are `RWF_*`.
pub fn preadv(fd: impl AsFd, pieces: &mut Pieces<'_>, offset: u64, flags: i32) -> Result<usize> {
    let (iov, count) = pieces.raw();
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the pieces may be written at any time (see `Pieces::push`).
    let done = check(unsafe { libc::preadv2(fd, iov, count as i32, offset as i64, flags) } as libc::c_long)?;
    Ok(done as usize)
}

/// pwritev2(2): `flags` are `RWF_*`.
pub fn pwritev(fd: impl AsFd, pieces: &ReadOnlyPieces<'_>, offset: u64, flags: i32) -> Result<usize> {
    let (iov, count) = pieces.raw();
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the pieces may be read at any time (see `Pieces::push`).
    let done = check(unsafe { libc::pwritev2(fd, iov, count as i32, offset as i64, flags) } as libc::c_long)?;
    Ok(done as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn pieces_merge_and_spill() {
        let mut bytes = [0u8; 100];
        let base = bytes.as_mut_ptr();
        let mut pieces = Pieces::new();
        for i in 0..20 {
            // SAFETY: inside the array, which outlives the list and has no other user.
            unsafe { pieces.push(base.wrapping_add(i * 4), 2) };
        }
        assert_eq!((pieces.len(), pieces.bytes()), (20, 40));
        // SAFETY: as above.
        unsafe { pieces.push(base.wrapping_add(78), 3) };
        assert_eq!((pieces.len(), pieces.bytes()), (20, 43));
    }

    #[test]
    fn scattered_read_and_gathered_write() {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(b"abcdefghij").expect("write");
        let (mut a, mut b) = ([0u8; 3], [0u8; 20]);
        let mut slices = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(preadv(&file, &mut Pieces::from_slices_mut(&mut slices), 1, 0).expect("preadv"), 9);
        assert_eq!((&a, &b[..6]), (b"bcd", &b"efghij"[..]));
        let slices = [IoSlice::new(b"XY"), IoSlice::new(b"Z")];
        assert_eq!(pwritev(&file, &Pieces::from_slices(&slices), 4, 0).expect("pwritev"), 3);
        file.rewind().expect("rewind");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "abcdXYZhij");
    }
}
