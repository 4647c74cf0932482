//! Random sequences of memory calls, forks and accesses, against a table of pages that says what each must read.

use std::collections::BTreeMap;

use abi::mman::{MADV_DOFORK, MADV_DONTFORK, MADV_DONTNEED, MADV_WIPEONFORK, MremapFlags, ProtFlags};

use super::space::{guest_read, guest_write, host_mappings, shows};
use platform::Platform;

use super::*;

/// The area that the sequences work in.
const BASE: u64 = 0x6000_0000_0000;
const PAGES: u64 = 96;
const FILE_PAGES: u64 = 40;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Store {
    /// Private memory with this byte.
    Anonymous(u8),
    /// A page of the file that is only mapped privately, with the byte that was written over it.
    PrivateFile(u64, Option<u8>),
    /// A page of an object that is shared.
    Shared(usize, u64),
}

#[derive(Clone, Copy)]
struct Page {
    prot: Prot,
    store: Store,
    dont_fork: bool,
    wipe: bool,
}

/// What all processes share.
struct World {
    random: Random,
    private_file: Arc<TestFile>,
    shared_file: Arc<TestFile>,
    /// Bytes of the shared objects; the first is the shared file.
    objects: Vec<Vec<u8>>,
}

#[derive(Clone)]
struct Process {
    mm: Arc<MemoryManager>,
    pages: BTreeMap<u64, Page>,
}

impl World {
    fn prot(&mut self) -> Prot {
        [RW, RW, Prot::READ, Prot::empty()][self.random.below(4) as usize]
    }

    fn byte(&self, page: &Page) -> Option<u8> {
        match page.store {
            Store::Anonymous(byte) => Some(byte),
            Store::PrivateFile(_, Some(byte)) => Some(byte),
            Store::PrivateFile(at, None) => (at < FILE_PAGES).then_some(at as u8 + 1),
            Store::Shared(object, at) => self.objects[object].get(at as usize).copied(),
        }
    }

    /// A part of the area: first page and number.
    fn part(&mut self) -> (u64, u64) {
        let first = self.random.below(PAGES);
        (first, 1 + self.random.below((PAGES - first).min(30)))
    }

    fn step(&mut self, p: &mut Process) {
        let (first, count) = self.part();
        let (addr, len) = (UserAddr(BASE + first * PAGE), count * PAGE);
        match self.random.below(20) {
            0 | 1 => self.map(p, first, count),
            2 => {
                p.mm.munmap(addr, len).expect("munmap");
                p.pages.retain(|at, _| !(first..first + count).contains(at));
            }
            3..=5 => self.protect(p, first, count),
            6 => self.remap(p, first, count),
            7 => self.discard(p, first, count),
            8 => self.advise(p, first, count),
            _ => self.access(p),
        }
    }

    fn map(&mut self, p: &mut Process, first: u64, count: u64) {
        let prot = self.prot();
        let kind = self.random.below(5);
        let offset = self.random.below(FILE_PAGES);
        let file = |file: &Arc<TestFile>| MapBacking::File {
            file: Arc::clone(file) as Arc<dyn Mappable>,
            offset: offset * PAGE,
            max_prot: Prot::all(),
            name: MapName::None,
        };
        let (flags, backing) = match kind {
            0 | 1 => (MapFlags::PRIVATE | MapFlags::ANONYMOUS, MapBacking::Anonymous),
            2 => (MapFlags::SHARED | MapFlags::ANONYMOUS, MapBacking::Anonymous),
            3 => (MapFlags::PRIVATE, file(&self.private_file)),
            _ => (MapFlags::SHARED, file(&self.shared_file)),
        };
        let addr = UserAddr(BASE + first * PAGE);
        let request = MapRequest { addr, backing, ..request(count * PAGE, prot, flags | MapFlags::FIXED) };
        assert_eq!(p.mm.mmap(request), Ok(addr));
        if kind == 2 {
            self.objects.push(vec![0; count as usize]);
        }
        for page in 0..count {
            let store = match kind {
                0 | 1 => Store::Anonymous(0),
                2 => Store::Shared(self.objects.len() - 1, page),
                3 => Store::PrivateFile(offset + page, None),
                _ => Store::Shared(0, offset + page),
            };
            p.pages.insert(first + page, Page { prot, store, dont_fork: false, wipe: false });
        }
    }

