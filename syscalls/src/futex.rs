//! Futexes: futex(2), futex_waitv(2), the calls that take its operations apart, and robust lists.

use std::time::Instant;

use abi::Errno;
use abi::futex::{
    FUTEX_BITSET_MATCH_ANY, FUTEX_CMD_MASK, FUTEX_CMP_REQUEUE, FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI,
    FUTEX_LOCK_PI2, FUTEX_REQUEUE, FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI, FUTEX_WAIT, FUTEX_WAIT_BITSET,
    FUTEX_WAIT_REQUEUE_PI, FUTEX_WAITV_MAX, FUTEX_WAKE, FUTEX_WAKE_BITSET, FUTEX_WAKE_OP, FUTEX2_SIZE_MASK,
    Futex2Flags, FutexFlags, FutexWaitv, RobustListHead,
};
use abi::time::{CLOCK_MONOTONIC, CLOCK_REALTIME, Timespec};
use sentry::error::Restart;
use sentry::futex::{WaitOn, WakeOp, Word};
use sentry::mm::{UserAddr, UserRef};
use sentry::task::{Access, CurrentTask, RestartBlock, WaitEnd};
use sentry::time::clock::{deadline_after, timespec_to_ns};
use sentry::{SysError, SysResult};
use smallvec::SmallVec;

use crate::arg::{Clock, Flags, FutexOp, In, InArray, Out};

