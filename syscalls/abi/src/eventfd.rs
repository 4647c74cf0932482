//! Flags of eventfd2(2) and pipe2(2).

flags! {
    /// Flags of eventfd2(2).
    pub struct EfdFlags: u32, "EFD_" {
        const SEMAPHORE = 1;
        const NONBLOCK = 0o4000;
        const CLOEXEC = 0o2000000;
    }
}

flags! {
    /// Flags of splice(2), tee(2) and vmsplice(2).
    pub struct SpliceFlags: u32, "SPLICE_F_" {
        const MOVE = 1;
        const NONBLOCK = 2;
        const MORE = 4;
        const GIFT = 8;
    }
}
