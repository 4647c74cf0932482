//! Tests of address spaces, over a platform that is a table.

mod basics;
mod calls;
mod model;
mod space;
mod threads;

use std::sync::Arc;

use abi::Errno;
use abi::mman::MapFlags;
use platform::{HostFile, Prot};

use super::vma::MapName;
use super::*;

const RW: Prot = Prot::READ.union(Prot::WRITE);

fn new_mm() -> Arc<MemoryManager> {
    MemoryManager::new(&space::platform()).expect("address space")
}

fn request(len: u64, prot: Prot, flags: MapFlags) -> MapRequest {
    MapRequest {
        addr: UserAddr::NULL,
        len,
        prot,
        flags,
        backing: MapBacking::Anonymous,
        limits: MmLimits::UNLIMITED,
    }
}

fn anonymous(mm: &MemoryManager, pages: u64, prot: Prot) -> u64 {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    mm.mmap(request(pages * PAGE, prot, flags)).expect("mmap").0
}

/// A host file, as the gofer gives them.
struct TestFile {
    host: Arc<HostFile>,
    may_change: bool,
    id: u64,
}

impl TestFile {
    /// `pages` pages, each filled with its number and one more.
    fn new(pages: u64) -> Arc<TestFile> {
        Self::with(pages, false)
    }

    fn with(pages: u64, may_change: bool) -> Arc<TestFile> {
        use std::io::Write;
        let mut file = tempfile::tempfile().expect("file");
        for page in 0..pages {
            file.write_all(&[page as u8 + 1; PAGE as usize]).expect("write");
        }
        let host = Arc::new(HostFile::new(file.into(), true));
        Arc::new(TestFile { host, may_change, id: shmem::next_futex_id() })
    }
}

impl Mappable for TestFile {
    fn translate(&self, offset: u64, len: u64, _write: bool) -> Result<Run, Errno> {
        Ok(Run { place: Place::Host(Arc::clone(&self.host), offset), len })
    }
    fn sync(&self, _offset: u64, _len: u64) -> Result<(), Errno> {
        Ok(())
    }
    fn may_change(&self) -> bool {
        self.may_change
    }
    fn device_and_inode(&self) -> (u64, u64) {
        (8, self.id)
    }
    fn futex_id(&self) -> u64 {
        self.id
    }
}

fn map_file(mm: &MemoryManager, file: &Arc<TestFile>, pages: u64, prot: Prot, flags: MapFlags) -> u64 {
    let backing = MapBacking::File {
        file: Arc::clone(file) as Arc<dyn Mappable>,
        offset: 0,
        max_prot: Prot::all(),
        name: MapName::None,
    };
    mm.mmap(MapRequest { backing, ..request(pages * PAGE, prot, flags) }).expect("mmap").0
}
