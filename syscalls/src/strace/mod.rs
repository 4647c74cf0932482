//! Lines as strace(1) writes them: calls with decoded arguments and results, signals, exits.
//!
//! What a call reads is decoded before it runs and what it writes after, since a call may change or lose either. A line
//! is begun when the call begins; where another thread writes meanwhile, it is left `<unfinished ...>` and `resumed`
//! later, so that a call that waits can be seen.

mod line;
mod sink;

pub use line::{Entry, result_text};
pub use sink::Tracer;
