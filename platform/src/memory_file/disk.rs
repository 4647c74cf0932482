//! A memory file that is a file on a disk of the host: what a sandbox keeps there takes no memory that the host could not
//! get back by writing it out.
//!
//! The host gives room at the first write, and a write through a mapping for which there is none is a SIGBUS. So whoever
//! makes pages part of a file has [`reserve`](MemoryFile::reserve)d room before.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use host::memory::SharedMapping;
use rustix::fs::{FallocateFlags, FileType};
use rustix::io::Errno;

use super::{Frames, MemoryFile, PAGE_SIZE};
use crate::host_file::HostFile;

/// Sizes of the offset space, best first: file systems have limits of their own (ext4 16 TiB less a block).
const SIZES: [u64; 3] = [8 << 40, 1 << 40, 64 << 30];

/// There is no room left on the host's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFull;

/// Room on the host's disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRoom {
    /// What the file system holds.
    pub total: u64,
    /// What an ordinary user may still use of it.
    pub free: u64,
}

impl MemoryFile {
    /// A memory file in `fd`: an empty regular file, open for reading and writing, that nobody else has. Its file system
    /// has to know sparse files (EOPNOTSUPP).
    pub fn on_disk(fd: OwnedFd) -> io::Result<Arc<MemoryFile>> {
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size != 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let window = largest_window(&fd, &SIZES)?;
        let twin = fd.as_fd().try_clone_to_owned()?;
        let file = Arc::new_cyclic(|this: &Weak<MemoryFile>| {
            let mapped = HostFile::counted(twin, Weak::clone(this));
            let size = window.len() as u64;
            MemoryFile { on_disk: Some(Arc::new(mapped)), ..MemoryFile::over(fd, None, size, window) }
        });
        // What is given out later must not be the first to find out.
        let first = Frames { offset: 0, len: PAGE_SIZE };
        file.allocate_on_host(first).and_then(|()| file.punch(first))?;
        Ok(file)
    }

    /// The file as guests map it, if it is on a disk. Its pages are mapped with a reference on each
    /// ([`HostFile::incref`]).
    pub fn mapped_as(&self) -> Option<&Arc<HostFile>> {
        self.on_disk.as_ref()
    }

    /// Makes sure that all pages of `frames` can be written: until they are released, or given back, the host has room for
    /// them. In memory nothing is to be done.
    pub fn reserve(&self, frames: Frames) -> Result<(), DiskFull> {
        match self.on_disk {
            None => Ok(()),
            Some(_) => self.allocate_on_host(frames).map_err(|error| {
                tracing::debug!(?frames, "no room on the disk of the host: {error}");
                DiskFull
            }),
        }
    }

    /// How much the file system of the host holds that the file is on; `None` in memory.
    pub fn disk_room(&self) -> Option<DiskRoom> {
        self.on_disk.as_ref()?;
        let figures = rustix::fs::fstatvfs(&self.fd).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
        Some(DiskRoom { total: bytes(figures.f_blocks), free: bytes(figures.f_bavail) })
    }

    fn allocate_on_host(&self, frames: Frames) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.fd, FallocateFlags::KEEP_SIZE, frames.offset, frames.len) {
                Err(Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }
}

/// The whole of a file in one mapping, the largest that there can be.
pub(super) fn largest_window(fd: &OwnedFd, sizes: &[u64]) -> io::Result<SharedMapping> {
    usercopy::install()?;
    let mut failure = io::Error::from_raw_os_error(libc::ENOMEM);
    for &size in sizes {
        let made = rustix::fs::ftruncate(fd, size)
            .map_err(io::Error::from)
            .and_then(|()| SharedMapping::new(fd, 0, size as usize, true));
        match made {
            Ok(window) => return Ok(window),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
