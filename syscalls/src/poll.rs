//! Waiting for several descriptors: poll(2), ppoll(2), select(2), pselect6(2).

use std::time::Instant;

use abi::poll::{PollEvents, PollFd};
use abi::time::{Timespec, Timeval};
use abi::{Errno, SigSet};
use sentry::error::Restart;
use sentry::mm::{UserAddr, UserRef};
use sentry::task::{CurrentTask, RestartBlock, WaitEnd};
use sentry::time::clock::{SECOND_NS, deadline_after, ns_to_timespec, to_ns};
use sentry::vfs::poll::{Polled, Timeout, wait};
use sentry::{SysError, SysResult};
use smallvec::SmallVec;
use zerocopy::IntoBytes;

use crate::arg::{FdSet, In, InOut, PollFds};
use crate::epoll::{after, after_ms};
use crate::mask::with_mask;

/// Entries of most calls, without allocation.
type Entries = SmallVec<[Polled; 8]>;

/// poll(2)
pub fn poll(task: &mut CurrentTask, fds: PollFds, count: u32, timeout_ms: i32) -> SysResult<usize> {
    poll_until(task, fds.0, count, after_ms(timeout_ms))
}

/// What restart_syscall(2) does for poll(2): the rest of the time-out.
pub fn poll_again(
    task: &mut CurrentTask,
    fds: UserAddr,
    count: u32,
    deadline: Option<Instant>,
) -> SysResult<usize> {
    let timeout = deadline.map_or(Timeout::Never, Timeout::At);
    poll_until(task, UserRef::new(fds), count, timeout)
}

fn poll_until(
    task: &mut CurrentTask,
    fds: UserRef<PollFd>,
    count: u32,
    timeout: Timeout,
) -> SysResult<usize> {
    match poll_fds(task, fds, count, timeout)? {
        Ok(found) => Ok(found),
        Err(WaitEnd::TimedOut) => Ok(0),
        Err(WaitEnd::Interrupted) => {
            let deadline = if let Timeout::At(deadline) = timeout { Some(deadline) } else { None };
            task.restart_block = Some(RestartBlock::Poll { fds: fds.addr(), count, deadline });
            Err(SysError::Restart(Restart::Block))
        }
    }
}

/// ppoll(2)
pub fn ppoll(
    task: &mut CurrentTask,
    fds: PollFds,
    count: u32,
    timeout: InOut<Timespec>,
    mask: In<SigSet>,
    mask_size: u64,
) -> SysResult<usize> {
    let until = match timeout.non_null() {
        None => Timeout::Never,
        Some(timeout) => after(&task.read_obj(timeout)?)?,
    };
    let result = with_mask(task, mask.0, mask_size, |task| {
        let result = poll_fds(task, fds.0, count, until)?;
        finish(result)
    });
    give_rest(task, result, until, |task, left| match timeout.non_null() {
        Some(timeout) => task.write_obj(timeout, &ns_to_timespec(left)).is_ok(),
        None => false,
    })
}

/// The count, 0 for a time-out, a restart when no handler runs for a signal.
fn finish(result: Result<usize, WaitEnd>) -> SysResult<usize> {
    match result {
        Ok(found) => Ok(found),
        Err(WaitEnd::TimedOut) => Ok(0),
        Err(WaitEnd::Interrupted) => Err(SysError::Restart(Restart::NoHand)),
    }
}

/// Stores what is left of a time-out. A call that could not do so is not done again: it would wait too long.
fn give_rest(
    task: &mut CurrentTask,
    result: SysResult<usize>,
    until: Timeout,
    store: impl FnOnce(&mut CurrentTask, i64) -> bool,
) -> SysResult<usize> {
    let Timeout::At(deadline) = until else { return result };
    let waited = matches!(result, Ok(_) | Err(SysError::Restart(_)));
    if !waited {
        return result;
    }
    let left = to_ns(deadline.saturating_duration_since(Instant::now()));
    let stored = store(task, left);
    match result {
        Err(SysError::Restart(_)) if !stored => Err(Errno::EINTR.into()),
        other => other,
    }
}

fn poll_fds(
    task: &mut CurrentTask,
    fds: UserRef<PollFd>,
    count: u32,
    timeout: Timeout,
) -> SysResult<Result<usize, WaitEnd>> {
    if u64::from(count) > task.fd_limit() {
        return Err(Errno::EINVAL.into());
    }
    let mut entries: Entries = SmallVec::new();
    // In pieces: the count is the guest's, and only what it has written out costs memory here.
    let mut chunk = [PollFd::default(); 32];
    let mut at = 0;
    while at < count as usize {
        let n = (count as usize - at).min(chunk.len());
        task.copy_in(fds.at(at as u64)?.addr(), chunk[..n].as_mut_bytes())?;
        entries.extend(chunk[..n].iter().map(|fd| entry(task, fd)));
        at += n;
    }
    let result = wait(task, &mut entries, timeout);
    if !fds.addr().access_ok(u64::from(count) * size_of::<PollFd>() as u64) {
        return Err(Errno::EFAULT.into());
    }
    for (at, entry) in entries.iter().enumerate() {
        let revents = fds.at(at as u64)?.addr().add(6)?;
        task.write_obj(UserRef::new(revents), &(entry.found.bits() as u16))?;
    }
    Ok(result)
}

fn entry(task: &CurrentTask, fd: &PollFd) -> Polled {
    if fd.fd < 0 {
        return Polled::fixed(PollEvents::empty());
    }
    match task.file(fd.fd) {
        Ok(file) => Polled::new(file, PollEvents::from_bits_truncate(u32::from(fd.events))),
        Err(_) => Polled::fixed(PollEvents::NVAL),
    }
}

