//! Waking, and FUTEX_WAKE_OP.

use abi::Errno;
use abi::futex::{
    FUTEX_BITSET_MATCH_ANY, FUTEX_OP_ADD, FUTEX_OP_ANDN, FUTEX_OP_CMP_EQ, FUTEX_OP_CMP_GE, FUTEX_OP_CMP_GT,
    FUTEX_OP_CMP_LE, FUTEX_OP_CMP_LT, FUTEX_OP_CMP_NE, FUTEX_OP_OPARG_SHIFT, FUTEX_OP_OR, FUTEX_OP_SET,
    FUTEX_OP_XOR,
};

use super::table::{Woken, unpark};
use crate::mm::{MemoryManager, UserAddr};
use crate::task::CurrentTask;

/// Wakes up to `count` waiters of the word at `address`, as FUTEX_WAKE without FUTEX_PRIVATE_FLAG does; an address that
/// is none wakes nobody. For the kernel itself (CLONE_CHILD_CLEARTID).
pub fn wake_address(task: &mut CurrentTask, address: UserAddr, count: u32) {
    let _ = task.futex_wake(address, false, count, FUTEX_BITSET_MATCH_ANY);
}

/// What FUTEX_WAKE_OP does to its second word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeOp {
    op: u32,
    operand: u32,
    compare: u32,
    compare_with: i32,
}

impl WakeOp {
    /// From the encoded argument; ENOSYS for operations that there are not.
    pub fn decode(raw: u32) -> Result<WakeOp, Errno> {
        // Both arguments are signed numbers of twelve bits.
        let signed = |bits: u32| ((bits << 20) as i32) >> 20;
        let operand = signed(raw >> 12 & 0xfff);
        let op = raw >> 28 & 7;
        let shift = raw >> 28 & FUTEX_OP_OPARG_SHIFT != 0;
        let operand = if shift { 1u32 << (operand & 31) } else { operand as u32 };
        let wake_op = WakeOp { op, operand, compare: raw >> 24 & 0xf, compare_with: signed(raw & 0xfff) };
        if op > FUTEX_OP_XOR || wake_op.compare > FUTEX_OP_CMP_GE {
            return Err(Errno::ENOSYS);
        }
        Ok(wake_op)
    }

    /// The new value of a word.
    pub fn apply(self, old: u32) -> u32 {
        match self.op {
            FUTEX_OP_SET => self.operand,
            FUTEX_OP_ADD => old.wrapping_add(self.operand),
            FUTEX_OP_OR => old | self.operand,
            FUTEX_OP_ANDN => old & !self.operand,
            _ => old ^ self.operand,
        }
    }

    /// Whether waiters of the second word are woken too.
    pub fn matches(self, old: u32) -> bool {
        let old = old as i32;
        match self.compare {
            FUTEX_OP_CMP_EQ => old == self.compare_with,
            FUTEX_OP_CMP_NE => old != self.compare_with,
            FUTEX_OP_CMP_LT => old < self.compare_with,
            FUTEX_OP_CMP_LE => old <= self.compare_with,
            FUTEX_OP_CMP_GT => old > self.compare_with,
            _ => old >= self.compare_with,
        }
    }
}

impl CurrentTask {
    /// Wakes up to `count` waiters of the word at `addr`.
    pub fn futex_wake(&self, addr: UserAddr, private: bool, count: u32, bitset: u32) -> Result<usize, Errno> {
        if bitset == 0 {
            return Err(Errno::EINVAL);
        }
        let key = self.mm().futex_key(addr, private)?;
        self.kernel().futexes.wake(key, count, bitset)
    }

    /// Changes the word at `second`, wakes waiters of the first and, if the old value says so, of the second.
    pub fn futex_wake_op(
        &self,
        first: UserAddr,
        second: UserAddr,
        private: bool,
        counts: (u32, u32),
        op: WakeOp,
    ) -> Result<usize, Errno> {
        let mm = self.mm();
        loop {
            let (a, b) = (mm.futex_key(first, private)?, mm.futex_key(second, private)?);
            let mut woken = Woken::new();
            let result = {
                let mut pair = self.kernel().futexes.lock(a, b);
                let Some(old) = change(mm, second, op) else {
                    drop(pair);
                    // A write that changes nothing: EFAULT where the word can't be written.
                    let seen = mm.load_u32(second)?;
                    let _ = mm.compare_exchange_u32(second, seen, seen)?;
                    continue;
                };
                let mut result = pair.wake_first(a, counts.0, FUTEX_BITSET_MATCH_ANY, &mut woken);
                if result.is_ok() && op.matches(old) {
                    result = pair.wake_second(b, counts.1, FUTEX_BITSET_MATCH_ANY, &mut woken);
                }
                result
            };
            unpark(&woken);
            return result.map(|()| woken.len());
        }
    }
}

/// Changes a word; its old value, or `None` when it can't be reached at once.
fn change(mm: &MemoryManager, addr: UserAddr, op: WakeOp) -> Option<u32> {
    let mut old = mm.try_load_u32(addr).ok()?;
    // Other threads of the guest may change it all the time: not for ever under the lock.
    for _ in 0..64 {
        match mm.try_compare_exchange_u32(addr, old, op.apply(old)).ok()? {
            Ok(old) => return Some(old),
            Err(seen) => old = seen,
        }
    }
    None
}
