//! Drivers of character devices: memory devices (null(4), zero, full, random(4)) and the terminals' own.

mod mem;
mod tty;

use std::sync::Arc;

use crate::vfs::Vfs;

/// Makes the drivers known to the VFS. Those of pseudo-terminals come with devpts.
pub fn register(vfs: &Vfs) {
    let mem = Arc::new(mem::MemDriver);
    vfs.register_char_devices(mem::MAJOR, 0..=255, mem);
    vfs.register_char_devices(tty::MAJOR, 0..=1, Arc::new(tty::CurrentTty));
}
