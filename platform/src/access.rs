//! What an instruction that faulted wanted to do, for platforms that can't tell ([`Access::Unknown`]).

use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, OpAccess, Register, UsedMemory};

use crate::api::{Access, Registers};

/// The longest instruction.
pub const MAX_INSTRUCTION: usize = 15;

/// What the instruction at `regs.rip`, whose first bytes are `code` (up to [`MAX_INSTRUCTION`], fewer where the guest
/// has no more), did at `address` to fault there.
pub fn of_instruction(code: &[u8], regs: &Registers, address: u64) -> Access {
    if code.is_empty() || address == regs.rip.wrapping_add(code.len() as u64) {
        return Access::Execute;
    }
    let instruction = Decoder::with_ip(64, code, regs.rip, DecoderOptions::NONE).decode();
    let mut factory = InstructionInfoFactory::new();
    let memory = factory.info(&instruction).used_memory();
    // The piece of memory that was touched; failing that (a vector of addresses), any that is written.
    let touched = memory.iter().find(|used| contains(used, regs, address));
    match touched {
        Some(used) if writes(used.access()) => Access::Write,
        Some(_) => Access::Read,
        None if memory.iter().any(|used| writes(used.access())) => Access::Write,
        None if memory.is_empty() => Access::Execute,
        None => Access::Read,
    }
}

fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

fn contains(used: &UsedMemory, regs: &Registers, address: u64) -> bool {
    let at = used.virtual_address(0, |register, _, _| value(register, regs));
    let size = used.memory_size().size().max(1) as u64;
    at.is_some_and(|at| address.wrapping_sub(at) < size)
}

fn value(register: Register, regs: &Registers) -> Option<u64> {
    let whole = match register.full_register() {
        Register::RAX => regs.rax,
        Register::RBX => regs.rbx,
        Register::RCX => regs.rcx,
        Register::RDX => regs.rdx,
        Register::RSI => regs.rsi,
        Register::RDI => regs.rdi,
        Register::RBP => regs.rbp,
        Register::RSP => regs.rsp,
        Register::R8 => regs.r8,
        Register::R9 => regs.r9,
        Register::R10 => regs.r10,
        Register::R11 => regs.r11,
        Register::R12 => regs.r12,
        Register::R13 => regs.r13,
        Register::R14 => regs.r14,
        Register::R15 => regs.r15,
        Register::FS => return Some(regs.fs_base),
        Register::GS => return Some(regs.gs_base),
        Register::CS | Register::DS | Register::ES | Register::SS => return Some(0),
        _ => return None,
    };
    Some(if register.size() == 4 { whole & 0xffff_ffff } else { whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(code: &[u8], address: u64) -> Access {
        let regs = Registers {
            rip: 0x1000,
            rdi: 0x5000,
            rsi: 0x6000,
            rcx: 2,
            rsp: 0x7000,
            fs_base: 0x9000,
            ..Registers::default()
        };
        of_instruction(code, &regs, address)
    }

    #[test]
    fn loads_stores_and_fetches() {
        // mov [rdi+8], cl
        assert_eq!(access(&[0x88, 0x4f, 8], 0x5008), Access::Write);
        // mov rax, [rdi]
        assert_eq!(access(&[0x48, 0x8b, 7], 0x5000), Access::Read);
        // mov rax, fs:[rcx*8]
        assert_eq!(access(&[0x64, 0x48, 0x8b, 0x04, 0xcd, 0, 0, 0, 0], 0x9010), Access::Read);
        // rep movsb: one side or the other
        assert_eq!(access(&[0xf3, 0xa4], 0x5000), Access::Write);
        assert_eq!(access(&[0xf3, 0xa4], 0x6000), Access::Read);
        // push rax; add [rdi], ecx; lock cmpxchg [rdi], ecx
        assert_eq!(access(&[0x50], 0x6ff8), Access::Write);
        assert_eq!(access(&[0x01, 0x0f], 0x5000), Access::Write);
        assert_eq!(access(&[0xf0, 0x0f, 0xb1, 0x0f], 0x5000), Access::Write);
        // call [rdi]: the pointer, or the stack
        assert_eq!(access(&[0xff, 0x17], 0x5007), Access::Read);
        assert_eq!(access(&[0xff, 0x17], 0x6ff8), Access::Write);
        // movaps [rdi], xmm0
        assert_eq!(access(&[0x0f, 0x29, 0x07], 0x500f), Access::Write);
        // Nothing to read, cut off in the middle, no memory at all.
        assert_eq!(access(&[], 0x1000), Access::Execute);
        assert_eq!(access(&[0x48, 0x8b], 0x1002), Access::Execute);
        assert_eq!(access(&[0x90], 0x1000), Access::Execute);
    }

    #[test]
    fn any_bytes_are_fine() {
        let mut seed = 1u64;
        for _ in 0..20_000 {
            let mut code = [0u8; 15];
            for byte in &mut code {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *byte = (seed >> 40) as u8;
            }
            access(&code[..(seed >> 33) as usize % 16], seed);
        }
    }
}
