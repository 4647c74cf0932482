//! Restartable sequences.

wire! {
    /// `struct rseq`, 32 bytes and aligned to 32, as far as the first version goes; the rest are newer fields.
    pub struct Rseq {
        pub cpu_id_start: u32,
        pub cpu_id: u32,
        /// Address of the [`RseqCs`] of the running sequence, or 0.
        pub rseq_cs: u64,
        pub flags: u32,
        pub node_id: u32,
        pub mm_cid: u32,
        pub pad: u32,
    }

    /// `struct rseq_cs`.
    pub struct RseqCs {
        pub version: u32,
        pub flags: u32,
        pub start_ip: u64,
        pub post_commit_offset: u64,
        pub abort_ip: u64,
    }
}

/// Bytes of the first version of [`Rseq`], and its alignment.
pub const ORIG_RSEQ_SIZE: u32 = 32;
/// Bytes of [`Rseq`] that have a meaning (AT_RSEQ_FEATURE_SIZE).
pub const RSEQ_FEATURE_SIZE: u64 = 28;
/// Flag of rseq(2): take the registration away.
pub const RSEQ_FLAG_UNREGISTER: u32 = 1;
/// `cpu_id` before the first registration.
pub const RSEQ_CPU_ID_UNINITIALIZED: u32 = u32::MAX;
/// `cpu_id` where the registration failed.
pub const RSEQ_CPU_ID_REGISTRATION_FAILED: u32 = u32::MAX - 1;
/// The restart flags that sequences may no longer set.
pub const RSEQ_CS_NO_RESTART_FLAGS: u32 = 7;
