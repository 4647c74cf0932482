//! What /proc/PID/maps, smaps and status show.

use std::ops::Range;
use std::sync::Arc;

use platform::Prot;

use super::MemoryManager;
use super::vma::{MapName, Source, VmaFlags};

/// One line of /proc/PID/maps.
#[derive(Clone)]
pub struct MapsLine {
    /// Addresses.
    pub range: Range<u64>,
    /// Protection.
    pub prot: Prot,
    /// What mprotect may give.
    pub max_prot: Prot,
    /// Whether writes are shared, and all else that smaps shows as VmFlags.
    pub flags: VmaFlags,
    /// Offset in the file, 0 for anonymous memory.
    pub offset: u64,
    /// Number of the file's device, 0 without a file.
    pub device: u64,
    /// Number of the file's inode, 0 without a file.
    pub inode: u64,
    /// The name, which may take a look at the file system: ask without a lock held.
    pub name: LineName,
}

/// The last column.
#[derive(Clone)]
pub enum LineName {
    /// Of the mapping.
    Mapping(MapName),
    /// PR_SET_VMA_ANON_NAME: `[anon:name]`.
    Anonymous(Arc<[u8]>),
    /// The same of shared memory: `[anon_shmem:name]`.
    SharedAnonymous(Arc<[u8]>),
    /// The heap.
    Heap,
    /// The first thread's stack.
    Stack,
}

impl LineName {
    /// As text; empty for none.
    pub fn text(&self) -> Vec<u8> {
        match self {
            LineName::Mapping(MapName::None) => Vec::new(),
            LineName::Mapping(MapName::Fixed(name)) => name.as_bytes().to_vec(),
            LineName::Mapping(MapName::File(file)) => file.path(),
            LineName::Anonymous(name) => [b"[anon:", &name[..], b"]"].concat(),
            LineName::SharedAnonymous(name) => [b"[anon_shmem:", &name[..], b"]"].concat(),
            LineName::Heap => b"[heap]".to_vec(),
            LineName::Stack => b"[stack]".to_vec(),
        }
    }
}

impl MemoryManager {
    /// All mappings, in order.
    pub fn maps(&self) -> Vec<MapsLine> {
        let inner = self.inner.read();
        let layout = &inner.layout;
        let line = |(range, vma): (Range<u64>, &super::vma::Vma)| {
            let (device, inode) = match &vma.source {
                // What was opened, not the layer below that holds the bytes.
                Source::File { name: MapName::File(opened), .. } => opened.device_and_inode(),
                _ => vma.file().map_or((0, 0), |file| file.device_and_inode()),
            };
            let is_heap =
                range.start < layout.brk && range.end > layout.start_brk && layout.brk > layout.start_brk;
            let is_stack = range.contains(&layout.start_stack);
            let name = match (&vma.source, &vma.anon_name) {
                (Source::File { .. }, Some(name)) => LineName::SharedAnonymous(Arc::clone(name)),
                (Source::File { name, .. }, None) => LineName::Mapping(name.clone()),
                (Source::Anonymous, _) if is_heap => LineName::Heap,
                (Source::Anonymous, _) if is_stack => LineName::Stack,
                (Source::Anonymous, Some(name)) => LineName::Anonymous(Arc::clone(name)),
                (Source::Anonymous, None) => LineName::Mapping(MapName::None),
            };
            let (prot, max_prot, flags) = (vma.prot, vma.max_prot, vma.flags);
            MapsLine { range, prot, max_prot, flags, offset: vma.offset, device, inode, name }
        };
        inner.vmas.iter().map(line).collect()
    }
}
