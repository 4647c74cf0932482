//! Memory mappings: mmap(2), mprotect(2), mremap(2), madvise(2), mlock(2), memfd_create(2).

flags! {
    /// Page protection.
    pub struct ProtFlags: u64, "PROT_" {
        const READ = 1;
        const WRITE = 2;
        const EXEC = 4;
        const SEM = 8;
        const GROWSDOWN = 0x0100_0000;
        const GROWSUP = 0x0200_0000;
    }
}

flags! {
    /// Flags of mmap(2), without the type of mapping (see [`MAP_TYPE`]).
    pub struct MapFlags: u32, "MAP_" {
        /// Holds SHARED and PRIVATE: flags that are not known are an error.
        const SHARED_VALIDATE = 0x03;
        const SHARED = 0x01;
        const PRIVATE = 0x02;
        const FIXED = 0x10;
        const ANONYMOUS = 0x20;
        const ADDR_32BIT("MAP_32BIT") = 0x40;
        const GROWSDOWN = 0x0100;
        const DENYWRITE = 0x0800;
        const EXECUTABLE = 0x1000;
        const LOCKED = 0x2000;
        const NORESERVE = 0x4000;
        const POPULATE = 0x8000;
        const NONBLOCK = 0x1_0000;
        const STACK = 0x2_0000;
        const HUGETLB = 0x4_0000;
        const SYNC = 0x8_0000;
        const FIXED_NOREPLACE = 0x10_0000;
        const UNINITIALIZED = 0x400_0000;
    }
}

/// Mask of the type of mapping: shared (1), private (2), shared with validated flags (3), droppable (8).
pub const MAP_TYPE: u32 = 0x0f;
/// The type of mapping whose pages may be dropped under memory pressure.
pub const MAP_DROPPABLE: u32 = 8;
/// Where in the flags the logarithm of the huge page size is.
pub const MAP_HUGE_SHIFT: u32 = 26;
/// Its mask, shifted.
pub const MAP_HUGE_MASK: u32 = 0x3f;

flags! {
    /// Flags of mremap(2).
    pub struct MremapFlags: u32, "MREMAP_" {
        const MAYMOVE = 1;
        const FIXED = 2;
        const DONTUNMAP = 4;
    }
}

flags! {
    /// Flags of msync(2).
    pub struct MsyncFlags: u32, "MS_" {
        const ASYNC = 1;
        const INVALIDATE = 2;
        const SYNC = 4;
    }
}

flags! {
    /// Flags of mlockall(2).
    pub struct MlockallFlags: u32, "MCL_" {
        const CURRENT = 1;
        const FUTURE = 2;
        const ONFAULT = 4;
    }
}

flags! {
    /// Flags of mlock2(2).
    pub struct MlockFlags: u32, "MLOCK_" {
        const ONFAULT = 1;
    }
}

constants! {
    /// Advice of madvise(2).
    pub table MADVICE: u32 {
        MADV_NORMAL = 0;
        MADV_RANDOM = 1;
        MADV_SEQUENTIAL = 2;
        MADV_WILLNEED = 3;
        MADV_DONTNEED = 4;
        MADV_FREE = 8;
        MADV_REMOVE = 9;
        MADV_DONTFORK = 10;
        MADV_DOFORK = 11;
        MADV_MERGEABLE = 12;
        MADV_UNMERGEABLE = 13;
        MADV_HUGEPAGE = 14;
        MADV_NOHUGEPAGE = 15;
        MADV_DONTDUMP = 16;
        MADV_DODUMP = 17;
        MADV_WIPEONFORK = 18;
        MADV_KEEPONFORK = 19;
        MADV_COLD = 20;
        MADV_PAGEOUT = 21;
        MADV_POPULATE_READ = 22;
        MADV_POPULATE_WRITE = 23;
        MADV_DONTNEED_LOCKED = 24;
        MADV_COLLAPSE = 25;
        MADV_HWPOISON = 100;
        MADV_SOFT_OFFLINE = 101;
        MADV_GUARD_INSTALL = 102;
        MADV_GUARD_REMOVE = 103;
    }
}

flags! {
    /// Flags of memfd_create(2).
    pub struct MemfdFlags: u32, "MFD_" {
        const CLOEXEC = 1;
        const ALLOW_SEALING = 2;
        const HUGETLB = 4;
        const NOEXEC_SEAL = 8;
        const EXEC = 0x10;
    }
}

constants! {
    /// Rights that a protection key takes away.
    pub table PKEY_RIGHTS: u32 {
        PKEY_DISABLE_ACCESS = 1;
        PKEY_DISABLE_WRITE = 2;
    }
}

constants! {
    /// Modes of NUMA policies; the high bits hold flags.
    pub table MPOL_MODES: u32 {
        MPOL_DEFAULT = 0;
        MPOL_PREFERRED = 1;
        MPOL_BIND = 2;
        MPOL_INTERLEAVE = 3;
        MPOL_LOCAL = 4;
        MPOL_PREFERRED_MANY = 5;
        MPOL_WEIGHTED_INTERLEAVE = 6;
    }
}

flags! {
    /// Flags of get_mempolicy(2).
    pub struct GetMempolicyFlags: u64, "MPOL_F_" {
        const NODE = 1;
        const ADDR = 2;
        const MEMS_ALLOWED = 4;
    }
}
