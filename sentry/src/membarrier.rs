//! Memory barriers on other threads' CPUs (membarrier(2)).
//!
//! The host makes them, and the slow way: guest threads are threads of other processes, which only its global barrier
//! reaches. It waits for every CPU to have gone through its scheduler, some milliseconds.

use abi::Errno;
use abi::membarrier::MembarrierCmd;

use crate::error::Result;
use crate::task::CurrentTask;

/// What can be asked for.
pub const COMMANDS: MembarrierCmd = MembarrierCmd::GLOBAL
    .union(MembarrierCmd::GLOBAL_EXPEDITED)
    .union(MembarrierCmd::REGISTER_GLOBAL_EXPEDITED)
    .union(MembarrierCmd::PRIVATE_EXPEDITED)
    .union(MembarrierCmd::REGISTER_PRIVATE_EXPEDITED)
    .union(MembarrierCmd::GET_REGISTRATIONS);

impl CurrentTask {
    /// Runs one command but for the query. EINVAL for what is not in [`COMMANDS`]; EPERM for a private barrier of a
    /// process that has not registered.
    pub fn membarrier(&self, command: MembarrierCmd) -> Result<u32> {
        match command {
            MembarrierCmd::GLOBAL | MembarrierCmd::GLOBAL_EXPEDITED => {}
            MembarrierCmd::REGISTER_GLOBAL_EXPEDITED | MembarrierCmd::REGISTER_PRIVATE_EXPEDITED => {
                self.mm().register_membarrier(command);
                return Ok(0);
            }
            MembarrierCmd::PRIVATE_EXPEDITED => {
                let registered = MembarrierCmd::REGISTER_PRIVATE_EXPEDITED;
                if !self.mm().membarrier_registrations().contains(registered) {
                    return Err(Errno::EPERM);
                }
            }
            MembarrierCmd::GET_REGISTRATIONS => return Ok(self.mm().membarrier_registrations().bits()),
            _ => return Err(Errno::EINVAL),
        }
        host::thread::memory_barrier_everywhere().map_err(|_| Errno::EINVAL)?;
        Ok(0)
    }
}