/// select(2)
pub fn select(
    task: &mut CurrentTask,
    count: i32,
    read: FdSet,
    write: FdSet,
    except: FdSet,
    timeout: InOut<Timeval>,
) -> SysResult<usize> {
    let until = match timeout.non_null() {
        None => Timeout::Never,
        Some(timeout) => after_timeval(&task.read_obj(timeout)?)?,
    };
    let result = select_fds(task, count, [read.0, write.0, except.0], until);
    give_rest(task, result, until, |task, left| match timeout.non_null() {
        Some(timeout) => {
            let left = Timeval { tv_sec: left / SECOND_NS, tv_usec: left % SECOND_NS / 1000 };
            task.write_obj(timeout, &left).is_ok()
        }
        None => false,
    })
}

/// The mask argument of pselect6(2): six registers are not enough for seven arguments.
#[repr(C)]
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
pub struct MaskAndSize {
    mask: u64,
    size: u64,
}

impl MaskAndSize {
    /// Where the mask is, and how long it is said to be.
    pub(crate) fn parts(self) -> (UserRef<SigSet>, u64) {
        (UserRef::new(UserAddr(self.mask)), self.size)
    }
}

/// pselect6(2)
pub fn pselect6(
    task: &mut CurrentTask,
    count: i32,
    read: FdSet,
    write: FdSet,
    except: FdSet,
    timeout: InOut<Timespec>,
    mask: UserRef<MaskAndSize>,
) -> SysResult<usize> {
    let mask = match mask.non_null() {
        None => MaskAndSize { mask: 0, size: 0 },
        Some(mask) => task.read_obj(mask)?,
    };
    let until = match timeout.non_null() {
        None => Timeout::Never,
        Some(timeout) => after(&task.read_obj(timeout)?)?,
    };
    let (mask, size) = mask.parts();
    let result =
        with_mask(task, mask, size, |task| select_fds(task, count, [read.0, write.0, except.0], until));
    give_rest(task, result, until, |task, left| match timeout.non_null() {
        Some(timeout) => task.write_obj(timeout, &ns_to_timespec(left)).is_ok(),
        None => false,
    })
}

/// Microseconds may be more than a second here, unlike nanoseconds elsewhere.
fn after_timeval(timeout: &Timeval) -> Result<Timeout, Errno> {
    if timeout.tv_sec < 0 || timeout.tv_usec < 0 {
        return Err(Errno::EINVAL);
    }
    let ns = timeout.tv_sec.saturating_mul(SECOND_NS).saturating_add(timeout.tv_usec.saturating_mul(1000));
    Ok(if ns == 0 { Timeout::None } else { deadline_after(ns).map_or(Timeout::Never, Timeout::At) })
}

/// What each of the three sets asks for.
const ASKED: [PollEvents; 3] = [
    PollEvents::IN
        .union(PollEvents::RDNORM)
        .union(PollEvents::RDBAND)
        .union(PollEvents::HUP)
        .union(PollEvents::ERR),
    PollEvents::OUT.union(PollEvents::WRNORM).union(PollEvents::WRBAND).union(PollEvents::ERR),
    PollEvents::PRI,
];

fn select_fds(task: &mut CurrentTask, count: i32, sets: [UserAddr; 3], timeout: Timeout) -> SysResult<usize> {
    if count < 0 {
        return Err(Errno::EINVAL.into());
    }
    // Bits beyond what the table has ever held are ignored, on Linux too.
    let count = (count as usize).min(task.files().size().max(64));
    let words = count.div_ceil(64);
    let mut wanted: [SmallVec<[u64; 16]>; 3] = Default::default();
    for (set, at) in wanted.iter_mut().zip(sets) {
        set.resize(words, 0);
        if !at.is_null() {
            task.copy_in(at, set.as_mut_slice().as_mut_bytes())?;
        }
    }
    let mut numbers: SmallVec<[usize; 8]> = SmallVec::new();
    let mut entries: Entries = SmallVec::new();
    for word in 0..words {
        let mut bits = wanted.iter().fold(0, |all, set| all | set[word]);
        if word == words - 1 && !count.is_multiple_of(64) {
            bits &= (1 << (count % 64)) - 1;
        }
        while bits != 0 {
            let bit = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let interest = (0..3).filter(|set| wanted[*set][word] & (1 << bit) != 0);
            let interest = interest.fold(PollEvents::empty(), |all, set| all | ASKED[set]);
            let file = task.file_or_path((word * 64 + bit) as i32)?;
            entries.push(match file.is_path() {
                true => Polled::fixed(PollEvents::NVAL),
                false => Polled::exactly(file, interest),
            });
            numbers.push(word * 64 + bit);
        }
    }
    let result = wait(task, &mut entries, timeout);
    let mut found = 0;
    let mut answer: [SmallVec<[u64; 16]>; 3] = Default::default();
    for set in &mut answer {
        set.resize(words, 0);
    }
    for (entry, fd) in entries.iter().zip(&numbers) {
        for set in 0..3 {
            if wanted[set][fd / 64] & (1 << (fd % 64)) != 0
                && entry.found.intersects(ASKED[set] | PollEvents::NVAL)
            {
                answer[set][fd / 64] |= 1 << (fd % 64);
                found += 1;
            }
        }
    }
    if let Err(WaitEnd::Interrupted) = result
        && found == 0
    {
        return Err(SysError::Restart(Restart::NoHand));
    }
    for (set, at) in answer.iter().zip(sets) {
        if !at.is_null() {
            task.copy_out(at, set.as_slice().as_bytes())?;
        }
    }
    Ok(found)
}
