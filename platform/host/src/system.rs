//! The machine as a whole.

/// Bytes of memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Of the machine.
    pub total: u64,
    /// Unused.
    pub free: u64,
}

/// The machine's memory (sysinfo(2)).
pub fn memory() -> Memory {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit).max(1);
    Memory { total: info.totalram as u64 * unit, free: info.freeram as u64 * unit }
}

/// Load averages of 1, 5 and 15 minutes.
pub fn load_average() -> [f64; 3] {
    rustix::system::sysinfo().loads.map(|load| load as f64 / 65536.0)
}
