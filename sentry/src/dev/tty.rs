//! /dev/tty: the controlling terminal of whoever opens it; /dev/console.

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::minor;

use crate::Result;
use crate::fs::host::HostTty;
use crate::tty::Pty;
use crate::vfs::{Caller, Path};
use crate::vfs::{Driver, OpenedOps};

/// Major number of tty (0), console (1) and ptmx (2, which devpts has).
pub(super) const MAJOR: u32 = 5;

/// Opens /dev/tty.
pub(super) struct CurrentTty;

impl Driver for CurrentTty {
    fn open(&self, place: &Path, _flags: OpenFlags, caller: &Caller<'_>) -> Result<OpenedOps> {
        if minor(place.inode().rdev()) != 0 {
            // There is no console.
            return Err(Errno::ENXIO);
        }
        let task = caller.task.ok_or(Errno::ENXIO)?;
        let tty = task.thread_group().tty().ok_or(Errno::ENXIO)?.as_any();
        match tty.downcast::<Pty>() {
            Ok(pty) => Ok(OpenedOps::Ready(pty.open_slave()?)),
            Err(other) => match other.downcast::<HostTty>() {
                Ok(host) => Ok(OpenedOps::Ready(host.open()?)),
                Err(_) => Err(Errno::ENXIO),
            },
        }
    }
}
