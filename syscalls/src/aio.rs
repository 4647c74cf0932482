//! Linux native asynchronous I/O: io_setup(2), io_submit(2), io_getevents(2) and the others.

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::aio::{
    IOCB_CMD_FDSYNC, IOCB_CMD_FSYNC, IOCB_CMD_POLL, IOCB_CMD_PREAD, IOCB_CMD_PREADV, IOCB_CMD_PWRITE,
    IOCB_CMD_PWRITEV, IOCB_FLAG_IOPRIO, IOCB_FLAG_RESFD, IoEvent, Iocb,
};
use abi::mman::MapFlags;
use abi::poll::PollEvents;
use abi::time::Timespec;
use abi::uio::{IoVec, RwFlags};
use sentry::aio::{AioContext, Request, Ring};
use sentry::mm::{MapBacking, MapName, MapRequest, Prot, UserAddr, UserRef};
use sentry::task::CurrentTask;
use sentry::task::io::At;
use sentry::time::clock::SECOND_NS;
use sentry::vfs::File;
use sentry::vfs::eventfd::EventFd;
use sentry::vfs::poll::Timeout;
use sentry::{Restart, SysError, SysResult};

use crate::arg::{In, InOut};
use crate::mask::with_mask;
use crate::mmap::limits;
use crate::poll::MaskAndSize;
use crate::read_write::{self, one, readable, writable};
use crate::{iovec, sched};

/// io_setup(2)
pub fn io_setup(task: &mut CurrentTask, requests: u32, context: InOut<u64>) -> SysResult<()> {
    if task.read_obj(*context)? != 0 || requests == 0 {
        return Err(Errno::EINVAL.into());
    }
    let kernel = Arc::clone(task.kernel());
    let ring = Ring::new(kernel.platform.memory(), &kernel.aio, requests, kernel.cpus)?;
    let request = MapRequest {
        addr: UserAddr(0),
        len: ring.pages().size(),
        prot: Prot::READ | Prot::WRITE,
        flags: MapFlags::SHARED,
        backing: MapBacking::File {
            file: Arc::clone(ring.pages()) as _,
            offset: 0,
            max_prot: Prot::READ | Prot::WRITE,
            name: MapName::Fixed("/[aio] (deleted)"),
        },
        limits: limits(task),
    };
    let at = task.mm().mmap(request)?;
    let new = AioContext::new(&kernel, at.0, ring);
    task.mm().aio.add(Arc::clone(&new));
    if let Err(errno) = task.write_obj(*context, &at.0) {
        destroy(task, &new)?;
        return Err(errno.into());
    }
    Ok(())
}

/// The context whose ring is at `id`; the ring has to be there still.
fn find(task: &CurrentTask, id: u64) -> Result<Arc<AioContext>, Errno> {
    task.read_obj(UserRef::<u32>::new(UserAddr(id))).map_err(|_| Errno::EINVAL)?;
    task.mm().aio.find(id).ok_or(Errno::EINVAL)
}

fn destroy(task: &CurrentTask, context: &Arc<AioContext>) -> Result<(), Errno> {
    task.mm().aio.remove(context)?;
    task.mm().munmap(UserAddr(context.id()), context.ring_size())
}

/// io_destroy(2)
pub fn io_destroy(task: &mut CurrentTask, context: u64) -> SysResult<()> {
    let context = find(task, context)?;
    Ok(destroy(task, &context)?)
}

/// io_submit(2)
pub fn io_submit(task: &mut CurrentTask, context: u64, count: i64, iocbs: UserRef<u64>) -> SysResult<i64> {
    if count < 0 {
        return Err(Errno::EINVAL.into());
    }
    let context = find(task, context)?;
    let count = count.min(context.entries().into());
    for done in 0..count {
        let submitted = iocbs
            .at(done as u64)
            .and_then(|at| task.read_obj(at))
            .and_then(|iocb| submit(task, &context, UserRef::new(UserAddr(iocb))));
        match submitted {
            Ok(()) => {}
            Err(errno) if done == 0 => return Err(errno.into()),
            Err(_) => return Ok(done),
        }
    }
    Ok(count)
}

