//! `cases transcript numa SEED STEPS`: random calls about NUMA policies, as `transcript.rs` does for mappings. Only for
//! hosts of one node, which the sandbox always is.

use crate::kit::prelude::*;

/// Modes, known and not; with the flags that go with them.
const MODES: [u64; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const MODE_FLAGS: [u64; 6] = [0, 0, 0, 1 << 15, 1 << 14, 1 << 13];

struct Fuzz {
    random: u64,
    area: usize,
}

/// Runs; gives the exit status.
pub fn run(words: &[&str]) -> c_int {
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let (Some(seed), Some(steps)) = (number(0), number(1)) else {
        crate::kit::check::say("usage: cases transcript numa SEED STEPS");
        return 2;
    };
    // With a hole in the middle, and nothing around.
    let area = 0x2000_0000_0000;
    ok(sys!(mmap, area, 20 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
    unmap(area + 9 * PAGE, 2 * PAGE);
    let mut fuzz = Fuzz { random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, area };
    for step in 0..steps {
        let line = fuzz.step();
        write_all(1, format!("{step} {line}\n").as_bytes());
    }
    0
}

impl Fuzz {
    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    fn mode(&mut self) -> u64 {
        MODES[self.below(9) as usize] | MODE_FLAGS[self.below(6) as usize]
    }

    fn mask(&mut self) -> [u64; 32] {
        let mut mask = [0; 32];
        mask[0] = [0, 1, 1, 1, 3, 2, 1 << 40][self.below(7) as usize];
        if self.below(20) == 0 {
            mask[17] = 1;
        }
        mask
    }

    fn bits(&mut self) -> u64 {
        [0, 1, 2, 3, 64, 65, 1024, 1025, 40_000][self.below(9) as usize]
    }

    fn range(&mut self) -> (usize, usize) {
        let start = self.below(20) as usize;
        let odd = if self.below(15) == 0 { 100 } else { 0 };
        (self.area + start * PAGE + odd, (self.below(6) as usize) * PAGE)
    }

    fn step(&mut self) -> String {
        match self.below(8) {
            0 | 1 => {
                let (mode, mask, bits) = (self.mode(), self.mask(), self.bits().min(2000));
                let answer = sys!(set_mempolicy, mode, mask.as_ptr(), bits);
                format!("set_mempolicy {mode:x} {:x} {bits} = {answer:?}", mask[0])
            }
            2..=4 => {
                let (mut mode, mut mask, bits) = (-1i32, [u64::MAX; 4], self.bits().min(256));
                let flags = self.below(9);
                let (addr, _) = self.range();
                let addr = if flags & 2 != 0 || self.below(4) == 0 { addr } else { 0 };
                let answer = if self.below(5) == 0 {
                    sys!(get_mempolicy, &mut mode, 0, bits, addr, flags)
                } else {
                    sys!(get_mempolicy, &mut mode, mask.as_mut_ptr(), bits, addr, flags)
                };
                let page = if addr == 0 { -1 } else { (addr - self.area) as i64 };
                format!("get_mempolicy {bits} {page:x} {flags:x} = {answer:?} {mode} {mask:x?}")
            }
            5 | 6 => {
                let ((addr, len), mode, mask) = (self.range(), self.mode(), self.mask());
                let (bits, flags) = (self.bits().min(2000), self.below(9));
                let answer = sys!(mbind, addr, len, mode, mask.as_ptr(), bits, flags);
                let page = addr - self.area;
                format!("mbind {page:x} {len:x} {mode:x} {:x} {bits} {flags:x} = {answer:?}", mask[0])
            }
            _ => {
                let ((addr, len), node, flags) = (self.range(), self.below(3), self.below(8) / 7);
                let answer = sys!(set_mempolicy_home_node, addr, len, node, flags);
                format!("set_mempolicy_home_node {:x} {len:x} {node} {flags} = {answer:?}", addr - self.area)
            }
        }
    }
}