    fn protect(&mut self, p: &mut Process, first: u64, count: u64) {
        let prot = self.prot();
        let addr = UserAddr(BASE + first * PAGE);
        let flags = ProtFlags::from_bits_retain(prot.bits().into());
        let result = p.mm.mprotect(addr, count * PAGE, flags, &MmLimits::UNLIMITED);
        for at in first..first + count {
            match p.pages.get_mut(&at) {
                Some(page) => page.prot = prot,
                None => return assert_eq!(result, Err(Errno::ENOMEM)),
            }
        }
        assert_eq!(result, Ok(()));
    }

    fn remap(&mut self, p: &mut Process, first: u64, count: u64) {
        let to = self.random.below(PAGES - count + 1);
        let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
        let (from, target) = (UserAddr(BASE + first * PAGE), UserAddr(BASE + to * PAGE));
        let result = p.mm.mremap(from, count * PAGE, count * PAGE, flags, target, &MmLimits::UNLIMITED);
        if first < to + count && to < first + count {
            return assert_eq!(result, Err(Errno::EINVAL));
        }
        if !p.pages.contains_key(&first) {
            return assert_eq!(result, Err(Errno::EFAULT));
        }
        assert_eq!(result, Ok(target));
        for page in 0..count {
            // Where nothing comes to, what was there stays.
            if let Some(moved) = p.pages.remove(&(first + page)) {
                p.pages.insert(to + page, moved);
            }
        }
    }

    fn discard(&mut self, p: &mut Process, first: u64, count: u64) {
        let result = p.mm.madvise(UserAddr(BASE + first * PAGE), count * PAGE, MADV_DONTNEED);
        let mut hole = false;
        for at in first..first + count {
            match p.pages.get_mut(&at).map(|page| &mut page.store) {
                None => hole = true,
                Some(Store::Anonymous(byte)) => *byte = 0,
                Some(Store::PrivateFile(_, byte)) => *byte = None,
                Some(Store::Shared(..)) => {}
            }
        }
        assert_eq!(result, if hole { Err(Errno::ENOMEM) } else { Ok(()) });
    }

    fn advise(&mut self, p: &mut Process, first: u64, count: u64) {
        let advice = [MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK][self.random.below(3) as usize];
        let result = p.mm.madvise(UserAddr(BASE + first * PAGE), count * PAGE, advice);
        let mut hole = false;
        for at in first..first + count {
            match p.pages.get_mut(&at) {
                None => hole = true,
                Some(page) if advice == MADV_WIPEONFORK => {
                    if !matches!(page.store, Store::Anonymous(_)) {
                        return assert_eq!(result, Err(Errno::EINVAL));
                    }
                    page.wipe = true;
                }
                Some(page) => page.dont_fork = advice == MADV_DONTFORK,
            }
        }
        assert_eq!(result, if hole { Err(Errno::ENOMEM) } else { Ok(()) });
    }

    fn access(&mut self, p: &mut Process) {
        let at = self.random.below(PAGES);
        let addr = BASE + at * PAGE + self.random.below(PAGE);
        let byte = self.random.below(256) as u8;
        let known = self.random.below(2) == 0;
        let page = p.pages.get(&at).copied();
        let now = page.as_ref().and_then(|page| self.byte(page));
        let readable = page.is_some_and(|page| !page.prot.is_empty()) && now.is_some();
        let writable = page.is_some_and(|page| page.prot.contains(Prot::WRITE)) && now.is_some();
        let wrote = match self.random.below(6) {
            0 | 1 => {
                let got = guest_read(&p.mm, addr / PAGE * PAGE, known);
                assert_eq!(got.ok(), now.filter(|_| readable), "page {at}");
                None
            }
            2 => {
                let mut got = [0];
                let done = p.mm.copy_in(UserAddr(addr / PAGE * PAGE), &mut got);
                assert_eq!(done.ok().map(|()| got[0]), now.filter(|_| readable), "page {at}");
                None
            }
            3 | 4 => Some(guest_write(&p.mm, addr / PAGE * PAGE, byte, known).is_ok()),
            _ => Some(p.mm.copy_out(UserAddr(addr / PAGE * PAGE), &[byte]).is_ok()),
        };
        let Some(wrote) = wrote else { return };
        assert_eq!(wrote, writable, "page {at}");
        if !wrote {
            return;
        }
        let Some(page) = p.pages.get_mut(&at) else { return };
        match &mut page.store {
            Store::Anonymous(old) => *old = byte,
            Store::PrivateFile(_, old) => *old = Some(byte),
            Store::Shared(object, at) => self.objects[*object][*at as usize] = byte,
        }
    }

