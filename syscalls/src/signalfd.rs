//! Signals as files: signalfd(2), signalfd4(2).

use abi::Errno;
use abi::SigSet;
use abi::open::OpenFlags;
use abi::signal::SfdFlags;
use sentry::SysResult;
use sentry::signal::signalfd::SignalFd;
use sentry::task::CurrentTask;
use sentry::vfs::OnExec;

use crate::arg::{Fd, Flags, In};

/// signalfd(2)
pub fn signalfd(task: &mut CurrentTask, fd: Fd, mask: In<SigSet>, size: u64) -> SysResult<Fd> {
    let mask = read_mask(task, mask, size)?;
    put(task, fd, mask, SfdFlags::empty())
}

/// signalfd4(2)
pub fn signalfd4(
    task: &mut CurrentTask,
    fd: Fd,
    mask: In<SigSet>,
    size: u64,
    flags: Flags<SfdFlags>,
) -> SysResult<Fd> {
    let mask = read_mask(task, mask, size)?;
    put(task, fd, mask, flags.known()?)
}

fn read_mask(task: &CurrentTask, mask: In<SigSet>, size: u64) -> Result<SigSet, Errno> {
    if size != size_of::<SigSet>() as u64 {
        return Err(Errno::EINVAL);
    }
    task.read_obj(*mask)
}

/// A new file for -1, else the signals of an old one change.
fn put(task: &CurrentTask, fd: Fd, mask: SigSet, flags: SfdFlags) -> SysResult<Fd> {
    if fd.0 != -1 {
        let file = task.file(fd.0)?;
        file.downcast::<SignalFd>().ok_or(Errno::EINVAL)?.set_mask(mask);
        return Ok(fd);
    }
    let open = OpenFlags::from_bits_retain(flags.bits());
    let reserved = task.reserve_fd(OnExec::from_flags(open))?;
    let ops = Box::new(SignalFd::new(mask));
    let file = task.kernel().internal.anonymous(ops, open | OpenFlags::RDWR, task.own_creds());
    Ok(Fd(reserved.fill(file)))
}
