//! Classic BPF as seccomp(2) takes it: checked once, then run on every call.
//!
//! What the checks promise: every jump goes forward to an instruction of the program, the last instruction returns, no
//! word of scratch memory is read before it was written, and the data are read in aligned words. So a run needs no
//! bounds beyond those, and ends.

use abi::Errno;
use abi::seccomp::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_DIV, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP,
    BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_LSH, BPF_MAXINSNS, BPF_MEM, BPF_MEMWORDS, BPF_MISC,
    BPF_MUL, BPF_NEG, BPF_OR, BPF_RET, BPF_RSH, BPF_ST, BPF_STX, BPF_SUB, BPF_TAX, BPF_TXA, BPF_W, BPF_X,
    BPF_XOR, SeccompData, SockFilter,
};
use zerocopy::IntoBytes;

/// Bytes of [`SeccompData`].
const DATA_SIZE: u32 = size_of::<SeccompData>() as u32;

/// A program that passed the checks.
#[derive(Debug)]
pub struct Program(Box<[SockFilter]>);

impl Program {
    /// Checks `instructions`; EINVAL for what Linux refuses.
    pub fn new(instructions: Vec<SockFilter>) -> Result<Program, Errno> {
        if instructions.is_empty() || instructions.len() > usize::from(BPF_MAXINSNS) {
            return Err(Errno::EINVAL);
        }
        for (at, instruction) in instructions.iter().enumerate() {
            let left = (instructions.len() - at - 1) as u32;
            if !is_valid(instruction, left) {
                return Err(Errno::EINVAL);
            }
        }
        let returns = |code: u16| matches!(code, RET_K | RET_A);
        if !instructions.last().is_some_and(|last| returns(last.code)) || reads_unwritten(&instructions) {
            return Err(Errno::EINVAL);
        }
        Ok(Program(instructions.into()))
    }

    /// How many instructions it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none, which it never does.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs it.
    pub fn run(&self, data: &SeccompData) -> u32 {
        let data = data.as_bytes();
        let word = |at: u32| {
            let at = at as usize;
            data.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
        };
        let (mut a, mut x) = (0u32, 0u32);
        let mut memory = [0u32; BPF_MEMWORDS];
        let mut at = 0;
        while let Some(&SockFilter { code, jt, jf, k }) = self.0.get(at) {
            at += 1;
            let slot = k as usize % BPF_MEMWORDS;
            // Conditional jumps say how far for yes and no.
            let mut jump = |condition: bool| at += usize::from(if condition { jt } else { jf });
            match code {
                RET_K => return k,
                RET_A => return a,
                LD_ABS => a = word(k),
                LD_LEN => a = DATA_SIZE,
                LDX_LEN => x = DATA_SIZE,
                LD_IMM => a = k,
                LDX_IMM => x = k,
                LD_MEM => a = memory[slot],
                LDX_MEM => x = memory[slot],
                ST => memory[slot] = a,
                STX => memory[slot] = x,
                TAX => x = a,
                TXA => a = x,
                NEG => a = a.wrapping_neg(),
                JA => at += k as usize,
                JEQ_K => jump(a == k),
                JEQ_X => jump(a == x),
                JGT_K => jump(a > k),
                JGT_X => jump(a > x),
                JGE_K => jump(a >= k),
                JGE_X => jump(a >= x),
                JSET_K => jump(a & k != 0),
                JSET_X => jump(a & x != 0),
                _ => {
                    let operand = if code & BPF_X != 0 { x } else { k };
                    match calculate(code & 0xf0, a, operand) {
                        Some(result) => a = result,
                        // Division by zero ends the program with 0.
                        None => return 0,
                    }
                }
            }
        }
        // Not reached: the last instruction returns. As a division by zero.
        0
    }
}

fn calculate(op: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match op {
        BPF_ADD => a.wrapping_add(operand),
        BPF_SUB => a.wrapping_sub(operand),
        BPF_MUL => a.wrapping_mul(operand),
        BPF_DIV => return a.checked_div(operand),
        BPF_OR => a | operand,
        BPF_AND => a & operand,
        BPF_XOR => a ^ operand,
        BPF_LSH => a.wrapping_shl(operand),
        BPF_RSH => a.wrapping_shr(operand),
        _ => a,
    })
}

