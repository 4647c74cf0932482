//! Register sets as the host takes them.

use host::ptrace::REGISTERS;

use crate::api::Registers;

/// Index of registers in `struct user_regs_struct`.
pub(crate) mod index {
    /// How many come before the segment bases: what changes on an ordinary trap.
    pub(crate) const GENERAL: usize = 21;
}

/// Code segments that a 64-bit process can have: 64-bit and compatibility mode.
pub(crate) const USER_CS: u64 = 0x33;
pub(crate) const USER32_CS: u64 = 0x23;
pub(crate) const USER_DS: u64 = 0x2b;

/// Segment bases from here on are refused.
const TASK_SIZE_MAX: u64 = 0x7fff_ffff_f000;

impl Registers {
    /// In the order of `struct user_regs_struct`.
    pub(crate) fn as_words(&self) -> &[u64; REGISTERS] {
        const { assert!(size_of::<Registers>() == REGISTERS * 8) };
        // SAFETY: the structure is `repr(C)` and made of that many u64.
        unsafe { &*std::ptr::from_ref(self).cast() }
    }

    /// As [`as_words`](Self::as_words), to be filled.
    pub(crate) fn as_words_mut(&mut self) -> &mut [u64; REGISTERS] {
        // SAFETY: as above; every bit pattern is a valid value.
        unsafe { &mut *std::ptr::from_mut(self).cast() }
    }
}

/// What the host accepts and what can do no harm: selectors of user segments only. Flags need no care (the host takes
/// only those that a program may set itself).
pub(crate) fn sanitised(regs: &Registers) -> Registers {
    let selector = |value: u64| if value & 3 == 3 && value <= 0xffff { value } else { 0 };
    Registers {
        cs: if regs.cs == USER32_CS { USER32_CS } else { USER_CS },
        ss: USER_DS,
        ds: selector(regs.ds),
        es: selector(regs.es),
        fs: selector(regs.fs),
        gs: selector(regs.gs),
        // The host must not take the state for an interrupted system call and restart it.
        orig_rax: u64::MAX,
        ..*regs
    }
}

/// Whether the host lets a segment base be set to this.
pub(crate) fn is_user_base(base: u64) -> bool {
    base < TASK_SIZE_MAX
}

/// Whether a system call stop came from the `syscall` instruction (and not from `int 0x80` or `sysenter`): it leaves
/// the return address in rcx and the flags in r11. A guest that fakes that deceives only itself.
pub(crate) fn came_by_syscall(regs: &Registers) -> bool {
    regs.rcx == regs.rip && regs.r11 == regs.eflags && regs.cs == USER_CS
}
