//! restart_syscall(2): going on with a call whose relative time-out must not start again.

use abi::Errno;
use sentry::SysResult;
use sentry::futex::Word;
use sentry::task::{CurrentTask, RestartBlock};

/// restart_syscall(2); EINTR when there is nothing to go on with.
pub fn restart_syscall(task: &mut CurrentTask) -> SysResult<usize> {
    match task.restart_block.take() {
        None => Err(Errno::EINTR.into()),
        Some(RestartBlock::Poll { fds, count, deadline }) => {
            crate::poll::poll_again(task, fds, count, deadline)
        }
        Some(RestartBlock::FutexWait { address, value, bitset, private, deadline }) => {
            crate::futex::wait_again(task, Word { addr: address, private }, value, bitset, deadline)
        }
        Some(RestartBlock::Nanosleep { clock, deadline, remaining }) => {
            crate::sleep::sleep_again(task, clock, deadline, remaining)
        }
    }
}
