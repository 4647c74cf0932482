//! Long random sequences of memory calls, accesses and forks, checked against a table of pages. The same seeds natively and
//! in the sandbox.

use crate::kit::prelude::*;

/// Pages of the area that a sequence works in.
const AREA: usize = 80;
/// Pages of the files.
const FILE: usize = 24;
/// Bits of PROT_READ and PROT_WRITE.
const PROTS: [c_int; 4] = [RW, RW, PROT_READ, PROT_NONE];

#[derive(Clone, Copy)]
enum Store {
    /// Private memory with this byte at the front of the page.
    Private(u8),
    /// A private page of the file, with what was written over it.
    File(usize, Option<u8>),
    /// A page of the shared memory, by number.
    Shared(usize),
}

#[derive(Clone, Copy)]
struct PageState {
    prot: c_int,
    store: Store,
    dont_fork: bool,
    wipe: bool,
}

struct World {
    random: u64,
    area: usize,
    /// A private mapping of this shows page i with byte i + 1.
    file: c_int,
    /// Mapped shared: what its pages hold is in `shared`.
    shared_file: c_int,
    shared: [u8; FILE],
    pages: [Option<PageState>; AREA],
    pipe: [c_int; 2],
}

impl World {
    fn new(seed: u64) -> World {
        let mut content = vec![0; FILE * PAGE];
        for page in 0..FILE {
            content[page * PAGE..][..PAGE].fill(page as u8 + 1);
        }
        let area = map(AREA * PAGE, PROT_NONE);
        unmap(area, AREA * PAGE);
        World {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            area,
            file: create(c"private", &content),
            shared_file: create(c"shared", &content),
            shared: std::array::from_fn(|page| page as u8 + 1),
            pages: [None; AREA],
            pipe: pipe(0),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % n as u64) as usize
    }

    fn at(&self, page: usize) -> usize {
        self.area + page * PAGE
    }

    /// First page and number of pages of a part of the area.
    fn part(&mut self) -> (usize, usize) {
        let first = self.below(AREA);
        (first, 1 + self.below((AREA - first).min(24)))
    }

    fn step(&mut self) {
        let (first, count) = self.part();
        match self.below(22) {
            0..=2 => self.map(first, count),
            3 => {
                unmap(self.at(first), count * PAGE);
                self.pages[first..first + count].fill(None);
            }
            4..=6 => self.protect(first, count),
            7 => self.remap(first, count),
            8 => self.discard(first, count),
            9 => self.advise(first, count),
            10 => self.fork(),
            _ => self.access(),
        }
    }

    fn map(&mut self, first: usize, count: usize) {
        let prot = PROTS[self.below(4)];
        let kind = self.below(4);
        let count = if kind < 2 { count } else { count.min(FILE) };
        let from = if kind < 2 { 0 } else { self.below(FILE - count + 1) };
        let (flags, fd) = match kind {
            0 | 1 => (MAP_PRIVATE | MAP_ANONYMOUS, -1),
            2 => (MAP_PRIVATE, self.file),
            _ => (MAP_SHARED, self.shared_file),
        };
        let addr = self.at(first);
        eq(ok(sys!(mmap, addr, count * PAGE, prot, flags | MAP_FIXED, fd, from * PAGE)) as usize, addr);
        for page in 0..count {
            let store = match kind {
                0 | 1 => Store::Private(0),
                2 => Store::File(from + page, None),
                _ => Store::Shared(from + page),
            };
            self.pages[first + page] = Some(PageState { prot, store, dont_fork: false, wipe: false });
        }
    }

    fn protect(&mut self, first: usize, count: usize) {
        let prot = PROTS[self.below(4)];
        let answer = sys!(mprotect, self.at(first), count * PAGE, prot);
        for page in &mut self.pages[first..first + count] {
            match page {
                Some(page) => page.prot = prot,
                None => return fails(answer, ENOMEM),
            }
        }
        ok(answer);
    }

