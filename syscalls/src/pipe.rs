//! Pipes: pipe(2), pipe2(2).

use abi::open::OpenFlags;
use abi::{Errno, NamedFlags};
use sentry::SysResult;
use sentry::mm::UserRef;
use sentry::task::CurrentTask;
use sentry::vfs::OnExec;

use crate::arg::{Flags, Out};

bitflags::bitflags! {
    /// Flags of pipe2(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PipeFlags: u32 {
        /// Both ends answer EAGAIN instead of waiting.
        const NONBLOCK = OpenFlags::NONBLOCK.bits();
        /// Both ends are closed by exec.
        const CLOEXEC = OpenFlags::CLOEXEC.bits();
        /// Packets.
        const DIRECT = OpenFlags::DIRECT.bits();
        /// O_NOTIFICATION_PIPE: there are no notifications here (ENOPKG).
        const EXCL = OpenFlags::EXCL.bits();
    }
}

impl NamedFlags for PipeFlags {
    const PREFIX: &'static str = "O_";
    const NAMES: &'static [(u32, &'static str)] = &[
        (0o4000, "O_NONBLOCK"),
        (0o2000000, "O_CLOEXEC"),
        (0o40000, "O_DIRECT"),
        (0o200, "O_NOTIFICATION_PIPE"),
    ];
}

/// pipe(2)
pub fn pipe(task: &mut CurrentTask, fds: Out<[i32; 2]>) -> SysResult<()> {
    make(task, fds.0, PipeFlags::empty())
}

/// pipe2(2)
pub fn pipe2(task: &mut CurrentTask, fds: Out<[i32; 2]>, flags: Flags<PipeFlags>) -> SysResult<()> {
    let flags = flags.known()?;
    if flags.contains(PipeFlags::EXCL) {
        return Err(Errno::ENOPKG.into());
    }
    make(task, fds.0, flags)
}

fn make(task: &mut CurrentTask, fds: UserRef<[i32; 2]>, flags: PipeFlags) -> SysResult<()> {
    let flags = OpenFlags::from_bits_retain(flags.bits());
    let on_exec = OnExec::from_flags(flags);
    let first = task.reserve_fd(on_exec)?;
    let second = task.reserve_fd(on_exec)?;
    task.write_obj(fds, &[first.fd(), second.fd()])?;
    let (read, write) = task.kernel().internal.pipe(flags - OpenFlags::CLOEXEC, task.own_creds());
    first.fill(read);
    second.fill(write);
    Ok(())
}