const RET_K: u16 = BPF_RET | BPF_K;
const RET_A: u16 = BPF_RET | BPF_A;
const LD_ABS: u16 = BPF_LD | BPF_W | BPF_ABS;
const LD_LEN: u16 = BPF_LD | BPF_W | BPF_LEN;
const LDX_LEN: u16 = BPF_LDX | BPF_W | BPF_LEN;
const LD_IMM: u16 = BPF_LD | BPF_IMM;
const LDX_IMM: u16 = BPF_LDX | BPF_IMM;
const LD_MEM: u16 = BPF_LD | BPF_MEM;
const LDX_MEM: u16 = BPF_LDX | BPF_MEM;
const ST: u16 = BPF_ST;
const STX: u16 = BPF_STX;
const TAX: u16 = BPF_MISC | BPF_TAX;
const TXA: u16 = BPF_MISC | BPF_TXA;
const NEG: u16 = BPF_ALU | BPF_NEG;
const JA: u16 = BPF_JMP | BPF_JA;
const JEQ_K: u16 = BPF_JMP | BPF_JEQ | BPF_K;
const JEQ_X: u16 = BPF_JMP | BPF_JEQ | BPF_X;
const JGT_K: u16 = BPF_JMP | BPF_JGT | BPF_K;
const JGT_X: u16 = BPF_JMP | BPF_JGT | BPF_X;
const JGE_K: u16 = BPF_JMP | BPF_JGE | BPF_K;
const JGE_X: u16 = BPF_JMP | BPF_JGE | BPF_X;
const JSET_K: u16 = BPF_JMP | BPF_JSET | BPF_K;
const JSET_X: u16 = BPF_JMP | BPF_JSET | BPF_X;

