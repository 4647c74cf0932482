//! Bytes between pipes and other files: splice(2), tee(2), vmsplice(2).

use std::sync::Arc;

use abi::Errno;
use abi::uio::SpliceFlags;
use sentry::SysResult;
use sentry::task::CurrentTask;
use sentry::task::io::{At, Patience};
use sentry::task::splice::Between;
use sentry::vfs::File;
use sentry::vfs::pipe::PipeEnd;

use crate::arg::{Fd, Flags, InOut, IoVecs};

fn is_pipe(file: &File) -> bool {
    file.downcast::<PipeEnd>().is_some()
}

fn patience(flags: SpliceFlags) -> Patience {
    if flags.contains(SpliceFlags::NONBLOCK) { Patience::None } else { Patience::AsFile }
}

/// What one call moves at most.
const MAX: usize = 0x7fff_f000;

/// splice(2)
pub fn splice(
    task: &mut CurrentTask,
    input: Fd,
    input_offset: InOut<i64>,
    out: Fd,
    out_offset: InOut<i64>,
    len: usize,
    flags: Flags<SpliceFlags>,
) -> SysResult<usize> {
    if len == 0 {
        return Ok(0);
    }
    let patience = patience(flags.known()?);
    let (from, to) = (task.file(input.0)?, task.file(out.0)?);
    let len = len.min(MAX);
    if (is_pipe(&from) && !input_offset.is_null()) || (is_pipe(&to) && !out_offset.is_null()) {
        return Err(Errno::ESPIPE.into());
    }
    let input_at = offset(task, input_offset)?;
    let out_at = offset(task, out_offset)?;
    if !from.access().read || !to.access().write {
        return Err(Errno::EBADF.into());
    }
    match (is_pipe(&from), is_pipe(&to)) {
        (true, true) => task.splice_pipes(&from, &to, len, patience, Between::Move),
        (true, false) => {
            let at = position(&to, out_at, len)?;
            let done = task.splice_from_pipe(&from, &to, at, len, patience)?;
            moved(task, out_offset, out_at, done)
        }
        (false, true) => {
            if from.path.inode().is_dir() {
                return Err(Errno::EINVAL.into());
            }
            let at = position(&from, input_at, len)?;
            let done = task.splice_to_pipe(&from, at, &to, len, patience)?;
            moved(task, input_offset, input_at, done)
        }
        (false, false) => Err(Errno::EINVAL.into()),
    }
}

fn offset(task: &CurrentTask, pointer: InOut<i64>) -> Result<Option<i64>, Errno> {
    pointer.non_null().map(|pointer| task.read_obj(pointer)).transpose()
}

fn position(file: &File, given: Option<i64>, len: usize) -> Result<At, Errno> {
    match given {
        None => Ok(At::Position),
        Some(_) if !file.ops().seekable() => Err(Errno::EINVAL),
        Some(at) if at.checked_add(len as i64).is_none() => Err(Errno::EINVAL),
        Some(at) => Ok(At::Offset(u64::try_from(at).map_err(|_| Errno::EINVAL)?)),
    }
}

fn moved(task: &CurrentTask, pointer: InOut<i64>, from: Option<i64>, done: usize) -> SysResult<usize> {
    if let Some(from) = from {
        task.write_obj(*pointer, &(from + done as i64))?;
    }
    Ok(done)
}

/// tee(2)
pub fn tee(
    task: &mut CurrentTask,
    input: Fd,
    out: Fd,
    len: usize,
    flags: Flags<SpliceFlags>,
) -> SysResult<usize> {
    let flags = flags.known()?;
    if len == 0 {
        return Ok(0);
    }
    let (from, to) = (task.file(input.0)?, task.file(out.0)?);
    if !from.access().read || !to.access().write {
        return Err(Errno::EBADF.into());
    }
    task.splice_pipes(&from, &to, len.min(MAX), patience(flags), Between::Copy)
}

/// vmsplice(2)
pub fn vmsplice(
    task: &mut CurrentTask,
    fd: Fd,
    vec: IoVecs,
    count: u64,
    flags: Flags<SpliceFlags>,
) -> SysResult<usize> {
    let flags = flags.known()?;
    let file: Arc<File> = task.file(fd.0)?;
    let access = file.access();
    if !access.read && !access.write {
        return Err(Errno::EBADF.into());
    }
    let slices = crate::iovec::read(task, vec.array(), count)?;
    if slices.iter().all(|slice| slice.len == 0) {
        return Ok(0);
    }
    if !is_pipe(&file) {
        return Err(Errno::EBADF.into());
    }
    if access.write {
        task.fill_pipe(&file, &slices, patience(flags))
    } else {
        task.drain_pipe(&file, &slices, patience(flags))
    }
}
