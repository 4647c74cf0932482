//! System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).

use std::sync::Arc;

use abi::Errno;
use abi::ipc::{
    IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, SHM_INFO, SHM_LOCK, SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK, ShmFlags,
    ShmidDs,
};
use abi::mman::MapFlags;
use sentry::SysResult;
use sentry::ipc::shm::Lock;
use sentry::ipc::{Anybody, Asker, IpcNamespace};
use sentry::mm::{MapBacking, MapName, MapRequest, PAGE, Prot, UserAddr, UserRef};
use sentry::task::CurrentTask;

use crate::mmap::limits;

/// The namespace of the caller, and the caller.
pub(crate) fn asked(task: &CurrentTask) -> (&Arc<IpcNamespace>, Asker<'_>) {
    let namespace = &task.namespaces().ipc;
    (namespace, Asker::of(task, namespace))
}

/// shmget(2)
pub fn shmget(task: &mut CurrentTask, key: i32, size: u64, flags: u32) -> SysResult<i32> {
    let memory = task.kernel().platform.memory();
    let (namespace, asker) = asked(task);
    Ok(namespace.shm_get(memory, (key, size, flags), asker)?)
}

/// shmat(2)
pub fn shmat(task: &mut CurrentTask, id: i32, addr: UserAddr, flags: u32) -> SysResult<UserAddr> {
    let how = ShmFlags::from_bits_truncate(flags);
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut place = addr.0;
    let mut map_flags = MapFlags::SHARED;
    if place != 0 {
        if !place.is_multiple_of(PAGE) {
            if !how.contains(ShmFlags::RND) {
                return Err(Errno::EINVAL.into());
            }
            place -= place % PAGE;
        }
        if place == 0 && how.contains(ShmFlags::REMAP) {
            return Err(Errno::EINVAL.into());
        }
        map_flags |= if how.contains(ShmFlags::REMAP) { MapFlags::FIXED } else { MapFlags::FIXED_NOREPLACE };
    } else if how.contains(ShmFlags::REMAP) {
        return Err(Errno::EINVAL.into());
    }
    let (mut prot, mut wanted) = (Prot::READ, 0o444);
    if !how.contains(ShmFlags::RDONLY) {
        (prot, wanted) = (prot | Prot::WRITE, wanted | 0o222);
    }
    if how.contains(ShmFlags::EXEC) {
        (prot, wanted) = (prot | Prot::EXEC, wanted | 0o111);
    }
    let (namespace, asker) = asked(task);
    let segment = namespace.shm.attach(id, wanted, asker)?;
    let max_prot = if how.contains(ShmFlags::RDONLY) { Prot::all() - Prot::WRITE } else { Prot::all() };
    let request = MapRequest {
        addr: UserAddr(place),
        len: segment.size(),
        prot,
        flags: map_flags,
        backing: MapBacking::File {
            file: Arc::clone(&segment) as _,
            offset: 0,
            max_prot,
            name: MapName::Fixed("/SYSV00000000 (deleted)"),
        },
        limits: limits(task),
    };
    let at = task.mm().mmap(request).map_err(|errno| match errno {
        Errno::EEXIST => Errno::EINVAL,
        errno => errno,
    })?;
    segment.attached(task.thread_group().pid.trace());
    Ok(at)
}

/// shmdt(2)
pub fn shmdt(task: &mut CurrentTask, addr: UserAddr) -> SysResult<()> {
    Ok(task.mm().detach_segment(addr)?)
}

/// shmctl(2)
pub fn shmctl(task: &mut CurrentTask, id: i32, command: i32, buf: UserAddr) -> SysResult<i32> {
    if id < 0 || command < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (namespace, asker) = asked(task);
    let table = &namespace.shm;
    match command as u32 {
        IPC_STAT => {
            let stat = table.stat(id, asker)?;
            task.write_obj(UserRef::<ShmidDs>::new(buf), &stat)?;
            Ok(0)
        }
        any @ (SHM_STAT | SHM_STAT_ANY) => {
            let anybody = if any == SHM_STAT_ANY { Anybody::Yes } else { Anybody::No };
            let (id, stat) = table.stat_place(id, anybody, asker)?;
            task.write_obj(UserRef::<ShmidDs>::new(buf), &stat)?;
            Ok(id)
        }
        IPC_SET => {
            let new = task.read_obj(UserRef::<ShmidDs>::new(buf))?;
            table.set(id, &new.shm_perm, asker)?;
            Ok(0)
        }
        IPC_RMID => {
            table.remove(id, asker)?;
            Ok(0)
        }
        IPC_INFO => {
            let (highest, info) = table.limits(&namespace.limits);
            task.write_obj(UserRef::new(buf), &info)?;
            Ok(highest)
        }
        SHM_INFO => {
            let (highest, info) = table.usage();
            task.write_obj(UserRef::new(buf), &info)?;
            Ok(highest)
        }
        lock @ (SHM_LOCK | SHM_UNLOCK) => {
            let lock = if lock == SHM_LOCK { Lock::Lock } else { Lock::Unlock };
            table.lock(id, lock, asker)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
