//! ptrace(2).

constants! {
    /// Requests.
    pub table PTRACE_REQUESTS: u32 {
        PTRACE_TRACEME = 0;
        PTRACE_PEEKTEXT = 1;
        PTRACE_PEEKDATA = 2;
        PTRACE_PEEKUSR = 3;
        PTRACE_POKETEXT = 4;
        PTRACE_POKEDATA = 5;
        PTRACE_POKEUSR = 6;
        PTRACE_CONT = 7;
        PTRACE_KILL = 8;
        PTRACE_SINGLESTEP = 9;
        PTRACE_GETREGS = 12;
        PTRACE_SETREGS = 13;
        PTRACE_GETFPREGS = 14;
        PTRACE_SETFPREGS = 15;
        PTRACE_ATTACH = 16;
        PTRACE_DETACH = 17;
        PTRACE_OLDSETOPTIONS = 21;
        PTRACE_SYSCALL = 24;
        PTRACE_GET_THREAD_AREA = 25;
        PTRACE_SET_THREAD_AREA = 26;
        PTRACE_ARCH_PRCTL = 30;
        PTRACE_SYSEMU = 31;
        PTRACE_SYSEMU_SINGLESTEP = 32;
        PTRACE_SINGLEBLOCK = 33;
        PTRACE_SETOPTIONS = 0x4200;
        PTRACE_GETEVENTMSG = 0x4201;
        PTRACE_GETSIGINFO = 0x4202;
        PTRACE_SETSIGINFO = 0x4203;
        PTRACE_GETREGSET = 0x4204;
        PTRACE_SETREGSET = 0x4205;
        PTRACE_SEIZE = 0x4206;
        PTRACE_INTERRUPT = 0x4207;
        PTRACE_LISTEN = 0x4208;
        PTRACE_PEEKSIGINFO = 0x4209;
        PTRACE_GETSIGMASK = 0x420a;
        PTRACE_SETSIGMASK = 0x420b;
        PTRACE_SECCOMP_GET_FILTER = 0x420c;
        PTRACE_SECCOMP_GET_METADATA = 0x420d;
        PTRACE_GET_SYSCALL_INFO = 0x420e;
        PTRACE_GET_RSEQ_CONFIGURATION = 0x420f;
        PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG = 0x4210;
        PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG = 0x4211;
        PTRACE_SET_SYSCALL_INFO = 0x4212;
    }
}

flags! {
    /// Options.
    pub struct PtraceOptions: u32, "PTRACE_O_" {
        const TRACESYSGOOD = 1;
        const TRACEFORK = 1 << 1;
        const TRACEVFORK = 1 << 2;
        const TRACECLONE = 1 << 3;
        const TRACEEXEC = 1 << 4;
        const TRACEVFORKDONE = 1 << 5;
        const TRACEEXIT = 1 << 6;
        const TRACESECCOMP = 1 << 7;
        const EXITKILL = 1 << 20;
        const SUSPEND_SECCOMP = 1 << 21;
    }
}

constants! {
    /// Events in a stop's status.
    pub table PTRACE_EVENTS: u32 {
        PTRACE_EVENT_FORK = 1;
        PTRACE_EVENT_VFORK = 2;
        PTRACE_EVENT_CLONE = 3;
        PTRACE_EVENT_EXEC = 4;
        PTRACE_EVENT_VFORK_DONE = 5;
        PTRACE_EVENT_EXIT = 6;
        PTRACE_EVENT_SECCOMP = 7;
        PTRACE_EVENT_STOP = 128;
    }
}

/// PTRACE_PEEKSIGINFO: the process's queue.
pub const PTRACE_PEEKSIGINFO_SHARED: u32 = 1;

wire! {
    /// `struct user_regs_struct`.
    pub struct UserRegs {
        pub r15: u64,
        pub r14: u64,
        pub r13: u64,
        pub r12: u64,
        pub rbp: u64,
        pub rbx: u64,
        pub r11: u64,
        pub r10: u64,
        pub r9: u64,
        pub r8: u64,
        pub rax: u64,
        pub rcx: u64,
        pub rdx: u64,
        pub rsi: u64,
        pub rdi: u64,
        pub orig_rax: u64,
        pub rip: u64,
        pub cs: u64,
        pub eflags: u64,
        pub rsp: u64,
        pub ss: u64,
        pub fs_base: u64,
        pub gs_base: u64,
        pub ds: u64,
        pub es: u64,
        pub fs: u64,
        pub gs: u64,
    }

    /// `struct ptrace_peeksiginfo_args`.
    pub struct PeekSiginfoArgs {
        pub off: u64,
        pub flags: u32,
        pub nr: i32,
    }

    /// `struct ptrace_syscall_info`; the payload depends on `op`.
    pub struct PtraceSyscallInfo {
        pub op: u8,
        pub reserved: u8,
        pub flags: u16,
        pub arch: u32,
        pub instruction_pointer: u64,
        pub stack_pointer: u64,
        /// Entry: number and six arguments; exit: result and an error byte; seccomp: entry and the filter's data.
        pub payload: [u64; 8],
    }
}

constants! {
    /// `op` of [`PtraceSyscallInfo`].
    pub table PTRACE_SYSCALL_INFO_OPS: u8 {
        PTRACE_SYSCALL_INFO_NONE = 0;
        PTRACE_SYSCALL_INFO_ENTRY = 1;
        PTRACE_SYSCALL_INFO_EXIT = 2;
        PTRACE_SYSCALL_INFO_SECCOMP = 3;
    }
}
