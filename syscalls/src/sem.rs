//! System V semaphores: semget(2), semop(2), semtimedop(2), semctl(2).

use std::sync::atomic::Ordering;
use std::time::Instant;

use abi::Errno;
use abi::ipc::{
    GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, SEM_INFO, SEM_STAT,
    SEM_STAT_ANY, SETALL, SETVAL, SemBuf, SemidDs,
};
use abi::time::Timespec;
use sentry::SysResult;
use sentry::ipc::Anybody;
use sentry::ipc::sem::Usage;
use sentry::mm::{UserAddr, UserRef};
use sentry::task::CurrentTask;
use sentry::time::clock::{deadline_after, timespec_to_ns};
use zerocopy::IntoBytes;

use crate::arg::{In, InArray};
use crate::shm::asked;

/// Operations of one call at most, whatever the limit of the namespace is: they are kept while a task waits.
const MOST_OPERATIONS: u32 = 4096;

/// semget(2)
pub fn semget(task: &mut CurrentTask, key: i32, count: i32, flags: u32) -> SysResult<i32> {
    let (namespace, asker) = asked(task);
    Ok(namespace.sem_get(key, count, flags, asker)?)
}

/// semop(2)
pub fn semop(task: &mut CurrentTask, id: i32, ops: InArray<SemBuf>, count: u32) -> SysResult<()> {
    let ops = operations(task, id, *ops, count)?;
    task.sem_operate(id, &ops, None)
}

/// semtimedop(2)
pub fn semtimedop(
    task: &mut CurrentTask,
    id: i32,
    ops: InArray<SemBuf>,
    count: u32,
    timeout: In<Timespec>,
) -> SysResult<()> {
    let timeout = timeout.non_null().map(|timeout| task.read_obj(timeout)).transpose()?;
    let ops = operations(task, id, *ops, count)?;
    let deadline: Option<Instant> = match timeout {
        None => None,
        Some(timeout) => deadline_after(timespec_to_ns(&timeout).ok_or(Errno::EINVAL)?),
    };
    task.sem_operate(id, &ops, deadline)
}

fn operations(task: &CurrentTask, id: i32, from: UserRef<SemBuf>, count: u32) -> Result<Vec<SemBuf>, Errno> {
    if count > task.namespaces().ipc.limits.semopm.load(Ordering::Relaxed) {
        return Err(Errno::E2BIG);
    }
    if count < 1 {
        return Err(Errno::EINVAL);
    }
    // That limit is the guest's to set.
    if count > MOST_OPERATIONS {
        return Err(Errno::ENOMEM);
    }
    let mut ops = vec![SemBuf::default(); count as usize];
    task.copy_in(from.addr(), ops.as_mut_bytes())?;
    if id < 0 { Err(Errno::EINVAL) } else { Ok(ops) }
}

/// semctl(2)
pub fn semctl(task: &mut CurrentTask, id: i32, number: i32, command: u32, arg: UserAddr) -> SysResult<i32> {
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (namespace, asker) = asked(task);
    let usage = |what| Ok(namespace.sem_usage(id, number, what, asker)?);
    match command {
        IPC_INFO | SEM_INFO => {
            let (highest, info) = namespace.sem_info(command == SEM_INFO);
            task.write_obj(UserRef::new(arg), &info)?;
            Ok(highest)
        }
        IPC_STAT => {
            let stat = namespace.sem_stat(id, asker)?;
            task.write_obj(UserRef::<SemidDs>::new(arg), &stat)?;
            Ok(0)
        }
        SEM_STAT | SEM_STAT_ANY => {
            let anybody = if command == SEM_STAT_ANY { Anybody::Yes } else { Anybody::No };
            let (id, stat) = namespace.sem_stat_place(id, anybody, asker)?;
            task.write_obj(UserRef::<SemidDs>::new(arg), &stat)?;
            Ok(id)
        }
        GETALL => {
            let values = namespace.sem_values(id, asker)?;
            task.copy_out(arg, values.as_bytes())?;
            Ok(0)
        }
        GETVAL => usage(Usage::Value),
        GETPID => usage(Usage::Process),
        GETNCNT => usage(Usage::WaitForMore),
        GETZCNT => usage(Usage::WaitForZero),
        SETALL => {
            let mut values = vec![0u16; namespace.sem_count_to_set(id, asker)?];
            task.copy_in(arg, values.as_mut_bytes())?;
            namespace.sem_set_values(id, &values, asker)?;
            Ok(0)
        }
        SETVAL => {
            namespace.sem_set_value(id, number, arg.0 as i32, asker)?;
            Ok(0)
        }
        IPC_SET => {
            let new = task.read_obj(UserRef::<SemidDs>::new(arg))?;
            namespace.sem_set_owner(id, &new.sem_perm, asker)?;
            Ok(0)
        }
        IPC_RMID => {
            namespace.sem_remove(id, asker)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
