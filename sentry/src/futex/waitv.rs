//! Waiting on several words at once (futex_waitv(2)).

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::futex::FUTEX_BITSET_MATCH_ANY;

use super::Waiter;
use crate::mm::UserAddr;
use crate::task::{CurrentTask, WaitEnd};

/// One word of a wait on several.
#[derive(Clone, Copy, Debug)]
pub struct WaitOn {
    /// Where it is.
    pub addr: UserAddr,
    /// FUTEX2_PRIVATE
    pub private: bool,
    /// What it must be.
    pub value: u32,
}

impl CurrentTask {
    /// Waits until one of the words is woken; answers which. EAGAIN when one is not what it should be.
    pub fn futex_wait_any(
        &mut self,
        words: &[WaitOn],
        deadline: Option<Instant>,
    ) -> Result<Result<usize, WaitEnd>, Errno> {
        let mut waiters: Vec<Arc<Waiter>> = Vec::with_capacity(words.len());
        let queued = self.queue_all(words, &mut waiters);
        match queued {
            Ok(None) => {}
            // One was woken while the others were being queued.
            Ok(Some(woken)) => {
                self.unqueue(&waiters);
                return Ok(Ok(woken));
            }
            Err(errno) => return self.unqueue(&waiters).map(Ok).ok_or(errno),
        }
        loop {
            if waiters.iter().any(|w| w.is_woken()) {
                break;
            }
            if let Err(end) = self.park(deadline) {
                return Ok(self.unqueue(&waiters).ok_or(end));
            }
        }
        match self.unqueue(&waiters) {
            Some(woken) => Ok(Ok(woken)),
            // Not reached: one was woken.
            None => Err(Errno::EAGAIN),
        }
    }

    /// Queues a waiter for each word; stops early, with its place, when one has already been woken.
    fn queue_all(&self, words: &[WaitOn], waiters: &mut Vec<Arc<Waiter>>) -> Result<Option<usize>, Errno> {
        let mm = self.mm();
        for word in words {
            let waiter = Waiter::new(self.waker());
            loop {
                let key = mm.futex_key(word.addr, word.private)?;
                let check = || mm.try_load_u32(word.addr).map(|seen| seen == word.value);
                let queued = self.kernel().futexes.enqueue(key, FUTEX_BITSET_MATCH_ANY, &waiter, None, check);
                match queued {
                    Ok(true) => break,
                    Ok(false) => return Err(Errno::EAGAIN),
                    Err(_) => mm.load_u32(word.addr)?,
                };
            }
            waiters.push(waiter);
        }
        Ok(waiters.iter().position(|w| w.is_woken()))
    }

    /// Takes all waiters out; the last one that was woken.
    fn unqueue(&self, waiters: &[Arc<Waiter>]) -> Option<usize> {
        let mut woken = None;
        for (at, waiter) in waiters.iter().enumerate() {
            if self.kernel().futexes.dequeue(waiter).is_none() {
                woken = Some(at);
            }
        }
        woken
    }
}
