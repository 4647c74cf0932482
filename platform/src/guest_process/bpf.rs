//! Seccomp programs of stub processes, which look at the address that a call is made from.

use host::seccomp::Instruction;

/// Offsets in `struct seccomp_data`.
pub(crate) mod data {
    pub(crate) const NUMBER: u32 = 0;
    pub(crate) const ARCH: u32 = 4;
    pub(crate) const IP_LOW: u32 = 8;
    pub(crate) const IP_HIGH: u32 = 12;
    pub(crate) const ARG0_LOW: u32 = 16;
    pub(crate) const ARG0_HIGH: u32 = 20;
}

pub(crate) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Upper half of every address in the vsyscall page.
pub(crate) const VSYSCALL_HIGH: u32 = 0xffff_ffff;

pub(crate) const JEQ: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
pub(crate) const ALLOW: Instruction = answer(libc::SECCOMP_RET_ALLOW);
pub(crate) const TRAP: Instruction = answer(libc::SECCOMP_RET_TRAP);
pub(crate) const KILL: Instruction = answer(libc::SECCOMP_RET_KILL_PROCESS);

const fn answer(k: u32) -> Instruction {
    Instruction { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k }
}

/// A program under construction.
pub(crate) struct Program(pub(crate) Vec<Instruction>);

impl Program {
    /// Adds an instruction.
    pub(crate) fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) {
        self.0.push(Instruction { code: code as u16, jt, jf, k });
    }

    /// Loads a word of `struct seccomp_data`.
    pub(crate) fn load(&mut self, offset: u32) {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    }

    /// Runs `then` (a few instructions) when the accumulator is `value`.
    pub(crate) fn when_equal(&mut self, value: u32, then: &[Instruction]) {
        self.push(JEQ, 0, then.len() as u8, value);
        self.0.extend_from_slice(then);
    }

    /// Runs `then` (a few instructions) when the accumulator is not `value`.
    pub(crate) fn unless_equal(&mut self, value: u32, then: &[Instruction]) {
        self.push(JEQ, then.len() as u8, 0, value);
        self.0.extend_from_slice(then);
    }
}