/// Whether an instruction with `left` others behind it is one of those that filters may have.
fn is_valid(instruction: &SockFilter, left: u32) -> bool {
    let SockFilter { code, jt, jf, k } = *instruction;
    match code {
        RET_K | RET_A | LD_LEN | LDX_LEN | LD_IMM | LDX_IMM | TAX | TXA | NEG => true,
        LD_ABS => k < DATA_SIZE && k.is_multiple_of(4),
        LD_MEM | LDX_MEM | ST | STX => (k as usize) < BPF_MEMWORDS,
        JA => k < left,
        JEQ_K | JEQ_X | JGT_K | JGT_X | JGE_K | JGE_X | JSET_K | JSET_X => {
            u32::from(jt) < left && u32::from(jf) < left
        }
        _ if code & 0xff07 == BPF_ALU => {
            let by_constant = code & BPF_X == 0;
            match code & 0xf0 {
                BPF_ADD | BPF_SUB | BPF_MUL | BPF_AND | BPF_OR | BPF_XOR => true,
                BPF_DIV => !by_constant || k != 0,
                BPF_LSH | BPF_RSH => !by_constant || k < 32,
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether some path reads a word of scratch memory that it has not written.
fn reads_unwritten(instructions: &[SockFilter]) -> bool {
    // Words that are written on every path to an instruction.
    let mut at_entry = vec![u16::MAX; instructions.len()];
    let mut written = 0u16;
    for (at, SockFilter { code, jt, jf, k }) in instructions.iter().copied().enumerate() {
        written &= at_entry[at];
        let bit = 1u16.checked_shl(k).unwrap_or(0);
        match code {
            ST | STX => written |= bit,
            LD_MEM | LDX_MEM if written & bit == 0 => return true,
            JA => {
                at_entry[at + 1 + k as usize] &= written;
                written = u16::MAX;
            }
            JEQ_K | JEQ_X | JGT_K | JGT_X | JGE_K | JGE_X | JSET_K | JSET_X => {
                at_entry[at + 1 + usize::from(jt)] &= written;
                at_entry[at + 1 + usize::from(jf)] &= written;
                written = u16::MAX;
            }
            RET_K | RET_A => written = u16::MAX,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::seccomp::{BPF_B, BPF_MOD};

    fn op(code: u16, k: u32) -> SockFilter {
        SockFilter { code, jt: 0, jf: 0, k }
    }

    fn jump(code: u16, k: u32, jt: u8, jf: u8) -> SockFilter {
        SockFilter { code, jt, jf, k }
    }

    fn run(instructions: &[SockFilter]) -> Option<u32> {
        let data =
            SeccompData { nr: 7, arch: 0xc000_003e, instruction_pointer: 5, args: [1, 2, 3, 4, 5, 1 << 32] };
        Program::new(instructions.to_vec()).ok().map(|program| program.run(&data))
    }

    #[test]
    fn data_are_read_in_words() {
        assert_eq!(run(&[op(LD_ABS, 0), op(RET_A, 0)]), Some(7));
        assert_eq!(run(&[op(LD_ABS, 4), op(RET_A, 0)]), Some(0xc000_003e));
        assert_eq!(run(&[op(LD_ABS, 60), op(RET_A, 0)]), Some(1));
        assert_eq!(run(&[op(LD_LEN, 0), op(RET_A, 0)]), Some(64));
        assert_eq!(run(&[op(LD_ABS, 64), op(RET_A, 0)]), None);
        assert_eq!(run(&[op(LD_ABS, 2), op(RET_A, 0)]), None);
        assert_eq!(run(&[op(BPF_LD | BPF_B | BPF_ABS, 0), op(RET_A, 0)]), None);
    }

    #[test]
    fn jumps_stay_inside() {
        let pick = |nr| run(&[op(LD_ABS, 0), jump(JEQ_K, nr, 0, 1), op(RET_K, 1), op(RET_K, 2)]);
        assert_eq!((pick(7), pick(8)), (Some(1), Some(2)));
        assert_eq!(run(&[jump(JEQ_K, 0, 0, 1), op(RET_K, 1)]), None);
        assert_eq!(run(&[op(JA, 1), op(RET_K, 1), op(RET_K, 2)]), Some(2));
        assert_eq!(run(&[op(JA, 2), op(RET_K, 1), op(RET_K, 2)]), None);
        assert_eq!(run(&[op(JA, u32::MAX), op(RET_K, 1)]), None);
        assert_eq!(run(&[op(RET_K, 1), op(LD_IMM, 2)]), None);
        assert_eq!(run(&[]), None);
    }

    #[test]
    fn arithmetic_wraps_and_division_by_zero_ends() {
        let alu = |code: u16, a, k| run(&[op(LD_IMM, a), op(BPF_ALU | code, k), op(RET_A, 0)]);
        assert_eq!(alu(BPF_ADD, u32::MAX, 2), Some(1));
        assert_eq!(alu(BPF_SUB, 0, 1), Some(u32::MAX));
        assert_eq!(alu(BPF_DIV, 7, 2), Some(3));
        assert_eq!(alu(BPF_DIV, 7, 0), None);
        assert_eq!(alu(BPF_LSH, 1, 31), Some(1 << 31));
        assert_eq!(alu(BPF_LSH, 1, 32), None);
        assert_eq!(alu(BPF_MOD, 7, 2), None);
        assert_eq!(alu(BPF_NEG, 1, 0), Some(u32::MAX));
        let by_x = [op(LDX_IMM, 0), op(LD_IMM, 7), op(BPF_ALU | BPF_DIV | BPF_X, 0), op(RET_K, 9)];
        assert_eq!(run(&by_x), Some(0));
    }

    #[test]
    fn memory_is_written_before_it_is_read() {
        assert_eq!(run(&[op(LD_IMM, 5), op(ST, 3), op(LD_IMM, 0), op(LD_MEM, 3), op(RET_A, 0)]), Some(5));
        assert_eq!(run(&[op(LD_MEM, 3), op(RET_A, 0)]), None);
        assert_eq!(run(&[op(ST, 16), op(RET_A, 0)]), None);
        // Written on one of two paths only.
        let one_path = [jump(JEQ_K, 0, 0, 1), op(ST, 0), op(LD_MEM, 0), op(RET_A, 0)];
        assert_eq!(run(&one_path), None);
        let both = [op(ST, 0), jump(JEQ_K, 0, 0, 1), op(ST, 1), op(LD_MEM, 0), op(RET_A, 0)];
        assert_eq!(run(&both), Some(0));
    }

    #[test]
    fn random_programs_end() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut accepted = 0;
        for _ in 0..20_000 {
            let len = 1 + random() as usize % 8;
            let codes =
                [RET_K, RET_A, LD_ABS, LD_MEM, ST, TAX, JA, JEQ_K, JGT_X, BPF_ALU | BPF_ADD, LDX_MEM, STX];
            let mut instructions: Vec<_> = (0..len)
                .map(|_| {
                    let word = random();
                    let code =
                        if word & 15 == 15 { (word >> 8) as u16 } else { codes[word as usize % codes.len()] };
                    jump(code, (word >> 16) as u32 % 20, (word >> 40) as u8 % 4, (word >> 48) as u8 % 4)
                })
                .collect();
            instructions.push(op(RET_A, 0));
            accepted += usize::from(run(&instructions).is_some());
        }
        assert!(accepted > 100, "{accepted} programs accepted");
    }
}
