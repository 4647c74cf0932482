//! Futexes: operations, robust lists, waits on several.

constants! {
    /// Operations of futex(2), flags taken away.
    pub table FUTEX_OPS: u32 {
        FUTEX_WAIT = 0;
        FUTEX_WAKE = 1;
        FUTEX_FD = 2;
        FUTEX_REQUEUE = 3;
        FUTEX_CMP_REQUEUE = 4;
        FUTEX_WAKE_OP = 5;
        FUTEX_LOCK_PI = 6;
        FUTEX_UNLOCK_PI = 7;
        FUTEX_TRYLOCK_PI = 8;
        FUTEX_WAIT_BITSET = 9;
        FUTEX_WAKE_BITSET = 10;
        FUTEX_WAIT_REQUEUE_PI = 11;
        FUTEX_CMP_REQUEUE_PI = 12;
        FUTEX_LOCK_PI2 = 13;
    }
}

flags! {
    /// Flags beside the operation.
    pub struct FutexFlags: u32, "FUTEX_" {
        const PRIVATE_FLAG = 128;
        const CLOCK_REALTIME = 256;
    }
}

/// Mask of the operation.
pub const FUTEX_CMD_MASK: u32 = !(128 | 256);
/// Mask of the owner in the word of a PI or robust futex.
pub const FUTEX_TID_MASK: u32 = 0x3fff_ffff;
/// The owner died holding it.
pub const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
/// There are waiters in the kernel.
pub const FUTEX_WAITERS: u32 = 0x8000_0000;
/// Wakes any waiter.
pub const FUTEX_BITSET_MATCH_ANY: u32 = u32::MAX;

constants! {
    /// What FUTEX_WAKE_OP does to the second word.
    pub table FUTEX_WAKE_OPS: u32 {
        FUTEX_OP_SET = 0;
        FUTEX_OP_ADD = 1;
        FUTEX_OP_OR = 2;
        FUTEX_OP_ANDN = 3;
        FUTEX_OP_XOR = 4;
    }
}

/// Flag of a FUTEX_WAKE_OP operation: the argument is a shift.
pub const FUTEX_OP_OPARG_SHIFT: u32 = 8;

constants! {
    /// How FUTEX_WAKE_OP compares what was in the second word.
    pub table FUTEX_WAKE_CMPS: u32 {
        FUTEX_OP_CMP_EQ = 0;
        FUTEX_OP_CMP_NE = 1;
        FUTEX_OP_CMP_LT = 2;
        FUTEX_OP_CMP_LE = 3;
        FUTEX_OP_CMP_GT = 4;
        FUTEX_OP_CMP_GE = 5;
    }
}

flags! {
    /// Flags of the newer futex calls (futex_waitv(2), futex_wake(2) …). The low two bits are the size of the word.
    pub struct Futex2Flags: u32, "FUTEX2_" {
        const SIZE_U16 = 1;
        const SIZE_U32 = 2;
        const SIZE_U64 = 3;
        const NUMA = 4;
        const MPOL = 8;
        const PRIVATE = 128;
    }
}

/// Mask of the size in [`Futex2Flags`].
pub const FUTEX2_SIZE_MASK: u32 = 3;
/// The most futexes futex_waitv(2) takes.
pub const FUTEX_WAITV_MAX: u32 = 128;
/// The longest robust list that is walked.
pub const ROBUST_LIST_LIMIT: u32 = 2048;

wire! {
    /// `struct futex_waitv`.
    pub struct FutexWaitv {
        pub val: u64,
        pub uaddr: u64,
        pub flags: u32,
        pub reserved: u32,
    }

    /// `struct robust_list_head`.
    pub struct RobustListHead {
        /// First entry; the last points back at the head. Bit 0 marks a PI futex.
        pub list: u64,
        /// From an entry to its futex word.
        pub futex_offset: i64,
        /// The entry being locked or unlocked.
        pub list_op_pending: u64,
    }
}
