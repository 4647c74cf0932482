//! A guest that touches an address space: as the mock platform's tables say, or by machine code.

use std::cell::RefCell;
use std::sync::Arc;

use abi::mman::{MapFlags, ProtFlags};
use platform::mock::{MockPlatform, MockSpace, Shown};
use platform::ptrace::PtracePlatform;
use platform::{Access, Context, MemoryFile, Platform, Registers, Trap};

use super::super::pma::Pma;
use super::super::{FaultSignal, MapRequest, MemoryManager, MmLimits, PAGE, Place, UserAddr};

/// The platform.
pub fn platform() -> Arc<dyn Platform> {
    Arc::new(MockPlatform::new())
}

/// A platform that runs guest code, `None` where the host does not let us.
pub fn real_platform() -> Option<Arc<dyn Platform>> {
    let platform = PtracePlatform::new(MemoryFile::new(None).ok()?);
    match platform {
        Ok(platform) => Some(Arc::new(platform)),
        Err(error) => {
            eprintln!("SKIPPED: no ptrace platform here: {error}");
            None
        }
    }
}

/// The test's side of an address space.
pub fn mock(mm: &MemoryManager) -> &MockSpace {
    try_mock(mm).expect("a mock space")
}

fn try_mock(mm: &MemoryManager) -> Option<&MockSpace> {
    mm.space().as_any().downcast_ref()
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
    let Some(mock) = try_mock(mm) else { return true };
    let all = mock.mappings();
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

/// Where guest code for real platforms is.
const CODE: u64 = 0x5000_0000_0000;
/// `mov al, [rdi]; syscall` and `mov [rdi], al; syscall`.
const LOAD_AND_STORE: [u8; 8] = [0x8a, 0x07, 0x0f, 0x05, 0x88, 0x07, 0x0f, 0x05];

thread_local! {
    /// Runs guest code of this thread on a real platform.
    static CONTEXT: RefCell<Option<Box<dyn Context>>> = const { RefCell::new(None) };
}

/// The calling thread runs guest code on `platform` until the answer is dropped.
pub fn enter(platform: &Arc<dyn Platform>) -> Entered {
    CONTEXT.set(Some(platform.new_context().expect("context")));
    Entered(())
}

/// See [`enter`].
pub struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        CONTEXT.set(None);
    }
}

/// Puts guest code for loads and stores into an address space of a real platform.
pub fn put_code(mm: &MemoryManager) {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    let at = UserAddr(CODE);
    mm.mmap(MapRequest { addr: at, ..super::request(PAGE, super::RW, flags) }).expect("mmap");
    mm.copy_out(at, &LOAD_AND_STORE).expect("copy");
    mm.mprotect(at, PAGE, ProtFlags::READ | ProtFlags::EXEC, &MmLimits::UNLIMITED).expect("mprotect");
}

fn run(mm: &MemoryManager, rip: u64, addr: u64, byte: u8) -> Result<u8, Trap> {
    let mut regs = Registers {
        rip,
        rdi: addr,
        rax: byte.into(),
        cs: 0x33,
        ss: 0x2b,
        eflags: 0x202,
        ..Default::default()
    };
    CONTEXT.with_borrow_mut(|context| {
        let context = context.as_mut().expect("a context");
        loop {
            match context.run(mm.space(), &mut regs).expect("guest") {
                Trap::Syscall => return Ok(regs.orig_rax as u8),
                Trap::Interrupted => {}
                trap => return Err(trap),
            }
        }
    })
}

/// The guest loads a byte. `known`: the platform tells what kind of access faulted, if it can.
pub fn guest_read(mm: &MemoryManager, addr: u64, known: bool) -> Result<u8, FaultSignal> {
    let mut byte = [0];
    touch(mm, known, || match try_mock(mm) {
        Some(mock) => mock.load(addr, &mut byte),
        None => run(mm, CODE, addr, 0).map(|loaded| byte[0] = loaded),
    })?;
    Ok(byte[0])
}

/// The guest stores a byte.
pub fn guest_write(mm: &MemoryManager, addr: u64, byte: u8, known: bool) -> Result<(), FaultSignal> {
    touch(mm, known, || match try_mock(mm) {
        Some(mock) => mock.store(addr, &[byte]),
        None => run(mm, CODE + 4, addr, byte).map(drop),
    })
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