/// Does one request, or begins it: what it comes to is in the ring then.
fn submit(task: &mut CurrentTask, context: &Arc<AioContext>, at: UserRef<Iocb>) -> Result<(), Errno> {
    let iocb = task.read_obj(at)?;
    if iocb.aio_reserved2 != 0 || iocb.aio_nbytes > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    context.begin()?;
    let begun = Begun(Some(context));
    let file = task.file(iocb.aio_fildes as i32)?;
    let eventfd = match iocb.aio_flags & IOCB_FLAG_RESFD {
        0 => None,
        _ => {
            let eventfd = task.file(iocb.aio_resfd as i32)?;
            eventfd.downcast::<EventFd>().ok_or(Errno::EINVAL)?;
            Some(eventfd)
        }
    };
    // `aio_key`, by which io_cancel knows what was submitted.
    task.write_obj(UserRef::new(UserAddr(at.addr().0 + 8)), &0u32)?;
    let request = Request { data: iocb.aio_data, iocb: at.addr().0, eventfd };
    let result = match iocb.aio_lio_opcode {
        IOCB_CMD_PREAD | IOCB_CMD_PREADV => read(task, &iocb, &file)?,
        IOCB_CMD_PWRITE | IOCB_CMD_PWRITEV => write(task, &iocb, &file)?,
        op @ (IOCB_CMD_FSYNC | IOCB_CMD_FDSYNC) => {
            if iocb.aio_buf != 0 || has_place(&iocb) || !file.path.inode().is_regular() {
                return Err(Errno::EINVAL);
            }
            file.ops().sync(&file, op == IOCB_CMD_FDSYNC).map(|()| 0).map_err(SysError::from)
        }
        IOCB_CMD_POLL => {
            let events = u16::try_from(iocb.aio_buf).map_err(|_| Errno::EINVAL)?;
            if has_place(&iocb) {
                return Err(Errno::EINVAL);
            }
            let wanted = PollEvents::from_bits_truncate(events.into()) | PollEvents::ERR | PollEvents::HUP;
            begun.done();
            context.poll(request, &file, wanted);
            return Ok(());
        }
        _ => return Err(Errno::EINVAL),
    };
    let result = match result {
        Ok(count) => count as i64,
        Err(SysError::Errno(errno)) => -i64::from(errno.number()),
        // Requests before it may be under way: the call can't be begun again.
        Err(_) => -i64::from(Errno::EINTR.number()),
    };
    begun.done();
    context.complete(&request, result);
    Ok(())
}

/// A place in the ring that is given up unless the request is one.
struct Begun<'a>(Option<&'a AioContext>);

impl Begun<'_> {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            context.give_up();
        }
    }
}

/// Whether it has what only reads and writes have.
fn has_place(iocb: &Iocb) -> bool {
    iocb.aio_nbytes != 0 || iocb.aio_offset != 0 || iocb.aio_rw_flags != 0
}

/// Where a read or write takes place. EINVAL below zero.
fn place(iocb: &Iocb, file: &File) -> Result<At, Errno> {
    let offset = u64::try_from(iocb.aio_offset).map_err(|_| Errno::EINVAL)?;
    Ok(if file.ops().seekable() { At::Offset(offset) } else { At::Position })
}

fn slices(task: &CurrentTask, iocb: &Iocb) -> Result<iovec::Slices, Errno> {
    let addr = UserAddr(iocb.aio_buf);
    match iocb.aio_lio_opcode {
        IOCB_CMD_PREADV | IOCB_CMD_PWRITEV => iovec::read(task, UserRef::<IoVec>::new(addr), iocb.aio_nbytes),
        _ => Ok([one(addr, iocb.aio_nbytes as usize)?].into_iter().collect()),
    }
}

fn check_priority(task: &CurrentTask, iocb: &Iocb) -> Result<(), Errno> {
    match iocb.aio_flags & IOCB_FLAG_IOPRIO {
        0 => Ok(()),
        _ => sched::check_io_priority(task, u32::from(iocb.aio_reqprio as u16)),
    }
}

/// What a read comes to, in its result; an error of the request itself otherwise.
fn read(task: &mut CurrentTask, iocb: &Iocb, file: &Arc<File>) -> Result<SysResult<usize>, Errno> {
    check_priority(task, iocb)?;
    let patience = read_write::patience(file, RwFlags::from_bits_retain(iocb.aio_rw_flags))?;
    readable(file)?;
    if file.path.inode().is_dir() {
        return Err(Errno::EINVAL);
    }
    let slices = slices(task, iocb)?;
    let at = place(iocb, file)?;
    Ok(task.read_file(file, &slices, at, patience))
}

/// As [`read`], for a write.
fn write(task: &mut CurrentTask, iocb: &Iocb, file: &Arc<File>) -> Result<SysResult<usize>, Errno> {
    check_priority(task, iocb)?;
    let flags = RwFlags::from_bits_retain(iocb.aio_rw_flags);
    read_write::patience(file, flags)?;
    writable(file)?;
    let slices = slices(task, iocb)?;
    let at = place(iocb, file)?;
    Ok(read_write::write_slices(task, file, &slices, at, flags))
}

