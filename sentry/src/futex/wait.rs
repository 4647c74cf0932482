//! Waiting for a word to be woken.

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;

use super::Waiter;
use crate::mm::UserAddr;
use crate::task::{CurrentTask, WaitEnd};

impl CurrentTask {
    /// Waits on the word at `addr` while it is `value`, for a wake with a bit of `bitset`. EAGAIN when the word is
    /// something else. The inner result says how a wait that was begun ended.
    pub fn futex_wait(
        &mut self,
        addr: UserAddr,
        private: bool,
        value: u32,
        bitset: u32,
        deadline: Option<Instant>,
    ) -> Result<Result<(), WaitEnd>, Errno> {
        if bitset == 0 {
            return Err(Errno::EINVAL);
        }
        let kernel = Arc::clone(self.kernel());
        let waiter = Waiter::new(self.waker());
        loop {
            let mm = self.mm();
            let key = mm.futex_key(addr, private)?;
            let check = || mm.try_load_u32(addr).map(|seen| seen == value);
            match kernel.futexes.enqueue(key, bitset, &waiter, None, check) {
                Ok(true) => break,
                Ok(false) => return Err(Errno::EAGAIN),
                Err(_) => mm.load_u32(addr)?,
            };
        }
        Ok(self.park_on(&waiter, deadline))
    }

    /// Parks until `waiter`, which is in a queue, is woken; takes it out when the wait ends otherwise.
    pub(super) fn park_on(&mut self, waiter: &Arc<Waiter>, deadline: Option<Instant>) -> Result<(), WaitEnd> {
        while !waiter.is_woken() {
            if let Err(end) = self.park(deadline) {
                let kernel = Arc::clone(self.kernel());
                return match kernel.futexes.dequeue(waiter) {
                    Some(_) => Err(end),
                    None => Ok(()),
                };
            }
        }
        Ok(())
    }
}
