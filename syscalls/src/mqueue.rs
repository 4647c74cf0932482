//! POSIX message queues: mq_open(2) and the others.

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::ipc::MqAttr;
use abi::open::{O_ACCMODE, OpenFlags};
use abi::poll::PollEvents;
use abi::signal::Signal;
use abi::stat::S_IALLUGO;
use abi::time::{CLOCK_REALTIME, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SigEvent, Timespec};
use sentry::fs::mqueue::{Message, Notify, PRIORITIES, QueueFile, Shape};
use sentry::mm::{UserCStr, UserRef};
use sentry::task::CurrentTask;
use sentry::time::clock::timespec_to_ns;
use sentry::vfs::{File, OnExec};
use sentry::{Restart, SysResult};

use crate::arg::{Fd, In, InBuf, ModeIfCreate, OpenArg, Out, OutBuf};

/// What mq_open(2) takes of its flags.
const FLAGS: OpenFlags = OpenFlags::CREAT.union(OpenFlags::EXCL).union(OpenFlags::NONBLOCK);

/// mq_open(2)
pub fn mq_open(
    task: &mut CurrentTask,
    name: UserCStr,
    flags: OpenArg,
    mode: ModeIfCreate,
    attr: In<MqAttr>,
) -> SysResult<Fd> {
    let flags = OpenFlags::from_bits_retain(flags.0 & (FLAGS.bits() | O_ACCMODE));
    let shape = match attr.non_null() {
        // Copied in whether a queue is made or not.
        Some(attr) => {
            let attr = task.read_obj(attr)?;
            Some(Shape { max_messages: attr.mq_maxmsg, message_size: attr.mq_msgsize })
        }
        None => None,
    };
    let name = crate::path::read(task, name)?;
    let reserved = task.reserve_fd(OnExec::from_flags(OpenFlags::CLOEXEC))?;
    let roots = task.fs().roots();
    let caller = task.caller(&roots);
    let file = task.namespaces().ipc.mqueues.open(&caller, &name, flags, mode.0 & S_IALLUGO, shape)?;
    Ok(Fd(reserved.fill(file)))
}

/// mq_unlink(2)
pub fn mq_unlink(task: &mut CurrentTask, name: UserCStr) -> SysResult<()> {
    let name = crate::path::read(task, name)?;
    let roots = task.fs().roots();
    Ok(task.namespaces().ipc.mqueues.unlink(&task.caller(&roots), &name)?)
}

/// When to give up; `None`: never.
fn deadline(task: &CurrentTask, until: UserRef<Timespec>) -> Result<Option<Instant>, Errno> {
    let Some(until) = until.non_null() else { return Ok(None) };
    let until = task.read_obj(until)?;
    let ns = timespec_to_ns(&until).ok_or(Errno::EINVAL)?;
    Ok(task.kernel().clocks.instant_of(CLOCK_REALTIME, ns))
}

fn queue_file(file: &File) -> Result<&QueueFile, Errno> {
    file.downcast::<QueueFile>().ok_or(Errno::EBADF)
}

/// mq_timedsend(2)
pub fn mq_timedsend(
    task: &mut CurrentTask,
    queue: Fd,
    bytes: InBuf,
    size: usize,
    priority: u32,
    until: In<Timespec>,
) -> SysResult<()> {
    let deadline = deadline(task, *until)?;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL.into());
    }
    let file = task.file(queue.0)?;
    let opened = queue_file(&file)?;
    if !file.access().write {
        return Err(Errno::EBADF.into());
    }
    let queue = opened.queue();
    if size as u64 > queue.shape.message_size as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut contents = vec![0; size];
    task.copy_in(*bytes, &mut contents)?;
    let mut message = Some(Message { priority, bytes: contents.into() });
    let mut attempt = |task: &mut CurrentTask| {
        message = queue.send(message.take()?, task).err();
        message.is_none().then_some(())
    };
    if file.nonblocking() {
        attempt(task).ok_or(Errno::EAGAIN)?;
    } else {
        task.wait_for(queue.wait_queue(), PollEvents::OUT, deadline, attempt)
            .map_err(|end| end.into_error(Restart::Sys, Errno::ETIMEDOUT))?;
    }
    opened.touched();
    Ok(())
}

