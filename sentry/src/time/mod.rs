//! Time.
#[derive(Default)]
pub struct ProcessTimers {}
impl ProcessTimers {
    pub fn clear(&self) {}
    pub fn clear_posix_timers(&self) {}
}
impl ProcessTimers {
    pub fn signal_taken(&self, info: abi::signal::SigInfo) -> abi::signal::SigInfo {
        info
    }
}
