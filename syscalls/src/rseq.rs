//! Restartable sequences: rseq(2).

use abi::Errno;
use abi::rseq::RSEQ_FLAG_UNREGISTER;
use sentry::SysResult;
use sentry::mm::UserAddr;
use sentry::task::CurrentTask;

/// rseq(2)
pub fn rseq(task: &mut CurrentTask, area: UserAddr, len: u32, flags: u32, signature: u32) -> SysResult<()> {
    match flags {
        0 => task.register_rseq(area, len, signature)?,
        RSEQ_FLAG_UNREGISTER => task.unregister_rseq(area, len, signature)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(())
}
