//! io_uring, as far as the calls themselves go.

wire! {
    /// `struct io_sqring_offsets`.
    pub struct SqRingOffsets {
        pub head: u32,
        pub tail: u32,
        pub ring_mask: u32,
        pub ring_entries: u32,
        pub flags: u32,
        pub dropped: u32,
        pub array: u32,
        pub resv1: u32,
        pub user_addr: u64,
    }

    /// `struct io_cqring_offsets`.
    pub struct CqRingOffsets {
        pub head: u32,
        pub tail: u32,
        pub ring_mask: u32,
        pub ring_entries: u32,
        pub overflow: u32,
        pub cqes: u32,
        pub flags: u32,
        pub resv1: u32,
        pub user_addr: u64,
    }

    /// `struct io_uring_params`.
    pub struct IoUringParams {
        pub sq_entries: u32,
        pub cq_entries: u32,
        pub flags: u32,
        pub sq_thread_cpu: u32,
        pub sq_thread_idle: u32,
        pub features: u32,
        pub wq_fd: u32,
        pub resv: [u32; 3],
        pub sq_off: SqRingOffsets,
        pub cq_off: CqRingOffsets,
    }
}

flags! {
    /// Flags of io_uring_enter(2).
    pub struct IoUringEnterFlags: u32, "IORING_ENTER_" {
        const GETEVENTS = 1;
        const SQ_WAKEUP = 2;
        const SQ_WAIT = 4;
        const EXT_ARG = 8;
        const REGISTERED_RING = 16;
    }
}
