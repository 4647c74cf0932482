//! Capabilities of the calling thread.

use std::io::Result;

use crate::{check, prctl};

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// One bit a capability (`CAP_*` is the bit's number).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What is in force.
    pub effective: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What an exec may keep.
    pub inheritable: u64,
}

/// capget(2) for the calling thread.
pub fn get() -> Result<Sets> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 fills two elements.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    Ok(Sets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// capset(2) for the calling thread.
pub fn set(sets: Sets) -> Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads two elements.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) }).map(drop)
}

/// Takes everything outside `keep` out of the bounding set (which needs CAP_SETPCAP).
pub fn limit_bounding(keep: u64) -> Result<()> {
    for capability in 0..64 {
        match prctl::in_bounding(capability) {
            Ok(true) if keep >> capability & 1 == 0 => prctl::drop_bounding(capability)?,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Ok(())
}

/// Gives up all capabilities of the calling thread, for good: also what an exec could bring back, as far as the
/// thread has the right to shrink its bounding set.
pub fn drop_all() -> Result<()> {
    prctl::clear_ambient()?;
    if get()?.effective >> CAP_SETPCAP & 1 == 1 {
        limit_bounding(0)?;
    }
    set(Sets::default())
}

const CAP_SETPCAP: u32 = 8;
