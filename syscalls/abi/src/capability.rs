//! Capabilities: numbers, sets, the structures of capget(2).

constants! {
    /// Capability numbers.
    pub table CAPABILITIES: u32 {
        CAP_CHOWN = 0;
        CAP_DAC_OVERRIDE = 1;
        CAP_DAC_READ_SEARCH = 2;
        CAP_FOWNER = 3;
        CAP_FSETID = 4;
        CAP_KILL = 5;
        CAP_SETGID = 6;
        CAP_SETUID = 7;
        CAP_SETPCAP = 8;
        CAP_LINUX_IMMUTABLE = 9;
        CAP_NET_BIND_SERVICE = 10;
        CAP_NET_BROADCAST = 11;
        CAP_NET_ADMIN = 12;
        CAP_NET_RAW = 13;
        CAP_IPC_LOCK = 14;
        CAP_IPC_OWNER = 15;
        CAP_SYS_MODULE = 16;
        CAP_SYS_RAWIO = 17;
        CAP_SYS_CHROOT = 18;
        CAP_SYS_PTRACE = 19;
        CAP_SYS_PACCT = 20;
        CAP_SYS_ADMIN = 21;
        CAP_SYS_BOOT = 22;
        CAP_SYS_NICE = 23;
        CAP_SYS_RESOURCE = 24;
        CAP_SYS_TIME = 25;
        CAP_SYS_TTY_CONFIG = 26;
        CAP_MKNOD = 27;
        CAP_LEASE = 28;
        CAP_AUDIT_WRITE = 29;
        CAP_AUDIT_CONTROL = 30;
        CAP_SETFCAP = 31;
        CAP_MAC_OVERRIDE = 32;
        CAP_MAC_ADMIN = 33;
        CAP_SYSLOG = 34;
        CAP_WAKE_ALARM = 35;
        CAP_BLOCK_SUSPEND = 36;
        CAP_AUDIT_READ = 37;
        CAP_PERFMON = 38;
        CAP_BPF = 39;
        CAP_CHECKPOINT_RESTORE = 40;
    }
}

/// The last one.
pub const CAP_LAST_CAP: u32 = CAP_CHECKPOINT_RESTORE;

/// A set of capabilities; bit `n` is capability `n`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapSet(pub u64);

impl CapSet {
    /// None.
    pub const EMPTY: CapSet = CapSet(0);
    /// All that there are.
    pub const ALL: CapSet = CapSet((1 << (CAP_LAST_CAP + 1)) - 1);

    /// The set of these.
    pub const fn of(capabilities: &[u32]) -> CapSet {
        let mut bits = 0;
        let mut i = 0;
        while i < capabilities.len() {
            bits |= 1 << capabilities[i];
            i += 1;
        }
        CapSet(bits)
    }

    /// Whether `capability` is in it; false for a number that is none.
    pub const fn contains(self, capability: u32) -> bool {
        capability < 64 && self.0 >> capability & 1 == 1
    }

    /// Whether all of `other` are in it.
    pub const fn contains_all(self, other: CapSet) -> bool {
        other.0 & !self.0 == 0
    }

    /// Puts `capability` in, which must be one.
    pub const fn add(&mut self, capability: u32) {
        self.0 |= 1 << capability;
    }

    /// Takes `capability` out, which must be one.
    pub const fn remove(&mut self, capability: u32) {
        self.0 &= !(1 << capability);
    }

    /// Whether there is none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in either.
    pub const fn union(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }

    /// Those in both.
    pub const fn intersection(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }

    /// Those in this one and not in `other`.
    pub const fn difference(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }
}

impl core::fmt::Debug for CapSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CapSet({:#x})", self.0)
    }
}

wire! {
    /// `struct __user_cap_header_struct`.
    pub struct CapHeader {
        pub version: u32,
        pub pid: i32,
    }

    /// `struct __user_cap_data_struct`: 32 capabilities of each set; versions 2 and 3 have two of these.
    pub struct CapData {
        pub effective: u32,
        pub permitted: u32,
        pub inheritable: u32,
    }

    /// `struct vfs_ns_cap_data`, the value of `security.capability`; revision 2 lacks the last field.
    pub struct VfsCapData {
        pub magic_etc: u32,
        pub permitted_low: u32,
        pub inheritable_low: u32,
        pub permitted_high: u32,
        pub inheritable_high: u32,
        pub rootid: u32,
    }
}

constants! {
    /// Versions in [`CapHeader`].
    pub table CAPABILITY_VERSIONS: u32 {
        _LINUX_CAPABILITY_VERSION_1 = 0x1998_0330;
        _LINUX_CAPABILITY_VERSION_2 = 0x2007_1026;
        _LINUX_CAPABILITY_VERSION_3 = 0x2008_0522;
    }
}

/// Revision 1 of a file's capabilities.
pub const VFS_CAP_REVISION_1: u32 = 0x0100_0000;
/// Revision 2.
pub const VFS_CAP_REVISION_2: u32 = 0x0200_0000;
/// Revision 3, with a root id.
pub const VFS_CAP_REVISION_3: u32 = 0x0300_0000;
/// Mask of the revision.
pub const VFS_CAP_REVISION_MASK: u32 = 0xff00_0000;
/// The permitted ones are effective too.
pub const VFS_CAP_FLAGS_EFFECTIVE: u32 = 1;

flags! {
    /// Secure bits: what set-id and exec do to capabilities.
    pub struct SecureBits: u32, "SECBIT_" {
        const NOROOT = 1;
        const NOROOT_LOCKED = 2;
        const NO_SETUID_FIXUP = 4;
        const NO_SETUID_FIXUP_LOCKED = 8;
        const KEEP_CAPS = 16;
        const KEEP_CAPS_LOCKED = 32;
        const NO_CAP_AMBIENT_RAISE = 64;
        const NO_CAP_AMBIENT_RAISE_LOCKED = 128;
        const EXEC_RESTRICT_FILE = 256;
        const EXEC_RESTRICT_FILE_LOCKED = 512;
        const EXEC_DENY_INTERACTIVE = 1024;
        const EXEC_DENY_INTERACTIVE_LOCKED = 2048;
    }
}
