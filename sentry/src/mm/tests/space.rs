//! A guest that touches the address space of the mock platform.

use std::sync::Arc;

use platform::mock::{MockPlatform, MockSpace, Shown};
use platform::{Access, Platform, Trap};

use super::super::pma::Pma;
use super::super::{FaultSignal, MemoryManager, Place};

/// The platform.
pub fn platform() -> Arc<dyn Platform> {
    Arc::new(MockPlatform::new())
}

/// The test's side of an address space.
pub fn mock(mm: &MemoryManager) -> &MockSpace {
    mm.space().as_any().downcast_ref().expect("a mock space")
}

fn same(a: &Shown, b: &Shown) -> bool {
    match (a, b) {
        (Shown::Memory(a), Shown::Memory(b)) => a == b,
        (Shown::File(f, a), Shown::File(g, b)) => Arc::ptr_eq(f, g) && a == b,
        _ => false,
    }
}

fn advanced(shown: &Shown, bytes: u64) -> Shown {
    match shown {
        Shown::Memory(offset) => Shown::Memory(offset + bytes),
        Shown::File(file, offset) => Shown::File(Arc::clone(file), offset + bytes),
    }
}

/// How many host mappings there are, neighbours that continue each other joined.
pub fn host_mappings(mm: &MemoryManager) -> usize {
    let all = mock(mm).mappings();
    let breaks = all.windows(2).filter(|pair| {
        let (a, b) = (&pair[0], &pair[1]);
        let next = advanced(&a.shown, a.range.end - a.range.start);
        a.range.end != b.range.start || a.prot != b.prot || !same(&next, &b.shown)
    });
    breaks.count() + usize::from(!all.is_empty())
}

/// Whether the page at `addr` is shown as `pma` (cut to that page) says, or not at all without one.
pub fn shows(mm: &MemoryManager, addr: u64, pma: Option<&Pma>) -> bool {
    let all = mock(mm).mappings();
    let found = all.iter().find(|mapping| mapping.range.contains(&addr));
    match (found, pma) {
        (None, None) => true,
        (Some(mapping), Some(pma)) => {
            let wanted = match &pma.place {
                Place::Memory(offset) => Shown::Memory(*offset),
                Place::Host(file, offset) => Shown::File(Arc::clone(file), *offset),
            };
            let shown = advanced(&mapping.shown, addr - mapping.range.start);
            same(&shown, &wanted) && mapping.prot == pma.host_prot()
        }
        _ => false,
    }
}

/// The guest loads a byte. `known`: the platform tells what kind of access faulted.
pub fn guest_read(mm: &MemoryManager, addr: u64, known: bool) -> Result<u8, FaultSignal> {
    let mut byte = [0];
    touch(mm, known, || mock(mm).load(addr, &mut byte))?;
    Ok(byte[0])
}

/// The guest stores a byte.
pub fn guest_write(mm: &MemoryManager, addr: u64, byte: u8, known: bool) -> Result<(), FaultSignal> {
    touch(mm, known, || mock(mm).store(addr, &[byte]))
}

fn touch(
    mm: &MemoryManager,
    known: bool,
    mut access: impl FnMut() -> Result<(), Trap>,
) -> Result<(), FaultSignal> {
    for _ in 0..10 {
        match access() {
            Ok(()) => return Ok(()),
            Err(Trap::Fault { address, access, signal, code }) => {
                mm.handle_fault(address, if known { access } else { Access::Unknown }, signal, code)?;
            }
            Err(trap) => panic!("{trap:?}"),
        }
    }
    panic!("a fault is said to be resolved for ever");
}
