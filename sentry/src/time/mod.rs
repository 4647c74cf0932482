//! Time: the sandbox's clocks and the service that tells when a moment has come.

pub mod clock;
pub mod timer;
pub mod vdso_clock;

pub use clock::Clocks;
pub use timer::{TimerHandle, TimerService};

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
