//! sysinfo(2), getrandom(2), syslog(2), reboot(2).

wire! {
    /// `struct sysinfo`.
    pub struct SysInfo {
        pub uptime: i64,
        /// Load averages, times 65536.
        pub loads: [u64; 3],
        pub totalram: u64,
        pub freeram: u64,
        pub sharedram: u64,
        pub bufferram: u64,
        pub totalswap: u64,
        pub freeswap: u64,
        pub procs: u16,
        pub pad: u16,
        pub pad1: u32,
        pub totalhigh: u64,
        pub freehigh: u64,
        /// Bytes that the memory fields count.
        pub mem_unit: u32,
        pub pad2: u32,
    }
}

flags! {
    /// Flags of getrandom(2).
    pub struct GetrandomFlags: u32, "GRND_" {
        const NONBLOCK = 1;
        const RANDOM = 2;
        const INSECURE = 4;
    }
}

constants! {
    /// Commands of reboot(2).
    pub table REBOOT_COMMANDS: u32 {
        LINUX_REBOOT_CMD_RESTART = 0x0123_4567;
        LINUX_REBOOT_CMD_HALT = 0xcdef_0123;
        LINUX_REBOOT_CMD_CAD_ON = 0x89ab_cdef;
        LINUX_REBOOT_CMD_CAD_OFF = 0;
        LINUX_REBOOT_CMD_POWER_OFF = 0x4321_fedc;
        LINUX_REBOOT_CMD_RESTART2 = 0xa1b2_c3d4;
        LINUX_REBOOT_CMD_SW_SUSPEND = 0xd000_fce2;
        LINUX_REBOOT_CMD_KEXEC = 0x4558_4543;
    }
}

/// First word of reboot(2).
pub const LINUX_REBOOT_MAGIC1: u32 = 0xfee1_dead;
/// The words that may come second.
pub const LINUX_REBOOT_MAGIC2: [u32; 4] = [0x2812_1969, 0x0512_1996, 0x1604_1998, 0x2011_2000];
