//! The compat matrix: which system calls there are, and how many conformance cases of each pass where.
//!
//! Made from two things only: the system call table and the results of the conformance cases. Nobody edits the matrix by
//! hand, and a check fails where the published one is not what these two give.

#![forbid(unsafe_code)]

mod html;
mod markdown;
mod matrix;
mod results;

pub use html::html;
pub use markdown::markdown;
pub use matrix::{Call, Count, Matrix};
pub use results::Results;
