//! Terminals: job control, which all kinds of them share; pseudo-terminals with their line discipline. The terminal that
//! `runsc` was started on is in `fs/host`.

mod job_control;
mod line_discipline;
mod pty;

pub use job_control::{Background, JobControl};
pub use line_discipline::{LineDiscipline, Readable, standard_termios};
pub use pty::{Master, Pty, SLAVE_MAJOR, Slave};
