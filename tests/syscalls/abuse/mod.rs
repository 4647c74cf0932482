//! A guest that means ill, or is broken: it gets its error, and everyone else goes on.

mod hostile_calls;
mod hostile_limits;
mod hostile_numbers;
