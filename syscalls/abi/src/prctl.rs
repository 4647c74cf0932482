//! prctl(2) and arch_prctl(2).

constants! {
    /// Operations of prctl(2).
    pub table PRCTL_OPS: u32 {
        PR_SET_PDEATHSIG = 1;
        PR_GET_PDEATHSIG = 2;
        PR_GET_DUMPABLE = 3;
        PR_SET_DUMPABLE = 4;
        PR_GET_UNALIGN = 5;
        PR_SET_UNALIGN = 6;
        PR_GET_KEEPCAPS = 7;
        PR_SET_KEEPCAPS = 8;
        PR_GET_FPEMU = 9;
        PR_SET_FPEMU = 10;
        PR_GET_FPEXC = 11;
        PR_SET_FPEXC = 12;
        PR_GET_TIMING = 13;
        PR_SET_TIMING = 14;
        PR_SET_NAME = 15;
        PR_GET_NAME = 16;
        PR_GET_ENDIAN = 19;
        PR_SET_ENDIAN = 20;
        PR_GET_SECCOMP = 21;
        PR_SET_SECCOMP = 22;
        PR_CAPBSET_READ = 23;
        PR_CAPBSET_DROP = 24;
        PR_GET_TSC = 25;
        PR_SET_TSC = 26;
        PR_GET_SECUREBITS = 27;
        PR_SET_SECUREBITS = 28;
        PR_SET_TIMERSLACK = 29;
        PR_GET_TIMERSLACK = 30;
        PR_TASK_PERF_EVENTS_DISABLE = 31;
        PR_TASK_PERF_EVENTS_ENABLE = 32;
        PR_MCE_KILL = 33;
        PR_MCE_KILL_GET = 34;
        PR_SET_MM = 35;
        PR_SET_PTRACER = 0x5961_6d61;
        PR_SET_CHILD_SUBREAPER = 36;
        PR_GET_CHILD_SUBREAPER = 37;
        PR_SET_NO_NEW_PRIVS = 38;
        PR_GET_NO_NEW_PRIVS = 39;
        PR_GET_TID_ADDRESS = 40;
        PR_SET_THP_DISABLE = 41;
        PR_GET_THP_DISABLE = 42;
        PR_MPX_ENABLE_MANAGEMENT = 43;
        PR_MPX_DISABLE_MANAGEMENT = 44;
        PR_SET_FP_MODE = 45;
        PR_GET_FP_MODE = 46;
        PR_CAP_AMBIENT = 47;
        PR_SVE_SET_VL = 50;
        PR_SVE_GET_VL = 51;
        PR_GET_SPECULATION_CTRL = 52;
        PR_SET_SPECULATION_CTRL = 53;
        PR_PAC_RESET_KEYS = 54;
        PR_SET_TAGGED_ADDR_CTRL = 55;
        PR_GET_TAGGED_ADDR_CTRL = 56;
        PR_SET_IO_FLUSHER = 57;
        PR_GET_IO_FLUSHER = 58;
        PR_SET_SYSCALL_USER_DISPATCH = 59;
        PR_PAC_SET_ENABLED_KEYS = 60;
        PR_PAC_GET_ENABLED_KEYS = 61;
        PR_SCHED_CORE = 62;
        PR_SME_SET_VL = 63;
        PR_SME_GET_VL = 64;
        PR_SET_VMA = 0x5356_4d41;
        PR_SET_MDWE = 65;
        PR_GET_MDWE = 66;
        PR_SET_MEMORY_MERGE = 67;
        PR_GET_MEMORY_MERGE = 68;
        PR_GET_SHADOW_STACK_STATUS = 74;
        PR_SET_SHADOW_STACK_STATUS = 75;
        PR_LOCK_SHADOW_STACK_STATUS = 76;
        PR_TIMER_CREATE_RESTORE_IDS = 77;
        PR_FUTEX_HASH = 78;
        PR_GET_AUXV = 0x4155_5856;
    }
}

constants! {
    /// Operations of PR_CAP_AMBIENT.
    pub table PR_CAP_AMBIENT_OPS: u32 {
        PR_CAP_AMBIENT_IS_SET = 1;
        PR_CAP_AMBIENT_RAISE = 2;
        PR_CAP_AMBIENT_LOWER = 3;
        PR_CAP_AMBIENT_CLEAR_ALL = 4;
    }
}

