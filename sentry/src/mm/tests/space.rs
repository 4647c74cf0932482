//! A platform for the tests here: an address space that is a table of pages, and a guest that touches them.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use abi::signal::{SEGV_ACCERR, SEGV_MAPERR, Signal};
use platform::{
    Access, AddressSpace, Backing, Context, HostFile, MemoryFile, Platform, PlatformError, Prot, XState,
};

use super::super::pma::Pma;
use super::super::{FaultSignal, MemoryManager, PAGE, Place};

/// The platform.
pub struct TestPlatform {
    memory: Arc<MemoryFile>,
}

impl TestPlatform {
    pub fn start() -> Arc<dyn Platform> {
        Arc::new(TestPlatform { memory: MemoryFile::new(None).expect("memory file") })
    }
}

impl Platform for TestPlatform {
    fn name(&self) -> &'static str {
        "test"
    }
    fn memory(&self) -> &Arc<MemoryFile> {
        &self.memory
    }
    fn user_range(&self) -> Range<u64> {
        0x1000..0x7fff_0000_0000
    }
    fn xstate(&self) -> XState {
        XState { size: 0, features: 0 }
    }
    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        Ok(Arc::new(TestSpace::default()))
    }
    fn new_context(&self) -> Result<Box<dyn Context>, PlatformError> {
        Err(PlatformError::Exhausted("no contexts in this test"))
    }
}

#[derive(Clone)]
enum Shown {
    Memory(u64),
    File(Arc<HostFile>, u64),
}

#[derive(Clone)]
struct Piece {
    end: u64,
    prot: Prot,
    shown: Shown,
}

impl Piece {
    fn advance(&mut self, bytes: u64) {
        match &mut self.shown {
            Shown::Memory(offset) | Shown::File(_, offset) => *offset += bytes,
        }
    }
}

/// What the guest sees.
#[derive(Default)]
pub struct TestSpace {
    pieces: Mutex<BTreeMap<u64, Piece>>,
    /// How often the host was asked.
    pub calls: AtomicUsize,
    /// The next calls of `map` fail.
    pub refuse: AtomicBool,
}

fn cut(pieces: &mut BTreeMap<u64, Piece>, at: u64) {
    let Some((&start, piece)) = pieces.range_mut(..at).next_back() else { return };
    if piece.end > at {
        let mut rest = piece.clone();
        rest.advance(at - start);
        piece.end = at;
        pieces.insert(at, rest);
    }
}

fn take_out(pieces: &mut BTreeMap<u64, Piece>, range: Range<u64>) {
    cut(pieces, range.start);
    cut(pieces, range.end);
    let gone: Vec<u64> = pieces.range(range).map(|(&start, _)| start).collect();
    for start in gone {
        pieces.remove(&start);
    }
}

