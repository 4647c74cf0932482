//! What execve makes of a file, and what a fresh program finds.

mod auxv;
mod elf;
mod fresh_start;
mod interpreter;
mod layout;
mod script;
mod vdso;