constants! {
    /// Operations of PR_SET_MM.
    pub table PR_SET_MM_OPS: u32 {
        PR_SET_MM_START_CODE = 1;
        PR_SET_MM_END_CODE = 2;
        PR_SET_MM_START_DATA = 3;
        PR_SET_MM_END_DATA = 4;
        PR_SET_MM_START_STACK = 5;
        PR_SET_MM_START_BRK = 6;
        PR_SET_MM_BRK = 7;
        PR_SET_MM_ARG_START = 8;
        PR_SET_MM_ARG_END = 9;
        PR_SET_MM_ENV_START = 10;
        PR_SET_MM_ENV_END = 11;
        PR_SET_MM_AUXV = 12;
        PR_SET_MM_EXE_FILE = 13;
        PR_SET_MM_MAP = 14;
        PR_SET_MM_MAP_SIZE = 15;
    }
}

constants! {
    /// Operations of PR_MCE_KILL.
    pub table PR_MCE_KILL_OPS: u32 {
        PR_MCE_KILL_CLEAR = 0;
        PR_MCE_KILL_SET = 1;
    }
}

constants! {
    /// Policies of PR_MCE_KILL_SET.
    pub table PR_MCE_KILL_POLICIES: u32 {
        PR_MCE_KILL_LATE = 0;
        PR_MCE_KILL_EARLY = 1;
        PR_MCE_KILL_DEFAULT = 2;
    }
}

constants! {
    /// Features of PR_GET_SPECULATION_CTRL.
    pub table PR_SPEC_FEATURES: u32 {
        PR_SPEC_STORE_BYPASS = 0;
        PR_SPEC_INDIRECT_BRANCH = 1;
        PR_SPEC_L1D_FLUSH = 2;
    }
}

constants! {
    /// What PR_GET_SPECULATION_CTRL answers.
    pub table PR_SPEC_STATES: u32 {
        PR_SPEC_NOT_AFFECTED = 0;
        PR_SPEC_PRCTL = 1;
        PR_SPEC_ENABLE = 2;
        PR_SPEC_DISABLE = 4;
        PR_SPEC_FORCE_DISABLE = 8;
        PR_SPEC_DISABLE_NOEXEC = 16;
    }
}

constants! {
    /// What PR_SET_TSC sets.
    pub table PR_TSC_STATES: u32 {
        PR_TSC_ENABLE = 1;
        PR_TSC_SIGSEGV = 2;
    }
}

/// The statistical timing of PR_SET_TIMING, the only one there is.
pub const PR_TIMING_STATISTICAL: u32 = 0;
/// PR_SET_PTRACER: anyone may.
pub const PR_SET_PTRACER_ANY: u64 = u64::MAX;
/// PR_SET_VMA: name an anonymous mapping.
pub const PR_SET_VMA_ANON_NAME: u32 = 0;
/// PR_SET_SYSCALL_USER_DISPATCH: off.
pub const PR_SYS_DISPATCH_OFF: u32 = 0;
/// PR_SET_SYSCALL_USER_DISPATCH: on.
pub const PR_SYS_DISPATCH_ON: u32 = 1;
/// PR_SET_MDWE: refuse mappings that gain execute permission.
pub const PR_MDWE_REFUSE_EXEC_GAIN: u32 = 1;
/// PR_SET_MDWE: children do not inherit it.
pub const PR_MDWE_NO_INHERIT: u32 = 2;
/// Bytes of a task's name, its NUL included.
pub const TASK_COMM_LEN: usize = 16;

constants! {
    /// Operations of arch_prctl(2).
    pub table ARCH_PRCTL_OPS: u32 {
        ARCH_SET_GS = 0x1001;
        ARCH_SET_FS = 0x1002;
        ARCH_GET_FS = 0x1003;
        ARCH_GET_GS = 0x1004;
        ARCH_GET_CPUID = 0x1011;
        ARCH_SET_CPUID = 0x1012;
        ARCH_GET_XCOMP_SUPP = 0x1021;
        ARCH_GET_XCOMP_PERM = 0x1022;
        ARCH_REQ_XCOMP_PERM = 0x1023;
        ARCH_GET_XCOMP_GUEST_PERM = 0x1024;
        ARCH_REQ_XCOMP_GUEST_PERM = 0x1025;
        ARCH_MAP_VDSO_X32 = 0x2001;
        ARCH_MAP_VDSO_32 = 0x2002;
        ARCH_MAP_VDSO_64 = 0x2003;
        ARCH_GET_UNTAG_MASK = 0x4001;
        ARCH_ENABLE_TAGGED_ADDR = 0x4002;
        ARCH_GET_MAX_TAG_BITS = 0x4003;
        ARCH_FORCE_TAGGED_SVA = 0x4004;
        ARCH_SHSTK_ENABLE = 0x5001;
        ARCH_SHSTK_DISABLE = 0x5002;
        ARCH_SHSTK_LOCK = 0x5003;
        ARCH_SHSTK_UNLOCK = 0x5004;
        ARCH_SHSTK_STATUS = 0x5005;
    }
}
