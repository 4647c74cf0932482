//! Time: the sandbox's clocks, the service that tells when a moment has come, and the timers of processes.

pub mod clock;
mod cpu_clock;
pub mod line;
mod posix_timer;
mod process_timers;
mod schedule;
pub mod timer;
pub mod vdso_clock;

pub use clock::Clocks;
pub use cpu_clock::CpuClock;
pub use posix_timer::{TimerClock, TimerState, TimerTarget};
pub use process_timers::{IntervalTimer, ProcessTimers};
pub use schedule::Schedule;
pub use timer::{TimerHandle, TimerService};
