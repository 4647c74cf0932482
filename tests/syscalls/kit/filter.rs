//! Filters of system calls (seccomp(2)), as programs.

use super::sys::Answer;
use crate::sys;

/// An instruction.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Op {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

pub const LOAD: u16 = 0x20;
pub const RET: u16 = 0x06;
pub const JEQ: u16 = 0x15;
pub const KILL_PROCESS: u32 = 0x8000_0000;
pub const KILL_THREAD: u32 = 0;
pub const TRAP: u32 = 0x0003_0000;
pub const ERRNO: u32 = 0x0005_0000;
pub const TRACE: u32 = 0x7ff0_0000;
pub const LOG: u32 = 0x7ffc_0000;
pub const ALLOW: u32 = 0x7fff_0000;

/// An instruction that does not jump.
pub fn op(code: u16, k: u32) -> Op {
    Op { code, jt: 0, jf: 0, k }
}

/// Answers `action` for the call and allows the others.
pub fn on_call(number: u32, action: u32) -> [Op; 4] {
    [op(LOAD, 0), Op { code: JEQ, jt: 0, jf: 1, k: number }, op(RET, action), op(RET, ALLOW)]
}

/// Installs a program for this thread. `flags` are `SECCOMP_FILTER_FLAG_*`.
pub fn install(program: &[Op], flags: u32) -> Answer {
    #[repr(C)]
    struct Program {
        len: u64,
        filter: *const Op,
    }
    let program = Program { len: program.len() as u64, filter: program.as_ptr() };
    sys!(seccomp, 1, flags, &program)
}
