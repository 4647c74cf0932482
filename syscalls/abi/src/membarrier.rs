//! Commands of membarrier(2).

flags! {
    /// Commands; each is a bit, so that the answer to a query is a set.
    pub struct MembarrierCmd: u32, "MEMBARRIER_CMD_" {
        const GLOBAL = 1 << 0;
        const GLOBAL_EXPEDITED = 1 << 1;
        const REGISTER_GLOBAL_EXPEDITED = 1 << 2;
        const PRIVATE_EXPEDITED = 1 << 3;
        const REGISTER_PRIVATE_EXPEDITED = 1 << 4;
        const PRIVATE_EXPEDITED_SYNC_CORE = 1 << 5;
        const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 1 << 6;
        const PRIVATE_EXPEDITED_RSEQ = 1 << 7;
        const REGISTER_PRIVATE_EXPEDITED_RSEQ = 1 << 8;
        const GET_REGISTRATIONS = 1 << 9;
    }
}

/// Asks which there are.
pub const MEMBARRIER_CMD_QUERY: u32 = 0;
/// Flag of PRIVATE_EXPEDITED_RSEQ: one CPU only.
pub const MEMBARRIER_CMD_FLAG_CPU: u32 = 1;