/// futex(2)
pub fn futex(
    task: &mut CurrentTask,
    addr: UserAddr,
    op: FutexOp,
    value: u32,
    timeout_or_count: UserAddr,
    addr2: UserAddr,
    value3: u32,
) -> SysResult<usize> {
    let command = op.0 & FUTEX_CMD_MASK;
    let flags = FutexFlags::from_bits_truncate(op.0);
    let private = flags.contains(FutexFlags::PRIVATE_FLAG);
    let realtime = flags.contains(FutexFlags::CLOCK_REALTIME);
    let timed = matches!(
        command,
        FUTEX_WAIT | FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI | FUTEX_LOCK_PI2
    );
    let deadline = match UserRef::<Timespec>::new(timeout_or_count).non_null() {
        Some(timeout) if timed => {
            let clock = if realtime || command == FUTEX_LOCK_PI { CLOCK_REALTIME } else { CLOCK_MONOTONIC };
            let time = task.read_obj(timeout)?;
            let clock = (command != FUTEX_WAIT).then_some(clock);
            deadline_of(task, &time, clock)?
        }
        _ => None,
    };
    if realtime && !matches!(command, FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2) {
        return Err(Errno::ENOSYS.into());
    }
    // The second count goes where the time-out is otherwise.
    let count2 = timeout_or_count.0 as u32;
    let (word, word2) = (Word { addr, private }, Word { addr: addr2, private });
    match command {
        FUTEX_WAIT => {
            wait(task, word, value, FUTEX_BITSET_MATCH_ANY, deadline, !timeout_or_count.is_null()).map(|()| 0)
        }
        FUTEX_WAIT_BITSET => {
            wait(task, word, value, value3, deadline, !timeout_or_count.is_null()).map(|()| 0)
        }
        FUTEX_WAKE => Ok(task.futex_wake(addr, private, at_least_one(value), FUTEX_BITSET_MATCH_ANY)?),
        FUTEX_WAKE_BITSET => Ok(task.futex_wake(addr, private, at_least_one(value), value3)?),
        FUTEX_REQUEUE => requeue(task, word, word2, value, count2, None),
        FUTEX_CMP_REQUEUE => requeue(task, word, word2, value, count2, Some(value3)),
        FUTEX_WAKE_OP => {
            let counts = (at_least_one(value), at_least_one(count2));
            Ok(task.futex_wake_op(addr, addr2, private, counts, WakeOp::decode(value3)?)?)
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => match task.futex_lock_pi(word, deadline)? {
            Ok(()) => Ok(0),
            Err(end) => Err(end.into_error(Restart::NoIntr, Errno::ETIMEDOUT)),
        },
        FUTEX_UNLOCK_PI => Ok(task.futex_unlock_pi(word).map(|()| 0)?),
        FUTEX_TRYLOCK_PI => Ok(task.futex_trylock_pi(word).map(|()| 0)?),
        FUTEX_WAIT_REQUEUE_PI => {
            let waited = task.futex_wait_requeue_pi(word, value, FUTEX_BITSET_MATCH_ANY, word2, deadline)?;
            waited.map(|()| 0).map_err(|end| end.into_error(Restart::NoIntr, Errno::ETIMEDOUT))
        }
        FUTEX_CMP_REQUEUE_PI => {
            if value != 1 || (count2 as i32) < 0 {
                return Err(Errno::EINVAL.into());
            }
            Ok(task.futex_requeue_pi(word, word2, count2, value3)?)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// The counts of old operations: one is woken even where the count is zero or less.
fn at_least_one(count: u32) -> u32 {
    (count as i32).max(1) as u32
}

/// When a time-out ends: relative without a clock. EINVAL for a time that is none.
fn deadline_of(task: &CurrentTask, time: &Timespec, clock: Option<i32>) -> Result<Option<Instant>, Errno> {
    let ns = timespec_to_ns(time).ok_or(Errno::EINVAL)?;
    Ok(match clock {
        None => deadline_after(ns),
        Some(clock) => task.kernel().clocks.instant_of(clock, ns),
    })
}

fn wait(
    task: &mut CurrentTask,
    word: Word,
    value: u32,
    bitset: u32,
    deadline: Option<Instant>,
    timed: bool,
) -> SysResult<()> {
    match task.futex_wait(word.addr, word.private, value, bitset, deadline)? {
        Ok(()) => Ok(()),
        Err(WaitEnd::TimedOut) => Err(Errno::ETIMEDOUT.into()),
        Err(WaitEnd::Interrupted) if !timed => Err(SysError::Restart(Restart::Sys)),
        Err(WaitEnd::Interrupted) => {
            let Word { addr: address, private } = word;
            task.restart_block = Some(RestartBlock::FutexWait { address, value, bitset, private, deadline });
            Err(SysError::Restart(Restart::Block))
        }
    }
}

/// What restart_syscall(2) does for a wait with a time-out.
pub fn wait_again(
    task: &mut CurrentTask,
    word: Word,
    value: u32,
    bitset: u32,
    deadline: Option<Instant>,
) -> SysResult<usize> {
    wait(task, word, value, bitset, deadline, true).map(|()| 0)
}

fn requeue(
    task: &mut CurrentTask,
    from: Word,
    to: Word,
    wake: u32,
    requeue: u32,
    expected: Option<u32>,
) -> SysResult<usize> {
    if (wake as i32) < 0 || (requeue as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (woken, moved) = task.futex_requeue(from, to, wake, requeue, expected)?;
    Ok(woken + moved)
}

/// Checks the flags of the newer calls: words of 32 bits only, no NUMA nodes. Answers whether the word is private.
fn flags2(flags: u32) -> Result<bool, Errno> {
    let known = Futex2Flags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if flags & FUTEX2_SIZE_MASK != Futex2Flags::SIZE_U32.bits()
        || known.intersects(Futex2Flags::NUMA | Futex2Flags::MPOL)
    {
        return Err(Errno::EINVAL);
    }
    Ok(known.contains(Futex2Flags::PRIVATE))
}

fn value2(value: u64) -> Result<u32, Errno> {
    u32::try_from(value).map_err(|_| Errno::EINVAL)
}

fn timeout2(task: &CurrentTask, timeout: UserRef<Timespec>, clock: Clock) -> Result<Option<Instant>, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(None) };
    if clock.0 != CLOCK_REALTIME && clock.0 != CLOCK_MONOTONIC {
        return Err(Errno::EINVAL);
    }
    deadline_of(task, &task.read_obj(timeout)?, Some(clock.0))
}

/// futex_wake(2)
pub fn futex_wake(
    task: &mut CurrentTask,
    addr: UserAddr,
    mask: u64,
    count: i32,
    flags: Flags<Futex2Flags>,
) -> SysResult<usize> {
    let private = flags2(flags.bits())?;
    let mask = value2(mask)?;
    if mask == 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(task.futex_wake(addr, private, count.max(0) as u32, mask)?)
}

/// futex_wait(2)
pub fn futex_wait(
    task: &mut CurrentTask,
    addr: UserAddr,
    value: u64,
    mask: u64,
    flags: Flags<Futex2Flags>,
    timeout: In<Timespec>,
    clock: Clock,
) -> SysResult<()> {
    let private = flags2(flags.bits())?;
    let (value, mask) = (value2(value)?, value2(mask)?);
    let deadline = timeout2(task, timeout.0, clock)?;
    let waited = task.futex_wait(addr, private, value, mask, deadline)?;
    waited.map_err(|end| end.into_error(Restart::Sys, Errno::ETIMEDOUT))
}

/// futex_requeue(2)
pub fn futex_requeue(
    task: &mut CurrentTask,
    words: UserRef<[FutexWaitv; 2]>,
    flags: u32,
    wake: i32,
    requeue_count: i32,
) -> SysResult<usize> {
    if flags != 0 || words.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let words: [FutexWaitv; 2] = task.read_obj(words)?;
    let (from, to) = (wait_on(&words[0])?, wait_on(&words[1])?);
    let word = |on: WaitOn| Word { addr: on.addr, private: on.private };
    requeue(task, word(from), word(to), wake as u32, requeue_count as u32, Some(from.value))
}

fn wait_on(word: &FutexWaitv) -> Result<WaitOn, Errno> {
    let private = flags2(word.flags)?;
    if word.reserved != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(WaitOn { addr: UserAddr(word.uaddr), private, value: value2(word.val)? })
}

/// futex_waitv(2)
pub fn futex_waitv(
    task: &mut CurrentTask,
    words: InArray<FutexWaitv>,
    count: u32,
    flags: u32,
    timeout: In<Timespec>,
    clock: Clock,
) -> SysResult<usize> {
    if flags != 0 || count == 0 || count > FUTEX_WAITV_MAX || words.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let deadline = timeout2(task, timeout.0, clock)?;
    let mut list: SmallVec<[WaitOn; 8]> = SmallVec::new();
    for at in 0..count {
        let word = task.read_obj(words.at(u64::from(at))?)?;
        list.push(wait_on(&word)?);
    }
    let waited = task.futex_wait_any(&list, deadline)?;
    waited.map_err(|end| end.into_error(Restart::Sys, Errno::ETIMEDOUT))
}

/// set_robust_list(2)
pub fn set_robust_list(task: &mut CurrentTask, head: In<RobustListHead>, len: usize) -> SysResult<()> {
    if len != size_of::<RobustListHead>() {
        return Err(Errno::EINVAL.into());
    }
    task.robust_list.set(head.addr().0);
    Ok(())
}

/// get_robust_list(2)
pub fn get_robust_list(task: &mut CurrentTask, pid: i32, head: Out<u64>, len: Out<u64>) -> SysResult<()> {
    let list = match pid {
        0 => task.robust_list.get(),
        _ => {
            let found = task.pid().namespace().task(pid).ok_or(Errno::ESRCH)?;
            task.may_look_into(&found, Access::Call)?;
            found.robust_list.get()
        }
    };
    task.write_obj(len.0, &(size_of::<RobustListHead>() as u64))?;
    task.write_obj(head.0, &list)?;
    Ok(())
}