/// mq_timedreceive(2)
pub fn mq_timedreceive(
    task: &mut CurrentTask,
    queue: Fd,
    bytes: OutBuf,
    size: usize,
    priority: Out<u32>,
    until: In<Timespec>,
) -> SysResult<usize> {
    let deadline = deadline(task, *until)?;
    let file = task.file(queue.0)?;
    let opened = queue_file(&file)?;
    if !file.access().read {
        return Err(Errno::EBADF.into());
    }
    let queue = Arc::clone(opened.queue());
    if (size as u64) < queue.shape.message_size as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    let message = match queue.receive() {
        Some(message) => message,
        None if file.nonblocking() => return Err(Errno::EAGAIN.into()),
        None => {
            queue.add_receiver();
            let waited = task.wait_for(queue.wait_queue(), PollEvents::IN, deadline, |_| queue.receive());
            queue.remove_receiver();
            waited.map_err(|end| end.into_error(Restart::Sys, Errno::ETIMEDOUT))?
        }
    };
    opened.touched();
    if let Some(to) = priority.non_null() {
        task.write_obj(to, &message.priority)?;
    }
    task.copy_out(*bytes, &message.bytes)?;
    Ok(message.bytes.len())
}

/// mq_notify(2)
pub fn mq_notify(task: &mut CurrentTask, queue: Fd, event: In<SigEvent>) -> SysResult<()> {
    let event = event.non_null().map(|event| task.read_obj(event)).transpose()?;
    let group = Arc::clone(task.thread_group());
    let signal = match &event {
        None => None,
        Some(event) => match event.sigev_notify {
            SIGEV_NONE => None,
            // 0 is taken, and no signal.
            SIGEV_SIGNAL if event.sigev_signo == 0 => None,
            SIGEV_SIGNAL => Some(Signal::new(event.sigev_signo as u32).ok_or(Errno::EINVAL)?),
            // Goes over a netlink socket of the C library's.
            SIGEV_THREAD => return Err(Errno::EBADF.into()),
            _ => return Err(Errno::EINVAL.into()),
        },
    };
    let file = task.file(queue.0)?;
    let queue = queue_file(&file)?.queue();
    match event {
        None => queue.clear_notify(&group),
        Some(event) => {
            queue.set_notify(Notify { group: Arc::downgrade(&group), signal, value: event.sigev_value })?;
        }
    }
    Ok(())
}

/// mq_getsetattr(2)
pub fn mq_getsetattr(task: &mut CurrentTask, queue: Fd, new: In<MqAttr>, old: Out<MqAttr>) -> SysResult<()> {
    let nonblock = OpenFlags::NONBLOCK.bits();
    let new = new.non_null().map(|new| task.read_obj(new)).transpose()?;
    if let Some(new) = &new
        && new.mq_flags & !i64::from(nonblock) != 0
    {
        return Err(Errno::EINVAL.into());
    }
    let file = task.file(queue.0)?;
    let opened = queue_file(&file)?;
    let now = MqAttr {
        mq_flags: i64::from(file.flags().bits() & nonblock),
        mq_maxmsg: opened.queue().shape.max_messages,
        mq_msgsize: opened.queue().shape.message_size,
        mq_curmsgs: opened.queue().count(),
        ..MqAttr::default()
    };
    if let Some(new) = new {
        let mut flags = file.flags();
        flags.set(OpenFlags::NONBLOCK, new.mq_flags != 0);
        file.set_flags(flags)?;
    }
    if let Some(old) = old.non_null() {
        task.write_obj(old, &now)?;
    }
    Ok(())
}
