//! Flags of eventfd2(2).

flags! {
    /// Flags of eventfd2(2).
    pub struct EfdFlags: u32, "EFD_" {
        const SEMAPHORE = 1;
        const NONBLOCK = 0o4000;
        const CLOEXEC = 0o2000000;
    }
}
