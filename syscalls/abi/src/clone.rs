//! Making tasks: clone(2), clone3(2), unshare(2), setns(2).

flags! {
    /// Flags of clone(2) and clone3(2). The low byte of clone's is the exit signal ([`CSIGNAL`]).
    pub struct CloneFlags: u64, "CLONE_" {
        /// unshare(2) and clone3(2) only: in clone's flags this bit is part of the exit signal.
        const NEWTIME = 0x80;
        const VM = 0x100;
        const FS = 0x200;
        const FILES = 0x400;
        const SIGHAND = 0x800;
        const PIDFD = 0x1000;
        const PTRACE = 0x2000;
        const VFORK = 0x4000;
        const PARENT = 0x8000;
        const THREAD = 0x1_0000;
        const NEWNS = 0x2_0000;
        const SYSVSEM = 0x4_0000;
        const SETTLS = 0x8_0000;
        const PARENT_SETTID = 0x10_0000;
        const CHILD_CLEARTID = 0x20_0000;
        const DETACHED = 0x40_0000;
        const UNTRACED = 0x80_0000;
        const CHILD_SETTID = 0x100_0000;
        const NEWCGROUP = 0x200_0000;
        const NEWUTS = 0x400_0000;
        const NEWIPC = 0x800_0000;
        const NEWUSER = 0x1000_0000;
        const NEWPID = 0x2000_0000;
        const NEWNET = 0x4000_0000;
        const IO = 0x8000_0000;
        /// clone3(2) only.
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// clone3(2) only.
        const INTO_CGROUP = 0x2_0000_0000;
    }
}

/// Mask of the exit signal in clone's flags.
pub const CSIGNAL: u64 = 0xff;

wire! {
    /// `struct clone_args` of clone3(2).
    pub struct CloneArgs {
        pub flags: u64,
        pub pidfd: u64,
        pub child_tid: u64,
        pub parent_tid: u64,
        pub exit_signal: u64,
        pub stack: u64,
        pub stack_size: u64,
        pub tls: u64,
        pub set_tid: u64,
        pub set_tid_size: u64,
        pub cgroup: u64,
    }
}

/// Bytes of the first version of [`CloneArgs`], up to `tls`.
pub const CLONE_ARGS_SIZE_VER0: usize = 64;
/// Bytes of the second version, up to `set_tid_size`.
pub const CLONE_ARGS_SIZE_VER1: usize = 80;
/// Bytes of the third version, up to `cgroup`.
pub const CLONE_ARGS_SIZE_VER2: usize = 88;

flags! {
    /// Flags of pidfd_open(2).
    pub struct PidfdFlags: u32, "PIDFD_" {
        const NONBLOCK = 0o4000;
        const THREAD = 0o200;
    }
}

constants! {
    /// What kcmp(2) compares.
    pub table KCMP_TYPES: u32 {
        KCMP_FILE = 0;
        KCMP_VM = 1;
        KCMP_FILES = 2;
        KCMP_FS = 3;
        KCMP_SIGHAND = 4;
        KCMP_IO = 5;
        KCMP_SYSVSEM = 6;
        KCMP_EPOLL_TFD = 7;
    }
}
