//! A mapping: what the guest asked for over a range of addresses.

use std::any::Any;
use std::sync::Arc;

use bitflags::bitflags;
use platform::Prot;

use super::mappable::Mappable;
use super::numa::Policy;
use super::ranges::Piece;

/// The name that /proc/PID/maps shows for a mapping.
#[derive(Clone, Default)]
pub enum MapName {
    /// None.
    #[default]
    None,
    /// Fixed: `[vdso]`, `/dev/zero (deleted)` …
    Fixed(&'static str),
    /// That of an open file, which the mapping keeps open.
    File(Arc<dyn MappedFile>),
}

/// An open file that a mapping holds.
pub trait MappedFile: Any + Send + Sync {
    /// Its path as /proc/PID/maps shows it now.
    fn path(&self) -> Vec<u8>;
    /// Device and inode number, as stat(2) tells them.
    fn device_and_inode(&self) -> (u64, u64);
}

impl MapName {
    fn same(&self, other: &MapName) -> bool {
        match (self, other) {
            (MapName::None, MapName::None) => true,
            (MapName::Fixed(a), MapName::Fixed(b)) => a == b,
            (MapName::File(a), MapName::File(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

bitflags! {
    /// What a mapping is, besides its protection (`VM_*` of Linux).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct VmaFlags: u32 {
        /// Writes are seen by others.
        const SHARED = 1 << 0;
        /// Grows to lower addresses when touched below.
        const GROWSDOWN = 1 << 1;
        /// Counted against RLIMIT_MEMLOCK.
        const LOCKED = 1 << 2;
        /// Locked, but not populated.
        const LOCKONFAULT = 1 << 3;
        /// MADV_DONTFORK: a child does not have it.
        const DONTFORK = 1 << 4;
        /// MADV_WIPEONFORK: a child sees zero pages.
        const WIPEONFORK = 1 << 5;
        /// MADV_DONTDUMP: not in core dumps.
        const DONTDUMP = 1 << 6;
        /// MAP_NORESERVE.
        const NORESERVE = 1 << 7;
        /// mremap may not make it longer.
        const DONTEXPAND = 1 << 8;
        /// Not memory of the guest (vvar): ptrace and /proc/PID/mem may not touch it.
        const IO = 1 << 9;
        /// MADV_SEQUENTIAL.
        const SEQUENTIAL = 1 << 10;
        /// MADV_RANDOM.
        const RANDOM = 1 << 11;
        /// MADV_HUGEPAGE.
        const HUGEPAGE = 1 << 12;
        /// MADV_NOHUGEPAGE.
        const NOHUGEPAGE = 1 << 13;
        /// MADV_MERGEABLE.
        const MERGEABLE = 1 << 14;
        /// Made with pages of the kernel's own (vdso): not part of the data limits.
        const SPECIAL = 1 << 15;
    }
}

/// The name of shared anonymous memory, as on Linux.
pub(super) const SHARED_ANONYMOUS: &str = "/dev/zero (deleted)";

/// Where the bytes of a mapping come from.
#[derive(Clone)]
pub(super) enum Source {
    /// Zero-filled private memory.
    Anonymous,
    /// A file, or an object that behaves as one: shared anonymous memory, System V segments, the vdso.
    File { file: Arc<dyn Mappable>, name: MapName },
}

/// One mapping. Its range is kept by the [`Ranges`](super::ranges::Ranges) that holds it.
#[derive(Clone)]
pub(super) struct Vma {
    pub prot: Prot,
    /// What mprotect may give (`VM_MAY*`).
    pub max_prot: Prot,
    pub flags: VmaFlags,
    pub source: Source,
    /// Offset in the file of the first byte; unused for anonymous memory.
    pub offset: u64,
    /// PR_SET_VMA_ANON_NAME.
    pub anon_name: Option<Arc<[u8]>>,
    /// mbind.
    pub policy: Policy,
}

impl Vma {
    pub fn is_shared(&self) -> bool {
        self.flags.contains(VmaFlags::SHARED)
    }

    pub fn is_anonymous(&self) -> bool {
        matches!(self.source, Source::Anonymous)
    }

    /// MAP_SHARED | MAP_ANONYMOUS.
    pub fn is_shared_anonymous(&self) -> bool {
        matches!(&self.source, Source::File { name: MapName::Fixed(name), .. } if *name == SHARED_ANONYMOUS)
    }

    pub fn file(&self) -> Option<&Arc<dyn Mappable>> {
        match &self.source {
            Source::Anonymous => None,
            Source::File { file, .. } => Some(file),
        }
    }

    /// Private and possibly written: copied, not shared, by fork (`is_cow_mapping`).
    pub fn may_be_private(&self) -> bool {
        !self.is_shared() && self.max_prot.contains(Prot::WRITE)
    }

    /// Counts as data (RLIMIT_DATA): private, writable, no stack.
    pub fn is_data(&self) -> bool {
        let excluded = VmaFlags::SHARED | VmaFlags::GROWSDOWN;
        self.prot.contains(Prot::WRITE) && !self.flags.intersects(excluded)
    }

    /// Counts as code: executable, not writable, no stack.
    pub fn is_code(&self) -> bool {
        self.prot.contains(Prot::EXEC)
            && !self.prot.contains(Prot::WRITE)
            && !self.flags.contains(VmaFlags::GROWSDOWN)
    }

    pub fn is_stack(&self) -> bool {
        self.flags.contains(VmaFlags::GROWSDOWN)
    }

    /// Whether the two have the same source, without regard to offsets.
    pub fn same_source(&self, other: &Vma) -> bool {
        match (&self.source, &other.source) {
            (Source::Anonymous, Source::Anonymous) => true,
            (Source::File { file: a, name: an }, Source::File { file: b, name: bn }) => {
                Arc::ptr_eq(a, b) && an.same(bn)
            }
            _ => false,
        }
    }
}

impl Piece for Vma {
    fn advance(&mut self, bytes: u64) {
        if !self.is_anonymous() {
            self.offset += bytes;
        }
    }

    fn continued_by(&self, len: u64, next: &Self) -> bool {
        self.prot == next.prot
            && self.max_prot == next.max_prot
            && self.flags == next.flags
            && self.same_source(next)
            && (self.is_anonymous() || self.offset.checked_add(len) == Some(next.offset))
            && self.anon_name == next.anon_name
            && self.policy == next.policy
    }
}
