//! Files in memory: memfd_create(2).

use abi::Errno;
use abi::mman::MemfdFlags;
use sentry::SysResult;
use sentry::fs::tmpfs::memfd::Sealing;
use sentry::mm::CStrError;
use sentry::task::CurrentTask;
use sentry::vfs::OnExec;

use crate::arg::{Fd, Flags, InString};

/// The longest name, `memfd:` taken off.
const NAME_MAX: usize = 249;

/// memfd_create(2)
pub fn memfd_create(task: &mut CurrentTask, name: InString, flags: Flags<MemfdFlags>) -> SysResult<Fd> {
    // The size of huge pages is in the upper bits, and only counts with HUGETLB.
    let flags = MemfdFlags::from_bits(flags.bits()).ok_or(Errno::EINVAL)?;
    if flags.contains(MemfdFlags::EXEC | MemfdFlags::NOEXEC_SEAL) {
        return Err(Errno::EINVAL.into());
    }
    let name = task.mm().copy_in_cstr(*name, NAME_MAX + 1).map_err(|error| match error {
        CStrError::Fault => Errno::EFAULT,
        CStrError::TooLong => Errno::EINVAL,
    })?;
    if flags.contains(MemfdFlags::HUGETLB) {
        // There are no huge pages in the pool, as on a machine that has set none aside.
        return Err(Errno::ENOMEM.into());
    }
    let on_exec = if flags.contains(MemfdFlags::CLOEXEC) { OnExec::Close } else { OnExec::Keep };
    let reserved = task.reserve_fd(on_exec)?;
    let sealing = if flags.contains(MemfdFlags::NOEXEC_SEAL) {
        Sealing::NoExec
    } else if flags.contains(MemfdFlags::ALLOW_SEALING) {
        Sealing::Allowed
    } else {
        Sealing::Forbidden
    };
    let file = task.kernel().memfds.create(&name, sealing, task.own_creds())?;
    Ok(Fd(reserved.fill(file)))
}
