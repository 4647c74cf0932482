//! A donated host file: an fd that came from the Gofer (or was inherited), with windows through which the Sentry
//! copies from the pages that guests have mapped.

use std::os::fd::OwnedFd;

use crate::memory_file::CopyFault;

/// An open host file that can be mapped into guests.
#[derive(Debug)]
pub struct HostFile {
    fd: OwnedFd,
    writable: bool,
}

impl HostFile {
    /// Takes over `fd`. `writable`: shared mappings may be written.
    pub fn new(fd: OwnedFd, writable: bool) -> HostFile {
        HostFile { fd, writable }
    }
    /// The fd, for host calls.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }
    /// Whether shared mappings may be written.
    pub fn writable(&self) -> bool {
        self.writable
    }
    /// Copies from the file's pages (a mapping, not a read): behind the last page it is a fault.
    pub fn read(&self, _offset: u64, _dst: &mut [u8]) -> Result<(), CopyFault> {
        Err(CopyFault)
    }
    /// Copies into the file's pages through a shared mapping.
    pub fn write(&self, _offset: u64, _src: &[u8]) -> Result<(), CopyFault> {
        Err(CopyFault)
    }
    /// Atomic load of an aligned word (futex).
    pub fn load_u32(&self, _offset: u64) -> Result<u32, CopyFault> {
        Err(CopyFault)
    }
    /// Atomic compare and exchange of an aligned word, as [`MemoryFile::compare_exchange_u32`].
    ///
    /// [`MemoryFile::compare_exchange_u32`]: crate::memory_file::MemoryFile::compare_exchange_u32
    pub fn compare_exchange_u32(
        &self,
        _offset: u64,
        _current: u32,
        _new: u32,
    ) -> Result<Result<u32, u32>, CopyFault> {
        Err(CopyFault)
    }
}
