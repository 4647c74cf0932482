//! `cases transcript memory SEED STEPS`: random memory calls with good and bad arguments, a line each with what they
//! answered. The lines are the same on every Linux of the same version, and the host's are what the sandbox has to print
//! (`tests/transcripts.rs` compares).

use std::fmt::Write;

use crate::kit::prelude::*;

/// Pages of the area that most calls hit.
const AREA: usize = 256;
/// Where it is: far from what the program itself has mapped.
const BASE: usize = 0x2000_0000_0000;
const MEMFD_PAGES: usize = 20;
/// Lengths from here on are absurd.
const ABSURD: usize = 1 << 40;

const ADVICE: [c_int; 25] =
    [0, 1, 2, 3, 4, 4, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23, 24, 0, 5, 6, 7, 26, 99];
const TYPES: [c_int; 6] =
    [MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED, MAP_SHARED_VALIDATE, 0, MAP_PRIVATE | MAP_SHARED];

struct Fuzz {
    random: u64,
    /// A memfd, this program, and something that can only be written.
    files: [c_int; 3],
    line: String,
}

/// Runs; gives the exit status.
pub fn run(words: &[&str]) -> c_int {
    let (Some(seed), Some(steps)) = (number(words.first()), number(words.get(1))) else {
        crate::kit::check::say("usage: cases transcript memory SEED STEPS");
        return 2;
    };
    let memfd = ok_i32(sys!(memfd_create, c"transcript", 0));
    ok(sys!(ftruncate, memfd, MEMFD_PAGES * PAGE));
    let files = [
        memfd,
        ok_i32(sys!(openat, AT_FDCWD, c"/proc/self/exe", O_RDONLY)),
        ok_i32(sys!(openat, AT_FDCWD, c"/dev/null", O_WRONLY)),
    ];
    let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut fuzz = Fuzz { random, files, line: String::new() };
    for step in 0..steps {
        fuzz.line.clear();
        let answer = fuzz.step();
        let line = match answer {
            Ok(value) => format!("{step} {} = {value}\n", fuzz.line),
            Err(errno) => format!("{step} {} = {errno:?}\n", fuzz.line),
        };
        write_all(1, line.as_bytes());
    }
    0
}

fn number(word: Option<&&str>) -> Option<u64> {
    word?.parse().ok()
}

