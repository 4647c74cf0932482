//! Clocks, sleeping, processor time.

mod clock;
mod cpu_time;
mod sleep;
