//! What can be mapped: files as the memory manager sees them.

use std::sync::Arc;

use abi::Errno;
use platform::{Frames, HostFile, MemoryFile, Prot};

/// Where the bytes of a mapped file are.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the memory file, from this offset. The mapping takes a reference on each page while it is mapped.
    Memory(u64),
    /// In a donated host file, from this offset. If its pages are counted, likewise.
    Host(Arc<HostFile>, u64),
}

impl Place {
    /// One more reference on each of `len` bytes' pages, where they are counted. `memory`: the memory file.
    pub(super) fn incref(&self, memory: &MemoryFile, len: u64) {
        match *self {
            Place::Memory(offset) => memory.incref(Frames { offset, len }),
            Place::Host(ref file, offset) => file.incref(Frames { offset, len }),
        }
    }

    /// One reference less, likewise.
    pub(super) fn decref(&self, memory: &MemoryFile, len: u64) {
        match *self {
            Place::Memory(offset) => memory.decref(Frames { offset, len }),
            Place::Host(ref file, offset) => file.decref(Frames { offset, len }),
        }
    }

    /// What lies `bytes` behind its start.
    pub(super) fn behind(&self, bytes: u64) -> Place {
        match self {
            Place::Memory(offset) => Place::Memory(offset + bytes),
            Place::Host(file, offset) => Place::Host(Arc::clone(file), offset + bytes),
        }
    }
}

/// A run of bytes that lie together.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where it starts.
    pub place: Place,
    /// Bytes, a page multiple, at most what was asked for.
    pub len: u64,
}

/// A file that can be mapped (inode, not open file: one per file contents).
pub trait Mappable: Send + Sync {
    /// Where the contents from page-aligned `offset` on are, at most `len` bytes: the longest run that lies together.
    /// Pages that do not exist yet (holes of a tmpfs file) are made. Past the last page of the file:
    /// `Err(Errno::EFAULT)`, which is SIGBUS for the guest. `write`: a shared mapping is about to be written.
    /// Where pages are counted, a reference is taken on each for the caller, who gives it back.
    fn translate(&self, offset: u64, len: u64, write: bool) -> Result<Run, Errno>;

    /// Whether somebody may write the file while it is mapped. If so, private mappings copy a page at a time when they are
    /// written, as the pages around go on following the file; if not, more at once.
    fn may_change(&self) -> bool {
        true
    }

    /// Whether its pages are looked up when it is mapped, all in one run, and not when they are touched.
    fn is_eager(&self) -> bool {
        self.mappings().is_none()
    }

    /// The list of mappings that truncation has to visit; `None` when it can't be truncated, or only the host does that.
    fn mappings(&self) -> Option<&super::FileMappings> {
        None
    }

    /// Flushes `[offset, offset + len)` (msync with MS_SYNC).
    fn sync(&self, offset: u64, len: u64) -> Result<(), Errno>;

    /// Asked for each mapping with `prot`: what mprotect may give it later at most. EPERM: seals forbid it.
    fn may_map(&self, _shared: bool, _prot: Prot) -> Result<Prot, Errno> {
        Ok(Prot::all())
    }

    /// Makes `[offset, offset + len)` (page multiples) read as zero and gives the memory back (MADV_REMOVE).
    fn punch_hole(&self, _offset: u64, _len: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Whether it is /dev/zero: mapping that makes anonymous memory, which is nobody else's.
    fn is_zero_device(&self) -> bool {
        false
    }

    /// Bytes of a System V segment, which shmdt(2) takes away as a whole; `None` for all else.
    fn segment_size(&self) -> Option<u64> {
        None
    }

    /// A mapping of it goes, for this process (shmdt(2), munmap(2), the end of the memory).
    fn segment_detached(&self, _process: crate::task::PidTrace) {}

    /// st_dev and st_ino, for /proc/PID/maps and shared futex keys. Stable for the life of the file.
    fn device_and_inode(&self) -> (u64, u64);

    /// Identity for shared futexes: different for each file object in the sandbox.
    fn futex_id(&self) -> u64;
}
