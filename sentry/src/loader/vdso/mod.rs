//! The vDSO (vdso(7)): an ELF object that is mapped into every program, with the page of clock values in front of it, and
//! in front of that the page of the program's CPU numbers.
//!
//! The object is built from `vdso.s` by `build.rs`. Its one copy, and the one page of values, lie in the memory file and
//! are mapped read-only everywhere. The page of CPU numbers is the address space's own ([`CpuTable`]).

use std::sync::Arc;

use abi::Errno;
use abi::mman::MapFlags;
use platform::{MemoryFile, Prot};

use super::elf::request;
use crate::Kernel;
use crate::mm::{CpuTable, MapBacking, Mappable, MemoryManager, PAGE, Shmem, UserAddr, VmaFlags};

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so"));

/// RDFSBASE may be used (asm/hwcap2.h).
const HWCAP2_FSGSBASE: u64 = 2;

/// Where the page of values says so; the rest of it is in `time/vdso_clock.rs`.
const MAY_READ_BASE: u64 = 48;

/// The pages that every program shares.
pub struct Vdso {
    values: Arc<Shmem>,
    code: Arc<Shmem>,
}

impl Vdso {
    /// Puts the object into the memory file. The clock in it can't be used until somebody writes its values, CPU numbers
    /// where programs can read the base of their FS segment.
    pub fn new(memory: &Arc<MemoryFile>) -> Result<Vdso, Errno> {
        let code = Shmem::new(memory, OBJECT.len() as u64)?;
        memory.write(code.frames().offset, OBJECT).map_err(|_| Errno::EIO)?;
        let values = Shmem::new(memory, PAGE)?;
        let (_, hwcap2) = host::process::hardware_capabilities();
        let may_read_base = u64::from(hwcap2 & HWCAP2_FSGSBASE != 0);
        let at = values.frames().offset + MAY_READ_BASE;
        memory.write(at, &may_read_base.to_ne_bytes()).map_err(|_| Errno::EIO)?;
        Ok(Vdso { values, code })
    }

    /// Where the page of values lies in the memory file.
    pub fn values_offset(&self) -> u64 {
        self.values.frames().offset
    }
}

/// Maps the vDSO and gives its address.
pub(super) fn map(mm: &MemoryManager, kernel: &Arc<Kernel>) -> Result<u64, Errno> {
    let vdso = &kernel.vdso;
    let len = vdso.code.size();
    let none = MapBacking::Anonymous;
    let at = mm.mmap(request(UserAddr::NULL, 2 * PAGE + len, Prot::empty(), MapFlags::PRIVATE, none))?;
    let fixed = MapFlags::PRIVATE | MapFlags::FIXED;
    let variables = |pages: &Arc<Shmem>| MapBacking::Special {
        pages: Arc::clone(pages) as Arc<dyn Mappable>,
        max_prot: Prot::READ,
        name: "[vvar]",
        flags: VmaFlags::IO | VmaFlags::DONTDUMP,
    };
    let table = CpuTable::new(kernel.platform.memory())?;
    mm.mmap(request(at, PAGE, Prot::READ, fixed, variables(table.page())))?;
    mm.set_cpu_table(table);
    let at = at.add(PAGE)?;
    mm.mmap(request(at, PAGE, Prot::READ, fixed, variables(&vdso.values)))?;
    let code = MapBacking::Special {
        pages: Arc::clone(&vdso.code) as Arc<dyn Mappable>,
        max_prot: Prot::READ | Prot::WRITE | Prot::EXEC,
        name: "[vdso]",
        flags: VmaFlags::empty(),
    };
    let code_at = at.add(PAGE)?;
    mm.mmap(request(code_at, len, Prot::READ | Prot::EXEC, fixed, code))?;
    Ok(code_at.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_an_elf_file_of_one_page_or_so() {
        assert_eq!(&OBJECT[..4], b"\x7fELF");
        assert!(OBJECT.len() <= 2 * PAGE as usize, "{} bytes", OBJECT.len());
        for name in
            ["__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu", "LINUX_2.6"]
        {
            assert!(OBJECT.windows(name.len()).any(|w| w == name.as_bytes()), "{name}");
        }
    }
}
