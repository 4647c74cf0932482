//! Terminals: job control, which all kinds of them share, and the terminal that `runsc` was started on.

mod job_control;

pub use job_control::{Background, JobControl};