    /// Moves one page: whether several go along depends on how mappings have merged.
    fn remap(&mut self, from: usize, to: usize) {
        let to = to + AREA / 2;
        if from == to || to >= AREA {
            return;
        }
        let (source, target) = (self.at(from), self.at(to));
        let answer = sys!(mremap, source, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
        match self.pages[from].take() {
            None => fails(answer, EFAULT),
            moved => {
                eq(ok(answer) as usize, target);
                self.pages[to] = moved;
            }
        }
    }

    fn discard(&mut self, first: usize, count: usize) {
        let answer = sys!(madvise, self.at(first), count * PAGE, MADV_DONTNEED);
        let mut hole = false;
        for page in &mut self.pages[first..first + count] {
            match page.as_mut().map(|page| &mut page.store) {
                None => hole = true,
                Some(Store::Private(byte)) => *byte = 0,
                Some(Store::File(_, byte)) => *byte = None,
                Some(Store::Shared(_)) => {}
            }
        }
        if hole { fails(answer, ENOMEM) } else { done(answer) }
    }

    fn advise(&mut self, first: usize, count: usize) {
        let advice = [MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK][self.below(4)];
        let answer = sys!(madvise, self.at(first), count * PAGE, advice);
        let mut hole = false;
        for page in &mut self.pages[first..first + count] {
            let Some(page) = page else {
                hole = true;
                continue;
            };
            match advice {
                MADV_WIPEONFORK if !matches!(page.store, Store::Private(_)) => return fails(answer, EINVAL),
                MADV_WIPEONFORK => page.wipe = true,
                MADV_KEEPONFORK => page.wipe = false,
                _ => page.dont_fork = advice == MADV_DONTFORK,
            }
        }
        if hole { fails(answer, ENOMEM) } else { done(answer) }
    }

    /// A child that finds what it should, writes, and does not disturb us.
    fn fork(&mut self) {
        let child = fork(|| {
            for page in &mut self.pages {
                match page {
                    Some(PageState { dont_fork: true, .. }) => *page = None,
                    Some(page) if page.wipe => page.store = Store::Private(0),
                    _ => {}
                }
            }
            self.check_all();
            for page in 0..AREA {
                let own = self.pages[page].filter(|page| page.prot == RW);
                if own.is_some_and(|page| !matches!(page.store, Store::Shared(_))) {
                    poke(self.at(page), 0xee);
                    eq(peek(self.at(page)), 0xee);
                }
            }
        });
        child.succeeds();
    }

    fn byte(&self, page: &PageState) -> u8 {
        match page.store {
            Store::Private(byte) | Store::File(_, Some(byte)) => byte,
            Store::File(number, None) => number as u8 + 1,
            Store::Shared(number) => self.shared[number],
        }
    }

    fn access(&mut self) {
        let number = self.below(AREA);
        let (addr, byte) = (self.at(number), self.below(256) as u8);
        let readable = self.pages[number].filter(|page| page.prot != PROT_NONE);
        let writable = self.pages[number].filter(|page| page.prot == RW);
        match self.below(4) {
            0 => match readable {
                Some(page) => eq_of(format_args!("page {number}"), peek(addr), self.byte(&page)),
                None => fails(sys!(write, self.pipe[1], addr, 1), EFAULT),
            },
            1 => match writable {
                Some(_) => poke(addr, byte),
                // The kernel's own accesses obey the same protection.
                None => fails(sys!(pipe2, addr, 0), EFAULT),
            },
            2 => match readable {
                Some(page) => {
                    eq(ok(sys!(write, self.pipe[1], addr, 1)), 1);
                    eq_of(format_args!("page {number}"), read(self.pipe[0], 1)[0], self.byte(&page));
                }
                None => fails(sys!(write, self.pipe[1], addr, 1), EFAULT),
            },
            _ => match writable {
                Some(_) => {
                    write_all(self.pipe[1], &[byte]);
                    eq(ok(sys!(read, self.pipe[0], addr, 1)), 1);
                }
                None => fails(sys!(pipe2, addr, 0), EFAULT),
            },
        }
        if self.pages[number].is_some_and(|page| page.prot == RW) && peek(addr) == byte {
            match self.pages[number].as_mut().map(|page| &mut page.store) {
                Some(Store::Private(old)) => *old = byte,
                Some(Store::File(_, old)) => *old = Some(byte),
                Some(Store::Shared(shared)) => self.shared[*shared] = byte,
                None => {}
            }
        }
    }

    fn check_all(&self) {
        for (number, page) in self.pages.iter().enumerate() {
            if let Some(page) = page.filter(|page| page.prot != PROT_NONE) {
                eq_of(format_args!("page {number}"), peek(self.at(number)), self.byte(&page));
            }
        }
    }
}

fn run(seeds: std::ops::Range<u64>, steps: usize) {
    for seed in seeds {
        in_child(|| {
            let mut world = World::new(seed);
            for _ in 0..steps {
                world.step();
            }
            world.check_all();
        });
    }
}

case!(long_sequence: mmap, munmap, mprotect, mremap, madvise, fork);
fn long_sequence() {
    run(1..4, 1200);
}

case!(many_sequences: mmap, munmap, mprotect, mremap, madvise, fork);
fn many_sequences() {
    run(100..140, 60);
}
