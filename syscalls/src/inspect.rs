//! Looking into other processes: process_vm_readv(2), process_vm_writev(2), kcmp(2); and barriers on their CPUs,
//! membarrier(2).

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use abi::Errno;
use abi::clone::{
    KCMP_EPOLL_TFD, KCMP_FILE, KCMP_FILES, KCMP_FS, KCMP_IO, KCMP_SIGHAND, KCMP_SYSVSEM, KCMP_VM,
};
use abi::membarrier::{MEMBARRIER_CMD_QUERY, MembarrierCmd};
use sentry::SysResult;
use sentry::mm::{MemoryManager, UserSlice};
use sentry::task::{Access, CurrentTask, Task};

use crate::arg::{Flags, IoVecs, IoVecsOut, KcmpType};
use crate::{iovec, target};

/// Bytes that are copied at a time.
const CHUNK: usize = 4096;

/// process_vm_readv(2)
pub fn process_vm_readv(
    task: &mut CurrentTask,
    pid: i32,
    local: IoVecsOut,
    local_count: u64,
    remote: IoVecs,
    remote_count: u64,
    flags: u64,
) -> SysResult<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let local = iovec::read(task, local.array(), local_count)?;
    if total(&local) == 0 {
        return Ok(0);
    }
    let remote = iovec::read_foreign(task, remote.array(), remote_count)?;
    if total(&remote) == 0 {
        return Ok(0);
    }
    let other = memory_of(task, pid)?;
    Ok(copy(&other, &remote, task.mm(), &local)?)
}

/// process_vm_writev(2)
pub fn process_vm_writev(
    task: &mut CurrentTask,
    pid: i32,
    local: IoVecs,
    local_count: u64,
    remote: IoVecs,
    remote_count: u64,
    flags: u64,
) -> SysResult<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let local = iovec::read(task, local.array(), local_count)?;
    if total(&local) == 0 {
        return Ok(0);
    }
    let remote = iovec::read_foreign(task, remote.array(), remote_count)?;
    if total(&remote) == 0 {
        return Ok(0);
    }
    let other = memory_of(task, pid)?;
    Ok(copy(task.mm(), &local, &other, &remote)?)
}

fn total(slices: &[UserSlice]) -> u64 {
    slices.iter().fold(0, |sum, slice| sum.saturating_add(slice.len))
}

/// The memory of another process, if the caller may see it.
fn memory_of(task: &CurrentTask, pid: i32) -> Result<Arc<MemoryManager>, Errno> {
    if pid == 0 {
        return Err(Errno::ESRCH);
    }
    let target = target::task(task, pid)?;
    task.may_look_into(&target, Access::Call)?;
    Ok(target.resources().ok_or(Errno::ESRCH)?.mm)
}

/// Copies from one list of buffers to another until either ends or can't be touched. EFAULT where nothing was copied.
fn copy(
    from_mm: &MemoryManager,
    from: &[UserSlice],
    to_mm: &MemoryManager,
    to: &[UserSlice],
) -> Result<usize, Errno> {
    let mut buffer = [0; CHUNK];
    let (mut source, mut sink) = (Cursor::new(from), Cursor::new(to));
    let mut done = 0;
    let outcome = loop {
        let (Some(read_at), Some(write_at)) = (source.rest(), sink.rest()) else { break Ok(()) };
        let len = read_at.len.min(write_at.len).min(CHUNK as u64) as usize;
        let moved = from_mm
            .copy_in_partial(read_at.addr, &mut buffer[..len])
            .and_then(|got| to_mm.copy_out_partial(write_at.addr, &buffer[..got]));
        match moved {
            Ok(moved) => {
                done += moved;
                source.skip(moved as u64);
                sink.skip(moved as u64);
                // The rest says why on the next turn.
            }
            Err(errno) => break Err(errno),
        }
    };
    match outcome {
        Err(errno) if done == 0 => Err(errno),
        _ => Ok(done),
    }
}

/// A position in a list of buffers.
struct Cursor<'a> {
    slices: &'a [UserSlice],
    done: u64,
}

impl<'a> Cursor<'a> {
    fn new(slices: &'a [UserSlice]) -> Cursor<'a> {
        Cursor { slices, done: 0 }
    }

    /// What is left of the first buffer that is not done.
    fn rest(&mut self) -> Option<UserSlice> {
        while let Some(first) = self.slices.first() {
            if self.done < first.len {
                let addr = sentry::mm::UserAddr(first.addr.0.saturating_add(self.done));
                return Some(UserSlice { addr, len: first.len - self.done });
            }
            self.slices = &self.slices[1..];
            self.done = 0;
        }
        None
    }

    fn skip(&mut self, bytes: u64) {
        self.done += bytes;
    }
}

/// kcmp(2): 0 for the same, 1 and 2 for an order that says nothing else.
pub fn kcmp(
    task: &mut CurrentTask,
    pid1: i32,
    pid2: i32,
    kind: KcmpType,
    index1: u64,
    index2: u64,
) -> SysResult<i32> {
    let target = |pid| if pid == 0 { Err(Errno::ESRCH) } else { target::task(task, pid) };
    let (one, two) = (target(pid1)?, target(pid2)?);
    task.may_look_into(&one, Access::Call)?;
    task.may_look_into(&two, Access::Call)?;
    let order = |a: usize, b: usize| match obscure(a).cmp(&obscure(b)) {
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Greater => 2,
    };
    let resources = |of: &Task| of.resources().ok_or(Errno::ESRCH);
    Ok(match kind.0 {
        KCMP_FILE => {
            let file = |of: &Task, fd: u64| {
                let file = resources(of)?.files.get(i32::try_from(fd).unwrap_or(-1)).ok_or(Errno::EBADF)?;
                Ok::<_, Errno>(Arc::as_ptr(&file).addr())
            };
            order(file(&one, index1)?, file(&two, index2)?)
        }
        KCMP_VM => order(Arc::as_ptr(&resources(&one)?.mm).addr(), Arc::as_ptr(&resources(&two)?.mm).addr()),
        KCMP_FILES => {
            order(Arc::as_ptr(&resources(&one)?.files).addr(), Arc::as_ptr(&resources(&two)?.files).addr())
        }
        KCMP_FS => order(Arc::as_ptr(&resources(&one)?.fs).addr(), Arc::as_ptr(&resources(&two)?.fs).addr()),
        KCMP_SIGHAND => {
            let actions = |of: &Task| Arc::as_ptr(&of.thread_group().actions()).addr();
            order(actions(&one), actions(&two))
        }
        // Nobody has a context of either kind.
        KCMP_IO | KCMP_SYSVSEM => 0,
        KCMP_EPOLL_TFD => return Err(Errno::EOPNOTSUPP.into()),
        _ => return Err(Errno::EINVAL.into()),
    })
}

/// A number for an address that does not tell the address.
fn obscure(address: usize) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(address)
}

/// membarrier(2)
pub fn membarrier(
    task: &mut CurrentTask,
    command: Flags<MembarrierCmd>,
    flags: u32,
    _cpu: i32,
) -> SysResult<u32> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    if command.bits() == MEMBARRIER_CMD_QUERY {
        return Ok(sentry::membarrier::COMMANDS.bits());
    }
    Ok(task.membarrier(command.retain())?)
}
