//! An address space that is a table.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sync::Mutex;
use sync::levels::PlatformSpace;

use crate::api::{Access, AddressSpace, Backing, PAGE_SIZE, PlatformError, Prot, Trap};
use crate::{HostFile, MemoryFile};

const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const BUS_ADRERR: i32 = 2;

/// [`Backing`] that keeps its file.
#[derive(Clone, Debug)]
pub enum Shown {
    /// The memory file from this offset.
    Memory(u64),
    /// A host file from this offset.
    File(Arc<HostFile>, u64),
}

/// A range that shows something.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Guest addresses.
    pub range: Range<u64>,
    /// Protection.
    pub prot: Prot,
    /// What is there.
    pub shown: Shown,
}

impl Mapping {
    /// Cuts off what lies before `at`.
    fn cut(&mut self, at: u64) {
        match &mut self.shown {
            Shown::Memory(offset) | Shown::File(_, offset) => *offset += at - self.range.start,
        }
        self.range.start = at;
    }
}

type Table = BTreeMap<u64, Mapping>;

/// See the module.
pub struct MockSpace {
    memory: Arc<MemoryFile>,
    user_range: Range<u64>,
    table: Mutex<Table, PlatformSpace>,
    calls: AtomicU64,
    refuse: AtomicUsize,
}

impl MockSpace {
    pub(super) fn new(memory: Arc<MemoryFile>, user_range: Range<u64>) -> MockSpace {
        let (table, calls, refuse) = (Mutex::default(), AtomicU64::new(0), AtomicUsize::new(0));
        MockSpace { memory, user_range, table, calls, refuse }
    }

    /// All mappings, lowest first; not joined.
    pub fn mappings(&self) -> Vec<Mapping> {
        self.table.lock().values().cloned().collect()
    }

    /// How many changes were asked for.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The next `count` changes fail, as on a host that has no more mappings to give.
    pub fn refuse(&self, count: usize) {
        self.refuse.store(count, Ordering::Relaxed);
    }

    /// A load by guest code.
    pub fn load(&self, addr: u64, dst: &mut [u8]) -> Result<(), Trap> {
        self.access(addr, dst.len(), Prot::READ, Access::Read, |memory, shown, done, len| {
            let dst = &mut dst[done..done + len];
            match shown {
                Shown::Memory(offset) => memory.read(*offset, dst).is_ok(),
                Shown::File(file, offset) => file.read(*offset, dst).is_ok(),
            }
        })
    }

    /// A store by guest code.
    pub fn store(&self, addr: u64, src: &[u8]) -> Result<(), Trap> {
        self.access(addr, src.len(), Prot::WRITE, Access::Write, |memory, shown, done, len| {
            let src = &src[done..done + len];
            match shown {
                Shown::Memory(offset) => memory.write(*offset, src).is_ok(),
                Shown::File(file, offset) => file.write(*offset, src).is_ok(),
            }
        })
    }

    fn access(
        &self,
        addr: u64,
        len: usize,
        needed: Prot,
        access: Access,
        mut piece: impl FnMut(&MemoryFile, &Shown, usize, usize) -> bool,
    ) -> Result<(), Trap> {
        let table = self.table.lock();
        let mut done = 0;
        while done < len {
            let at = addr.wrapping_add(done as u64);
            let fault = |signal, code| Trap::Fault { address: at, access, signal, code };
            let found = table.range(..=at).next_back().map(|(_, m)| m).filter(|m| m.range.contains(&at));
            let mut found = found.ok_or(fault(libc::SIGSEGV, SEGV_MAPERR))?.clone();
            if !found.prot.contains(needed) {
                return Err(fault(libc::SIGSEGV, SEGV_ACCERR));
            }
            let part = (len - done).min((PAGE_SIZE - at % PAGE_SIZE) as usize);
            found.cut(at);
            if !piece(&self.memory, &found.shown, done, part) {
                return Err(fault(libc::SIGBUS, BUS_ADRERR));
            }
            done += part;
        }
        Ok(())
    }

    /// Counts a change and checks its range.
    fn begin(&self, addr: u64, len: u64) -> Result<Range<u64>, PlatformError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let refused = self.refuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if refused.is_ok() {
            return Err(PlatformError::Exhausted("mappings"));
        }
        let page = |value: u64| value.is_multiple_of(PAGE_SIZE);
        match addr.checked_add(len) {
            Some(end)
                if len > 0
                    && page(addr)
                    && page(len)
                    && addr >= self.user_range.start
                    && end <= self.user_range.end =>
            {
                Ok(addr..end)
            }
            _ => Err(PlatformError::Host {
                what: "change guest memory",
                source: std::io::Error::from_raw_os_error(libc::EINVAL),
            }),
        }
    }
}

/// Makes `at` a border between mappings.
fn split(table: &mut Table, at: u64) {
    let Some((_, mapping)) = table.range_mut(..at).next_back() else { return };
    if mapping.range.end > at {
        let mut tail = mapping.clone();
        mapping.range.end = at;
        tail.cut(at);
        table.insert(at, tail);
    }
}

fn clear(table: &mut Table, range: &Range<u64>) {
    split(table, range.start);
    split(table, range.end);
    while let Some((&start, _)) = table.range(range.clone()).next() {
        table.remove(&start);
    }
}

impl AddressSpace for MockSpace {
    fn map(&self, addr: u64, len: u64, prot: Prot, backing: Backing<'_>) -> Result<(), PlatformError> {
        let range = self.begin(addr, len)?;
        let shown = match backing {
            Backing::Memory(offset) => Shown::Memory(offset),
            Backing::File(file, offset) => Shown::File(Arc::clone(file), offset),
        };
        let mut table = self.table.lock();
        clear(&mut table, &range);
        table.insert(addr, Mapping { range, prot, shown });
        Ok(())
    }

    fn unmap(&self, addr: u64, len: u64) -> Result<(), PlatformError> {
        let range = self.begin(addr, len)?;
        clear(&mut self.table.lock(), &range);
        Ok(())
    }

    fn protect(&self, addr: u64, len: u64, prot: Prot) -> Result<(), PlatformError> {
        let range = self.begin(addr, len)?;
        let mut table = self.table.lock();
        split(&mut table, range.start);
        split(&mut table, range.end);
        for (_, mapping) in table.range_mut(range) {
            mapping.prot = prot;
        }
        Ok(())
    }

    fn fork(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        let child = MockSpace::new(Arc::clone(&self.memory), self.user_range.clone());
        let table = self.table.lock().clone();
        *child.table.lock() = table;
        Ok(Arc::new(child))
    }

    fn cpu_time_ns(&self) -> u64 {
        0
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
