//! Event counters: eventfd(2), eventfd2(2).

use abi::eventfd::EfdFlags;
use abi::open::OpenFlags;
use sentry::SysResult;
use sentry::task::CurrentTask;
use sentry::vfs::OnExec;
use sentry::vfs::eventfd::EventFd;

use crate::arg::{Fd, Flags};

/// eventfd(2)
pub fn eventfd(task: &mut CurrentTask, count: u32) -> SysResult<Fd> {
    make(task, count, EfdFlags::empty())
}

/// eventfd2(2)
pub fn eventfd2(task: &mut CurrentTask, count: u32, flags: Flags<EfdFlags>) -> SysResult<Fd> {
    make(task, count, flags.known()?)
}

fn make(task: &mut CurrentTask, count: u32, flags: EfdFlags) -> SysResult<Fd> {
    let open = OpenFlags::from_bits_retain((flags - EfdFlags::SEMAPHORE).bits());
    let fd = task.reserve_fd(OnExec::from_flags(open))?;
    let ops = Box::new(EventFd::new(count, flags.contains(EfdFlags::SEMAPHORE)));
    let file = task.kernel().internal.anonymous(ops, open | OpenFlags::RDWR, task.own_creds());
    Ok(Fd(fd.fill(file)))
}
