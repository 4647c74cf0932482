//! epoll_wait(2).

use abi::poll::{EpollEvent, PollEvents};

use super::Epoll;
use crate::task::{CurrentTask, WaitEnd};
use crate::vfs::poll::Timeout;

impl Epoll {
    /// Collects up to `max` events, waiting for the first. `emit` as in [`collect`](Self::collect); when it could not
    /// take the first event, the answer is 0 and the caller knows why.
    pub fn wait(
        &self,
        task: &mut CurrentTask,
        max: usize,
        timeout: Timeout,
        emit: &mut dyn FnMut(&mut CurrentTask, EpollEvent) -> bool,
    ) -> Result<usize, WaitEnd> {
        let mut collect = |task: &mut CurrentTask| {
            let mut failed = false;
            let mut emit = |event| {
                let taken = emit(task, event);
                failed |= !taken;
                taken
            };
            let count = self.collect(max, &mut emit);
            (count > 0 || failed).then_some(count)
        };
        if let Some(count) = collect(task) {
            return Ok(count);
        }
        let deadline = match timeout {
            Timeout::None => return Ok(0),
            Timeout::At(deadline) => Some(deadline),
            Timeout::Never => None,
        };
        let waiters = self.waiters();
        let key = waiters.register_exclusive(PollEvents::IN, task.waker());
        let result = loop {
            if let Some(count) = collect(task) {
                break Ok(count);
            }
            if let Err(end) = task.park(deadline) {
                break collect(task).ok_or(end);
            }
        };
        waiters.unregister(key);
        // This waiter may have used up a wake-up that was for more than it took, or none at all.
        self.pass_on();
        result
    }
}