impl Fuzz {
    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let _ = self.line.write_fmt(what);
    }

    fn addr(&mut self) -> usize {
        let page = BASE + self.below(AREA) * PAGE;
        if self.one_in(12) { page + self.below(PAGE) } else { page }
    }

    fn len(&mut self) -> usize {
        let usual = (1 + self.below(40)) * PAGE;
        match self.below(14) {
            0 => 0,
            1 => self.below(5 * PAGE),
            2 => self.below(4 * PAGE).wrapping_neg(),
            3 if self.one_in(3) => 1 << 47,
            _ => usual,
        }
    }

    /// Protection; never execute alone, which processors with protection keys make unreadable.
    fn prot(&mut self) -> c_int {
        let prot = self.below(8) as c_int;
        let prot = if prot & PROT_EXEC != 0 && self.one_in(2) { prot & RW } else { prot };
        let prot = if prot == PROT_EXEC { prot | PROT_READ } else { prot };
        if self.one_in(20) { prot | 1 << (3 + self.below(29)) } else { prot }
    }

    fn step(&mut self) -> Result<i64, Errno> {
        match self.below(16) {
            0..=3 => self.mmap(),
            4 | 5 => {
                let (addr, len) = (self.addr(), self.len());
                self.note(format_args!("munmap {addr:x} {len:x}"));
                sys!(munmap, addr, len)
            }
            6..=8 => {
                let (addr, len, mut prot) = (self.addr(), self.len(), self.prot());
                prot |= if self.one_in(20) { PROT_GROWSDOWN } else { 0 };
                prot |= if self.one_in(40) { PROT_GROWSUP } else { 0 };
                self.note(format_args!("mprotect {addr:x} {len:x} {prot:x}"));
                sys!(mprotect, addr, len, prot)
            }
            9 | 10 => self.madvise(),
            11 => {
                let (addr, len) = (self.addr(), self.len());
                let flags = if self.one_in(10) { 1 << self.below(12) } else { self.below(8) };
                self.note(format_args!("msync {addr:x} {len:x} {flags:x}"));
                sys!(msync, addr, len, flags)
            }
            12 => {
                let (addr, len) = (self.addr(), self.len());
                let len = if (60_000 * PAGE..1 << 63).contains(&len) { PAGE } else { len };
                let mut pages = [0u8; 1 << 16];
                let bad = self.one_in(10);
                self.note(format_args!("mincore {addr:x} {len:x} {bad}"));
                if bad { sys!(mincore, addr, len, 1) } else { sys!(mincore, addr, len, pages.as_mut_ptr()) }
            }
            13 => self.mlock(),
            14 => self.mremap(),
            _ => self.copy(),
        }
    }

    fn mmap(&mut self) -> Result<i64, Errno> {
        let (mut addr, len, prot) = (self.addr(), self.len(), self.prot());
        let mut flags = MAP_FIXED | TYPES[self.below(6)];
        if !self.one_in(3) {
            flags |= MAP_ANONYMOUS;
        }
        if self.one_in(10) {
            flags &= !MAP_FIXED;
        }
        for (chance, flag) in [
            (8, MAP_FIXED_NOREPLACE),
            (10, MAP_GROWSDOWN),
            (10, MAP_NORESERVE),
            (15, MAP_POPULATE),
            (20, MAP_STACK),
        ] {
            if self.one_in(chance) {
                flags |= flag;
            }
        }
        if self.one_in(30) {
            flags |= 1 << self.below(19);
        }
        // Where the low area is taken, what locks may take, and what huge pages there are, is the machine's.
        flags &= !(MAP_32BIT | MAP_LOCKED | MAP_HUGETLB);
        if flags & 0xf == 8 {
            flags &= !8;
        }
        let file = self.below(8).min(5);
        let fd = *[&self.files[..], &[-1, 999]].concat().get(file).unwrap_or(&self.files[0]);
        let mut offset = self.below(25) * PAGE;
        if self.one_in(15) {
            offset += self.below(PAGE);
        }
        if self.one_in(25) {
            offset = (PAGE * self.below(20)).wrapping_neg();
        }
        if self.one_in(30) {
            addr = self.below(20) * PAGE;
        }
        if addr < 0x10000 {
            flags &= !(MAP_FIXED | MAP_FIXED_NOREPLACE);
        }
        self.note(format_args!("mmap {addr:x} {len:x} {prot:x} {flags:x} {file} {offset:x}"));
        let at = sys!(mmap, addr, len, prot, flags, fd, offset)? as usize;
        if (BASE..BASE + (AREA + 100) * PAGE).contains(&at) {
            return Ok((at - BASE) as i64);
        }
        // Placed by the kernel: elsewhere on each run.
        done(sys!(munmap, at, len));
        Ok(-1)
    }

    fn madvise(&mut self) -> Result<i64, Errno> {
        let (addr, len) = (self.addr(), self.len());
        let advice = ADVICE[self.below(ADVICE.len())];
        let populates = advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
        let huge = (ABSURD..1 << 63).contains(&len) || (populates && (100 * PAGE..1 << 63).contains(&len));
        let len = if huge { PAGE } else { len };
        self.note(format_args!("madvise {addr:x} {len:x} {advice}"));
        sys!(madvise, addr, len, advice)
    }

    fn mlock(&mut self) -> Result<i64, Errno> {
        let (addr, len) = (self.addr(), self.len());
        let which = self.below(3);
        let flags = self.below(3);
        self.note(format_args!("mlock {which} {addr:x} {len:x} {flags}"));
        match which {
            _ if len >= ABSURD => Ok(0),
            0 => sys!(mlock, addr, len),
            1 => sys!(munlock, addr, len),
            _ => sys!(mlock2, addr, len, flags),
        }
    }

    fn mremap(&mut self) -> Result<i64, Errno> {
        let (addr, len) = (self.addr(), self.len());
        let len = if len >= ABSURD { self.below(20) * PAGE } else { len };
        let mut new_len = self.below(40) * PAGE;
        let mut flags = if self.one_in(15) { self.below(32) } else { self.below(8) } as c_int;
        let new_addr = BASE + self.below(AREA) * PAGE + usize::from(self.one_in(20));
        if self.one_in(2) {
            new_len = len.next_multiple_of(PAGE);
        }
        // Never to where the kernel likes.
        if flags & MREMAP_MAYMOVE != 0 {
            flags |= MREMAP_FIXED;
        }
        self.note(format_args!("mremap {addr:x} {len:x} {new_len:x} {flags:x} {new_addr:x}"));
        Ok(sys!(mremap, addr, len, new_len, flags, new_addr)? - BASE as i64)
    }

    /// A byte out of memory and one into it, by the kernel.
    fn copy(&mut self) -> Result<i64, Errno> {
        let addr = BASE + self.below(AREA) * PAGE;
        self.note(format_args!("copy {addr:x}"));
        let [out, into] = pipe(0);
        let read = sys!(write, into, addr, 1);
        let mut byte = [0u8];
        if read.is_ok() {
            ok(sys!(read, out, byte.as_mut_ptr(), 1));
        }
        write_all(into, b"x");
        let written = sys!(read, out, addr, 1);
        close(out);
        close(into);
        match (read, written) {
            (Ok(_), Ok(_)) => Ok(i64::from(byte[0])),
            (Ok(_), Err(_)) => Ok(1000 + i64::from(byte[0])),
            (Err(errno), _) => Err(errno),
        }
    }
}