/// io_cancel(2)
pub fn io_cancel(task: &mut CurrentTask, context: u64, iocb: In<Iocb>, _result: UserAddr) -> SysResult<()> {
    let key = task.read_obj(UserRef::<u32>::new(UserAddr(iocb.addr().0.wrapping_add(8))))?;
    if key != 0 {
        return Err(Errno::EINVAL.into());
    }
    find(task, context)?.cancel(iocb.addr().0)?;
    // What it comes to is in the ring.
    Err(Errno::EINPROGRESS.into())
}

/// When to stop waiting. Any number of nanoseconds is taken; less than none is never.
fn deadline(task: &CurrentTask, timeout: UserRef<Timespec>) -> Result<Timeout, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(Timeout::Never) };
    let timeout = task.read_obj(timeout)?;
    let ns = timeout.tv_sec.saturating_mul(SECOND_NS).saturating_add(timeout.tv_nsec);
    Ok(match u64::try_from(ns) {
        Err(_) => Timeout::Never,
        Ok(0) => Timeout::None,
        Ok(ns) => {
            let at = Instant::now().checked_add(std::time::Duration::from_nanos(ns));
            at.map_or(Timeout::Never, Timeout::At)
        }
    })
}

/// io_getevents(2)
pub fn io_getevents(
    task: &mut CurrentTask,
    context: u64,
    least: i64,
    most: i64,
    events: UserRef<IoEvent>,
    timeout: In<Timespec>,
) -> SysResult<i64> {
    let timeout = deadline(task, *timeout)?;
    get_events(task, context, (least, most), events, timeout, SysError::Errno(Errno::EINTR))
}

/// io_pgetevents(2)
pub fn io_pgetevents(
    task: &mut CurrentTask,
    context: u64,
    least: i64,
    most: i64,
    events: UserRef<IoEvent>,
    timeout: In<Timespec>,
    mask: UserRef<MaskAndSize>,
) -> SysResult<i64> {
    let timeout = deadline(task, *timeout)?;
    let (mask, size) = match mask.non_null() {
        None => (UserRef::new(UserAddr(0)), 0),
        Some(mask) => task.read_obj(mask)?.parts(),
    };
    with_mask(task, mask, size, |task| {
        get_events(task, context, (least, most), events, timeout, SysError::Restart(Restart::NoHand))
    })
}

fn get_events(
    task: &mut CurrentTask,
    context: u64,
    (least, most): (i64, i64),
    events: UserRef<IoEvent>,
    timeout: Timeout,
    interrupted: SysError,
) -> SysResult<i64> {
    let context = find(task, context)?;
    if least < 0 || least > most {
        return Err(Errno::EINVAL.into());
    }
    let mut done = 0;
    let mut attempt = |task: &mut CurrentTask| match take(task, &context, events, &mut done, most) {
        Err(errno) if done == 0 => Some(Err(errno)),
        Err(_) => Some(Ok(())),
        Ok(()) => (done >= least).then_some(Ok(())),
    };
    let ended = match timeout {
        Timeout::None => attempt(task).unwrap_or(Ok(())).map_err(SysError::from),
        _ => {
            let until = if let Timeout::At(until) = timeout { Some(until) } else { None };
            match task.wait_for(context.wait_queue(), PollEvents::IN, until, attempt) {
                Ok(result) => result.map_err(SysError::from),
                Err(sentry::task::WaitEnd::TimedOut) => Ok(()),
                Err(sentry::task::WaitEnd::Interrupted) => Err(interrupted),
            }
        }
    };
    match ended {
        Err(error) if done == 0 => Err(error),
        _ => Ok(done),
    }
}

/// Takes the results that there are, up to `most` in all.
fn take(
    task: &CurrentTask,
    context: &AioContext,
    to: UserRef<IoEvent>,
    done: &mut i64,
    most: i64,
) -> Result<(), Errno> {
    while *done < most {
        let (head, events) = context.results((most - *done) as usize)?;
        if events.is_empty() {
            break;
        }
        for (n, event) in events.iter().enumerate() {
            task.write_obj(to.at(*done as u64 + n as u64)?, event)?;
        }
        // If another has taken them meanwhile, what was written is written over.
        if context.take(head, events.len()) {
            *done += events.len() as i64;
        }
    }
    Ok(())
}