impl AddressSpace for TestSpace {
    fn map(&self, addr: u64, len: u64, prot: Prot, backing: Backing<'_>) -> Result<(), PlatformError> {
        assert!(len > 0 && addr.is_multiple_of(PAGE) && len.is_multiple_of(PAGE));
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.refuse.load(Ordering::Relaxed) {
            return Err(PlatformError::Exhausted("test"));
        }
        let shown = match backing {
            Backing::Memory(offset) => Shown::Memory(offset),
            Backing::File(file, offset) => Shown::File(Arc::clone(file), offset),
        };
        let mut pieces = self.pieces.lock().expect("lock");
        take_out(&mut pieces, addr..addr + len);
        pieces.insert(addr, Piece { end: addr + len, prot, shown });
        Ok(())
    }
    fn unmap(&self, addr: u64, len: u64) -> Result<(), PlatformError> {
        assert!(len > 0 && addr.is_multiple_of(PAGE) && len.is_multiple_of(PAGE));
        self.calls.fetch_add(1, Ordering::Relaxed);
        take_out(&mut self.pieces.lock().expect("lock"), addr..addr + len);
        Ok(())
    }
    fn protect(&self, addr: u64, len: u64, prot: Prot) -> Result<(), PlatformError> {
        assert!(len > 0 && addr.is_multiple_of(PAGE) && len.is_multiple_of(PAGE));
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut pieces = self.pieces.lock().expect("lock");
        cut(&mut pieces, addr);
        cut(&mut pieces, addr + len);
        for (_, piece) in pieces.range_mut(addr..addr + len) {
            piece.prot = prot;
        }
        Ok(())
    }
    fn fork(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        let pieces = Mutex::new(self.pieces.lock().expect("lock").clone());
        Ok(Arc::new(TestSpace { pieces, ..TestSpace::default() }))
    }
    fn cpu_time_ns(&self) -> u64 {
        0
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The test's side of an address space.
pub fn test_space(mm: &MemoryManager) -> &TestSpace {
    mm.space().as_any().downcast_ref().expect("a test space")
}

impl TestSpace {
    /// How many host mappings there are, neighbours that continue each other joined.
    pub fn host_mappings(&self) -> usize {
        let pieces = self.pieces.lock().expect("lock");
        let mut count = 0;
        let mut before: Option<(u64, Piece)> = None;
        for (&start, piece) in pieces.iter() {
            let joined = before.as_ref().is_some_and(|(at, last)| {
                let mut next = last.clone();
                next.advance(last.end - at);
                let same = match (&next.shown, &piece.shown) {
                    (Shown::Memory(a), Shown::Memory(b)) => a == b,
                    (Shown::File(f, a), Shown::File(g, b)) => Arc::ptr_eq(f, g) && a == b,
                    _ => false,
                };
                last.end == start && same && last.prot == piece.prot
            });
            count += usize::from(!joined);
            before = Some((start, piece.clone()));
        }
        count
    }

    /// Whether the page at `addr` is shown as `pma` (cut to that page) says, or not at all without one.
    pub fn shows(&self, addr: u64, pma: Option<&Pma>) -> bool {
        let pieces = self.pieces.lock().expect("lock");
        let found = pieces.range(..=addr).next_back().filter(|(_, piece)| addr < piece.end);
        match (found, pma) {
            (None, None) => true,
            (Some((start, piece)), Some(pma)) => {
                let place = match (&piece.shown, &pma.place) {
                    (Shown::Memory(a), Place::Memory(b)) => a + (addr - start) == *b,
                    (Shown::File(f, a), Place::Host(g, b)) => Arc::ptr_eq(f, g) && a + (addr - start) == *b,
                    _ => false,
                };
                place && piece.prot == pma.host_prot()
            }
            _ => false,
        }
    }

    /// One access by hardware: the fault that it ends in.
    fn touch(&self, memory: &MemoryFile, addr: u64, write: Option<u8>) -> Result<u8, (i32, i32)> {
        let pieces = self.pieces.lock().expect("lock");
        let segv = Signal::SIGSEGV.number() as i32;
        let found = pieces.range(..=addr).next_back().filter(|(_, piece)| addr < piece.end);
        let Some((start, piece)) = found else { return Err((segv, SEGV_MAPERR)) };
        let needed = if write.is_some() { Prot::WRITE } else { Prot::READ };
        if !piece.prot.contains(needed) {
            return Err((segv, SEGV_ACCERR));
        }
        let mut byte = [write.unwrap_or(0)];
        let skip = addr - start;
        let done = match (&piece.shown, write) {
            (Shown::Memory(offset), None) => memory.read(offset + skip, &mut byte),
            (Shown::Memory(offset), Some(_)) => memory.write(offset + skip, &byte),
            (Shown::File(file, offset), None) => file.read(offset + skip, &mut byte),
            (Shown::File(file, offset), Some(_)) => file.write(offset + skip, &byte),
        };
        done.map(|()| byte[0]).map_err(|_| (Signal::SIGBUS.number() as i32, abi::signal::BUS_ADRERR))
    }
}

/// The guest loads a byte.
pub fn guest_read(mm: &MemoryManager, addr: u64, known: bool) -> Result<u8, FaultSignal> {
    guest_touch(mm, addr, None, known)
}

/// The guest stores a byte.
pub fn guest_write(mm: &MemoryManager, addr: u64, byte: u8, known: bool) -> Result<(), FaultSignal> {
    guest_touch(mm, addr, Some(byte), known).map(drop)
}

/// `known`: the platform tells what kind of access faulted.
fn guest_touch(mm: &MemoryManager, addr: u64, write: Option<u8>, known: bool) -> Result<u8, FaultSignal> {
    for _ in 0..10 {
        match test_space(mm).touch(&mm.memory, addr, write) {
            Ok(byte) => return Ok(byte),
            Err((signal, code)) => {
                let access = match (known, write) {
                    (false, _) => Access::Unknown,
                    (true, None) => Access::Read,
                    (true, Some(_)) => Access::Write,
                };
                mm.handle_fault(addr, access, signal, code)?;
            }
        }
    }
    panic!("a fault at {addr:#x} is said to be resolved for ever");
}