    fn fork(&mut self, p: &Process) -> Process {
        let mm = p.mm.fork(crate::mm::Threads::One).expect("fork");
        let mut pages = p.pages.clone();
        pages.retain(|_, page| !page.dont_fork);
        for page in pages.values_mut() {
            if page.wipe {
                page.store = Store::Anonymous(0);
            }
        }
        Process { mm, pages }
    }

    fn check_all(&self, p: &Process) {
        for at in 0..PAGES {
            let page = p.pages.get(&at);
            let now = page.filter(|page| !page.prot.is_empty()).and_then(|page| self.byte(page));
            assert_eq!(guest_read(&p.mm, BASE + at * PAGE, false).ok(), now, "page {at}");
        }
        check_books(&p.mm);
    }
}

/// The invariants of README.md, as far as the books show them.
fn check_books(mm: &MemoryManager) {
    let inner = mm.inner.read();
    let mut usage = Usage::default();
    for (range, vma) in inner.vmas.iter() {
        usage.add(vma, range.end - range.start);
    }
    usage.peak = inner.usage.peak;
    assert_eq!(usage, inner.usage);
    for (range, pma) in inner.pages.pmas.iter() {
        for (_, vma) in inner.vmas.overlapping(range.clone()) {
            assert_eq!(vma.prot, pma.prot);
            assert!(pma.private || pma.cow != vma.is_shared());
            assert!(!(pma.private && vma.is_shared()));
        }
        assert!(inner.vmas.holes(range).is_empty());
    }
    for page in (BASE..BASE + PAGES * PAGE).step_by(PAGE as usize) {
        let cut = inner.pages.pmas.clipped(page..page + PAGE);
        let pma = cut.first().map(|(_, pma)| pma);
        assert!(shows(mm, page, pma), "{page:#x}");
    }
}

fn run(seed: u64, platform: &Arc<dyn Platform>) {
    let real = platform.name() != "mock";
    let mut world = World {
        random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        private_file: TestFile::with(FILE_PAGES, seed.is_multiple_of(2)),
        shared_file: TestFile::new(FILE_PAGES),
        objects: vec![(0..FILE_PAGES).map(|page| page as u8 + 1).collect()],
    };
    let mm = MemoryManager::new(platform).expect("address space");
    if real {
        space::put_code(&mm);
    }
    let mut processes = vec![Process { mm, pages: BTreeMap::new() }];
    for _ in 0..400 {
        let at = world.random.below(processes.len() as u64) as usize;
        match world.random.below(30) {
            0 if processes.len() < 5 => {
                let child = world.fork(&processes[at]);
                processes.push(child);
            }
            1 if processes.len() > 1 => drop(processes.swap_remove(at)),
            2 => world.check_all(&processes[at]),
            _ => world.step(&mut processes[at]),
        }
    }
    for process in &processes {
        world.check_all(process);
        assert!(real || host_mappings(&process.mm) <= PAGES as usize);
    }
    drop(processes);
    assert_eq!(platform.memory().allocated_bytes(), 0, "all memory was given back");
}

#[test]
fn random_sequences_agree_with_the_model() {
    let seeds = std::env::var("MM_MODEL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| run(seed, &space::platform()));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn random_sequences_agree_with_the_model_on_real_page_tables() {
    let Some(platform) = space::real_platform() else { return };
    let _entered = space::enter(&platform);
    for seed in 1000..1008 {
        run(seed, &platform);
    }
}
