//! seccomp(2): operations, actions, data and classic BPF instructions.

constants! {
    /// Operations of seccomp(2).
    pub table SECCOMP_OPS: u32 {
        SECCOMP_SET_MODE_STRICT = 0;
        SECCOMP_SET_MODE_FILTER = 1;
        SECCOMP_GET_ACTION_AVAIL = 2;
        SECCOMP_GET_NOTIF_SIZES = 3;
    }
}

constants! {
    /// Modes of PR_SET_SECCOMP.
    pub table SECCOMP_MODES: u32 {
        SECCOMP_MODE_DISABLED = 0;
        SECCOMP_MODE_STRICT = 1;
        SECCOMP_MODE_FILTER = 2;
    }
}

flags! {
    /// Flags of SECCOMP_SET_MODE_FILTER.
    pub struct SeccompFlags: u32, "SECCOMP_FILTER_FLAG_" {
        const TSYNC = 1;
        const LOG = 2;
        const SPEC_ALLOW = 4;
        const NEW_LISTENER = 8;
        const TSYNC_ESRCH = 16;
        const WAIT_KILLABLE_RECV = 32;
    }
}

constants! {
    /// What a filter answers, with 16 bits of data below.
    pub table SECCOMP_ACTIONS: u32 {
        SECCOMP_RET_KILL_PROCESS = 0x8000_0000;
        SECCOMP_RET_KILL_THREAD = 0x0000_0000;
        SECCOMP_RET_TRAP = 0x0003_0000;
        SECCOMP_RET_ERRNO = 0x0005_0000;
        SECCOMP_RET_USER_NOTIF = 0x7fc0_0000;
        SECCOMP_RET_TRACE = 0x7ff0_0000;
        SECCOMP_RET_LOG = 0x7ffc_0000;
        SECCOMP_RET_ALLOW = 0x7fff_0000;
    }
}

/// Mask of the action.
pub const SECCOMP_RET_ACTION_FULL: u32 = 0xffff_0000;
/// Mask of the data.
pub const SECCOMP_RET_DATA: u32 = 0x0000_ffff;
/// The architecture of x86-64 calls.
pub const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

wire! {
    /// `struct seccomp_data`: what a filter sees.
    pub struct SeccompData {
        pub nr: i32,
        pub arch: u32,
        pub instruction_pointer: u64,
        pub args: [u64; 6],
    }

    /// `struct sock_filter`: a classic BPF instruction.
    pub struct SockFilter {
        pub code: u16,
        pub jt: u8,
        pub jf: u8,
        pub k: u32,
    }

    /// `struct sock_fprog`: a classic BPF program.
    pub struct SockFprog {
        pub len: u16,
        pub pad0: [u16; 3],
        pub filter: u64,
    }

    /// `struct seccomp_notif_sizes`.
    pub struct SeccompNotifSizes {
        pub seccomp_notif: u16,
        pub seccomp_notif_resp: u16,
        pub seccomp_data: u16,
    }

    /// `struct seccomp_notif`.
    pub struct SeccompNotif {
        pub id: u64,
        pub pid: u32,
        pub flags: u32,
        pub data: SeccompData,
    }

    /// `struct seccomp_notif_resp`.
    pub struct SeccompNotifResp {
        pub id: u64,
        pub val: i64,
        pub error: i32,
        pub flags: u32,
    }
}

/// The most instructions in one program.
pub const BPF_MAXINSNS: u16 = 4096;
/// Words of scratch memory of a program.
pub const BPF_MEMWORDS: usize = 16;

constants! {
    /// Classes of instruction, in the low three bits.
    pub table BPF_CLASSES: u16 {
        BPF_LD = 0x00;
        BPF_LDX = 0x01;
        BPF_ST = 0x02;
        BPF_STX = 0x03;
        BPF_ALU = 0x04;
        BPF_JMP = 0x05;
        BPF_RET = 0x06;
        BPF_MISC = 0x07;
    }
}

constants! {
    /// Sizes and modes of loads.
    pub table BPF_LOADS: u16 {
        BPF_W = 0x00;
        BPF_H = 0x08;
        BPF_B = 0x10;
        BPF_IMM = 0x00;
        BPF_ABS = 0x20;
        BPF_IND = 0x40;
        BPF_MEM = 0x60;
        BPF_LEN = 0x80;
        BPF_MSH = 0xa0;
    }
}

constants! {
    /// Arithmetic.
    pub table BPF_ALU_OPS: u16 {
        BPF_ADD = 0x00;
        BPF_SUB = 0x10;
        BPF_MUL = 0x20;
        BPF_DIV = 0x30;
        BPF_OR = 0x40;
        BPF_AND = 0x50;
        BPF_LSH = 0x60;
        BPF_RSH = 0x70;
        BPF_NEG = 0x80;
        BPF_MOD = 0x90;
        BPF_XOR = 0xa0;
    }
}

constants! {
    /// Jumps.
    pub table BPF_JUMPS: u16 {
        BPF_JA = 0x00;
        BPF_JEQ = 0x10;
        BPF_JGT = 0x20;
        BPF_JGE = 0x30;
        BPF_JSET = 0x40;
    }
}

constants! {
    /// Where the operand is (K, X) or what is returned (A), and the two moves.
    pub table BPF_SOURCES: u16 {
        BPF_K = 0x00;
        BPF_X = 0x08;
        BPF_A = 0x10;
        BPF_TAX = 0x00;
        BPF_TXA = 0x80;
    }
}
