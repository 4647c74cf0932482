//! Signal masks for the time of a wait: ppoll(2), pselect(2), epoll_pwait(2).

use abi::{Errno, SigSet};
use sentry::mm::UserRef;
use sentry::task::CurrentTask;
use sentry::{SysError, SysResult};

/// Runs `wait` under the mask at `mask`, if there is one. When the wait was interrupted the mask stays until signals
/// have been looked at, so that a handler that only it lets through runs.
pub fn with_mask<R>(
    task: &mut CurrentTask,
    mask: UserRef<SigSet>,
    size: u64,
    wait: impl FnOnce(&mut CurrentTask) -> SysResult<R>,
) -> SysResult<R> {
    let Some(mask) = mask.non_null() else { return wait(task) };
    if size != size_of::<SigSet>() as u64 {
        return Err(Errno::EINVAL.into());
    }
    let mask = task.read_obj(mask)?;
    task.set_temporary_mask(mask);
    let result = wait(task);
    let interrupted = matches!(result, Err(SysError::Restart(_) | SysError::Errno(Errno::EINTR)));
    if !interrupted {
        task.end_temporary_mask();
    }
    result
}
