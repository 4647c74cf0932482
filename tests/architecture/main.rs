//! Rules that the compiler can't keep.

#![forbid(unsafe_code)]
