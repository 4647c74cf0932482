//! Memory: mappings, protection, faults, copy on write.

mod brk;
mod cow;
mod file_mapping;
mod madvise;
mod mmap;
mod mprotect;
mod mremap;
mod random;
mod residency;
mod segv;
mod stack;
pub mod transcript;
pub mod transcript_numa;
