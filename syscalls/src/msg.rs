//! System V message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2).

use std::sync::atomic::Ordering;

use abi::Errno;
use abi::ipc::{
    IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, IpcFlags, MSG_INFO, MSG_STAT, MSG_STAT_ANY, MsgRcvFlags, MsqidDs,
};
use sentry::SysResult;
use sentry::ipc::Anybody;
use sentry::ipc::msg::{Selection, Wanted};
use sentry::mm::{PAGE, UserAddr, UserRef};
use sentry::task::CurrentTask;

use crate::shm::asked;

/// Bytes of a message's type, in front of its contents.
const TYPE: u64 = 8;

/// msgget(2)
pub fn msgget(task: &mut CurrentTask, key: i32, flags: u32) -> SysResult<i32> {
    let (namespace, asker) = asked(task);
    Ok(namespace.msg_get(key, flags, asker)?)
}

/// msgsnd(2)
pub fn msgsnd(task: &mut CurrentTask, id: i32, from: UserAddr, size: usize, flags: u32) -> SysResult<()> {
    let kind: i64 = task.read_obj(UserRef::new(from))?;
    let namespace = &task.namespaces().ipc;
    if size > namespace.limits.msgmax.load(Ordering::Relaxed) as usize || id < 0 || kind < 1 {
        return Err(Errno::EINVAL.into());
    }
    let mut message = namespace.new_message(kind, size)?;
    task.copy_in(UserAddr(from.0.wrapping_add(TYPE)), &mut message.bytes)?;
    task.msg_send(id, message, flags & IpcFlags::NOWAIT.bits() == 0)
}

/// msgrcv(2)
pub fn msgrcv(
    task: &mut CurrentTask,
    id: i32,
    to: UserAddr,
    size: i64,
    kind: i64,
    flags: u32,
) -> SysResult<usize> {
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let waits = flags & IpcFlags::NOWAIT.bits() == 0;
    let how = MsgRcvFlags::from_bits_truncate(flags);
    let wanted = Wanted {
        which: Selection::new(kind, how),
        most_bytes: if how.contains(MsgRcvFlags::NOERROR) { usize::MAX } else { size },
    };
    if !how.contains(MsgRcvFlags::COPY) {
        let message = task.msg_receive(id, wanted, waits)?;
        return give(task, to, size, message.kind, &message.bytes);
    }
    if how.contains(MsgRcvFlags::EXCEPT) || waits {
        return Err(Errno::EINVAL.into());
    }
    // Linux makes the copy of what lies there: it must be readable.
    let most = size.min(task.namespaces().ipc.limits.msgmax.load(Ordering::Relaxed) as usize);
    let mut page = [0; PAGE as usize];
    for at in (0..most).step_by(page.len()) {
        let len = page.len().min(most - at);
        task.copy_in(UserAddr(to.0.wrapping_add(at as u64)), &mut page[..len])?;
    }
    let (kind, bytes) = task.msg_copy(id, &wanted, most)?;
    give(task, to, size, kind, &bytes)
}

/// Copies a message out, what is too long cut off; answers how many bytes that were. On an error it is lost.
fn give(task: &CurrentTask, to: UserAddr, size: usize, kind: i64, bytes: &[u8]) -> SysResult<usize> {
    let bytes = &bytes[..bytes.len().min(size)];
    task.write_obj(UserRef::new(to), &kind)?;
    task.copy_out(UserAddr(to.0.wrapping_add(TYPE)), bytes)?;
    Ok(bytes.len())
}

/// msgctl(2)
pub fn msgctl(task: &mut CurrentTask, id: i32, command: u32, buf: UserAddr) -> SysResult<i32> {
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (namespace, asker) = asked(task);
    match command {
        IPC_INFO | MSG_INFO => {
            let (highest, info) = namespace.msg_info(command == MSG_INFO);
            task.write_obj(UserRef::new(buf), &info)?;
            Ok(highest)
        }
        IPC_STAT => {
            let stat = namespace.msg_stat(id, asker)?;
            task.write_obj(UserRef::<MsqidDs>::new(buf), &stat)?;
            Ok(0)
        }
        MSG_STAT | MSG_STAT_ANY => {
            let anybody = if command == MSG_STAT_ANY { Anybody::Yes } else { Anybody::No };
            let (id, stat) = namespace.msg_stat_place(id, anybody, asker)?;
            task.write_obj(UserRef::<MsqidDs>::new(buf), &stat)?;
            Ok(id)
        }
        IPC_SET => {
            let new = task.read_obj(UserRef::<MsqidDs>::new(buf))?;
            namespace.msg_set(id, &new.msg_perm, new.msg_qbytes, asker)?;
            Ok(0)
        }
        IPC_RMID => {
            namespace.msg_remove(id, asker)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
