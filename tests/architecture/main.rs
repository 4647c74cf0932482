//! Rules that the compiler can't keep: which crate may know which, and where `unsafe` is.

#![forbid(unsafe_code)]

mod directions;
mod metadata;
mod source;
mod unsafe_code;
